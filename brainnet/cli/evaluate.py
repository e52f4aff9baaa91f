"""`brainnet evaluate RUN`: the best checkpoint of a run, judged by rows it never saw."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra.core.override_parser.types import Override
from torch import nn

from brainnet.building import targets
from brainnet.building.build import Build
from brainnet.cli.arguments import parse
from brainnet.cli.composition import Composer
from brainnet.cli.configuration import Config, check, plain
from brainnet.cli.consent import consent_of
from brainnet.cli.parts import data_of, loss_of, network_of
from brainnet.cli.resume import (
    check_rebuildable,
    look_up,
    put,
    says_nothing_new,
    stored_config,
)
from brainnet.data.module import DataModule
from brainnet.errors import InputError
from brainnet.training.evaluation import Evaluation, evaluate
from brainnet.training.run_folder import find_run
from brainnet.training.sizes import outputs_for

# All that a judgement follows from; of the rest of a run nothing needs to be built.
JUDGED = ("data", "network", "activation", "loss")
# Where one of these changes, rows that were trained on may come into the test.
SPLIT = ("data.validation", "data.test", "data.rows")
# The run's own scaling is used, and no batches are made.
OF_TRAINING = ("data.batch_size", "data.normalize", "data.normalize_targets")
NEEDS_RUN = (
    "evaluate needs a run: its folder, latest, or a checkpoint file, as in brainnet evaluate latest"
)


def run(words: Sequence[str], *, debug: bool = False) -> int:
    """Judge a run as the words ask for; returns the exit code.

    Raises:
        InputError: when there is no such run, or what was typed does not fit it.
    """
    typed = parse(words)
    if typed.multirun or typed.shows:
        raise InputError(f"evaluate takes no {typed.flags[0]}: a run, and key=value, alone.")
    names = [word for word in typed.overrides if "=" not in word or Path(word).exists()]
    if len(names) != 1:
        raise InputError(f"{NEEDS_RUN}; got {' '.join(names) or 'none'}.")
    overrides = tuple(word for word in typed.overrides if word != names[0])
    composer = Composer.over(typed)
    parsed = composer.parsed(overrides)
    composed = plain(composer.compose(overrides))
    found = find_run(names[0], Path(str(composed["paths"]["runs"])))
    stored = {key: stored_config(found).get(key) for key in ("seed", *JUDGED)}
    config = with_typed(stored, composed, parsed)
    check_rebuildable(config)
    check(config, JUDGED)
    consent = consent_of(parsed)
    targets.check(config, consent)
    build = Build(consent)
    data = data_of(config, build)
    loss = loss_of(config, data, build)
    check_alike(config, data, loss)
    network = network_of(config, data, loss, build)
    sys.stdout.write(told(evaluate(found, network, data, loss), data.dataset.name))
    return 0


def with_typed(stored: Config, composed: Config, overrides: Sequence[Override]) -> Config:
    """The stored configuration with the data that was typed.

    Raises:
        InputError: for a key that evaluating has no use for, or that would mix the rows it was
            trained on into those of the test.
    """
    before = {path: look_up(stored, path) for path in ("seed", *SPLIT, "data._target_")}
    for override in overrides:
        key = override.key_or_group
        group = key.partition(".")[0]
        if group in ("data", "seed") and key not in OF_TRAINING:
            put(stored, key, look_up(composed, key))
        elif group != "paths" and not says_nothing_new(override, composed, stored):
            raise InputError(
                f"evaluate judges a network as it was trained: {override.input_line} has no place "
                "here. What may change is which rows it is judged by: data and seed."
            )
    check_unseen(stored, before)
    return stored


def check_unseen(config: Config, before: Mapping[str, object]) -> None:
    """Refuse to split anew the rows that the run was trained on.

    Args:
        config: with what was typed.
        before: the stored values of the seed, of what else a split follows from, and of the class
            of the data.

    Raises:
        InputError: when the test would hold rows the network was trained on.
    """
    if look_up(config, "data._target_") != before["data._target_"]:
        return
    changed = [path for path in ("seed", *SPLIT) if look_up(config, path) != before[path]]
    generated = look_up(config, "data.rows") is not None
    if not changed or (generated and "seed" in changed):
        return
    advice = ", or draw other rows with another seed as well" if generated else ""
    raise InputError(
        f"another {changed[0]} would split these rows anew, and the test would hold rows the "
        f"network was trained on. Leave it as it was in the run{advice}."
    )


def check_alike(config: Config, data: DataModule, loss: nn.Module) -> None:
    """Hold data against those that the network learnt from.

    Raises:
        InputError: when they have other inputs or other answers.
    """
    learnt, tasks = config["network"], getattr(loss, "tasks", (data.task,))
    inputs, outputs = learnt.get("inputs"), learnt.get("outputs")
    try:
        same_answers = outputs in (None, outputs_for(data, loss) or outputs)
    except InputError:  # more classes than the loss can tell apart
        same_answers = False
    if same_answers and inputs in (None, data.inputs) and data.task in tasks:
        return
    # A single output tells two classes apart.
    answers = max(2, outputs or 0) if "regression" not in tasks else outputs
    raise InputError(
        f"{data.dataset.name} has {counted(data.targets, data.task)} and {data.inputs} inputs; the "
        f"network learnt {counted(answers, tasks[0])} from {inputs}. Judge it by data like those "
        "it learnt from."
    )


def counted(answers: object, task: str) -> str:
    """How many answers there are to choose from, or numbers to predict."""
    if task == "regression":
        return "1 number to predict" if answers == 1 else f"{answers} numbers to predict"
    return f"{answers} classes"


def told(evaluation: Evaluation, name: str) -> str:
    """The result in a few lines."""
    lines = [f"{tag:<15}{value:.4g}" for tag, value in sorted(evaluation.metrics.items())]
    lines += [
        f"{'judged by':<15}{len(evaluation.truths)} rows of {name}, kept for the test",
        f"{'checkpoint':<15}{evaluation.checkpoint}",
    ]
    return "\n".join(lines) + "\n"
