"""The YAML files as the command line tells them."""

from brainnet.config.compose import find_conf_directory, list_choices, list_groups


def test_groups_are_the_table_of_contents():
    assert list_groups()[:5] == ["data", "network", "activation", "loss", "optimizer"]
    assert all((find_conf_directory() / group).is_dir() for group in list_groups())


def test_choices_leave_out_the_parts_of_others():
    names = [choice.name for choice in list_choices("data")]
    assert "digits" in names
    assert "_module" not in names


def test_every_choice_says_what_it_means():
    silent = [
        (g, c.name) for g in list_groups() for c in list_choices(g) if not c.meaning.endswith(".")
    ]
    assert silent == []
