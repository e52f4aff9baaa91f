"""Sources: every class of data that comes along, by the name it is chosen by."""

from brainnet.data.builtin import SOURCES as BUILTIN
from brainnet.data.builtin import Source
from brainnet.data.images import Images
from brainnet.data.table import Table

FILES: dict[str, type[Source]] = {"images": Images, "table": Table}
SOURCES: dict[str, type[Source]] = {**BUILTIN, **FILES}
