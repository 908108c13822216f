"""Long-running operations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from emulator.analyzers import Stored, encode
from emulator.faults import AnalyzerFails, OperationFails, OperationHangs, OperationVanishes, Twist
from standby.document import JsonObject, JsonValue

OperationStatus = Literal["Running", "Succeeded", "Failed"]


@dataclass(frozen=True)
class Ending:
    """How an operation will end.

    Attributes:
        never: it does not end.
        error: what a poll tells then, where it fails.
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
