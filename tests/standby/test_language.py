"""The language of everything that people read: messages, help, docstrings and pages, in plain present-day English."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

from tests.standby.test_advice import PAGES, ROOT, texts

INSTEAD = {
    r"for good": "permanently",
    r"com(?:es?|ing) to the same": "has the same effect",
    r"mend(?:ed|s|ing)?": "fix",
    r"hears?|heard": "learn, notice; did not respond",
    r"let go": "release, give up",
    r"the world (?:has|had)": "the resources changed",
    r"all the same|none the less": "anyway, nevertheless",
    r"anew|of late|lately|likewise|thereby|whereupon|hitherto|henceforth|lest": "again, recently, also",
    r"unasked": "without being asked; unless you allow it",
    r"it is meant": "that is intended",
    r"go(?:es|ne)? on (?:without|although)": "continues, leaves out",
    r"(?:knows?|told|asking \w+) nothing": "does not depend on, did not learn of",
    r"speaks?|spoke|cannot ask|tells? (?:us|Standby|Prefect)": "a machine supports, sends, answers",
    r"nobody (?:knows|is told|was told|asked for)|as nobody": "it is unknown; no notification is sent",
    r"taken for|takes? (?:it|them|that) for": "counts as",
    r"what is there": "what the target has",
    r"brings? (?:it|them) up": "updates",
    r"stands? (?:in )?for": "means, replaces",
    r"com(?:es?|ing) along|stays? away": "is copied with; is missing",
    r"no sign of life|in the place of|in whose place": "no heartbeat; instead of",
    r"what is not known|not known (?:what|which|whether|where)": "it is unknown which …",
    r"holds? \w+ up|lets? \w+ serve": "delays; fails over to, … serves",
    r"would have it|so be it|it so happens|in its stead|by and by": "plain words",
}
"""Turns of kinds that a tired reader whose first language is another stumbles over, and what to write instead."""

INVERTED = {
    r"(?:^|[.:;] )Of \w+ only": "Only … of …",
    r"\b[Ww]hat (?:was|were) (?:just |only )?(?:\w+ed|begun|written)(?:,| is| was| can| could)": "files that were …",
    r"\bby what (?:counts|is|was)|\bwhat is no \w+|\bthat is none": "the noun, and not",
    r"(?:^|[.:;] )(?:What|That|Whether|Which \w+) [^.:;?]{3,80} (?:is|are|was) (?:un|not )known": "It is unknown …",
}
"""Sentences that begin with their end, and clauses without a noun: where subject and verb belong."""

MOST_WORDS = 25


def explanations(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


@cache
def read_by_people() -> tuple[tuple[str, str], ...]:
    """Messages and help with their places, then docstrings and pages."""
    files = {ROOT / where.rpartition(":")[0] for where, _ in texts()}
    documented = ((str(each), ast.parse(each.read_text(encoding="utf-8"))) for each in sorted(files))
    explained = [(name, text) for name, tree in documented for text in explanations(tree)]
    pages = [(page.name, page.read_text(encoding="utf-8")) for page in PAGES]
    return (*texts(), *explained, *pages)


def test_nothing_that_people_read_has_an_odd_turn() -> None:
    odd = re.compile("|".join(rf"(?P<_{place}>\b(?:{turn})\b)" for place, turn in enumerate(INSTEAD)), re.IGNORECASE)
    instead = list(INSTEAD.values())
    assert len(read_by_people()) > 5000
    found = [
        f"{where}: …{text[max(0, each.start() - 40) : each.end() + 20]}…: {instead[int(str(each.lastgroup)[1:])]}"
        for where, text in read_by_people()
        for each in odd.finditer(text)
    ]
    assert not found, "\n".join(found)


def test_no_message_is_inverted_or_leaves_its_noun_out() -> None:
    inverted = re.compile("|".join(INVERTED))
    assert not [(where, each[0]) for where, text in texts() for each in inverted.finditer(text)]


def prose(page: str) -> list[str]:
    """Give the paragraphs, items and cells of a page; code, paths and the target of a link count as a word."""
    plain = re.sub(r"```.*?```|<!--.*?-->", "\n\n", page, flags=re.DOTALL)
    plain = re.sub(r"\]\([^)]*\)", "]", re.sub(r"`[^`]*`", "X", plain))
    return re.split(r"\n\s*\n|\n\s*(?:[-*]|\d+\.) |\||\n(?=#)", plain)


def test_no_sentence_of_a_page_is_long() -> None:
    pages = [each for each in PAGES if each.name != "what-it-survives.md"]  # Its words are those of tests/matrix.
    assert len(pages) > 30
    sentences = [
        (page.name, sentence)
        for page in pages
        for part in prose(page.read_text(encoding="utf-8"))
        for sentence in re.split(r"(?<=[.?!:;])[*)”]* +|(?<=[.?!:;])\n", part)
    ]
    assert not [(where, each) for where, each in sentences if len(each.split()) > MOST_WORDS]


def test_no_sentence_of_a_message_is_long() -> None:
    sentences = [
        (where, sentence)
        for where, text in texts()
        for sentence in re.split(r"(?<=[.?!:;]) +|\n", text)
        if " az " not in sentence  # A command to copy.
    ]
    assert not [(where, each) for where, each in sentences if len(each.split()) > MOST_WORDS]
