"""What applications are told: which resource serves in the place of which source, under which epoch."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pydantic import BaseModel, ConfigDict


class ActiveEndpoint(BaseModel):
    """A resource that serves.

    Attributes:
        analyzers: id to call at this resource, by the id that the analyzer has at its source.
    """

    model_config = ConfigDict(frozen=True)

    resource: str
    endpoint: str
    region: str
    resource_id: str
    api_version: str
    analyzers: Mapping[str, str]


class Activation(BaseModel):
    """The active endpoint map of one plan.

    Attributes:
        epoch: of the fence; whoever was told a higher one ignores this.
        sources: by the source that serves in ordinary times; `None` while a switch is under way, when no side
            may be called.
    """

    model_config = ConfigDict(frozen=True)

    plan: str
    epoch: int
    changed_at: datetime
    run_id: str
    sources: Mapping[str, ActiveEndpoint | None]


class ActivationBook(BaseModel):
    """What a place that is shared by several plans holds: each plan's map by its name."""

    model_config = ConfigDict(frozen=True)

    plans: Mapping[str, Activation] = {}
