"""Torch: a run as a program of `torch.export`, which PyTorch alone runs."""

import io
import json
from collections.abc import Mapping
from typing import Any

import torch

from brainnet.exporting.answering import Answering, own_warnings_left_out, program_of

ABOUT = "brainnet.json"
"""The name under which the file keeps what it says of itself."""


def to_torch(answering: Answering, about: Mapping[str, Any]) -> bytes:
    """Return a run as a `.pt2` file, which `torch.export.load` reads where brainnet is not.

    Words (categories, booleans) come as numbers: 1 + the place in `values`, 0 for what was never
    seen; 0 for the first and 1 for the second word of a boolean.

    Args:
        answering: the run.
        about: what the file is to say of itself, under `ABOUT`.

    Raises:
        InputError: the network cannot be told in operations of tensors alone.
    """
    program = program_of(answering)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # in whose files each operation was written
    content = io.BytesIO()
    with own_warnings_left_out():
        told = json.dumps(about, ensure_ascii=False, indent=2)
        torch.export.save(program, content, extra_files={ABOUT: told})
    return content.getvalue()
