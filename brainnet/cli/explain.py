"""The command `brainnet explain`: a concept, a run or one row of it told on the terminal."""

import json
import shlex
import sys
from pathlib import Path

from brainnet.cli.concept_page import as_data, page_of, page_of_all
from brainnet.cli.flags import Flags, read
from brainnet.cli.page import Page, write
from brainnet.concepts import CONCEPTS, Concept, find_concept
from brainnet.errors import InputError
from brainnet.suggestion import nearest

HELP = """\
brainnet explain [CONCEPT] [--run RUN [--row N] [--input FILE]] [--json]

Tells what a concept means: in a brain, in plain words, in mathematics, in the numbers of a small
worked example; where it is in code and in TensorBoard, and what to type to change it.
Without CONCEPT: all eleven. With a run: in the run's own numbers. With a row: why this row got its
answer, sum by sum, which inputs mattered, and what went wrong where it is wrong.

Examples
  brainnet explain
  brainnet explain weights
  brainnet explain learning-rate --json
  brainnet explain --run latest
  brainnet explain neurons --run runs/digits/2026-01-31_12-00-00
  brainnet explain --run latest --row 3
  brainnet explain --run latest --row 0 --input new.csv
  brainnet explain --run latest --input squirrel.png
  brainnet explain --run latest --row 7 --input t10k-images-idx3-ubyte.gz

Options
  --run RUN       a run's folder, latest, or a checkpoint file; its best weights are told
  --row N         row N of the run's data, counted from 0 as the data have them, whichever part
  --input FILE    row N of this file instead, whatever predict reads, or this picture; the right
                  answer of a table's row is read where it stands in the file; - is the standard
                  input
  --json          the same for programs: one JSON object (without a run and CONCEPT, a list)
  paths.runs=FOLDER, network._target_=..., data._target_=...    as for brainnet predict

As JSON, a concept of a run is {"run", "checkpoint", "concept", "told"}; all of them are
{"run", "checkpoint", "concepts": {"layers": told, ...}}; "told" is null where it takes rows that
are not stored. A row is {"run", "source", "row", "rows", "part", "reasons", "columns"}. The fields
are those of the data classes of brainnet.portrait and brainnet.reasons, which say what they mean.
"""

OPTIONS = {"--run": "RUN", "--row": "N", "--input": "FILE"}
SWITCHES = ("--json", "--help")


def run(argv: list[str]) -> int:
    """Tell of one concept, of a run or of one row, or list all concepts.

    Args:
        argv: the words behind `brainnet explain`.

    Returns:
        0, the exit code.

    Raises:
        InputError: an unknown concept or option, or no such run or row; exit code 2.
    """
    if "--help" in argv or "-h" in argv:
        sys.stdout.write(HELP)
        return 0
    typed = read("explain", argv, OPTIONS, SWITCHES)
    if "--run" in typed.values:
        # Here, not above: a run takes torch, and explaining a concept waits for nothing.
        from brainnet.cli.explain_run import run as explain_run

        return explain_run(typed)
    _check_alone(typed)
    name = " ".join(typed.words)
    concept = _concept_of(name) if name else None
    if "--json" in typed.switches:
        told = as_data(concept) if concept else [as_data(each) for each in CONCEPTS]
        print(json.dumps(told, indent=2))
        return 0
    page = Page.fitting(sys.stdout)
    lines = page_of(concept, page) if concept else page_of_all(page)
    write("\n".join(["", *lines]))
    return 0


def _concept_of(name: str) -> Concept:
    """The concept of that name.

    Raises:
        InputError: there is none; a run was named, say, without the option for it.
    """
    try:
        return find_concept(name)
    except InputError:
        latest = nearest(name, ["latest"])
        if latest or (Path(name) / "summary.json").is_file() or name.endswith(".ckpt"):
            run = latest or shlex.quote(name)
            raise InputError(
                f"expected a concept; got {name!r}. Did you mean brainnet explain --run {run}?"
            ) from None
        raise


def _check_alone(typed: Flags) -> None:
    """Refuse what means something only beside a run.

    Raises:
        InputError: when a row is asked for, or a file, and no run.
    """
    for option in ("--row", "--input"):
        if option in typed.values:
            raise InputError(
                f"{option} needs a run whose network answers: brainnet explain --run latest "
                f"{option} {typed.values[option]}"
            )
