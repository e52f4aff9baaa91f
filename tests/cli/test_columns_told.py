"""A table is told by its columns, once, as the training begins."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from brainnet.cli.main import main


def test_the_columns_are_told_by_what_they_are_taken_for(capsys):
    lines = [
        f"{row % 7},{('red', 'green')[row % 2]}s,t{row % 40},{('no', 'yes')[row % 3 == 0]},"
        f"2024-01-{row % 28 + 1:02},{row % 24}:30,{row / 9:.3}"
        for row in range(80)
    ]
    names = "age,colour,town,paid,born,start,price"
    Path("rows.csv").write_text("\n".join([names, *lines]).replace("reds", "blue") + "\n")
    words = ["data=table", "data.path=rows.csv", "data.target=price", "data.categories=[colour]"]
    few = ["network.hidden=[3]", "trainer.max_epochs=1", "trainer=cpu", "observe=off"]
    assert main(["train", *words, *few]) == 0
    assert capsys.readouterr().out.splitlines()[:5] == [
        "to learn price (a number), from 80 rows of rows",
        "  numbers    age, start (hours since midnight)",
        "  words      colour (2, an input each), town (40, each a vector that is learnt)",
        "  yes or no  paid (no = 0, yes = 1)",
        "  dates      born",
    ]


@pytest.mark.parametrize(("sides", "colours"), [((4, 6), "grey"), ((4, 6, 3), "in colour")])
def test_pictures_are_told_by_their_number_size_and_classes(sides, colours, capsys):
    noise = np.random.default_rng(0)
    for name in ("cat", "dog"):
        Path("pets", name).mkdir(parents=True)
        for number in range(10):
            pixels = noise.integers(0, 255, sides, np.uint8)
            Image.fromarray(pixels).save(Path("pets", name, f"{number}.png"))
    few = ["network.hidden=[3]", "trainer.max_epochs=1", "trainer=cpu", "observe=off"]
    assert main(["train", "data=images", "data.path=pets", *few]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0] == f"to learn cat or dog, from 20 pictures of 4 x 6, {colours}"


def test_data_that_come_with_brainnet_are_not_told(capsys):
    few = ["data=xor", "network.hidden=[3]", "trainer.max_epochs=1", "trainer=cpu", "observe=off"]
    assert main(["train", *few]) == 0
    assert "to learn" not in capsys.readouterr().out
