"""`brainnet evaluate RUN data.path=...`: all rows of another file, read as the run read its own."""

import numpy as np
import pandas as pd
import pytest
import yaml

from brainnet.cli.main import main

TRAIN = ("trainer.max_epochs=3", "trainer=cpu", "observe=off", "network.hidden=[4]")


def rows(count, seed):
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": random.normal(0, 1, count), "b": random.normal(0, 1, count)})
    frame["answer"] = np.where(frame["a"] > 0, "yes", "no")
    return frame


@pytest.fixture
def table(empty_folder):
    rows(100, 0).to_csv("first.csv", index=False)
    rows(40, 1).to_csv("other.csv", index=False)
    words = ["data=table", "data.path=first.csv", "data.target=answer", "data.missing=drop"]
    assert main(["train", *words, *TRAIN]) == 0


@pytest.mark.parametrize("words", [[], ["data=table"], ["data=table", "data.target=answer"]])
def test_all_rows_of_another_file_are_judged(capsys, table, words):
    assert main(["evaluate", "latest", *words, "data.path=other.csv"]) == 0
    assert "40 rows of other.csv, without empty cells" in capsys.readouterr().out


def test_of_its_own_file_the_rows_kept_for_the_test_are_judged(capsys, table):
    assert main(["evaluate", "latest", "data.path=first.csv"]) == 0
    assert "20 rows of first, kept for the test" in capsys.readouterr().out


def test_the_way_empty_cells_are_read_is_the_runs_own_unless_typed(capsys, table):
    other = rows(40, 1)
    other.loc[3, "b"] = None
    other.to_csv("other.csv", index=False)
    assert main(["evaluate", "latest", "data.path=other.csv"]) == 0
    assert "39 rows" in capsys.readouterr().out
    assert main(["evaluate", "latest", "data.path=other.csv", "data.missing=refuse"]) == 2
    assert "'b' is empty in row 4" in capsys.readouterr().err
    assert main(["evaluate", "latest", "data.path=other.csv", "data.missing=impute"]) == 2
    assert "has no mean to fill in" in capsys.readouterr().err


def test_a_run_on_other_data_is_judged_by_a_table_with_its_columns(capsys, run, table):
    assert main(["evaluate", str(run), "data=table", "data.path=other.csv"]) == 2
    assert "data.target must be given" in capsys.readouterr().err
    words = ["data=table", "data.path=other.csv", "data.target=answer"]
    assert main(["evaluate", str(run), *words]) == 2
    assert "lack the columns sepal length (cm)" in capsys.readouterr().err
    assert main(["evaluate", str(run), "data=images", "data.path=."]) == 2
    assert "this run learnt from a table" in capsys.readouterr().err


def test_pictures_are_judged_and_answered(capsys, empty_folder):
    from PIL import Image

    for name, shade in (("dark", 30), ("light", 220)):
        for folder in ("first", "other"):
            place = empty_folder / folder / name
            place.mkdir(parents=True)
            for number in range(12):
                Image.new("L", (3, 3), shade + number).save(place / f"{number}.png")
    assert (
        main(
            [
                "train",
                "data=images",
                "data.path=first",
                "data.batch_size=4",
                "trainer.max_epochs=30",
                "optimizer.lr=0.03",
                *TRAIN[1:],
            ]
        )
        == 0
    )
    assert main(["evaluate", "latest", "data.path=other"]) == 0
    assert "24 pictures of other" in capsys.readouterr().out
    assert main(["predict", "latest", "--input", "other", "--output", "answers.csv"]) == 0
    found = pd.read_csv("answers.csv")
    assert found["file"].tolist()[0] == "dark/0.png"
    assert found["prediction"].tolist() == [file.partition("/")[0] for file in found["file"]]
    np.savez("other.npz", images=np.full((5, 3, 3), 30, np.uint8))
    assert main(["predict", "latest", "--input", "other.npz", "--output", "more.csv"]) == 0
    assert pd.read_csv("more.csv")["prediction"].tolist() == ["dark"] * 5
    capsys.readouterr()
    for words, said in (
        (["--input", "answers.csv"], "cannot be read as a picture"),
        (["--input", "other", "--keep", "file"], "--keep is for tables"),
        (["--input", "answers.npz"], "there is no file answers.npz"),
    ):
        assert main(["predict", "latest", *words]) == 2
        assert said in capsys.readouterr().err


