"""What an alert says of some resources, whoever sent it and in whatever form."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum


class Source(StrEnum):
    """The way by which an alert came here."""

    AZURE_MONITOR = "azure-monitor"
    SERVICE_HEALTH = "service-health"
    EVENT_GRID = "event-grid"


class Observer(StrEnum):
    """Who saw what an alert says.

    Resource Health speaks through action groups and through Event Grid; that makes it no second observer.
    """

    ALERT_RULE = "azure-monitor"
    RESOURCE_HEALTH = "resource-health"
    SERVICE_HEALTH = "service-health"


@dataclass(frozen=True)
class Notice:
    """That some resources are well, or are not.

    Attributes:
        source: the way by which it came.
        id: of the alert or event, as its sender gave it.
        state: what it says, in the sender's word.
        at: when it was seen, UTC.
        summary: for people; not yet fit to be shown.
        resources: the Azure resource ids that it is about.
        regions: regions of which it is about every resource, as Azure writes them.
    """

    source: Source
    observer: Observer
    id: str
    state: str
    healthy: bool
    at: datetime
    summary: str
    resources: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The same for each delivery of it, and for nothing else: an alert may fire again under its id."""
        at = self.at.astimezone(UTC).isoformat()
        return "|".join((self.source, self.id.lower(), self.state.lower(), at))


@dataclass(frozen=True)
class Ignored:
    """Something that is right and says nothing of a resource's health.

    Attributes:
        reason: a sentence without its full stop.
    """

    reason: str
