"""Labels: what the signals of a network are called, from the columns of a row to its answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import nn

from brainnet.structure.embedding import Embedding, Embeddings
from brainnet.structure.forward_pass import ForwardPass, LayerPass
from brainnet.structure.inspection import LayerInfo


@dataclass(frozen=True, slots=True)
class SignalNames:
    """The names of what goes into a network and of what comes out.

    Attributes:
        inputs: one for each input; others are numbered.
        outputs: one for each output: the classes, or the numbers to predict.
        words: for inputs that are codes, by their position, the word of each code from 1 on.
    """

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    words: Mapping[int, Sequence[str]] = field(default_factory=dict)

    def of_inputs(self, count: int) -> tuple[str, ...]:
        """Names of so many inputs.

        Example:
            >>> Labels(("x", "y")).of_inputs(2), Labels().of_inputs(2)
            (('x', 'y'), ('input 0', 'input 1'))
        """
        return _fitting(self.inputs, count, "input {}")

    def of_outputs(self, count: int) -> tuple[str, ...]:
        """Names of so many outputs; one that tells two classes apart speaks for the second."""
        if count == 1 and len(self.outputs) == 2:
            return self.outputs[1:]
        return _fitting(self.outputs, count, "output {}")

    def classes(self, count: int) -> tuple[str, ...]:
        """Names of so many classes, the first of them where there are more.

        Example:
            >>> Labels((), ("tea", "coffee", "milk")).classes(2), Labels().classes(2)
            (('tea', 'coffee'), ('class 0', 'class 1'))
        """
        return _fitting(self.outputs[:count], count, "class {}")

    def of_signals(self, model: nn.Module, count: int) -> tuple[str, ...]:
        """Names of what the first layer receives: the inputs, with what embeddings make of codes.

        Example:
            >>> from brainnet.structure.network import Network
            >>> network = Network([2, 1], embeddings={1: 3})
            >>> Labels(("age", "town")).of_signals(network, 4)
            ('age', 'town #0', 'town #1', 'town #2')
        """
        found = next((part for part in model.modules() if isinstance(part, Embeddings)), None)
        if found is None or found.width != count:
            return self.of_inputs(count)
        names, sources = self.of_inputs(found.inputs), iter(found)
        signals: list[str] = []
        for before, column in pairwise([-1, *found.codes, found.inputs]):
            signals += names[before + 1 : column]
            if column < found.inputs:
                width = next(sources).neurons
                signals += [f"{names[column]} #{number}" for number in range(width)]
        return tuple(signals)

    def of_codes(self, model: nn.Module, part: nn.Module) -> tuple[tuple[str, ...], str]:
        """The names of the codes that an embedding looks up, and of the column that they stand in.

        Example:
            >>> embeddings = Embeddings(2, {1: 3})
            >>> Labels(("age", "town"), (), {1: ("Bern", "Rome")}).of_codes(
            ...     embeddings, next(iter(embeddings))
            ... )
            (('never seen', 'Bern', 'Rome'), 'town')
        """
        codes: int = getattr(part, "codes", 0)
        for found in (each for each in model.modules() if isinstance(each, Embeddings)):
            for column, own in found.columns.items():
                if own is part:
                    name = self.of_inputs(found.inputs)[int(column)]
                    words = ("never seen", *self.words.get(int(column), ()))
                    return _fitting(words, codes, f"{name} code {{}}"), name
        return _fitting((), codes, "code {}"), getattr(part, "name", "")


def name_inputs(thought: ForwardPass, labels: SignalNames) -> list[tuple[str, ...]]:
    """For each layer of a thought, the names of the signals that it received.

    Example:
        >>> from brainnet.structure.network import Network
        >>> thought = Network([2, 1, 1]).trace(torch.zeros(1, 2))
        >>> sources_of(thought, Labels(("x", "y")))
        [('x', 'y'), ('hidden_1 #0',)]
    """
    found: list[tuple[str, ...]] = []
    earlier: list[LayerPass] = []
    for layer in thought.layers:
        count = layer.inputs.shape[-1] if layer.inputs.ndim else 1
        before = next((each for each in reversed(earlier) if _same(each, layer)), None)
        if isinstance(layer.info.module, Embedding):
            found.append(labels.of_codes(thought.model, layer.info.module)[0])
            continue
        if before is not None:
            found.append(neurons_of(before.name, count))
        elif not earlier:
            found.append(labels.of_signals(thought.model, count))
        else:
            found.append(tuple(f"signal {number}" for number in range(count)))
        earlier.append(layer)
    return found


def neurons_of(layer: str, count: int) -> tuple[str, ...]:
    """The neurons of a layer by name.

    Example:
        >>> neurons_of("hidden_1", 2)
        ('hidden_1 #0', 'hidden_1 #1')
    """
    return tuple(f"{layer} #{number}" for number in range(count))


def name_neurons(
    model: nn.Module, place: LayerInfo, labels: SignalNames, *, last: bool
) -> tuple[str, ...]:
    """What the neurons of a layer are called: by what they answer, in the last one."""
    count = len(place.weights)
    if isinstance(place.module, Embedding):
        return neurons_of(labels.of_codes(model, place.module)[1], count)
    return labels.of_outputs(count) if last else neurons_of(place.name, count)


def _same(before: LayerPass, layer: LayerPass) -> bool:
    """Whether a layer reads just what an earlier one said."""
    said, read = before.output, layer.inputs
    return said is read or (said.shape == read.shape and torch.equal(said, read))


def _fitting(names: tuple[str, ...], count: int, pattern: str) -> tuple[str, ...]:
    if len(names) == count:
        return names
    return tuple(pattern.format(number) for number in range(count))
