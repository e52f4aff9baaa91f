"""Tests of `brainnet evaluate`: on test rows, on other data, and its output."""

import functools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from brainnet.cli.evaluate import format_confusion, format_evaluation, format_json
from brainnet.cli.main import main
from brainnet.data.datasets import Iris
from brainnet.inference.evaluate import Evaluation
from brainnet.learning.learning_rate import SCHEDULES
from brainnet.structure.network import Network
from brainnet.training.fit import fit

FIRST = ("data=xor", "data.rows=200", "trainer.max_epochs=1", "trainer=cpu", "observe=off")


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """A run on generated rows, made once."""
    folder = tmp_path_factory.mktemp("generated") / "run"
    assert main(["train", *FIRST, f"hydra.run.dir={folder}", f"paths.runs={folder.parent}"]) == 0
    return str(folder)


@pytest.mark.parametrize(
    "words",
    [
        ["data.test=0.8"],
        ["data.validation=0.3"],
        ["data.rows=300"],
        ["data.rows=300", "data.test=0.5"],
    ],
)
def test_generated_rows_are_not_split_again_without_another_seed(capsys, generated, words):
    assert main(["evaluate", generated, "data=xor", "data.rows=200", *words]) == 2
    assert "with another seed" in capsys.readouterr().err


def test_another_seed_generates_other_rows(capsys, generated):
    words = ["data=xor", "data.rows=100", "data.test=0.5", "seed=1"]
    assert main(["evaluate", generated, *words]) == 0
    assert "50 test rows of xor" in capsys.readouterr().out


@pytest.mark.parametrize(
    "word", ["data.batch_size=7", "data.normalize=none", "data.normalize_targets=false"]
)
def test_keys_without_effect_are_rejected(capsys, generated, word):
    assert main(["evaluate", generated, word]) == 2
    assert "cannot be set here" in capsys.readouterr().err


def fit_run(data, network=None, **options):
    network = network or Network([4, 3])
    return str(fit(network, data, epochs=1, progress=False, folder="run", **options).folder)


def partial(parameters):
    return torch.optim.Adam(parameters)


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": functools.partial(torch.optim.Adam, lr=0.01)},
        {"optimizer": partial},
        {"schedule": lambda optimizer, steps: torch.optim.lr_scheduler.StepLR(optimizer, steps)},
        {"schedule": "cosine"},
    ],
    ids=["partial", "function", "lambda", "name"],
)
def test_run_from_python_is_evaluated(capsys, options):
    assert main(["evaluate", fit_run("iris", **options)]) == 0
    assert "30 test rows of iris" in capsys.readouterr().out


def test_run_on_arrays_needs_data(capsys):
    rows = Iris().load(0)
    run = fit_run((rows.inputs, rows.targets))
    assert main(["evaluate", run]) == 2
    assert "the data of this run (arrays) was created in Python" in capsys.readouterr().err
    assert main(["evaluate", run, "data=iris"]) == 0


def test_network_passed_in_python_is_rejected(capsys):
    run = fit_run("iris", torch.nn.Sequential(torch.nn.Linear(4, 3)))
    assert main(["evaluate", run]) == 2
    assert "evaluate(brainnet.load(RUN, network=...), DATA)" in capsys.readouterr().err


def test_run_with_a_function_is_not_resumed(capsys):
    run = fit_run("iris", optimizer=partial)
    assert main(["train", f"resume={run}", "trainer.max_epochs=2"]) == 2
    assert "test_evaluate.partial) was created in Python" in capsys.readouterr().err


@pytest.mark.parametrize("schedule", ["constant", *SCHEDULES])
def test_run_with_a_schedule_by_name_is_resumed(capsys, schedule):
    run = fit_run("iris", schedule=schedule)
    code = main(["train", f"resume={run}", "trainer.max_epochs=2"])
    err = capsys.readouterr().err
    # A schedule that was planned to the end of the run is read as such, and not stretched.
    follows = schedule != "constant"
    assert (code, "was planned to its end" in err) == ((2, True) if follows else (0, False)), err


@pytest.mark.parametrize("key", ["seed", "data"])
def test_stored_configuration_without_a_group_is_rejected(capsys, run, key):
    config = yaml.safe_load((run / "config.yaml").read_text())
    del config[key]
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert main(["evaluate", "latest"]) == 2
    assert f"{key} is missing" in capsys.readouterr().err


def test_unneeded_groups_may_be_missing(run):
    path = Path(run / "config.yaml")
    config = yaml.safe_load(path.read_text())
    for key in ("network", "loss", "optimizer", "schedule", "trainer", "observe", "name"):
        del config[key]
    path.write_text(yaml.safe_dump(config))
    assert main(["evaluate", "latest"]) == 0


def test_unknown_option_is_rejected(capsys):
    assert main(["evaluate", "latest", "--jsn"]) == 2
    said = capsys.readouterr().err
    assert "evaluate has no option --jsn. Did you mean --json?" in said
    assert "brainnet evaluate --help" in said


