"""Durations as people write them: 90s, 15m, 24h, 7d, 1h30m, or ISO 8601."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, TypeAdapter, ValidationError, WithJsonSchema

UNITS = {
    "w": timedelta(weeks=1),
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
}

_UNIT = r"(?:w(?:eeks?)?|d(?:ays?)?|h(?:ours?|rs?)?|m(?:in(?:ute)?s?)?|s(?:ec(?:ond)?s?)?)"
_PARTS = rf"(?:[0-9]{{1,12}}(?:\.[0-9]{{1,6}})? ?{_UNIT}(?:\s|,|and)*)+"
WRITTEN = rf"^\s*({_PARTS}|P[0-9A-Z.,]+)\s*$"  # Text that is a duration, but for one of no time
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([wdhms])")
_ISO = TypeAdapter(timedelta)
_EXPECTED = "must be a duration such as 90s, 15m, 24h or 7d"


def parse_duration(value: object) -> timedelta:
    """Read text such as `24h`, `1h30m` or `PT24H`, or take a timedelta; `ValueError` where it is none, or too short."""
    if isinstance(value, timedelta):
        return _positive(value)
    if not isinstance(value, str):
        raise ValueError(_EXPECTED)  # noqa: TRY004 - pydantic reports ValueError only
    text = value.strip()
    try:
        if re.fullmatch(_PARTS, text):
            return _positive(sum((float(number) * UNITS[unit] for number, unit in _PART.findall(text)), timedelta()))
        if text[:1] == "P":
            return _positive(_ISO.validate_python(text))
    except (OverflowError, ValidationError) as error:
        raise ValueError(_EXPECTED) from error
    raise ValueError(_EXPECTED)


def format_duration(value: timedelta) -> str:
    """Write a duration in the largest unit that needs no fraction, as `parse_duration` reads it."""
    for unit, length in UNITS.items():
        if value % length == timedelta():
            return f"{value // length}{unit}"
    whole, rest = divmod(value, UNITS["s"])
    return f"{whole}.{rest.microseconds:06d}".rstrip("0") + "s"


def roughly(value: timedelta) -> str:
    """Write a duration as people say it: in its largest unit, rounded."""
    return next((f"{value / length:.0f}{unit}" for unit, length in UNITS.items() if value >= length), "0s")


def parse_seconds(value: object) -> object:
    """Turn a written duration into seconds, and leave anything else to the validation of numbers."""
    if isinstance(value, str) and re.fullmatch(_PARTS, value.strip()):
        # Whether none at all is enough, the number's own limits say.
        return sum(float(number) * UNITS[unit].total_seconds() for number, unit in _PART.findall(value))
    return value


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta():
        raise ValueError("must be longer than zero")
    return value


Duration = Annotated[  # A timedelta, written as 90s, 15m, 24h or 7d
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": WRITTEN, "examples": ["24h", "15m"]}),
]

Seconds = Annotated[float, BeforeValidator(parse_seconds)]  # Seconds, given as a number or written as a duration


_DAYS = {"now": timedelta(), "today": timedelta(), "yesterday": timedelta(days=1)}


def moment_of(since: str, now: datetime) -> datetime:
    """Give the moment, UTC, that a date, a date with a time or a length of time before now means; else `ValueError`."""
    text = since.strip().removesuffix(" UTC")
    if text in _DAYS:
        return now - _DAYS[text]
    try:
        return now - parse_duration(text.removesuffix("ago"))
    except (ValueError, OverflowError):
        pass
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            "must be a date such as 2026-01-31, one with a time such as 2026-01-31T12:00, or a length of time before "
            "now such as 2d"
        ) from None


def _is_a_moment(since: str) -> str:
    moment_of(since, datetime.now(UTC))
    return since


Since = Annotated[str, AfterValidator(_is_a_moment)]  # Text that `moment_of` understands
