"""Tags: every name under which a number reaches TensorBoard, spelled once, with its meaning.

A tag is `concept/place/statistic`, so that TensorBoard's headings are the concepts.
"""

from dataclasses import dataclass
from typing import Literal

Level = Literal["light", "full"]

"""How much is recorded: `light` is what no run should be without, `full` adds the rest."""

LEVELS: tuple[Level, ...] = ("light", "full")


@dataclass(frozen=True, slots=True)
class Tag:
    """One kind of curve, histogram or picture.

    Attributes:
        pattern: the tag, with `{place}` where the name of a layer goes.
        meaning: what it shows and how to read it; TensorBoard shows it beside the chart.
        level: the level from which on it is recorded.

    Example:
        >>> GRADIENT_NORM.at("hidden_1")
        'gradient/hidden_1/norm'
    """

    pattern: str
    meaning: str
    level: Level = "light"

    def at(self, place: str = "") -> str:
        """The tag of one layer, or of the whole network where the pattern names no place."""
        return self.pattern.format(place=place)

    def fits(self, tag: str) -> bool:
        """Whether a written-out tag is one of this kind."""
        wanted, given = self.pattern.split("/"), tag.split("/")
        return len(wanted) == len(given) and all(
            word in ("{place}", part) for word, part in zip(wanted, given, strict=True)
        )


# Loss function
LOSS_TRAIN = Tag("loss/train", "How wrong the answers on the training rows are. Step 0 guesses.")

LOSS_VALIDATION = Tag("loss/validation", "How wrong the answers on rows kept aside are.")

LOSS_TEST = Tag("loss/test", "How wrong the answers on rows never seen before are.")

ACCURACY_TRAIN = Tag("accuracy/train", "Share of right answers on the training rows.")

ACCURACY_VALIDATION = Tag("accuracy/validation", "Share of right answers on rows kept aside.")

ACCURACY_TEST = Tag("accuracy/test", "Share of right answers on rows never seen before.")

R2_TRAIN = Tag("r2/train", "Share of the targets' variance explained on the training rows.")

R2_VALIDATION = Tag("r2/validation", "Share of the targets' variance explained, rows kept aside.")

R2_TEST = Tag("r2/test", "Share of the targets' variance explained on rows never seen before.")

# Structural primitives
WEIGHTS_NORM = Tag("weights/{place}/norm", "Length of all the layer's weights taken together.")

WEIGHTS = Tag("weights/{place}", "How strong the connections are; it widens as the layer learns.")

BIAS_NORM = Tag("bias/{place}/norm", "Length of all the layer's biases taken together.")

BIAS = Tag("bias/{place}", "The tendencies: right of zero jumpy neurons, left of it calm ones.")

FIRING_RATE = Tag(
    "activation/{place}/firing_rate", "Share of answers above zero. 0: asleep; 1: always firing."
)

SILENT = Tag(
    "activation/{place}/silent",
    "Share of neurons whose answer is exactly zero on every row of the batch: they neither "
    "speak nor learn.",
)

SATURATED = Tag(
    "activation/{place}/saturated",
    "Share of neurons on the flat of their activation: on average less than a tenth of its "
    "steepest slope is left to learn through.",
)

ACTIVATION = Tag("activation/{place}", "What the neurons answer: a column at zero is silence.")

PRE_ACTIVATION = Tag(
    "forward_pass/{place}/sum", "Weighted sums plus biases, before the activation.", "full"
)

FORWARD_SECONDS = Tag(
    "forward_pass/seconds", "Time of thinking, without that of observing; on a GPU of asking it to."
)

# Learning mechanics
BLAME = Tag(
    "backpropagation/{place}/blame",
    "The layer's share of the blame: its squared gradient over that of the whole network, which is "
    "its share in what a small step would gain.",
)

DELTA = Tag(
    "backpropagation/{place}",
    "What reaches each neuron: |dL/dz|, before the activation, summed over the rows.",
    "full",
)

BACKWARD_SECONDS = Tag(
    "backpropagation/seconds",
    "Time from the answer to the gradients, without that of observing; on a GPU of asking.",
)

GRADIENT_TOTAL_NORM = Tag(
    "gradient/total_norm", "Steepness of the hill underfoot, over every parameter; unclipped."
)

GRADIENT_NORM = Tag(
    "gradient/{place}/norm", "Steepness along the layer's weights and biases, before clipping."
)

GRADIENT = Tag("gradient/{place}/weights", "Slope for each weight: which way, and how steeply.")

BIAS_GRADIENT = Tag("gradient/{place}/bias", "Slope for each bias.", "full")

GRADIENT_COSINE = Tag(
    "gradient/{place}/cosine",
    "Direction against that of the last look. 1: the same way still; 0: nothing in common; "
    "-1: straight back.",
    "full",
)

UPDATE_RATIO = Tag(
    "gradient_descent/{place}/update_ratio",
    "Length of the step over length of the weights. About 0.001 is common; 0.1 is a leap.",
)

UPDATE = Tag("gradient_descent/{place}/step", "How far each weight moved in this step.", "full")

PREDICTED_DECREASE = Tag(
    "gradient_descent/predicted_decrease",
    "How far the loss of this batch would fall if the slope stayed the same along the step.",
)

ACTUAL_DECREASE = Tag(
    "gradient_descent/actual_decrease",
    "How far it did fall. Close to the prediction: a longer step would do; below zero: overshot.",
)

UPDATE_SECONDS = Tag(
    "gradient_descent/seconds", "Time of the optimizer's turn; on a GPU of asking it to step."
)

LEARNING_RATE = Tag("learning_rate", "The size of the step: the factor on the gradient.")

# Pictures
WEIGHTS_PICTURE = Tag(
    "weights/{place}/picture", "What each neuron looks for: blue drawn to, orange put off by."
)

BOUNDARY_PICTURE = Tag("forward_pass/decision_boundary", "What it would answer at every point.")

CONFUSION_PICTURE = Tag("accuracy/{place}/confusion", "Which class is taken for which.")

HILL_PICTURE = Tag("gradient_descent/hill", "The loss along the step just taken, and beyond it.")

TAGS: tuple[Tag, ...] = tuple(tag for tag in globals().copy().values() if isinstance(tag, Tag))


def get_description(tag: str) -> str:
    """What a written-out tag shows; empty for one that is not ours.

    Example:
        >>> meaning_of("activation/hidden_1/firing_rate")
        'Share of answers above zero. 0: asleep; 1: always firing.'
    """
    # One that is spelled out comes before one with a place in it.
    fitting = sorted((kind for kind in TAGS if kind.fits(tag)), key=lambda kind: kind.at() != tag)
    return fitting[0].meaning if fitting else ""
