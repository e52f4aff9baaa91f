"""`brainnet evaluate RUN`: the best checkpoint of a run, judged by rows it never saw."""

import sys
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path

from hydra.core.override_parser.types import Override
from torch import nn

from brainnet.answering.evaluation import evaluate
from brainnet.building import targets
from brainnet.building.build import Build
from brainnet.building.data import data_from
from brainnet.building.targets import Consent
from brainnet.cli.arguments import parse
from brainnet.cli.composition import Composer
from brainnet.cli.configuration import Config, check, plain
from brainnet.cli.consent import consent_of
from brainnet.cli.judgement import Judgement
from brainnet.cli.other_data import (
    check_reading,
    is_other_file,
    judge_by_test_file,
    judged_by_file,
    keep_reading,
    own_choice,
    runs_of,
)
from brainnet.cli.parts import loss_of, network_of
from brainnet.cli.resume import (
    check_keeps,
    check_rebuildable,
    look_up,
    put,
    says_nothing_new,
    stored_config,
)
from brainnet.data.module import DataModule
from brainnet.data.notes import told_before
from brainnet.errors import InputError
from brainnet.training.run_folder import Run, find_run
from brainnet.training.sizes import outputs_for

# All that a judgement follows from; of the rest of a run nothing needs to be built.
JUDGED = ("data", "network", "activation", "loss")
# Where one of these changes, rows that were trained on may come into the test.
SPLIT = ("data.validation", "data.test", "data.rows")
# The run's own scaling is used, and no batches are made.
OF_TRAINING = ("data.batch_size", "data.normalize", "data.normalize_targets")
JSON = "--json"
NEEDS_RUN = (
    "evaluate needs a run: its folder, latest, or a checkpoint file, as in brainnet evaluate latest"
)


def run(words: Sequence[str], *, debug: bool = False) -> int:
    """Judge a run as the words ask for; returns the exit code.

    Raises:
        InputError: when there is no such run, or what was typed does not fit it.
    """
    typed = parse([word for word in words if word != JSON], command="evaluate", more=(JSON,))
    if typed.multirun or typed.shows:
        raise InputError(f"evaluate takes no {typed.flags[0]}: a run, and key=value, alone.")
    names = [word for word in typed.overrides if names_run(word)]
    if len(names) != 1:
        raise InputError(f"{NEEDS_RUN}; got {' '.join(names) or 'none'}.")
    overrides = tuple(word for word in typed.overrides if word != names[0])
    composer = Composer.over(typed)
    parsed = composer.parsed(overrides)
    check_keeps(parsed, "evaluate")
    found = find_run(names[0], runs_of(parsed))
    learnt = stored_config(found)
    composed = plain(composer.compose([*own_choice(parsed, learnt), *overrides]))
    stored = {key: deepcopy(learnt.get(key)) for key in ("seed", *JUDGED)}
    config = with_typed(stored, composed, parsed)
    keep_reading(config, learnt, parsed)
    judge_by_test_file(config, learnt)
    check_reading(config, learnt, parsed)
    judgement = judged(found, config, learnt, consent_of(parsed))
    sys.stdout.write(judgement.as_json() if JSON in words else judgement.told())
    return 0


def names_run(word: str) -> bool:
    """Whether a word is a run rather than an override, `~key` among these; `~/runs` is a folder."""
    overrides = "=" in word or (word.startswith("~") and "/" not in word)
    return not overrides or Path(word).exists()


def judged(run: Run, config: Config, learnt: Config, consent: Consent) -> Judgement:
    """Judge a run by the test rows of its own data, or by all rows of another file.

    Args:
        run: the run.
        config: its configuration, with the data that were typed.
        learnt: its configuration as it was trained.
        consent: which classes the words allow.

    Raises:
        InputError: when the data cannot be read, or do not fit the network.
    """
    if is_other_file(config, learnt):
        check({"data": config["data"]}, ("data",))
        return judged_by_file(run, config, consent)
    check_rebuildable(config)
    check(config, JUDGED)
    targets.check(config, consent)
    build = Build(consent)
    with told_before():
        data = data_from(config, build)
    loss = loss_of(config, data, build)
    check_alike(config, data, loss)
    network = network_of(config, data, loss, build)
    rows = f"rows of {data.dataset.name}, kept for the test"
    own = look_up(config, "data._target_") == look_up(learnt, "data._target_")
    evaluation = evaluate(run, network, data, loss, unchanged=own)
    return Judgement(evaluation, rows, data.class_names)


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
