"""One call, as the handlers see it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from emulator.answers import Header
from emulator.faults import CallKind, ForeignLocation, Twist
from standby.service.models import JsonObject


@dataclass(frozen=True)
class Call:
    """A call that was let in.

    Attributes:
        id: its `apim-request-id`, which also names the operation it may begin (recordings).
        analyzer: id from the path, where there is one.
        operation: id from the path, where there is one.
        twist: what the service is to do wrong.
    """

    kind: CallKind
    endpoint: str
    api_version: str
    query: Mapping[str, str]
    body: JsonObject
    analyzer: str = ""
    operation: str = ""
    twist: Twist | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def may_replace(self) -> bool:
        """Whether an analyzer of the same id may be replaced."""
        return self.query.get("allowReplace", "").lower() == "true"

    @property
    def origin(self) -> str:
        """Where links in the answer lead: here, unless a fault says otherwise."""
        return self.twist.origin if isinstance(self.twist, ForeignLocation) else self.endpoint

    def operation_location(self, spelled: str) -> tuple[Header, ...]:
        """Give the header that says where the operation is; its spelling differs by call (REFERENCE)."""
        path = f"/contentunderstanding/analyzers/{self.analyzer}/operations/{self.id}"
        return ((spelled, f"{self.origin}{path}?api-version={self.api_version}"),)
