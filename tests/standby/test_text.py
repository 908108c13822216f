"""Texts for people: what may be shown, names and counts."""

from __future__ import annotations

import os
import pwd
import socket
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.errors import StandbyError
from standby.text import alike, clean, counted, nearest, some_of, some_sentences, this_user, totals


class Kind(StrEnum):
    DONE = "done"
    FAILED = "failed"


@pytest.mark.parametrize(
    ("names", "words"),
    [("", ""), ("a", "a"), ("ab", "a and b"), ("abc", "a, b and c"), ("abcd", "a, b, c and 1 more")],
)
def test_a_few_are_named_and_the_rest_is_counted(names: str, words: str) -> None:
    assert some_of(names) == words


def test_who_runs_this_has_a_name_even_where_the_machine_knows_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert this_user() == f"uid-{os.getuid()}@{socket.gethostname()}"


def test_how_many_are_named_and_how_they_are_separated_is_free() -> None:
    assert some_of("abcd", 1) == "a and 3 more"
    assert some_of(iter("abcd"), 2, "; ") == "a; b and 2 more"
    assert some_of("abc", 3, "; ") == "a; b; c"


def test_a_few_reasons_are_given_as_sentences_and_the_rest_is_counted() -> None:
    assert some_sentences(["It is late", "Why?"]) == "It is late. Why?"
    assert some_sentences(["One", "Two", "Three"], 1) == "One. And 2 more."


def test_totals_leave_out_what_there_is_none_of() -> None:
    assert totals({Kind.DONE: 3, Kind.FAILED: 0}) == "3 done"
    assert totals({Kind.DONE: 3, Kind.FAILED: 1}) == "3 done, 1 failed"
    assert totals({Kind.DONE: 0}) == "nothing to do"
    assert totals({}, "nothing") == "nothing"


def test_one_thing_is_said_in_the_singular() -> None:
    assert [counted(count, "store") for count in (0, 1, 2)] == ["0 stores", "1 store", "2 stores"]


def test_a_name_that_nobody_knows_is_answered_with_the_nearest_or_with_what_there_is() -> None:
    assert nearest("invioces", ["receipts", "invoices"]) == "did you mean invoices?"
    assert nearest("zzz", ["west", "east"]) == "there is east and west"
    assert nearest("zzz", []) == "there is none"


HARMFUL = "a\x00\x07\x08\n\r\x1b[2J\x1b]8;;http://x\x07\x7f\x85\x9b31m\u200b\u200d\u2028\u202e\u2066\ufeff\ud800z"


@given(st.text(st.one_of(st.characters(codec=None), st.sampled_from(HARMFUL))), st.integers(1, 20))
def test_of_any_text_only_one_printable_line_is_left(text: str, most: int) -> None:
    line = clean(text, most)
    assert line.isprintable()
    assert len(line) == min(len(text), most)
    assert clean(line, most) == line


def test_what_may_be_shown_is_left_as_it_is() -> None:
    assert clean("Rechnung für 東京 →  ✓") == "Rechnung für 東京 →  ✓"
    assert clean("0123456789", 5) == "0123…"


def test_an_error_is_cleaned_by_its_root_and_only_its_own_lines_end() -> None:
    assert str(StandbyError(f"No {HARMFUL}", "Run\nagain")).isprintable()
    error = StandbyError(["Two things are wrong:", "one\nforged"])
    assert error.cause == "Two things are wrong:\none forged"


def test_what_is_the_same_of_several_is_said_once_with_all_their_names() -> None:
    edited = "It was edited at west. Overwrite it with --force {}."
    said = [
        ("failed", "invoice", edited.format("invoice")),
        ("failed", "receipt", "It is gone."),
        ("failed", "invoice-2", edited.format("invoice-2")),
        ("failed", "invoice", edited.format("invoice")),
        ("skipped", "memo", "It is gone."),
    ]
    assert alike(said) == [
        (["invoice", "invoice-2"], edited.format("ANALYZER")),
        (["receipt"], "It is gone."),
        (["memo"], "It is gone."),
    ]


def test_what_is_said_of_one_keeps_its_name_and_another_longer_name_is_another() -> None:
    said = [("", "in", "Delete in-2, not in. It is in."), ("", "x", "Delete in-2, not x. It is x.")]
    assert alike(said[:1]) == [(["in"], said[0][2])]
    assert alike(said) == [(["in", "x"], "Delete in-2, not ANALYZER. It is ANALYZER.")]
