"""Analyzers as a resource keeps them, and the operations that build them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Literal

from standby.document import JsonObject, JsonValue
from standby.emulator.faults import OperationFails, Twist

FEWEST_FRACTION_DIGITS = 5


def whole_seconds(moment: datetime) -> str:
    """Write a date as `createdAt` and `lastModifiedAt` have it: whole seconds and `Z` (recordings)."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}Z"


def with_fraction(moment: datetime) -> str:
    """Write a date as `expiresAt` has it: 5 to 7 fractional digits and `+00:00` (recordings)."""
    ticks = f"{moment.microsecond:06d}{secrets.randbelow(10)}"
    fraction = ticks[:FEWEST_FRACTION_DIGITS] + ticks[FEWEST_FRACTION_DIGITS:].rstrip("0")
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction}+00:00"


@dataclass(frozen=True)
class Stored:
    """One analyzer as the service shows it; a change makes another one, so its JSON is made only once."""

    body: Mapping[str, JsonValue]
    operation_id: str | None = None

    @property
    def status(self) -> str:
        return str(self.body["status"])

    @cached_property
    def encoded(self) -> bytes:
        return encode(self.body)

    def changed(self, **fields: JsonValue) -> Stored:
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


OperationStatus = Literal["Running", "Succeeded", "Failed"]


@dataclass(frozen=True)
class Operation:
    """One operation as it stands; its id is the `apim-request-id` of the call that began it (recordings)."""

    id: str
    analyzer_id: str
    api_version: str
    analyzer: Stored
    is_copy: bool
    twist: Twist | None
    status: OperationStatus = "Running"
    warnings: tuple[JsonValue, ...] = ()

    @property
    def encoded(self) -> bytes:
        """Its JSON: `result` is there from the first poll (recordings). Inferred: also where it failed."""
        head: JsonObject = {"id": self.id, "status": self.status}
        if self.status == "Failed" and isinstance(self.twist, OperationFails):
            head["error"] = {"code": self.twist.code, "message": self.twist.message}
        if self.warnings:
            head["warnings"] = list(self.warnings)
        return encode(head)[:-1] + b',"result":' + self.analyzer.encoded + b"}"
