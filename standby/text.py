"""Texts for people: what may be shown of any text, and names and counts as a sentence says them."""

import getpass
import os
import re
import socket
from collections.abc import Hashable, Iterable, Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from typing import TypeVar

Kind = TypeVar("Kind", bound=str)
MOST_CHARACTERS = 4000  # A line for people is cut there


def clean(text: str, most: int = MOST_CHARACTERS) -> str:
    """Make any text one line that may be shown to people, cut to a length.

    What comes from elsewhere could else command a terminal, forge a line, or look like something that it is not. So a
    space replaces each control character (ESC and the C1 ones too), line end, zero width or bidirectional mark, and
    half of a surrogate pair.
    """
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


def some_of(names: Iterable[str], most: int = 3, between: str = ", ") -> str:
    """Name the first few and count the rest: "a, b and c", or "a, b, c and 4 more"; no "and" joins what "; " parts."""
    every = list(names)
    if len(every) > most:
        return f"{between.join(every[:most])} and {len(every) - most} more"
    if between != ", ":
        return between.join(every)
    return " and ".join(part for part in (between.join(every[:-1]), *every[-1:]) if part)


def some_sentences(reasons: Sequence[str], most: int = 3) -> str:
    """Give the first few reasons, a sentence each, and count the rest."""
    rest = len(reasons) - most
    return " ".join([*map(sentence, reasons[:most]), *([f"And {rest} more."] if rest > 0 else [])])


def alike(said: Iterable[tuple[Hashable, str, str]], placeholder: str = "ANALYZER") -> list[tuple[list[str], str]]:
    """Say once what is said of several, with all their names; in the order in which each was said first.

    Sentences that differ only in the name that they are about are one, which has a placeholder for it.

    Args:
        said: what else has to be the same for two to be one, the name, and what is said of it.
    """
    same: dict[tuple[Hashable, str], dict[str, str]] = {}
    for kind, name, text in said:
        pattern = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w.-]*\w)", placeholder, text) if name in text else text
        same.setdefault((kind, pattern), {})[name] = text
    return [([*of], next(iter(of.values())) if len(of) == 1 else pattern) for (_, pattern), of in same.items()]


def totals(counts: Mapping[Kind, int], none: str = "nothing to do") -> str:
    """Say how many there are of each kind, without those that there are none of: "3 succeeded, 1 failed"."""
    return ", ".join(f"{count} {kind}" for kind, count in counts.items() if count) or none


def counted(count: int, noun: str) -> str:
    """Say how many there are of one thing: "1 snapshot", "2 snapshots"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def lasting(seconds: float) -> str:
    """Write how long something takes, as precisely as that helps people."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60) if seconds < 600 else (round(seconds / 60), 0)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def utc(moment: datetime) -> str:
    """Say when something was, to the second."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known name may have been meant, or which there are: the end of a sentence about a name."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    if near:
        return f"did you mean {near[0]}?"
    if not names:
        return "there is none"
    return f"there is {some_of(names, 10)}"


def this_user() -> str:
    """Name who runs this, and on which machine; by the number where a container has no name for it."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = f"uid-{os.getuid()}"
    return f"{name}@{socket.gethostname()}"