TRAIN = ("trainer.max_epochs=3", "trainer=cpu", "observe=off", "network.hidden=[4]")


def build_rows(count, seed):
    random = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": random.normal(0, 1, count), "b": random.normal(0, 1, count)})
    frame["answer"] = np.where(frame["a"] > 0, "yes", "no")
    return frame


@pytest.fixture
def table(empty_folder):
    build_rows(100, 0).to_csv("first.csv", index=False)
    build_rows(40, 1).to_csv("other.csv", index=False)
    words = ["data=table", "data.path=first.csv", "data.target=answer", "data.missing=drop"]
    assert main(["train", *words, *TRAIN]) == 0


@pytest.mark.parametrize("words", [[], ["data=table"], ["data=table", "data.target=answer"]])
def test_all_rows_of_another_file_are_evaluated(capsys, table, words):
    assert main(["evaluate", "latest", *words, "data.path=other.csv"]) == 0
    assert "40 rows without empty cells of other.csv" in capsys.readouterr().out


def test_own_file_is_evaluated_on_test_rows(capsys, table):
    assert main(["evaluate", "latest", "data.path=first.csv"]) == 0
    assert "20 test rows of first" in capsys.readouterr().out


def test_empty_cells_are_handled_as_in_the_run(capsys, table):
    other = build_rows(40, 1)
    other.loc[3, "b"] = None
    other.to_csv("other.csv", index=False)
    assert main(["evaluate", "latest", "data.path=other.csv"]) == 0
    assert "39 rows" in capsys.readouterr().out
    assert main(["evaluate", "latest", "data.path=other.csv", "data.missing=error"]) == 2
    assert "'b' has empty cells: row 4" in capsys.readouterr().err
    assert main(["evaluate", "latest", "data.path=other.csv", "data.missing=impute"]) == 2
    assert "has no mean to fill in" in capsys.readouterr().err


def test_run_on_other_data_needs_a_table_with_its_columns(capsys, run, table):
    assert main(["evaluate", str(run), "data=table", "data.path=other.csv"]) == 2
    assert "data.target must be given" in capsys.readouterr().err
    words = ["data=table", "data.path=other.csv", "data.target=answer"]
    assert main(["evaluate", str(run), *words]) == 2
    assert "there is no column 'sepal length (cm)'" in capsys.readouterr().err
    assert main(["evaluate", str(run), "data=images", "data.path=."]) == 2
    assert "this run was trained on a table" in capsys.readouterr().err


def test_images_are_evaluated_and_predicted(capsys, empty_folder):
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
    assert "24 images of other" in capsys.readouterr().out
    assert main(["predict", "latest", "--input", "other", "--output", "answers.csv"]) == 0
    found = pd.read_csv("answers.csv")
    assert found["file"].tolist()[0] == "dark/0.png"
    assert found["prediction"].tolist() == [file.partition("/")[0] for file in found["file"]]
    np.savez("other.npz", images=np.full((5, 3, 3), 30, np.uint8))
    assert main(["predict", "latest", "--input", "other.npz", "--output", "more.csv"]) == 0
    assert pd.read_csv("more.csv")["prediction"].tolist() == ["dark"] * 5
    capsys.readouterr()
    for words, said in (
        (["--input", "answers.csv"], "answers.csv"),
        (
            ["--input", "other", "--keep", "file"],
            "--no-header are for tables",
        ),
        (["--input", "answers.npz"], "there is no file answers.npz"),
    ):
        assert main(["predict", "latest", *words]) == 2
        assert said in capsys.readouterr().err


@pytest.fixture
def numeric_table(empty_folder):
    for name, seed in (("first", 0), ("other", 1)):
        frame = build_rows(100, seed).drop(columns="answer")
        frame["p"], frame["q"] = 2 * frame["a"] + 1, 100 - 50 * frame["b"]
        frame.to_csv(f"{name}.csv", index=False)
    words = ["data=table", "data.path=first.csv", "data.target=[p,q]"]
    assert main(["train", *words, "optimizer.lr=0.05", "trainer.max_epochs=20", *TRAIN[1:]]) == 0


def test_targets_are_matched_by_name(capsys, numeric_table):
    capsys.readouterr()
    outputs = []
    for targets in ("[p,q]", "[q,p]"):
        assert main(["evaluate", "latest", "data.path=other.csv", f"data.target={targets}"]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]
    assert float(outputs[0].split("r2/test")[1].split()[0]) > 0.5
    for targets in ("[p,p]", "p", "[p,q,a]", "[p,b]"):
        assert main(["evaluate", "latest", "data.path=other.csv", f"data.target={targets}"]) == 2
        assert "this network has 2 targets: p, q" in capsys.readouterr().err


def test_classes_have_one_target(capsys, table):
    words = ["data.path=other.csv", "data.target=[answer,a]"]
    assert main(["evaluate", "latest", *words]) == 2
    assert "this network has 1 target" in capsys.readouterr().err


