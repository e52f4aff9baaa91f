"""Embedding: a category is looked up, and comes back as a few signals that were learned for it."""

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from brainnet import concepts
from brainnet.errors import InputError

_UNKNOWN_CODE = 0

"""The code of a category that was not there in training."""

_MAX_WIDTH = 600


def choose_width(codes: int) -> int:
    """How many signals a category with so many codes becomes: `min(600, round(1.6 codes^0.56))`.

    The rule of fastai's `emb_sz_rule` (Howard & Gugger, fastai: A Layered API for Deep Learning,
    Information 11(2), 2020).

    Example:
        >>> [width_for(codes) for codes in (12, 100, 5000)]
        [6, 21, 189]
    """
    return min(_MAX_WIDTH, round(1.6 * math.pow(codes, 0.56)))


class Embedding(nn.Module):
    """The weights of one category: a column of them for each code, looked up in place of a product.

    PyTorch's `nn.Embedding`, whose table this is, turned so that it reads as the weights of any
    other layer: the code is the one input that is on, and each neuron's row says what it is worth.
    Code 0, and whatever else is no code, stands for what was never seen: it says nothing, zeros.

    Args:
        codes: how many there are, code 0 among them.
        width: how many signals come out; by `width_for` where None.
        name: what the embedding is called in print-outs, in TensorBoard and everywhere else.
        generator: source of the initial values; PyTorch's global one where None.
        device: as in `torch.empty`.
        dtype: as in `torch.empty`.

    Raises:
        ValueError: where there are fewer than two codes, or the width is not positive.

    Shape:
        column: (batch)
        value:  (neurons, codes)
        return: (batch, neurons)

    Example:
        >>> seen = Embedding(codes=3, width=2)(torch.tensor([0.0, 1.0, 1.0]))
        >>> seen.shape, seen[0].tolist(), torch.equal(seen[1], seen[2])
        (torch.Size([3, 2]), [0.0, 0.0], True)
    """

    concept = concepts.WEIGHTS

    def __init__(
        self,
        codes: int,
        width: int | None = None,
        *,
        name: str = "embedding",
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.name = name
        self.codes = codes
        self.neurons = choose_width(codes) if width is None else width
        if codes < 2 or self.neurons < 1:
            raise ValueError(
                "an embedding needs two codes at least, 0 for what was never seen and one that "
                f"was, and a positive width; got {codes} codes and width {width}."
            )
        self.value = nn.Parameter(torch.empty(self.neurons, codes, device=device, dtype=dtype))
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Start anew: standard normal as in `nn.Embedding`, and zeros for what was never seen."""
        if self.value.is_meta:
            return
        # Drawn code by code, as PyTorch's own table is.
        table = self.value.new_empty(self.codes, self.neurons).normal_(generator=generator)
        table[_UNKNOWN_CODE] = 0
        self.value.copy_(table.t())

    def forward(self, column: Tensor) -> Tensor:
        """Look the codes up, which came as floating-point numbers among the other inputs."""
        known = (column >= 0) & (column < self.codes) & (column == column.trunc())  # NaN is not
        codes = torch.where(known, column, _UNKNOWN_CODE).long()
        return F.embedding(codes, self.value.t(), padding_idx=_UNKNOWN_CODE)

    def extra_repr(self) -> str:
        """Codes and width, and the concept that this part embodies."""
        return f"{self.name}: {self.codes} -> {self.neurons}, concept={self.concept.name}"


class Embeddings(nn.Module):
    """Rows of inputs with each code among them replaced, where it stands, by what it is worth.

    Guo & Berkhahn, Entity Embeddings of Categorical Variables (2016).

    Args:
        inputs: columns of a row, codes and others.
        codes: for each column of codes, by its position, how many codes there are.
        generator: source of the initial values; PyTorch's global one where None.
        device: as in `torch.empty`.
        dtype: as in `torch.empty`.

    Attributes:
        codes: for each column of codes, in order, how many there are.
        width: numbers that come out for each row.

    Raises:
        ValueError: where a column is not there, or has fewer than two codes.
        InputError: in a call, where rows of too few bits cannot hold the codes.

    Shape:
        inputs: (batch, columns)
        return: (batch, width)

    Example:
        >>> embeddings = Embeddings(3, {1: 12})
        >>> embeddings(torch.tensor([[0.5, 7.0, -1.0]])).shape
        torch.Size([1, 8])
    """

    concept = concepts.WEIGHTS

    def __init__(
        self,
        inputs: int,
        codes: Mapping[int, int],
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        # A configuration in YAML or JSON has its keys as words.
        self.codes = {int(column): int(count) for column, count in codes.items()}
        self.codes = dict(sorted(self.codes.items()))
        self.inputs = inputs
        strangers = [column for column in self.codes if not 0 <= column < inputs]
        if strangers or not self.codes:
            raise ValueError(
                f"embeddings are for columns 0 to {inputs - 1} of the inputs; got "
                f"{strangers or 'none'}. Give each column of codes with how many there are: "
                "Network([3, 8, 2], embeddings={1: 12})."
            )
        self.columns = nn.ModuleDict(
            {
                str(column): Embedding(
                    count,
                    name=f"embedding_{column}",
                    generator=generator,
                    device=device,
                    dtype=dtype,
                )
                for column, count in self.codes.items()
            }
        )
        self.width = inputs + sum(part.neurons - 1 for part in self)

    def __iter__(self) -> Iterator[Embedding]:
        """The embedding of each column of codes, in order."""
        return iter(cast("list[Embedding]", list(self.columns.values())))

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Forget everything: fresh initial values for every code."""
        for embedding in self:
            embedding.reset_parameters(generator)

    def forward(self, inputs: Tensor) -> Tensor:
        """Replace the codes, and leave the rest as it is."""
        self._check(inputs)
        pieces = []
        for before, column in pairwise([-1, *self.codes, self.inputs]):
            if column > before + 1:
                pieces.append(inputs[..., before + 1 : column])
            if column < self.inputs:
                pieces.append(self.columns[str(column)](inputs[..., column]))
        return torch.cat(pieces, dim=-1)

    def _check(self, inputs: Tensor) -> None:
        if not isinstance(inputs, Tensor):
            return  # a tracer's stand-in (torch.fx) could not answer
        if inputs.shape[-1:] != (self.inputs,):
            raise ValueError(
                f"embeddings need {self.inputs} columns in the last dimension; got inputs of shape "
                f"{tuple(inputs.shape)}. Give them what they were built for, or build them anew."
            )
        most = max(self.codes.values())
        if inputs.is_floating_point() and most > 2 / torch.finfo(inputs.dtype).eps:
            raise InputError(
                f"{most} codes do not fit into numbers of {inputs.dtype}, which tell only "
                f"{2 / torch.finfo(inputs.dtype).eps:.0f} apart. Compute with mixed precision "
                "(trainer.precision=bf16-mixed) or in 32 bits."
            )

    def extra_repr(self) -> str:
        """Columns before and after, and the concept that this part embodies."""
        return f"{self.inputs} -> {self.width}, concept={self.concept.name}"
