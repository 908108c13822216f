"""A line of the result, and how it is broken on a terminal."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """One line, which may be long.

    Attributes:
        indent: columns before it.
        mark: a symbol in front of the text; what is wrapped hangs behind it.
        style: colour of the mark, as rich names it.
        wrong: it tells of something that is wrong, and is shown with `-q`, too.
    """

    text: str
    indent: int = 0
    mark: str = ""
    style: str = ""
    wrong: bool = False

    @property
    def head(self) -> str:
        """What stands before the text."""
        return " " * self.indent + (f"{self.mark} " if self.mark else "")

    def whole(self) -> str:
        """Give it unbroken, so that a program can search it."""
        return f"{self.head}{self.text}"

    def wrapped(self, width: int) -> str:
        """Break it between words only: a URL or a command is left whole, however long."""
        return textwrap.fill(
            self.text,
            width,
            initial_indent=self.head,
            subsequent_indent=" " * len(self.head),
            break_long_words=False,
            break_on_hyphens=False,
        )


def as_line(text: str | Line) -> Line:
    """Take the blanks at the front of a text for its indent."""
    if isinstance(text, Line):
        return text
    bare = text.lstrip(" ")
    return Line(bare, indent=len(text) - len(bare))
