"""The YAML files as the command line tells them."""

from brainnet.cli.conf_folder import choices, conf_folder, groups


def test_groups_are_the_table_of_contents():
    assert groups()[:5] == ["data", "network", "activation", "loss", "optimizer"]
    assert all((conf_folder() / group).is_dir() for group in groups())


def test_choices_leave_out_the_parts_of_others():
    names = [choice.name for choice in choices("data")]
    assert "digits" in names
    assert "_module" not in names


def test_every_choice_says_what_it_means():
    silent = [(g, c.name) for g in groups() for c in choices(g) if not c.meaning.endswith(".")]
    assert silent == []
