"""Analyzers as a resource keeps them, and the operations that build them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Literal

from emulator.faults import AnalyzerFails, OperationFails, OperationHangs, OperationVanishes, Twist
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


OperationStatus = Literal["Running", "Succeeded", "Failed"]


@dataclass(frozen=True)
class Ending:
    """How an operation will end.

    Attributes:
        never: it does not end.
        error: what a poll answers then, where it fails.
        analyzer_status: what its analyzer becomes.
        vanishes: polls do not find it.
    """

    never: bool = False
    error: JsonObject | None = None
    analyzer_status: str = "ready"
    vanishes: bool = False


def ending_of(twist: Twist | None) -> Ending:
    """Say how an operation ends that a fault may have befallen.

    Inferred: a failed operation leaves its analyzer behind, as `failed`.
    """
    match twist:
        case OperationHangs():
            return Ending(never=True)
        case OperationFails():
            error: JsonObject = {"code": twist.code, "message": twist.message}
            return Ending(error=error, analyzer_status="failed")
        case OperationVanishes():
            return Ending(vanishes=True)
        case AnalyzerFails():
            return Ending(analyzer_status="failed")
        case _:
            return Ending()


@dataclass(frozen=True)
class Operation:
    """One operation as it stands.

    Attributes:
        id: the `apim-request-id` of the call that began it (recordings).
        analyzer: what it builds, as it stands for this operation.
        is_copy: whether it counts as a copy in flight.
        warnings: what the `2025-05-01-preview` protocol warns of.
    """

    id: str
    analyzer_id: str
    api_version: str
    analyzer: Stored
    is_copy: bool
    ending: Ending
    status: OperationStatus = "Running"
    warnings: tuple[JsonValue, ...] = ()

    @property
    def encoded(self) -> bytes:
        """Its JSON: `result` is there from the first poll (recordings). Inferred: also where it failed."""
        head: JsonObject = {"id": self.id, "status": self.status}
        if self.status == "Failed":
            head["error"] = self.ending.error
        if self.warnings:
            head["warnings"] = list(self.warnings)
        return encode(head)[:-1] + b',"result":' + self.analyzer.encoded + b"}"
