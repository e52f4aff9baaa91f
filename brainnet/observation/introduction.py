"""Introduction: what TensorBoard is told of a run once: graph, layout of the charts, words."""

from torch import nn
from torch.nn.parameter import is_lazy

from brainnet.observation.graph import concept_graph
from brainnet.observation.layout import curated
from brainnet.observation.texts import all_texts
from brainnet.observation.writer import Writer
from brainnet.structure.anatomy import places


def introduce(
    writer: Writer, model: nn.Module, *, loss: str, optimizer: str, task: str | None = None
) -> None:
    """Write what does not change.

    Args:
        writer: where to.
        model: its layers are drawn.
        loss: name of the loss function.
        optimizer: name of the optimizer.
        task: "multiclass", "binary" or "regression"; None where others log the loss.
    """
    found = places(model)
    # Of some the sizes are still to come.
    if found and not any(is_lazy(place.weights) for place in found):
        writer.graph(concept_graph(found, loss, optimizer))
    writer.layout(curated([place.name for place in found], task))
    for tag, text in all_texts().items():
        writer.text(tag, text)
