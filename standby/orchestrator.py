"""What an orchestrator does for Standby, and how it is found without being imported from here.

The library runs without any. The `flows` package offers one under the entry point `standby.orchestrators`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Protocol, cast

from standby.config.configuration import Configuration
from standby.errors import StandbyError
from standby.replication.planning import Selection
from standby.replication.report import Report

GROUP = "standby.orchestrators"


class NoOrchestrator(StandbyError):
    """Prefect was asked for and is not part of this installation."""

    def __init__(self) -> None:
        super().__init__("This installation has no Prefect flows", "Use --via direct, or install all of Standby")
        self.args = ()


@dataclass(frozen=True)
class Health:
    """Whether the orchestrator can be used.

    Attributes:
        detail: what was found, in a sentence without its full stop.
        next_action: empty where all is well.
    """

    well: bool
    detail: str
    next_action: str = ""


class Orchestrator(Protocol):
    """Runs flows, and keeps what they need."""

    async def replicate(self, configuration: Configuration, plan: str, selection: Selection) -> Report:
        """Run the replicate flow here and now, under the orchestrator's eyes."""
        ...

    async def bootstrap(self, configuration: Configuration) -> list[str]:
        """Save blocks, limits, work pool and deployments; give a line for each thing that changed."""
        ...

    async def health(self) -> Health:
        """See whether the server answers."""
        ...


def load_orchestrator() -> Orchestrator:
    """Find the installed orchestrator.

    Raises:
        NoOrchestrator: there is none.
    """
    for entry in entry_points(group=GROUP, name="prefect"):
        return cast(Orchestrator, entry.load()())
    raise NoOrchestrator
