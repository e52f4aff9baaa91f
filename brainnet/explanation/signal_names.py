"""Names of the signals in a network, from the columns of a row to the classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import nn

from brainnet.structure.embedding import Embedding, Embeddings
from brainnet.structure.forward_pass import ForwardPass, LayerPass
from brainnet.structure.inspection import LayerInfo


@dataclass(frozen=True, slots=True)
class SignalNames:
    """Names of the inputs and outputs of a network. Signals without a name are numbered.

    Attributes:
        inputs: one name per input.
        outputs: one name per output: the classes, or the numbers to predict.
        categories: for inputs that are category codes, by their position, the category of each
            code from 1 on. Code 0 stands for categories not seen in training.
    """

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    categories: Mapping[int, Sequence[str]] = field(default_factory=dict)

    def name_inputs(self, count: int) -> tuple[str, ...]:
        """Return one name per input."""
        return _fit_names(self.inputs, count, "input {}")

    def name_outputs(self, count: int) -> tuple[str, ...]:
        """Return one name per output; a single output of two classes has the second one's name."""
        # A positive output stands for the second class.
        if count == 1 and len(self.outputs) == 2:
            return self.outputs[1:]
        return _fit_names(self.outputs, count, "output {}")

    def name_classes(self, count: int) -> tuple[str, ...]:
        """Return the names of the first `count` classes."""
        return _fit_names(self.outputs[:count], count, "class {}")

    def name_first_signals(self, model: nn.Module, count: int) -> tuple[str, ...]:
        """Name what the first layer receives: inputs, and the embedded values of category codes.

        Example:
            >>> from brainnet.structure.network import Network
            >>> network = Network([2, 1], embeddings={1: 3})
            >>> SignalNames(("age", "town")).name_first_signals(network, 4)
            ('age', 'town #0', 'town #1', 'town #2')
        """
        embeddings = find_embeddings(model)
        # The first layer of a model may read something other than all embedded inputs.
        if embeddings is None or embeddings.width != count:
            return self.name_inputs(count)
        signals: list[str] = []
        for column, name in enumerate(self.name_inputs(embeddings.inputs)):
            if str(column) in embeddings.columns:
                part = cast(Embedding, embeddings.columns[str(column)])
                signals += number_neurons(name, part.neurons)
            else:
                signals.append(name)
        return tuple(signals)

    def name_codes(self, model: nn.Module, embedding: Embedding) -> tuple[tuple[str, ...], str]:
        """Return the category of each code of an embedding, and the name of its column."""
        embeddings = find_embeddings(model)
        for column, part in embeddings.columns.items() if embeddings else ():
            if embeddings and part is embedding:
                name = self.name_inputs(embeddings.inputs)[int(column)]
                names = ("not seen in training", *self.categories.get(int(column), ()))
                return _fit_names(names, embedding.codes, f"{name} code {{}}"), name
        return _fit_names((), embedding.codes, "code {}"), embedding.name


def find_embeddings(model: nn.Module) -> Embeddings | None:
    """Return the embeddings of the category codes of a network, if it has any."""
    return next((part for part in model.modules() if isinstance(part, Embeddings)), None)


def name_layer_inputs(forward_pass: ForwardPass, names: SignalNames) -> list[tuple[str, ...]]:
    """For each layer of a forward pass, name the signals that it received."""
    named: list[tuple[str, ...]] = []
    earlier: list[LayerPass] = []
    for layer in forward_pass.layers:
        if isinstance(layer.info.module, Embedding):
            named.append(names.name_codes(forward_pass.model, layer.info.module)[0])
            continue
        count = layer.inputs.shape[-1] if layer.inputs.ndim else 1
        # The latest one: a layer that is called twice has passes of the same name.
        source = next((each for each in reversed(earlier) if _is_read_by(each, layer)), None)
        if source is not None:
            named.append(number_neurons(source.name, count))
        # Only the first layer certainly reads the inputs; others may read anything.
        elif not earlier:
            named.append(names.name_first_signals(forward_pass.model, count))
        else:
            named.append(_fit_names((), count, "signal {}"))
        earlier.append(layer)
    return named


def number_neurons(layer: str, count: int) -> tuple[str, ...]:
    """Return the names of the neurons of a layer, as in `hidden_1 #0`."""
    return tuple(f"{layer} #{number}" for number in range(count))


def name_neurons(
    model: nn.Module, layer: LayerInfo, names: SignalNames, *, is_last: bool
) -> tuple[str, ...]:
    """Name the neurons of a layer; those of the last layer have the names of the outputs."""
    count = len(layer.weights)
    if isinstance(layer.module, Embedding):
        return number_neurons(names.name_codes(model, layer.module)[1], count)
    return names.name_outputs(count) if is_last else number_neurons(layer.name, count)


def _is_read_by(earlier: LayerPass, layer: LayerPass) -> bool:
    output, inputs = earlier.output, layer.inputs
    # Equal values count as well, because a model may pass a view or a copy on.
    return output is inputs or (output.shape == inputs.shape and torch.equal(output, inputs))


def _fit_names(names: tuple[str, ...], count: int, pattern: str) -> tuple[str, ...]:
    return names if len(names) == count else tuple(map(pattern.format, range(count)))
