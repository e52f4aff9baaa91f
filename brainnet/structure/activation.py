"""Activation: the threshold ramp, 0 below a threshold, then rising, then 1."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from brainnet import concepts
from brainnet.errors import InputError
from brainnet.kernels.counters import NeuronCounts, create_counters, read_counters
from brainnet.kernels.threshold_ramp import threshold_ramp


class ThresholdRamp(nn.Module):
    """Activation function `clamp((input - threshold) / width, 0, 1)`.

    This is the hard sigmoid with both of its kinks as parameters. With a width of zero it would be
    the step function of McCulloch & Pitts (1943).

    A learnable threshold is redundant with the bias, and a learnable width with the scale of the
    neuron's weights: both are off by default. A learnable width is stored as its logarithm, so that
    it stays positive.

    Args:
        threshold: input at which the output starts to rise; one number, or one per neuron.
        width: range of inputs over which the output rises from 0 to 1; positive; one number, or
            one per neuron.
        leak: gradient outside the ramp, where it is otherwise 0, so that silent neurons can
            recover. It does not change the output.
        neurons: number of neurons. If given, learnable parameters have one entry per neuron.
        learn_threshold: whether the threshold is a parameter.
        learn_width: whether the width is a parameter.
        device, dtype: as in `torch.empty`.

    Attributes:
        counts, sums: activity of each neuron, as in `create_counters`; None unless
            `start_counting` was called.

    Raises:
        ValueError: if a width is not positive, a value is not finite, the leak is negative, or
            tensors have the wrong shape or are on the meta device.

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
        # Kept, so that `reset_parameters` and copies for layers start from the same values.
        self.initial_threshold = _detach_value(threshold)
        self.initial_width = _detach_value(width)
        _check_values(self.initial_threshold, self.initial_width, leak)
        self.leak = float(leak)
        self.neurons = _infer_neurons(neurons, self.initial_threshold, self.initial_width)
        self.learn_threshold = learn_threshold
        self.learn_width = learn_width
        # The values follow in `reset_parameters`; a constant number is stored as it is.
        template = torch.empty(self.neurons or (), device=device, dtype=dtype)
        self._width_name = "log_width" if learn_width else "fixed_width"
        for name, value, learn in (
            ("threshold", self.initial_threshold, learn_threshold),
            (self._width_name, self.initial_width, learn_width),
        ):
            if learn:
                self.register_parameter(name, nn.Parameter(torch.empty_like(template)))
            elif isinstance(value, Tensor):
                self.register_buffer(name, torch.empty_like(template))
            else:
                setattr(self, name, value)
        # Buffers, so that they move with the module; not persistent, as counts are not weights.
        self.register_buffer("counts", None, persistent=False)
        self.register_buffer("sums", None, persistent=False)
        self.reset_parameters()

    @property
    def width(self) -> float | Tensor:
        """Width of the ramp: one number, or one per neuron, in units of the input."""
        return self.log_width.exp() if self.learn_width else self.fixed_width

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Reset threshold and width to their initial values."""
        for name in ("threshold", self._width_name):
            value = self.initial_threshold if name == "threshold" else self.initial_width
            if name == "log_width":
                value = value.log() if isinstance(value, Tensor) else math.log(value)
            target = getattr(self, name)
            if isinstance(target, Tensor) and isinstance(value, Tensor):
                target.copy_(value)
            elif isinstance(target, Tensor):
                # Not copy_(torch.tensor(value)): under torch.device("meta") that holds no value.
                target.fill_(value)

    def forward(self, input: Tensor, *, reuse_input: bool = False) -> Tensor:
        """Compute the output, in the memory of the input if `reuse_input` allows it."""
        return threshold_ramp(
            input,
            self.threshold,
            self.width,
            self.leak,
            reuse_input=reuse_input,
            counters=self._get_counters(),
        )

    def start_counting(self, neurons: int | None = None) -> None:
        """Count in every call what each neuron does; the kernel counts in the same pass.

        The counters are non-persistent buffers. `DistributedDataParallel` would overwrite them with
        those of the first process, unless it gets `broadcast_buffers=False`. `neurons` is the size
        of the input's last dimension, optional if the ramp has a value per neuron.

        Example:
            >>> ramp = ThresholdRamp()
            >>> ramp.start_counting(neurons=2)
            >>> _ = ramp(torch.tensor([[-1.0, 0.5], [0.25, 2.0]]))
            >>> counts = ramp.read_counters()
            >>> counts.silent, counts.ramp, counts.firing
            ((1, 0), (1, 1), (0, 1))
        """
        neurons = self.neurons if neurons is None else neurons
        if neurons is None:
            raise InputError(
                "counting per neuron needs the number of neurons; this ramp has one threshold and "
                "one width for all neurons. Call start_counting(neurons=64)."
            )
        # A ramp of two constants has no tensors, and is used on the CPU until it is moved.
        tensors = (*self.parameters(), *self.buffers())
        device = tensors[0].device if tensors else None
        self.counts, self.sums = create_counters(neurons, device=device)

    def stop_counting(self) -> None:
        """Stop counting and discard the counters."""
        self.counts = self.sums = None

    def read_counters(self) -> NeuronCounts:
        """Copy the counters to the host, in one transfer."""
        counters = self._get_counters()
        if counters is None:
            raise InputError(
                "this ramp has no counters; call start_counting() before the first batch."
            )
        return read_counters(counters)

    def _get_counters(self) -> tuple[Tensor, Tensor] | None:
        # The dictionary, as `self.counts` is looked up there last, and every call needs it.
        counts, sums = self._buffers["counts"], self._buffers["sums"]
        return None if counts is None or sums is None else (counts, sums)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "ThresholdRamp":
        """Move or convert the module, except that the sums stay in float64 after `half()`."""
        # Removed meanwhile, because `fn` would also convert the sums.
        counters = self._get_counters()
        self.stop_counting()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if counters is not None:
            neurons, device = counters[0].shape[1], fn(counters[0]).device
            self.counts, self.sums = create_counters(neurons, device=device)
            for new, old in zip((self.counts, self.sums), counters, strict=True):
                if not old.is_meta:
                    new.copy_(old)
        return self

    @property
    def is_plain(self) -> bool:
        """Whether the ramp equals `clamp(input, 0, 1)`, in value and gradient."""
        is_fixed = not (self.learn_threshold or self.learn_width) and self.neurons is None
        return is_fixed and (self.threshold, self.width, self.leak) == (0.0, 1.0, 0.0)

    def select_neuron(self, index: int) -> Callable[[Tensor], Tensor]:
        """Return the activation of one neuron, for inputs of any shape."""

        def activate(input: Tensor) -> Tensor:
            values = (self.threshold, self.width)
            low, wide = (
                value[index] if isinstance(value, Tensor) and value.ndim else value
                for value in values
            )
            return threshold_ramp(input, low, wide, self.leak)

        return activate

    def copy_for_layer(
        self,
        neurons: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> "ThresholdRamp":
        """Copy the current values for a layer; learnable ones get one entry per neuron.

        Only values learned for another number of neurons are reset. Counters start at zero.
        """
        # Constants stay single numbers, for which the kernels are faster.
        has_parameters = self.learn_threshold or self.learn_width
        ramp = ThresholdRamp(
            self.initial_threshold,
            self.initial_width,
            self.leak,
            neurons=neurons if has_parameters or self.neurons is not None else None,
            learn_threshold=self.learn_threshold,
            learn_width=self.learn_width,
            device=device,
            dtype=dtype,
        )
        for name in ("threshold", self._width_name):
            source, target = getattr(self, name), getattr(ramp, name)
            if isinstance(source, Tensor) and isinstance(target, Tensor):
                if source.shape in ((), target.shape) and not source.is_meta:
                    target.data.copy_(source.data)
                target.requires_grad_(source.requires_grad)
        if self.counts is not None:
            ramp.start_counting(neurons)
        return ramp.train(self.training)

    def extra_repr(self) -> str:
        """Arguments and the concept of this module."""
        arguments = []
        for name in ("threshold", "width"):
            value = getattr(self, f"initial_{name}")
            arguments.append(
                f"{name}=per neuron" if isinstance(value, Tensor) else f"{name}={value:g}"
            )
        arguments += [f"leak={self.leak:g}"] if self.leak else []
        arguments += [f"neurons={self.neurons}"] if self.neurons is not None else []
        arguments += [
            f"{name}=True" for name in ("learn_threshold", "learn_width") if getattr(self, name)
        ]
        return ", ".join([*arguments, f"concept={self.concept.name}"])


def _detach_value(value: float | Tensor) -> float | Tensor:
    """Return a Python number, or a copy of a tensor with one value per neuron."""
    if isinstance(value, Tensor) and value.is_meta:
        raise ValueError(
            "the initial threshold and width must have values; got a tensor on the meta device. "
            'Create the tensor outside torch.device("meta"), or with device="cpu".'
        )
    # A copy, so that later changes of the caller's tensor have no effect.
    if isinstance(value, Tensor) and value.ndim > 0:
        return value.detach().clone()
    return float(value)


def _check_values(threshold: float | Tensor, width: float | Tensor, leak: float) -> None:
    low, wide = (
        torch.as_tensor(value, dtype=torch.float64, device="cpu") for value in (threshold, width)
    )
    if not (low.isfinite().all() and (wide.isfinite() & (wide > 0)).all()):
        raise ValueError(
            "the ramp needs a finite threshold and a finite, positive width; got "
            f"threshold={threshold}, width={width}. A step without a ramp has no gradient: use a "
            "small width instead, such as 0.1."
        )
    if not 0.0 <= leak < math.inf:
        raise ValueError(f"leak must be finite and at least 0; got {leak}. Use leak=0.0.")


def _infer_neurons(neurons: int | None, *values: float | Tensor) -> int | None:
    """Return the number of neurons of the arguments; None if all values are single numbers."""
    shapes = {tuple(value.shape) for value in values if isinstance(value, Tensor)}
    shapes |= {(neurons,)} if neurons is not None else set()
    if len(shapes) > 1 or any(len(shape) != 1 for shape in shapes):
        raise ValueError(
            "threshold and width must be numbers or tensors of one length, (neurons,); got shapes "
            f"{sorted(shapes)}."
        )
    return shapes.pop()[0] if shapes else None
