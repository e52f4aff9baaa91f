"""Activation: the threshold for reacting; a light tap does nothing, a hard knock pulls us away."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from brainnet import concepts
from brainnet.errors import InputError
from brainnet.kernels.counters import NeuronCounts, create_counters, read_counters
from brainnet.kernels.threshold_ramp import threshold_ramp


class ThresholdRamp(nn.Module):
    """Quiet below the threshold, rising over the width, then fully firing: 0 … ramp … 1.

    `clamp((input - threshold) / width, 0, 1)`: the hard sigmoid of the field, with both of its
    knees as parameters. Zero width would be the step neuron of McCulloch & Pitts (1943).

    A learning threshold repeats what the bias does, and a learning width repeats the scale of the
    neuron's row of weights: both are off by default and exist to be looked at. A learning width is
    held as its logarithm, so it stays positive.

    Args:
        threshold: where firing begins, in units of the input; one number, or one per neuron.
        width: how much more input lies between the first reaction and full firing; positive; one
            number, or one per neuron.
        leak: factor on the gradient outside the ramp (where it is otherwise 0), so that silent
            neurons can recover. It does not change the output.
        neurons: where given, what learns has one entry for each; a number that stays, stays one.
        learn_threshold: whether the threshold is a parameter.
        learn_width: whether the width is a parameter.
        device: as in `torch.empty`.
        dtype: as in `torch.empty`.

    Attributes:
        counts: how often each neuron was silent, on its ramp, firing, or given what is not finite:
            (4, neurons) int64, or None while nobody counts (`start_counting`).
        sums: of each neuron's outputs and of their squares, (2, neurons) float64, or None.

    Raises:
        ValueError: where a width is not positive, a number is not finite, a leak is negative, or
            tensors do not fit the neurons or lie on the meta device, where they hold nothing.

    Shape:
        input:  (batch, neurons)
        return: (batch, neurons)

    Example:
        >>> ThresholdRamp()(torch.tensor([-1.0, 0.25, 3.0]))
        tensor([0.0000, 0.2500, 1.0000])
    """

    concept = concepts.ACTIVATION_FUNCTION
    threshold: float | Tensor
    fixed_width: float | Tensor
    log_width: nn.Parameter
    counts: Tensor | None
    sums: Tensor | None

    def __init__(
        self,
        threshold: float | Tensor = 0.0,
        width: float | Tensor = 1.0,
        leak: float = 0.0,
        *,
        neurons: int | None = None,
        learn_threshold: bool = False,
        learn_width: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.initial_threshold = _plain(threshold)
        self.initial_width = _plain(width)
        _check_start(self.initial_threshold, self.initial_width, leak)
        self.leak = float(leak)
        self.neurons = _agreed_neurons(neurons, self.initial_threshold, self.initial_width)
        self.learn_threshold = learn_threshold
        self.learn_width = learn_width
        empty = torch.empty((), device=device, dtype=dtype)
        self._hold("threshold", empty, self.initial_threshold, learn=learn_threshold)
        width_home = "log_width" if learn_width else "fixed_width"
        self._hold(width_home, empty, self.initial_width, learn=learn_width)
        self.register_buffer("counts", None, persistent=False)
        self.register_buffer("sums", None, persistent=False)
        self.reset_parameters()

    def _hold(self, name: str, empty: Tensor, start: float | Tensor, *, learn: bool) -> None:
        """Give `name` the plainest home that serves: parameter, buffer, or a Python number."""
        shape = () if self.neurons is None else (self.neurons,)
        if learn:
            self.register_parameter(name, nn.Parameter(empty.new_empty(shape)))
        elif isinstance(start, Tensor):
            self.register_buffer(name, empty.new_empty(shape))
        else:
            setattr(self, name, start)

    @property
    def width(self) -> float | Tensor:
        """Width of the ramp: one number, or one per neuron, in units of the input."""
        if self.learn_width:
            return self.log_width.exp()
        return self.fixed_width

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Put threshold and width back to where they started."""
        starts = {"threshold": self.initial_threshold, "fixed_width": self.initial_width}
        if self.learn_width:
            starts["log_width"] = _log(starts.pop("fixed_width"))
        for name, start in starts.items():
            home = getattr(self, name)
            if not isinstance(home, Tensor):
                continue
            if isinstance(start, Tensor):
                home.copy_(start)
            else:  # and not a tensor made of it: under torch.device("meta") it would hold nothing
                home.fill_(start)

    def forward(self, input: Tensor, *, reuse_input: bool = False) -> Tensor:
        """React to the input: 0 below the threshold, 1 where fully firing.

        Args:
            input: the pre-activations, (batch, neurons).
            reuse_input: whether the output may take the input's memory, as nobody will ask for the
                input again; see `threshold_ramp`.
        """
        return threshold_ramp(
            input,
            self.threshold,
            self.width,
            self.leak,
            reuse_input=reuse_input,
            counters=self._counting(),
        )

    def start_counting(self, neurons: int | None = None) -> None:
        """Count from now on, in every call, what each neuron does: the kernel does it in passing.

        The counters are buffers that no `state_dict` knows. `DistributedDataParallel` would copy
        those of its first process to all: give it `broadcast_buffers=False`. What is computed again
        is counted again: with activation checkpointing, a row may count twice.

        Args:
            neurons: the size of the input's last dimension; where the ramp knows it, it may be
                left out.

        Raises:
            InputError: where nothing says how many neurons there are.

        Example:
            >>> ramp = ThresholdRamp()
            >>> ramp.start_counting(neurons=2)
            >>> _ = ramp(torch.tensor([[-1.0, 0.5], [0.25, 2.0]]))
            >>> ramp.counters().silent, ramp.counters().ramp, ramp.counters().firing
            ((1, 0), (1, 1), (0, 1))
        """
        neurons = self.neurons if neurons is None else neurons
        if neurons is None:
            raise InputError(
                "to count what each neuron does, the ramp needs to know how many there are; it "
                "holds one threshold and one width for all. Say start_counting(neurons=64)."
            )
        homes = (*self.parameters(), *self.buffers())
        self.counts, self.sums = create_counters(neurons, device=homes[0].device if homes else None)

    def stop_counting(self) -> None:
        """Count no more, and forget what was counted."""
        self.counts = self.sums = None

    def counters(self) -> NeuronCounts:
        """What was counted so far as plain numbers, by one copy to the host.

        Raises:
            InputError: where nobody asked to count.
        """
        return read_counters(self._asked_for())

    def reset_counters(self) -> None:
        """Count from zero again.

        Raises:
            InputError: where nobody asked to count.
        """
        for buffer in self._asked_for():
            buffer.zero_()

    def _counting(self) -> tuple[Tensor, Tensor] | None:
        buffers = self._buffers  # where `self.counts` is found at last: every call asks
        counts, sums = buffers["counts"], buffers["sums"]
        return None if counts is None or sums is None else (counts, sums)

    def _asked_for(self) -> tuple[Tensor, Tensor]:
        counters = self._counting()
        if counters is None:
            raise InputError(
                "this ramp counts nothing yet: call start_counting() before the first batch."
            )
        return counters

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "ThresholdRamp":
        """Move as any module does, but leave the sums as exact as they are: `half()` and others."""
        counts, sums = self.counts, self.sums
        self.stop_counting()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if counts is not None and sums is not None:
            moved = fn(counts)
            if moved.device == sums.device:
                self.counts, self.sums = moved, sums
            else:
                self.counts, self.sums = create_counters(counts.shape[1], device=moved.device)
                if not counts.is_meta:
                    self.counts.copy_(counts)
                    self.sums.copy_(sums)
        return self

    @property
    def is_plain(self) -> bool:
        """Whether this is just `clamp(input, 0, 1)`, in value and gradient."""
        fixed = not (self.learn_threshold or self.learn_width) and self.neurons is None
        return fixed and (self.threshold, self.width, self.leak) == (0.0, 1.0, 0.0)

    def of_neuron(self, index: int) -> Callable[[Tensor], Tensor]:
        """The same reaction as one neuron has it, on inputs of any shape."""
        return lambda signal: threshold_ramp(
            signal, _entry(self.threshold, index), _entry(self.width, index), self.leak
        )

    def for_layer(
        self,
        neurons: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> "ThresholdRamp":
        """A copy for a layer of so many neurons: what learns gets one entry per neuron.

        What was learnt so far, and whether it still learns, is taken over: one number for all goes
        to each neuron. Only where it was learnt for another number of neurons does the copy start
        anew. Counters start at zero.
        """
        learns = self.learn_threshold or self.learn_width
        ramp = ThresholdRamp(
            self.initial_threshold,
            self.initial_width,
            self.leak,
            neurons=neurons if learns or self.neurons is not None else None,
            learn_threshold=self.learn_threshold,
            learn_width=self.learn_width,
            device=device,
            dtype=dtype,
        )
        ramp._take_over(self)
        if self.counts is not None:
            ramp.start_counting(neurons)
        return ramp.train(self.training)

    @torch.no_grad()
    def _take_over(self, other: "ThresholdRamp") -> None:
        """The numbers as they are by now, where they fit, and whether they learn."""
        for name in ("threshold", "log_width" if self.learn_width else "fixed_width"):
            own, theirs = getattr(self, name), getattr(other, name)
            if not isinstance(own, Tensor) or not isinstance(theirs, Tensor):
                continue
            if theirs.shape in ((), own.shape) and not theirs.is_meta:
                own.copy_(theirs)
            if isinstance(own, nn.Parameter):
                own.requires_grad_(theirs.requires_grad)

    def extra_repr(self) -> str:
        """Threshold, width and leak, and the concept that this part embodies."""
        words = [f"threshold={_short(self.initial_threshold)}"]
        words += [f"width={_short(self.initial_width)}"]
        words += [f"leak={self.leak:g}"] if self.leak else []
        words += [f"neurons={self.neurons}"] if self.neurons is not None else []
        words += ["learns its threshold"] if self.learn_threshold else []
        words += ["learns its width"] if self.learn_width else []
        return ", ".join([*words, f"concept={self.concept.name}"])


def _plain(value: float | Tensor) -> float | Tensor:
    """A Python number, or a tensor of one number per neuron that nothing else holds."""
    if isinstance(value, Tensor) and value.is_meta:
        raise ValueError(
            "a ramp starts from numbers, and a tensor on the meta device holds none. Make the "
            'tensor outside torch.device("meta"), or give device="cpu" with it.'
        )
    if isinstance(value, Tensor) and value.ndim > 0:
        return value.detach().clone()
    return float(value)


def _check_start(threshold: float | Tensor, width: float | Tensor, leak: float) -> None:
    if not _is_finite(threshold):
        raise ValueError(f"the ramp needs a finite threshold; got {threshold}. Use 0.0, say.")
    if not _is_finite(width, above=0.0):
        raise ValueError(
            f"the ramp needs a finite, positive width; got {width}. A step without a ramp has no "
            "gradient to learn from: give a small width instead, such as 0.1."
        )
    if not 0.0 <= leak < math.inf:
        raise ValueError(
            f"leak is a slope of the gradient, finite and at least 0; got {leak}. Use leak=0.0."
        )


def _is_finite(value: float | Tensor, above: float = -math.inf) -> bool:
    if isinstance(value, Tensor):
        return bool((value.isfinite() & (value > above)).all())
    return above < value < math.inf


def _log(width: float | Tensor) -> float | Tensor:
    return width.log() if isinstance(width, Tensor) else math.log(width)


def _entry(value: float | Tensor, index: int) -> float | Tensor:
    return value[index] if isinstance(value, Tensor) and value.ndim else value


def _short(value: float | Tensor) -> str:
    return "per neuron" if isinstance(value, Tensor) else f"{value:g}"


def _agreed_neurons(neurons: int | None, *values: float | Tensor) -> int | None:
    """How many neurons the arguments speak of; None where every value is one number for all."""
    counts = {tuple(value.shape) for value in values if isinstance(value, Tensor)}
    counts |= {(neurons,)} if neurons is not None else set()
    if len(counts) > 1 or any(len(shape) != 1 for shape in counts):
        raise ValueError(
            f"threshold and width need one number each, or one per neuron; got {sorted(counts)} as "
            "shapes. Give tensors of one dimension and one length."
        )
    return counts.pop()[0] if counts else None
