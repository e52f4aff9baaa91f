"""Tags: the names of all curves, histograms and plots in TensorBoard, with their help texts.

A tag is `concept/name/statistic`, so that TensorBoard groups the charts by concept. `name` is that
of a layer, or of the data for the confusion matrix.
"""

import re
from dataclasses import dataclass
from typing import Literal

Level = Literal["light", "full"]
"""How much is recorded: `light` is the default, `full` adds further histograms."""


@dataclass(frozen=True, slots=True)
class Tag:
    """One kind of curve, histogram or plot, with its help text.

    `pattern` is the tag, with `{name}` in place of the layer's name.

    Example:
        >>> GRADIENT_NORM.at("hidden_1")
        'gradient/hidden_1/norm'
    """

    pattern: str
    meaning: str
    level: Level = "light"

    def at(self, name: str = "") -> str:
        """Return the tag of one layer, or of the whole network if the pattern has no name."""
        return self.pattern.format(name=name)

    def matches(self, tag: str) -> bool:
        """Return whether a complete tag is of this kind."""
        return re.fullmatch(self.pattern.replace("{name}", "[^/]+"), tag) is not None


# Loss function
LOSS_TRAIN = Tag("loss/train", "How wrong the answers on the training rows are. Step 0 guesses.")
LOSS_VALIDATION = Tag("loss/validation", "How wrong the answers on the validation rows are.")
LOSS_TEST = Tag("loss/test", "How wrong the answers on the test rows are.")
ACCURACY_TRAIN = Tag("accuracy/train", "Share of right answers on the training rows.")
ACCURACY_VALIDATION = Tag("accuracy/validation", "Share of right answers on the validation rows.")
ACCURACY_TEST = Tag("accuracy/test", "Share of right answers on the test rows.")
R2_TRAIN = Tag("r2/train", "Share of the targets' variance explained on the training rows.")
R2_VALIDATION = Tag("r2/validation", "Share of the targets' variance explained, validation rows.")
R2_TEST = Tag("r2/test", "Share of the targets' variance explained on the test rows.")

# Structural primitives
WEIGHTS_NORM = Tag("weights/{name}/norm", "Length (L2 norm) of all weights of the layer.")
WEIGHTS_HISTOGRAM = Tag(
    "weights/{name}", "How strong the connections are; it widens as the layer learns."
)
BIAS_NORM = Tag("bias/{name}/norm", "Length (L2 norm) of all biases of the layer.")
BIAS_HISTOGRAM = Tag(
    "bias/{name}", "The tendencies: right of zero jumpy neurons, left of it calm ones."
)
FIRING_RATE = Tag(
    "activation/{name}/firing_rate", "Share of answers above zero. 0: asleep; 1: always firing."
)
SILENT = Tag(
    "activation/{name}/silent",
    "Share of neurons whose answer is exactly zero on every row of the batch: they neither "
    "speak nor learn.",
)
SATURATED = Tag(
    "activation/{name}/saturated",
    "Share of neurons where their activation is nearly flat: on average, its slope is less than a "
    "tenth of its steepest slope, so they hardly learn.",
)
ACTIVATION_HISTOGRAM = Tag(
    "activation/{name}", "What the neurons answer: a column at zero is silence."
)
PRE_ACTIVATION_HISTOGRAM = Tag(
    "forward_pass/{name}/sum", "Weighted sums plus biases, before the activation.", "full"
)
FORWARD_SECONDS = Tag(
    "forward_pass/seconds",
    "Time to compute the answers, without observing them; on a GPU, only to launch the work.",
)

# Learning mechanics
BLAME = Tag(
    "backpropagation/{name}/blame",
    "The layer's share of the blame: its squared gradient over that of the whole network, which is "
    "its share in what a small step would gain.",
)
DELTA_HISTOGRAM = Tag(
    "backpropagation/{name}",
    "What reaches each neuron: |dL/dz|, before the activation, summed over the rows.",
    "full",
)
BACKWARD_SECONDS = Tag(
    "backpropagation/seconds",
    "Time to compute the gradients, without observing them; on a GPU, only to launch the work.",
)
GRADIENT_TOTAL_NORM = Tag(
    "gradient/total_norm",
    "How steep the loss is here: length of the gradient of all parameters, before clipping.",
)
GRADIENT_NORM = Tag(
    "gradient/{name}/norm",
    "Length of the gradient of the layer's weights and biases, before clipping.",
)
GRADIENT_HISTOGRAM = Tag(
    "gradient/{name}/weights", "Slope for each weight: which way, and how steeply."
)
BIAS_GRADIENT_HISTOGRAM = Tag("gradient/{name}/bias", "Slope for each bias.", "full")
GRADIENT_COSINE = Tag(
    "gradient/{name}/cosine",
    "Direction of the gradient compared with that of the previous observed step. 1: the same; 0: "
    "nothing in common; -1: opposite.",
    "full",
)
UPDATE_RATIO = Tag(
    "gradient_descent/{name}/update_ratio",
    "Length of the step over length of the weights. About 0.001 is common; 0.1 is a leap.",
)
UPDATE_HISTOGRAM = Tag(
    "gradient_descent/{name}/step", "How far the step moved each weight.", "full"
)
PREDICTED_DECREASE = Tag(
    "gradient_descent/predicted_decrease",
    "How far the loss of this batch would fall if the slope stayed the same along the step.",
)
ACTUAL_DECREASE = Tag(
    "gradient_descent/actual_decrease",
    "How far the loss of this batch fell. Close to the prediction: a longer step would do. Below "
    "zero: the step was too long.",
)
UPDATE_SECONDS = Tag(
    "gradient_descent/seconds", "Time of the optimizer's step; on a GPU, only to launch it."
)
LEARNING_RATE_VALUE = Tag("learning_rate", "The size of the step: the factor on the gradient.")

# Plots
WEIGHTS_PLOT = Tag(
    "weights/{name}/picture",
    "What each neuron looks for. Blue: raises its answer; orange: lowers it.",
)
BOUNDARY_PLOT = Tag(
    "forward_pass/decision_boundary", "What the network answers at each input point."
)
CONFUSION_PLOT = Tag("accuracy/{name}/confusion", "Which class is taken for which.")
LOSS_SLICE_PLOT = Tag(
    "gradient_descent/loss_slice", "The hill: the loss along the step just taken, and beyond it."
)

TAGS: tuple[Tag, ...] = tuple(tag for tag in globals().copy().values() if isinstance(tag, Tag))


def get_description(tag: str) -> str:
    """Return the help text of a tag, or an empty text for tags of other writers.

    Example:
        >>> get_description("activation/hidden_1/firing_rate")
        'Share of answers above zero. 0: asleep; 1: always firing.'
    """
    kinds = [kind for kind in TAGS if kind.matches(tag)]
    # An exact tag takes precedence over a pattern with a name in it.
    kinds.sort(key=lambda kind: kind.at() != tag)
    return kinds[0].meaning if kinds else ""
