"""`brainnet evaluate RUN`: the best checkpoint of a run, judged by rows it never saw."""

import sys
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.types import Override

from brainnet.cli import targets
from brainnet.cli.arguments import parse
from brainnet.cli.build import Build
from brainnet.cli.composition import Composer
from brainnet.cli.configuration import Config, check, plain
from brainnet.cli.consent import consent_of
from brainnet.cli.parts import data_of, loss_of, network_of
from brainnet.cli.resume import look_up, put, says_nothing_new, stored_config
from brainnet.errors import InputError
from brainnet.training.evaluation import Evaluation, evaluate
from brainnet.training.run_folder import find_run

SPLIT = ("seed", "data.validation", "data.test")
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
    config = with_typed(stored_config(found), composed, parsed)
    check(config)
    consent = consent_of(parsed)
    targets.check(config, consent)
    build = Build(consent)
    data = data_of(config, build)
    loss = loss_of(config, data, build)
    network = network_of(config, data, loss, build)
    sys.stdout.write(told(evaluate(found, network, data, loss), data.dataset.name))
    return 0


def with_typed(stored: Config, composed: Config, overrides: Sequence[Override]) -> Config:
    """The stored configuration with the data that was typed.

    Raises:
        InputError: for a key that evaluating has no use for, or that would mix the rows it was
            trained on into those of the test.
    """
    before = {path: look_up(stored, path) for path in (*SPLIT, "data._target_")}
    for override in overrides:
        key = override.key_or_group
        group = key.partition(".")[0]
        if group in ("data", "seed"):
            put(stored, key, look_up(composed, key))
        elif group != "paths" and not says_nothing_new(override, composed, stored):
            raise InputError(
                f"evaluate judges a network as it was trained: {override.input_line} has no place "
                "here. What may change is data and seed."
            )
    changed = [path for path in SPLIT if look_up(stored, path) != before[path]]
    same_rows = stored["data"].get("_target_") == before["data._target_"]
    if changed and same_rows and "rows" not in stored["data"]:
        raise InputError(
            f"another {changed[0]} would split these rows anew, and the test would hold rows the "
            "network was trained on. Leave it as it was in the run."
        )
    return stored


def told(evaluation: Evaluation, name: str) -> str:
    """The result in a few lines."""
    lines = [f"{tag:<15}{value:.4g}" for tag, value in sorted(evaluation.metrics.items())]
    lines += [
        f"{'judged by':<15}{len(evaluation.truths)} rows of {name}, kept for the test",
        f"{'checkpoint':<15}{evaluation.checkpoint}",
    ]
    return "\n".join(lines) + "\n"
