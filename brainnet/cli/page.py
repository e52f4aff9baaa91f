"""Page: text that fits where it is shown, in as many columns and colours as there are."""

import codecs
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TextIO

from brainnet.explanation import Explanation, wrapped

_BLOCKS = re.compile("█+")
_PALE = re.compile("░+")
_ALIKE = "brainnet.alike"
# One sign for each, so that columns stay what they are.
_PLAIN = {
    **dict(zip("█▓▒░", "#*:.", strict=True)),
    **dict(zip("▁▂▃▄▅▆▇", "_.-~=+*", strict=True)),
    **dict(zip("·…→←≈\N{MULTIPLICATION SIGN}\N{MINUS SIGN}", "*~><~x-", strict=True)),
}
_COLUMN = re.compile(r" +\S+(?: \S+)*  +")


@dataclass(frozen=True, slots=True)
class Page:
    """A page of text that fits where it is shown.

    Attributes:
        width: columns that prose may take.
        colours: whether the place understands ANSI codes.
    """

    width: int = 80
    colours: bool = False

    @classmethod
    def fitting(cls, stream: TextIO) -> "Page":
        """As wide as the terminal within reason, and plain where there is none."""
        if not stream.isatty():
            return cls()
        columns = shutil.get_terminal_size().columns
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        # The old console of Windows prints the codes; its successors name themselves.
        understood = sys.platform != "win32" or "WT_SESSION" in os.environ or "TERM" in os.environ
        return cls(width=min(max(columns, 40), 100), colours=understood and not plain)

    def of_explanation(self, told: Explanation) -> Iterator[str]:
        """What there is to say about one thing, section by section."""
        yield from map(self.bold, wrapped(told.title, width=self.width))
        for part in told.text:
            yield from ("", *map(self.dim, wrapped(part, width=self.width)))
        if told.lines:
            yield from ("", *self.of_lines(told.lines))
        for section in told.sections:
            yield from ("", *map(self.bold, wrapped(section.heading, width=self.width)))
            yield from self.of_lines(section.lines)

    def of_lines(self, lines: tuple[str, ...]) -> Iterator[str]:
        """Prose broken to the width; drawings as they stand, with their blocks in colour."""
        for line in wrapped(*lines, width=self.width):
            if not line.startswith(" "):
                yield line
            elif len(line) <= self.width:
                yield self.drawn(line)
            else:
                yield from map(self.drawn, self._hanging(line))

    def _hanging(self, line: str) -> list[str]:
        """A line of a table that is too long, continued in its last column."""
        column = _COLUMN.match(line)
        margin = " " * min(column.end() if column else 4, self.width // 2)
        return textwrap.wrap(
            line, self.width, subsequent_indent=margin, break_long_words=False
        ) or [line]

    def drawn(self, line: str) -> str:
        """A drawing with its full blocks to be noticed, and its pale ones to stand back."""
        full = _BLOCKS.sub(lambda found: self.cyan(found.group()), line)
        return _PALE.sub(lambda found: self.dim(found.group()), full)

    def table(
        self, meanings: dict[str, str], *, mark: Callable[[str], str], column: int = 0
    ) -> Iterator[str]:
        """Terms with their meanings beside them, or below them where that is too narrow."""
        column = max(column, *map(len, meanings))
        margin = column + 4
        for term, meaning in meanings.items():
            if self.width < margin + 24:
                yield f"  {mark(term)}"
                yield from _block(meaning, self.width, margin=4)
                continue
            first, *others = _block(meaning, self.width, margin=margin)
            yield f"  {mark(term)}{' ' * (column - len(term))}{first[column + 2 :]}"
            yield from others

    def bold(self, text: str) -> str:
        """A heading."""
        return self._in("1", text)

    def dim(self, text: str) -> str:
        """What stands back."""
        return self._in("2", text)

    def cyan(self, text: str) -> str:
        """What is to be noticed."""
        return self._in("36", text)

    def _in(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self.colours else text


def write(text: str) -> None:
    """Print, with something alike for what the terminal's encoding cannot show."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, errors=_ALIKE).decode(encoding))


def _alike(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    signs = error.object[error.start : error.end]
    return "".join(_PLAIN.get(sign, "?") for sign in signs), error.end


codecs.register_error(_ALIKE, _alike)


def _block(text: str, width: int, *, margin: int) -> list[str]:
    space = " " * margin
    return textwrap.wrap(
        text, width, initial_indent=space, subsequent_indent=space, break_on_hyphens=False
    )
