"""The pages of the documentation, and what stands in their blocks; CONTRIBUTING.md says how they are written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README, CONTRIBUTING = ROOT / "README.md", ROOT / "CONTRIBUTING.md"
PAGES = sorted([README, CONTRIBUTING, *DOCS.rglob("*.md")])

_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,})(?P<language>[a-z]*) *(?P<rest>.*)$")
_TITLE = re.compile(r'title="([^"]+)"')
_NOT_RUN = re.compile(r"<!-- not run: (.+) -->")
_NOTE = re.compile(r"\s+# *([^'\"]*)$")
SERVES = "in a second terminal"
_INLINE = re.compile(r"(?<!`)`(standby(?: [^`]*)?)`(?!`)")


@dataclass(frozen=True)
class Command:
    """One command of a block.

    Attributes:
        expected: lines of its output, in this order; `…` stands for anything.
        serves: it has a terminal of its own, and goes on until the page is done.
    """

    text: str
    status: int = 0
    expected: tuple[str, ...] = ()
    serves: bool = False


@dataclass(frozen=True)
class Block:
    """A block of a page.

    Attributes:
        title: the file that it is, if it is one.
        not_run: why its commands are only read.
    """

    line: int
    language: str
    text: str
    title: str = ""
    not_run: str = ""

    @property
    def commands(self) -> Iterator[Command]:
        """The commands of a `console` block, with what they are expected to print."""
        asked: list[tuple[str, list[str]]] = []
        for line in self.text.replace("\\\n", "").splitlines():
            if line.startswith("$ "):
                asked.append((line[2:], []))
            elif asked:
                asked[-1][1].append(line)
        for line, expected in asked:
            note = _NOTE.search(line)
            said = note[1] if note else ""
            status = int(said.removeprefix("exit status ")) if said.startswith("exit status ") else 0
            yield Command(line.removesuffix(note[0] if note else "").strip(), status, tuple(expected), said == SERVES)


@dataclass(frozen=True)
class PageText:
    """A page.

    Attributes:
        scene: what it finds in its folder.
    """

    path: Path
    scene: str = ""
    blocks: list[Block] = field(default_factory=list)

    @property
    def runs(self) -> bool:
        """Whether any of its blocks is run."""
        return any(block.language == "console" and not block.not_run for block in self.blocks)


def read_page(path: Path) -> PageText:
    """Read the blocks of a page in their order, those that readers do not see among them."""
    lines = path.read_text(encoding="utf-8").splitlines()
    page = PageText(path, next((line[12:-4] for line in lines if line.startswith("<!-- scene: ")), ""))
    number, not_run = 0, ""
    while number < len(lines):
        line, first = lines[number], number + 1
        number += 1
        if note := _NOT_RUN.search(line):
            not_run = note[1]
            continue
        if line == "<!-- run:":
            end = lines.index("-->", number)
            page.blocks.append(Block(first, "console", "\n".join(lines[number:end])))
            number = end + 1
        elif opened := _FENCE.match(line):
            closing = f"{opened['indent']}{opened['fence']}"
            end = lines.index(closing, number)
            text = "\n".join(each.removeprefix(opened["indent"]) for each in lines[number:end])
            title = _TITLE.search(opened["rest"])
            page.blocks.append(Block(first, opened["language"], text, title[1] if title else "", not_run))
            number = end + 1
        if line.strip():
            not_run = ""
    return page


def inline_commands(path: Path) -> set[str]:
    """Find what stands as `standby …` in the sentences and tables of a page."""
    text = re.sub(r"^ *(`{3,}).*?^ *\1", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return set(_INLINE.findall(" ".join(text.split("\n"))))


def rows(page: Path, head: str) -> list[list[str]]:
    """Read the rows of the table whose first line is given."""
    lines = page.read_text(encoding="utf-8").splitlines()
    below = lines[lines.index(head) + 2 :]
    table = below[: next((n for n, line in enumerate(below) if not line.startswith("|")), len(below))]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in table]
