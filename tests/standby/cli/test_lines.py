from __future__ import annotations

from standby.cli.output import Line


def test_a_wrapped_line_hangs_behind_its_mark() -> None:
    line = Line("one two three", indent=2, mark="!")

    assert line.wrapped(12) == "  ! one two\n    three"


def test_a_long_word_is_never_broken() -> None:
    assert Line("see https://a.very-long.example/path now").wrapped(10) == (
        "see\nhttps://a.very-long.example/path\nnow"
    )


def test_nothing_is_lost_or_added_by_wrapping() -> None:
    line = Line("a reason of many words " * 20, indent=2, mark="+")

    assert line.wrapped(40).split() == line.whole().split()


def test_an_empty_line_stays_empty() -> None:
    assert Line("").wrapped(80) == Line("").whole() == ""
