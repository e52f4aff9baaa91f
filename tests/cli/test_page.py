"""A page fits where it is shown: tables hang, titles break, blocks have their colours."""

from brainnet.cli.explain import Page
from brainnet.explanation.explanation import Explanation, Section


def test_a_line_of_a_table_that_is_too_long_goes_on_in_its_last_column():
    line = "  neurons     fire on half of the rows and never do on others"
    broken = list(Page(40).of_lines((line,)))
    assert broken[0].startswith("  neurons     fire")
    assert all(len(each) <= 40 for each in broken)
    assert all(each.startswith(" " * 14) and each[14] != " " for each in broken[1:])
    assert " ".join(" ".join(broken).split()) == " ".join(line.split())


def test_blocks_are_coloured_and_nothing_else_of_a_drawing():
    page = Page(80, colours=True)
    assert page.drawn("  a ██░░ b") == "  a \033[36m██\033[0m\033[2m░░\033[0m b"
    assert Page(80).drawn("  a ██░░ b") == "  a ██░░ b"


def test_a_long_title_is_broken():
    told = Explanation("one two three four", None, ("text",), (), (Section("head", ("  1",)),))
    assert list(Page(9).of_explanation(told)) == [
        "one two",
        "three",
        "four",
        "",
        "text",
        "",
        "head",
        "  1",
    ]