@pytest.mark.parametrize("other", ["./first.csv", "link.csv", "../{folder}/first.csv"])
def test_own_file_is_recognized_by_any_path(capsys, table, empty_folder, other):
    (empty_folder / "link.csv").symlink_to("first.csv")
    path = other.format(folder=empty_folder.name)
    assert main(["evaluate", "latest", f"data.path={path}"]) == 0
    assert "20 test rows of" in capsys.readouterr().out


def test_keys_that_change_the_meaning_are_rejected(capsys, table):
    for path in ("first.csv", "other.csv"):
        for word in (
            *("data.drop=[b]", "data.columns=[b]", "data.categories=[a]", "data.task=regression"),
            *("data.validation_path=other.csv", "data.test_path=other.csv"),
        ):
            assert main(["evaluate", "latest", f"data.path={path}", word]) == 2
            assert f"{word} cannot be set here" in capsys.readouterr().err


def test_another_target_of_the_own_file_is_rejected(capsys, table):
    assert main(["evaluate", "latest", "data.target=a"]) == 2
    assert "data.target=a cannot be set here" in capsys.readouterr().err


def test_changed_file_is_reported(capsys, table):
    more = pd.concat([build_rows(100, 0), build_rows(100, 0)[:30]])
    more.to_csv("first.csv", index=False)
    for words in (["evaluate", "latest"], ["train", "resume=latest", "trainer.max_epochs=4"]):
        assert main(words) == 2
        assert "first has 130 rows now, and 100 when the network" in capsys.readouterr().err
    assert main(["explain", "--run", "latest", "--row", "0"]) == 0
    assert "The data have changed since the run" in capsys.readouterr().out


def test_run_finds_its_file_from_another_folder(capsys, table, empty_folder, monkeypatch):
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
    assert "test rows of first" in capsys.readouterr().out


def build_evaluation(confusion):
    counts = torch.tensor(confusion) if confusion else None
    return Evaluation(
        metrics={"loss/test": 0.25, "accuracy/test": 0.5},
        outputs=torch.zeros(1500, 2),
        predictions=torch.zeros(1500),
        targets=torch.zeros(1500),
        confusion=counts,
        checkpoint=Path("best.ckpt"),
        class_names=("no", "yes") if confusion else (),
    )


def test_few_classes_are_a_table():
    assert format_evaluation(build_evaluation([[1200, 0], [30, 4]]), "rows of x").splitlines() == [
        "accuracy/test  0.5",
        "loss/test      0.25",
        "evaluated on   1,500 rows of x",
        "checkpoint     best.ckpt",
        "",
        "true class by row, predicted class by column",
        "        no yes",
        "no   1,200   ·",
        "yes     30   4",
    ]


def test_regression_has_no_table():
    assert (
        format_evaluation(build_evaluation(None), "rows of x").splitlines()[-1]
        == "checkpoint     best.ckpt"
    )


def test_many_classes_are_a_list_of_errors():
    names = [f"class {place}" for place in range(20)]
    counts = torch.eye(20, dtype=torch.int64) * 50
    assert format_confusion(counts, names) == ["all predictions are correct"]
    counts[3, 17] = 12
    counts[5, :12] += 1
    lines = format_confusion(counts, names)
    assert lines[:2] == ["the most frequent errors", "     12  class 3 predicted as class 17"]
    assert len(lines) == 12
    assert lines[-1] == "         and 2 more"


def test_long_class_name_is_shortened():
    assert format_confusion(torch.eye(2, dtype=torch.int64), ["a" * 40, "b"])[2].startswith(
        "a" * 15 + "…"
    )


def test_json_is_one_object():
    report = json.loads(format_json(build_evaluation([[1, 2], [3, 4]]), "rows of x"))
    assert report == {
        "metrics": {"loss/test": 0.25, "accuracy/test": 0.5},
        "mean_absolute_errors": {},
        "rows": 1500,
        "evaluated_on": "rows of x",
        "checkpoint": "best.ckpt",
        "classes": ["no", "yes"],
        "confusion": [[1, 2], [3, 4]],
    }
    assert json.loads(format_json(build_evaluation(None), ""))["confusion"] is None


@pytest.mark.parametrize("words", [["--json"], []])
def test_evaluate_prints_the_report(capsys, run, words):
    assert main(["evaluate", "latest", *words]) == 0
    said = capsys.readouterr().out
    if words:
        assert json.loads(said)["classes"] == ["setosa", "versicolor", "virginica"]
    else:
        assert "test rows of iris" in said
        assert "\nversicolor " in said


def test_mean_errors_are_listed():
    evaluation = replace(build_evaluation(None), errors={"price": 12345.6, "age": 2.5})
    lines = format_evaluation(evaluation, "rows of x").splitlines()
    assert lines[2:4] == [
        "mean error     12,346 in price",
        "mean error     2.5 in age",
    ]
