"""Load: a run's network made again by its configuration, and given the weights it ended with."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import nn

from brainnet.answering.trained import Trained
from brainnet.building.build import Build
from brainnet.building.network import network_from
from brainnet.building.targets import ROOTS, Consent, allowed_roots, under
from brainnet.data.columns import Columns
from brainnet.data.dataset import ImageShape
from brainnet.data.preparation import Preparation, preparation_from_dict
from brainnet.data.scaling import Scaling
from brainnet.errors import InputError
from brainnet.learning.loss import DEFAULT_LOSS, LOSSES, Task
from brainnet.structure.network import Network
from brainnet.training.run_folder import Run, find_run
from brainnet.training.stored import NETWORK, OURS, SCALING, load_checkpoint, load_network


def load(
    run: Run | Path | str,
    *,
    network: nn.Module | None = None,
    loss: nn.Module | None = None,
    checkpoint: Literal["best", "last"] = "best",
    device: torch.device | str = "cpu",
    consent: Consent | None = None,
) -> Trained:
    """Load a trained network, ready to answer raw rows.

    Args:
        run: its folder, `latest`, or a checkpoint file.
        network: where it is a class of your own: one as the run trained it. It is given the run's
            weights.
        loss: where it is a class of your own: one as the run was trained by.
        checkpoint: the best on the validation rows, or the last.
        device: where the network computes; answers come back to the CPU.
        consent: which classes beyond the built-in ones the run may name; those of the environment
            variable BRAINNET_ALLOW where None.

    Raises:
        InputError: there is no such run, or it names a class that is not allowed.

    Example:
        >>> import tempfile
        >>> from brainnet import Network, fit
        >>> with tempfile.TemporaryDirectory() as runs:
        ...     run = fit(Network([4, 8, 3]), "iris", folder=f"{runs}/iris", progress=False)
        ...     trained = load(run.folder)
        >>> trained.task
        'multiclass'
    """
    found = run if isinstance(run, Run) else find_run(run)
    if checkpoint not in ("best", "last"):
        raise InputError(f"checkpoint must be best or last; got {checkpoint!r}.")
    path = found.best if checkpoint == "best" else found.last
    stored = load_checkpoint(path)
    config, state = _config(stored, path), _state(stored, path)
    build = Build(consent or Consent(roots=allowed_roots()))
    scaling = Scaling.from_dict(state["scaling"])
    preparation = _preparation(state, scaling)
    judged = loss or _loss(config, state, build)
    shape = state.get("image_shape")
    embedded = preparation.embedded if _reads_codes(config, stored["state_dict"]) else {}
    with torch.random.fork_rng(devices=[]):  # the random numbers of whoever loads stay as they are
        made = network or _network(config, build, len(scaling.shift), embedded, shape)
    weights = [value for key, value in stored["state_dict"].items() if key.startswith(NETWORK)]
    numbers = next((value.dtype for value in weights if value.is_floating_point()), None)
    made = made.to(numbers)  # as trained: float64 weights would lose bits
    load_network(made, stored)
    outputs = int(config["network"].get("outputs") or 0)
    task = state.get("task") or _task(judged, outputs)
    classes = () if task == "regression" else tuple(map(str, range(max(2, outputs))))
    return Trained(
        run=found,
        checkpoint=path,
        config=config,
        network=made.to(device).eval(),
        loss=judged.eval(),
        task=task,
        class_names=tuple(state.get("class_names", classes)),
        target_names=tuple(state.get("target_names", ())),
        preparation=preparation,
        scaling=scaling,
        target_scaling=Scaling.from_dict(state["target_scaling"]),
        image_shape=None if shape is None else cast(ImageShape, tuple(shape)),
        learnt=state,
    )


def _reads_codes(config: Mapping[str, Any], weights: Mapping[str, Any]) -> bool:
    """Whether the network had vectors for codes; one that was handed over may have had none."""
    own = (config.get("network") or {}).get("_target_") == f"{Network.__module__}.Network"
    return not own or any(key.startswith(f"{NETWORK}embeddings.") for key in weights)


def _config(stored: Mapping[str, Any], path: Path) -> dict[str, Any]:
    config: dict[str, Any] = stored[OURS]["config"]
    parts = {name: config.get(name) for name in ("network", "loss", "data", "activation")}
    wrong = [name for name, part in parts.items() if not isinstance(part, Mapping | None)]
    if not isinstance(config.get("seed", 0), int):
        wrong.append("seed")
    if wrong:
        raise InputError(
            f"the configuration in {path} is damaged: {wrong[0]} is {config[wrong[0]]!r}, which no "
            "run has. Train the run anew, or take another checkpoint."
        )
    return config


def _state(stored: Mapping[str, Any], path: Path) -> dict[str, Any]:
    state = stored[OURS].get(SCALING)
    if not isinstance(state, dict) or not {"scaling", "target_scaling"} <= set(state):
        raise InputError(
            f"{path} does not say how its data were scaled, and without that no row can be "
            "answered. Train the run anew."
        )
    return state


def _preparation(state: Mapping[str, Any], scaling: Scaling) -> Preparation:
    stored = state.get("preparation")
    if stored is not None:
        return preparation_from_dict(stored)
    return Columns.numbers([f"input_{column}" for column in range(len(scaling.shift))])


def _task(loss: nn.Module, outputs: int) -> Task:
    tasks = getattr(loss, "tasks", ("multiclass",))
    if "regression" in tasks:
        return "regression"
    return "binary" if outputs in (1, 2) else "multiclass"


def _loss(config: Mapping[str, Any], state: Mapping[str, Any], build: Build) -> nn.Module:
    options = config.get("loss") or {}
    if options.get("_target_") is None:
        return LOSSES[DEFAULT_LOSS[cast(Task, state["task"])]]()
    _check_own("loss", options, build.consent)
    loss: nn.Module = build.instance(options, "loss")
    return loss


def _network(
    config: Mapping[str, Any],
    build: Build,
    inputs: int,
    embedded: Mapping[int, int],
    image_shape: Sequence[int] | None,
) -> nn.Module:
    options = config.get("network") or {}
    _check_own("network", options, build.consent)
    if "outputs" not in options:
        raise InputError(
            f"the network of this run ({options.get('_target_')}) was handed over in Python, and "
            "its configuration does not say how to make it again. Hand over one like it: "
            "brainnet.load(RUN, network=...)."
        )
    return network_from(
        config,
        build,
        inputs=inputs,
        outputs=options["outputs"],
        embeddings=embedded,
        image_shape=image_shape,
    )


def _check_own(part: str, options: Mapping[str, Any], consent: Consent) -> None:
    """Raise an InputError that says how to hand over a class of the user's, unless allowed."""
    target = str(options.get("_target_"))
    if target not in consent.typed and not under(target, ROOTS + consent.roots):
        raise InputError(
            f"the {part} of this run is a class of its own, {target}. If you trust it, hand one "
            f"over in Python, brainnet.load(RUN, {part}=...), or allow its module: "
            f"BRAINNET_ALLOW={target.rpartition('.')[0]} (on the command line also "
            f"{part}._target_={target})."
        )
