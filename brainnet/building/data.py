"""Data: the rows that a configuration describes, loaded, split and scaled as it says."""

from collections.abc import Mapping
from typing import Any

from brainnet.building.build import ROWS, Build, check_accepted
from brainnet.building.files import seen_from_here
from brainnet.data.module import DataModule


def data_from(config: Mapping[str, Any], build: Build) -> DataModule:
    """Build the data of a configuration; the source's own keys stand beside those of the module.

    Args:
        config: its `data` group, and `seed`.
        build: builds what it names.

    Raises:
        InputError: where a class is not allowed or refuses its keys, or the rows cannot be read.
    """
    options = seen_from_here(config["data"])  # messages name files as they were typed
    rows = {key: options.pop(key) for key in ROWS if key in options}
    keys = [key for key in options if key != "_target_"]
    check_accepted(keys, build.target(options, "data"), "data", beside=ROWS)
    return DataModule(build.instance(options, "data"), seed=config["seed"], **rows)
