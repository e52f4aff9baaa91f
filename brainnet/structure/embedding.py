"""Embedding: a learned vector for each category of a column."""

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from brainnet import concepts
from brainnet.errors import InputError

# Categories not seen in training have code 0, and the vector 0.
_UNKNOWN_CODE = 0
_MAX_WIDTH = 600


def choose_width(codes: int) -> int:
    """Choose the length of an embedding vector: `min(600, round(1.6 codes^0.56))`.

    The rule is fastai's `emb_sz_rule` (Howard & Gugger, fastai: A Layered API for Deep Learning,
    Information 11(2), 2020).
    """
    return min(_MAX_WIDTH, round(1.6 * math.pow(codes, 0.56)))


class Embedding(nn.Module):
    """The weights of one categorical column: a vector for each code.

    Equal to `nn.Embedding`, but with the table transposed, so that it has the shape of the weights
    of any other layer. Code 0 and invalid codes stand for categories not seen in training; their
    vector is 0. The width is `choose_width(codes)` by default.

    Shape:
        column: (batch)
        value:  (neurons, codes)
        return: (batch, neurons)

    Example:
        >>> vectors = Embedding(codes=3, width=2)(torch.tensor([0.0, 1.0, 1.0]))
        >>> vectors.shape, vectors[0].tolist(), torch.equal(vectors[1], vectors[2])
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
                "an embedding needs at least two codes (0 for unknown categories and one for a "
                f"known category) and a positive width; got {codes} codes and width {width}."
            )
        self.value = nn.Parameter(torch.empty(self.neurons, codes, device=device, dtype=dtype))
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new initial values from a standard normal, as `nn.Embedding` does."""
        # A tensor on the meta device has no values to draw; `to_empty` comes first.
        if self.value.is_meta:
            return
        # Drawn code by code, to get the same numbers as the table of `nn.Embedding`.
        table = self.value.new_empty(self.codes, self.neurons).normal_(generator=generator)
        table[_UNKNOWN_CODE] = 0
        self.value.copy_(table.t())

    def forward(self, column: Tensor) -> Tensor:
        """Look up codes, which are given as floating-point numbers like all inputs."""
        # False for NaN, too.
        is_valid = (column >= 0) & (column < self.codes) & (column == column.trunc())
        codes = torch.where(is_valid, column, _UNKNOWN_CODE).long()
        return F.embedding(codes, self.value.t(), padding_idx=_UNKNOWN_CODE)

    def extra_repr(self) -> str:
        """Codes, width and the concept of this module."""
        return f"{self.name}: {self.codes} -> {self.neurons}, concept={self.concept.name}"


class Embeddings(nn.Module):
    """Replaces each code in a row of inputs by its embedding vector.

    Guo & Berkhahn, Entity Embeddings of Categorical Variables (2016). `codes` is the number of
    codes of each categorical column, by column index; `width` the number of outputs.

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
        # Configurations read from YAML or JSON have strings as keys.
        self.codes = dict(sorted((int(column), int(count)) for column, count in codes.items()))
        self.inputs = inputs
        invalid = [column for column in self.codes if not 0 <= column < inputs]
        if invalid or not self.codes:
            raise ValueError(
                f"embeddings need columns between 0 and {inputs - 1}; got {invalid or 'none'}. "
                "Give each categorical column with its number of codes: "
                "Network([3, 8, 2], embeddings={1: 12})."
            )
        options = {"generator": generator, "device": device, "dtype": dtype}
        self.columns = nn.ModuleDict(
            {
                str(column): Embedding(count, name=f"embedding_{column}", **options)  # type: ignore[arg-type]
                for column, count in self.codes.items()
            }
        )
        self.width = inputs + sum(embedding.neurons - 1 for embedding in self)

    def __iter__(self) -> Iterator[Embedding]:
        """The embedding of each categorical column, in order."""
        return iter(cast("list[Embedding]", list(self.columns.values())))

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new initial values for all embeddings."""
        for embedding in self:
            embedding.reset_parameters(generator)

    def forward(self, inputs: Tensor) -> Tensor:
        """Replace the codes; other columns are not changed."""
        self._check(inputs)
        pieces = []
        for previous, column in pairwise([-1, *self.codes, self.inputs]):
            if column > previous + 1:
                pieces.append(inputs[..., previous + 1 : column])
            if column < self.inputs:
                pieces.append(self.columns[str(column)](inputs[..., column]))
        return torch.cat(pieces, dim=-1)

    def _check(self, inputs: Tensor) -> None:
        # A proxy of torch.fx has no shape to check.
        if not isinstance(inputs, Tensor):
            return
        if inputs.shape[-1:] != (self.inputs,):
            raise ValueError(
                f"embeddings need {self.inputs} columns in the last dimension; got inputs of shape "
                f"{tuple(inputs.shape)}."
            )
        if not inputs.is_floating_point():
            return
        # A float with p bits of precision represents all whole numbers up to 2^p exactly.
        largest, limit = max(self.codes.values()), 2 / torch.finfo(inputs.dtype).eps
        if largest > limit:
            raise InputError(
                f"{largest} codes cannot be represented in {inputs.dtype}, which has only "
                f"{limit:.0f} consecutive whole numbers. Use mixed precision "
                "(trainer.precision=bf16-mixed) or 32 bits."
            )

    def extra_repr(self) -> str:
        """Columns before and after, and the concept of this module."""
        return f"{self.inputs} -> {self.width}, concept={self.concept.name}"
