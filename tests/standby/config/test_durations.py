from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from standby.config.durations import format_duration, parse_duration, parse_seconds

A_CENTURY = timedelta(days=36_525)


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("24h", timedelta(days=1)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(days=14)),
        ("1h30m", timedelta(minutes=90)),
        ("0.5s", timedelta(milliseconds=500)),
        (" 24h ", timedelta(days=1)),
        ("24 h", timedelta(days=1)),
        ("2 days", timedelta(days=2)),
        ("1 hour and 30 minutes", timedelta(minutes=90)),
        ("1 week, 1 sec", timedelta(days=7, seconds=1)),
        ("PT24H", timedelta(days=1)),
        ("P1DT2H", timedelta(hours=26)),
    ],
)
def test_durations_are_read_as_people_write_them(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text", ["", "24", "h", "24 x", "1 month", "1y", "-1h", "1h-30m", "P", "PT", "soon", "999999999999w"]
)
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="90s, 15m, 24h or 7d"):
        parse_duration(text)


@pytest.mark.parametrize("value", [24, 1.5, None, ["24h"]])
def test_a_number_without_a_unit_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        parse_duration(value)


@pytest.mark.parametrize("value", ["0s", "0h0m", "PT0S", "-PT1H", timedelta(0), timedelta(seconds=-1)])
def test_nothing_and_less_than_nothing_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        parse_duration(value)


@given(st.timedeltas(min_value=timedelta(microseconds=1), max_value=A_CENTURY))
def test_every_duration_is_read_as_it_was_written(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration


@given(st.text())
@example("0s")
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    try:
        assert parse_duration(text) > timedelta(0)
    except ValueError:
        assert parse_seconds(text) in (text, 0)


@pytest.mark.parametrize(("value", "seconds"), [("10m", 600.0), ("0.5s", 0.5), ("0s", 0.0), (5, 5), (1.5, 1.5)])
def test_seconds_are_numbers_or_durations(value: object, seconds: float) -> None:
    assert parse_seconds(value) == seconds
