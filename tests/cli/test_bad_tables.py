"""Invalid tables and table options end with exit code 2 and one message; nothing is written."""

from pathlib import Path

import numpy as np
import pytest

from brainnet.cli.main import main

GOOD = "weight,color,price,kind\n" + "".join(
    f"{row % 7}.5,{('red', 'green')[row % 2]},{row}.25,{('apple', 'pear')[row % 2]}\n"
    for row in range(40)
)
FEW = ("network.hidden=[4]", "trainer.max_epochs=1", "trainer=cpu")


def run_rejected(capsys, *words):
    """Run the command, check that it fails without a trace, and return its message."""
    before = set(Path.cwd().rglob("*"))
    code = main(["train", "data=table", *words])
    out, err = capsys.readouterr()
    assert code == 2, err
    assert "Traceback" not in err
    assert err.startswith("brainnet: error: ")
    assert len(err.splitlines()) <= 6
    assert out == ""
    assert set(Path.cwd().rglob("*")) == before
    return err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "rows.csv."),
        ("", "rows.csv is empty"),
        (bytes(range(256)) * 9, "neither text nor a table"),
        ("1.5,red,2,apple\n2.5,red,3,pear\n", "set data.header=false"),
        (GOOD.replace("kind", "sort"), "no column 'kind'"),
        (GOOD + "1,2,3,4,5\n", "Expected 4 fields in line 42, saw 5"),
        (
            GOOD + "tall,red,1,pear\n",
            "column 'weight' contains numbers, but not in row 41 ('tall')",
        ),
        (GOOD + ",red,1,pear\n", "data.missing=impute"),
        (GOOD + "inf,red,1,pear\n", "finite numbers, but not in row 41 ('inf')"),
        (GOOD.replace("pear", "apple"), "rows.csv is apple in all 40 rows"),
        (GOOD + "1,red,1,plum\n", "class 'plum' (1 row)"),
        ("a,kind\n" + "".join(f"{row}.5,sort {row}\n" for row in range(40)), "40 different values"),
    ],
)
def test_invalid_files_are_rejected(content, message, capsys):
    if content is not None:
        data = content if isinstance(content, bytes) else content.encode()
        Path("rows.csv").write_bytes(data)
    assert message in run_rejected(capsys, "data.path=rows.csv", "data.target=kind")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "data.path must be given"),
        ("data.path=rows.csv", "data.target must be given: which column of "),
        ("data.path=.", "is a folder"),
        ("data.path=rows.csv data.target=knd", "Did you mean kind?"),
        ("data.path=rows.csv data.target=kind data.columns=[1.5]", "a column or a list of columns"),
        ("data.path=rows.csv data.target=kind data.missing=dorp", "error|drop|impute"),
        (
            "data.path=rows.csv data.target=kind data.task=regresion",
            "data.task must be classification",
        ),
        ("data.path=rows.csv data.target=kind data.test_path=no.csv", "no.csv."),
        (
            "data.path=rows.csv data.target=kind data.header=maybe",
            "data.header must be true or false",
        ),
        ("data.path=rows.csv data.target=kind data.pth=x", "Did you mean data.path?"),
        ('data.path=rows.csv data.target=kind data.csv.sep="|"', "no column 'kind'"),
        ("data.path=rows.csv data.target=kind data.csv.encoding=utf-9", "not a known encoding"),
    ],
)
def test_invalid_options_are_rejected(words, message, capsys):
    Path("rows.csv").write_text(GOOD)
    assert message in run_rejected(capsys, *words.split())


def test_a_table_trains_without_further_options(summary):
    Path("my rows.csv").write_text(GOOD)
    assert main(["train", "data=table", "data.path=my rows.csv", "data.target=kind", *FEW]) == 0
    folder = Path("runs", Path("runs/latest").read_text().strip())
    assert "accuracy/test" in summary(folder)["metrics"]


def test_arrays_train_with_the_number_of_the_target():
    np.save("rows.npy", np.column_stack([np.arange(40) % 7, np.arange(40) % 2]))
    assert main(["train", "data=table", "data.path=rows.npy", "data.target=1", *FEW]) == 0
