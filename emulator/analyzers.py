"""An analyzer as a resource keeps it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

from standby.document import JsonObject, JsonValue

FEWEST_FRACTION_DIGITS = 5


def whole_seconds(moment: datetime) -> str:
    """Write a date as `createdAt` and `lastModifiedAt` have it: whole seconds and `Z` (recordings).

    Args:
        moment: aware, UTC.
    """
    return f"{moment:%Y-%m-%dT%H:%M:%S}Z"


def with_fraction(moment: datetime) -> str:
    """Write a date as `expiresAt` has it: 5 to 7 fractional digits and `+00:00` (recordings).

    Args:
        moment: aware, UTC.
    """
    ticks = f"{moment.microsecond:06d}{secrets.randbelow(10)}"
    fraction = ticks[:FEWEST_FRACTION_DIGITS] + ticks[FEWEST_FRACTION_DIGITS:].rstrip("0")
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction}+00:00"


@dataclass(frozen=True)
class Stored:
    """One analyzer as it stands; a change makes another one, so its JSON is made only once.

    Attributes:
        body: as the service shows it; never changed in place.
        operation_id: of the operation that builds it, where one does.
    """

    body: Mapping[str, JsonValue]
    operation_id: str | None = None

    @property
    def status(self) -> str:
        """Its status, such as `ready`."""
        return str(self.body["status"])

    @cached_property
    def encoded(self) -> bytes:
        """Its JSON."""
        return encode(self.body)

    def changed(self, **fields: JsonValue) -> Stored:
        """Give it with some fields replaced."""
        return replace(self, body={**self.body, **fields})


def encode(value: object) -> bytes:
    """Write JSON as the service does, compact (recording: get not found)."""
    return json.dumps(value, separators=(",", ":")).encode()


def merged(current: Mapping[str, JsonValue], patch: Mapping[str, JsonValue]) -> JsonObject:
    """Apply a JSON merge patch (RFC 7396) and give the result; `null` removes."""
    result = dict(current)
    for key, value in patch.items():
        before = result.get(key)
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = merged(before if isinstance(before, dict) else {}, value)
        else:
            result[key] = value
    return result
