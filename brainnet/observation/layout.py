"""Layout: TensorBoard's custom page, where curves that belong together share a chart."""

from collections.abc import Sequence
from dataclasses import dataclass

from brainnet.observation import tags
from brainnet.observation.tags import Tag


@dataclass(frozen=True, slots=True)
class Chart:
    """Several curves in one chart.

    Attributes:
        title: what stands above it.
        tags: the curves.
    """

    title: str
    tags: tuple[str, ...]


LOSS = Chart("loss", (tags.LOSS_TRAIN.at(), tags.LOSS_VALIDATION.at()))
ACCURACY = Chart("accuracy", (tags.ACCURACY_TRAIN.at(), tags.ACCURACY_VALIDATION.at()))
R2 = Chart("R²", (tags.R2_TRAIN.at(), tags.R2_VALIDATION.at()))


def curated(places: Sequence[str], task: str | None = None) -> dict[str, tuple[Chart, ...]]:
    """Charts under the heading of each concept, in the order in which a reader asks.

    Args:
        places: names of the layers.
        task: "multiclass", "binary" or "regression"; None where others log the loss.

    Example:
        >>> list(curated(["hidden_1", "output"]))[0]
        'gradient descent: is the step right?'
    """
    learns = (LOSS, R2 if task == "regression" else ACCURACY)
    inside = _inside(places)
    return inside if task is None else {"loss function: does it learn?": learns, **inside}


def _inside(places: Sequence[str]) -> dict[str, tuple[Chart, ...]]:
    """What happens inside, in charts with one curve for each layer."""

    def each(tag: Tag) -> tuple[str, ...]:
        return tuple(tag.at(place) for place in places)

    return {
        "gradient descent: is the step right?": (
            Chart(
                "how far the loss falls: promised and real",
                (tags.PREDICTED_DECREASE.at(), tags.ACTUAL_DECREASE.at()),
            ),
            Chart("step over weights, by layer", each(tags.UPDATE_RATIO)),
            Chart("learning rate", (tags.LEARNING_RATE.at(),)),
        ),
        "activation function: who speaks?": (
            Chart("share of answers above zero", each(tags.FIRING_RATE)),
            Chart("share of silent neurons", each(tags.SILENT)),
            Chart("share of saturated neurons", each(tags.SATURATED)),
        ),
        "backpropagation and gradient: does the blame arrive?": (
            Chart("share of the blame, by layer", each(tags.BLAME)),
            Chart("steepness, by layer", each(tags.GRADIENT_NORM)),
            Chart("steepness of it all", (tags.GRADIENT_TOTAL_NORM.at(),)),
        ),
        "weights and biases: what has it become?": (
            Chart("length of the weights, by layer", each(tags.WEIGHTS_NORM)),
            Chart("length of the biases, by layer", each(tags.BIAS_NORM)),
        ),
    }
