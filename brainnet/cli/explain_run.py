"""`brainnet explain --run RUN`: concepts with a run's own numbers, or why a row got its answer."""

import json
import math
import sys
from dataclasses import asdict, is_dataclass, replace
from typing import Any

from brainnet.answering.account import Account
from brainnet.building.targets import Consent, allowed_roots
from brainnet.cli.flags import Flags
from brainnet.cli.named_run import trained_of
from brainnet.cli.page import Page, write
from brainnet.cli.predict import STANDARD, source_of
from brainnet.concepts import CONCEPTS, Concept, find_concept
from brainnet.errors import InputError
from brainnet.explanation import Explanation
from brainnet.portrait.portrait import PORTRAYED
from brainnet.portrait.telling import overview_of, portrait_of
from brainnet.reasons.row import RowTold
from brainnet.reasons.telling import tell_row

USAGE = "Usage: brainnet explain [CONCEPT] --run RUN, as in brainnet explain weights --run latest"
DATA = "data._target_"


def run(typed: Flags) -> int:
    """Tell of a run as the words ask for; returns the exit code.

    Raises:
        InputError: when there is no such run, concept, row or file.
    """
    name = " ".join(word for word in typed.words if "=" not in word)
    concept = find_concept(name) if name else None
    number = _row_of(typed, concept)
    account = _account_of(typed)
    told = _told(account, number, typed.values.get("--input"))
    if "--json" in typed.switches:
        found = _data(account, concept) if told is None else _plain(told)
        print(json.dumps(found, indent=2, allow_nan=False))
        return 0
    page = Page.fitting(sys.stdout)
    shown = _explained(account, concept) if told is None else tell_row(told)
    write("\n".join(["", *page.of_explanation(shown), *_hint(account, concept, told)]))
    return 0


def _row_of(typed: Flags, concept: Concept | None) -> int | None:
    """The number of the row that is asked for, if one is.

    Raises:
        InputError: when it is no whole number, or goes with something else that was typed.
    """
    if concept is not None and {"--row", "--input"} & set(typed.values):
        raise InputError(f"a row is explained as a whole: leave {concept.slug} out, or the row.")
    if "--row" not in typed.values:
        return None
    try:
        return int(typed.values["--row"])
    except ValueError as error:
        raise InputError(
            f"--row needs a whole number, counted from 0; got {typed.values['--row']}."
        ) from error


def _account_of(typed: Flags) -> Account:
    """The run, with consent to the classes that were typed."""
    keys = [word for word in typed.words if "=" in word]
    own = [word for word in keys if not word.startswith(f"{DATA}=")]
    trained = trained_of("explain", Flags({}, frozenset(), (typed.values["--run"], *own)), USAGE)
    named = frozenset(word.partition("=")[2] for word in keys)
    return trained.account(Consent(typed=named, roots=allowed_roots()))


def _told(account: Account, number: int | None, file: str | None) -> RowTold | None:
    if file is None:
        return None if number is None else account.row(number)
    with source_of(file) as path:
        told = account.row_of_file(path, number)
    piped = file == STANDARD and told.source == str(path)
    return replace(told, source="the standard input") if piped else told


def _explained(account: Account, concept: Concept | None) -> Explanation:
    subject = account.subject_of(concept)
    return overview_of(subject) if concept is None else portrait_of(subject, concept)


def _hint(account: Account, concept: Concept | None, told: RowTold | None) -> list[str]:
    """What to type next."""
    if told is not None:
        return []
    name = account.history.name
    if concept is None:
        return [
            "",
            f"brainnet explain CONCEPT --run {name}",
            f"brainnet explain --run {name} --row 0",
        ]
    return ["", f"What it means: brainnet explain {concept.slug}"]


def _data(account: Account, concept: Concept | None) -> dict[str, Any]:
    """A run's own numbers, as primitives."""
    found: dict[str, Any] = {
        "run": account.history.name,
        "checkpoint": str(account.history.checkpoint),
    }
    if concept is not None:
        return found | {
            "concept": concept.name,
            "told": _plain(PORTRAYED[concept](account.subject_of(concept))),
        }
    every = {each.slug: _plain(PORTRAYED[each](account.subject)) for each in CONCEPTS}
    return found | {"concepts": every}


def _plain(told: object) -> Any:  # noqa: ANN401 - what JSON holds
    """Data classes as JSON has it; a number that is none becomes null."""
    if is_dataclass(told) and not isinstance(told, type):
        return _plain(asdict(told))
    if isinstance(told, dict):
        return {key: _plain(value) for key, value in told.items()}
    if isinstance(told, list | tuple):
        return [_plain(value) for value in told]
    return None if isinstance(told, float) and not math.isfinite(told) else told
