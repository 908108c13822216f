"""The formats of stored files: each file says the number of its own, and a reader takes the last three.

A file without a number was written before there were any, and counts as the first. One that is read in an earlier
format is brought to the present one in memory; it is written so when it is written next. A file of a newer version is
refused, whatever becomes of one that cannot be understood: taken for missing, it would be overwritten.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import ClassVar, TypeVar

from pydantic import JsonValue, field_validator
from pydantic_core import from_json

from standby.document import Document, JsonObject
from standby.vault.errors import NewerFormat, OlderFormat

FORMATS_READ = 3
"""The present format, and so many less one before it."""

Upgrade = Callable[[JsonObject], JsonObject]
"""Gives what a file of one format says as a file of the next one says it."""


class Stored(Document):
    """What a file holds, or a line of it.

    A change after which an earlier version would misread the file gives it the next number: a model then says
    `format: Literal[2] = 2`, and how to get there from the formats that are still read.

    Attributes:
        upgrades: by the number of the format that each begins with.
        format: the number of the format in which it is written.
    """

    upgrades: ClassVar[Mapping[int, Upgrade]] = {}

    format: int | str = 1

    @field_validator("format")
    @classmethod
    def _is_the_present_one(cls, value: int | str) -> int | str:
        if value != cls.model_fields["format"].default:
            raise ValueError("is no format of this version")
        return value

    @classmethod
    def present_format(cls) -> int:
        """Give the number in which files are written."""
        return _number(cls.model_fields["format"].default) or 1


S = TypeVar("S", bound=Stored)


def parse_stored(where: str, content: bytes, model: type[S]) -> S:
    """Understand a stored file, or a line of one.

    Args:
        where: the file is, for people.

    Raises:
        NewerFormat: a newer version wrote it; it must not be overwritten.
        OlderFormat: it is older than what is still read.
        ValidationError: it is something else, or damaged.
    """
    given, present = _json_object(content), model.present_format()
    number = _number(given.get("format", 1))
    if number is None or number == present or not given:
        return model.model_validate_json(content)
    if number > present:
        raise NewerFormat(where, number, present)
    oldest = max(1, present + 1 - FORMATS_READ)
    if number < oldest:
        raise OlderFormat(where, number, oldest, present)
    for each in range(number, present):
        given = model.upgrades[each](given)
    return model.model_validate_json(json.dumps({**given, "format": model.model_fields["format"].default}))


def _json_object(content: bytes) -> JsonObject:
    try:
        found = from_json(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _number(name: JsonValue) -> int | None:
    """Give the number of a format, which may have a name before it: `standby.drill/1`."""
    try:
        return int(str(name).rpartition("/")[2])
    except ValueError:
        return None
