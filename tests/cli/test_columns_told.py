"""A table is told by its columns, once, as the training begins."""

from pathlib import Path

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