@pytest.fixture
def numbers(empty_folder):
    for name, seed in (("first", 0), ("other", 1)):
        frame = rows(100, seed).drop(columns="answer")
        frame["p"], frame["q"] = 2 * frame["a"] + 1, 100 - 50 * frame["b"]
        frame.to_csv(f"{name}.csv", index=False)
    words = ["data=table", "data.path=first.csv", "data.target=[p,q]"]
    assert main(["train", *words, "optimizer.lr=0.05", "trainer.max_epochs=20", *TRAIN[1:]]) == 0


def test_numbers_to_predict_go_by_name(capsys, numbers):
    capsys.readouterr()
    told = []
    for targets in ("[p,q]", "[q,p]"):
        assert main(["evaluate", "latest", "data.path=other.csv", f"data.target={targets}"]) == 0
        told.append(capsys.readouterr().out)
    assert told[0] == told[1]
    assert float(told[0].split("r2/test")[1].split()[0]) > 0.5
    for targets in ("[p,p]", "p", "[p,q,a]", "[p,b]"):
        assert main(["evaluate", "latest", "data.path=other.csv", f"data.target={targets}"]) == 2
        assert "gives 2 answers to a row: p, q" in capsys.readouterr().err


def test_classes_take_one_column(capsys, table):
    words = ["data.path=other.csv", "data.target=[answer,a]"]
    assert main(["evaluate", "latest", *words]) == 2
    assert "gives 1 answer to a row" in capsys.readouterr().err


@pytest.mark.parametrize("other", ["./first.csv", "link.csv", "../{folder}/first.csv"])
def test_its_own_file_is_its_own_however_it_is_spelled(capsys, table, empty_folder, other):
    (empty_folder / "link.csv").symlink_to("first.csv")
    path = other.format(folder=empty_folder.name)
    assert main(["evaluate", "latest", f"data.path={path}"]) == 0
    assert "20 rows of" in capsys.readouterr().out


def test_what_changes_the_meaning_of_the_rows_has_no_place(capsys, table):
    for path in ("first.csv", "other.csv"):
        for word in (
            *("data.drop=[b]", "data.columns=[b]", "data.categories=[a]", "data.task=regression"),
            "data.validation_path=other.csv",
        ):
            assert main(["evaluate", "latest", f"data.path={path}", word]) == 2
            assert f"{word} has no place here" in capsys.readouterr().err


def test_another_target_of_its_own_file_has_no_place(capsys, table):
    assert main(["evaluate", "latest", "data.target=a"]) == 2
    assert "data.target=a has no place here" in capsys.readouterr().err


def test_a_file_of_test_rows_is_judged_whole(capsys, table):
    assert main(["evaluate", "latest", "data.test_path=other.csv"]) == 0
    assert "40 rows of other.csv" in capsys.readouterr().out


def test_a_file_that_changed_is_noticed_where_the_run_meets_it_again(capsys, table):
    more = pd.concat([rows(100, 0), rows(100, 0)[:30]])
    more.to_csv("first.csv", index=False)
    for words in (["evaluate", "latest"], ["train", "resume=latest", "trainer.max_epochs=4"]):
        assert main(words) == 2
        assert "first has 130 rows now, and 100 when the network" in capsys.readouterr().err
    assert main(["explain", "--run", "latest", "--row", "0"]) == 0
    assert "The data have changed since the run" in capsys.readouterr().out


def test_a_run_finds_its_file_from_another_folder(capsys, table, empty_folder, monkeypatch):
    run = next((empty_folder / "runs").glob("*/*/config.yaml"))
    words = ["data=table", "data.path=first.csv"]
    stored = yaml.safe_load(run.read_text())["data"]["path"]  # which a long one may fold
    assert stored == str(empty_folder / "first.csv")
    assert main(["train", "resume=latest", *words, "trainer.max_epochs=4"]) == 0
    (empty_folder / "elsewhere").mkdir()
    monkeypatch.chdir(empty_folder / "elsewhere")
    assert main(["train", f"resume={run.parent}", "trainer.max_epochs=5"]) == 0
    assert main(["evaluate", str(run.parent)]) == 0
    assert main(["explain", "--run", str(run.parent), "--row", "0"]) == 0
    assert "rows of first, kept for the test" in capsys.readouterr().out
