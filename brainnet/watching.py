"""Watching: any network in any training loop, seen now and then and otherwise left alone."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from brainnet.errors import InputError
from brainnet.observation.cadence import Every, check_stride
from brainnet.observation.given import check_sample
from brainnet.observation.judge import Criterion
from brainnet.observation.tags import Level
from brainnet.observation.watcher import Watching


def watch(
    model: nn.Module,
    folder: Path | str,
    every: Every = 50,
    optimizer: Optimizer | Sequence[Optimizer] | None = None,
    criterion: Criterion | None = None,
    sample: tuple[Tensor, Tensor] | None = None,
    level: Level = "light",
    *,
    first_step: int = 0,
    scaler: torch.amp.GradScaler | None = None,
) -> Watching:
    """Watch a network learn, in any loop: into TensorBoard, a file, and plain data.

    It looks at steps 0, 1, 2, 5, 10, 20 … and then at every `every`-th; at all others there is no
    hook and nothing waits for the device. Gradients and the way that weights go are read right
    before and after the optimizer's step, so that it does not matter when the loop clears them. It
    changes no weight and draws no random number; where it cannot see or cannot go on, it says so
    once in the log and in `left_out`, and leaves the training alone.

    Of several processes that train together the first one looks: at its own rows, and at gradients
    that all have added to. Of parameters sharded over them (`fully_shard`) only answers are seen.

    Call `step` once for each step of the optimizer, after it; gradients may add up over several
    forward passes before. They are read as the optimizer finds them: where the loop clips them
    itself, they are told as clipped, and so is `gradient_norm`.

    Copies of the model, files of it, and what `torch.compile` or `torch.export` make of it know
    nothing of the watching; `torch.jit.script` it before, or after `close`.

    Use it in a `with`, or `close` it: then everything is on disk, also when the training ends by
    Ctrl-C, SIGTERM or an exception.

    Args:
        model: any module.
        folder: where to write; where an earlier training is recorded there, the next one that is
            free, `_2`, `_3` and so on, as the log then says.
        every: steps between two looks; "auto": as many as keep all looking within 3% of the time,
            going by what looks and steps have taken so far; two trainings alike may then be
            looked at at different steps.
        optimizer: one or several; without it there is no learning rate, and gradients are seen
            only where they are still there when `step` is called.
        criterion: from outputs and targets to a loss; with `sample` it tells how far the loss
            really falls in a step.
        sample: inputs and targets of a few fixed rows, a batch or so, to ask about before and after
            each step that is looked at, in evaluation mode; of a large network (from a million
            weights on) only about the first 16.
        level: how much to look at, "light" or "full", as in `Observe`.
        first_step: steps taken before, of a training that goes on: what was recorded in this very
            folder until then stays, and the counting goes on from there.
        scaler: the `GradScaler` that multiplies the loss before its backward pass, if one does;
            gradients are free of it anyway, and with it so is the blame of each neuron (`full`).

    Raises:
        InputError: where what is given cannot be meant.

    Example:
        >>> import tempfile
        >>> model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with watch(model, folder, optimizer=optimizer) as watching:
        ...         for _ in range(3):
        ...             loss = model(torch.ones(4, 2)).square().mean()
        ...             optimizer.zero_grad(); loss.backward(); optimizer.step()
        ...             watching.step(loss)
        >>> [reading.step for reading in watching.readings]
        [0, 1, 2]
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"watch needs a torch.nn.Module; got {type(model).__name__}.")
    if level not in get_args(Level):
        raise InputError(
            f"watch needs a level, {' or '.join(get_args(Level))}; got {level!r}. "
            'Say watch(..., level="light").'
        )
    if isinstance(first_step, bool) or not isinstance(first_step, int) or first_step < 0:
        raise InputError(f"first_step is a number of steps, 0 or more; got {first_step!r}.")
    if not isinstance(folder, str | os.PathLike):
        raise InputError(f"watch needs a folder to write to; got {folder!r}.")
    check_sample(sample)
    optimizers = [optimizer] if isinstance(optimizer, Optimizer) else list(optimizer or ())
    for each in optimizers:
        if not isinstance(each, Optimizer):
            raise InputError(f"watch needs torch.optim.Optimizer; got {type(each).__name__}.")
    return Watching(
        model,
        Path(folder),
        every=check_stride(every, "every"),
        optimizers=optimizers,
        criterion=criterion,
        sample=sample,
        level=level,
        first_step=first_step,
        scaler=scaler,
    )
