"""What an orchestrator does for Standby, and how it is found without being imported from here.

The library runs without any. The `flows` package offers one under the entry point `standby.orchestrators`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol, cast

from standby.config.configuration import Configuration
from standby.errors import StandbyError
from standby.replication.planning import Selection
from standby.replication.report import Ended
from standby.replication.results import Progress

GROUP = "standby.orchestrators"


class NoOrchestrator(StandbyError):
    """Prefect was asked for and is not part of this installation."""

    def __init__(self) -> None:
        super().__init__("This installation has no Prefect flows", "Use --via direct, or install all of it")
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

    async def replicate(
        self,
        configuration: Configuration,
        plan: str,
        selection: Selection,
        *,
        apply: Path | None,
        on_progress: Callable[[Progress], None],
    ) -> Ended:
        """Run the replicate flow here and now, under the orchestrator's eyes.

        Args:
            configuration: what it is saved from.
            plan: name of the recovery plan.
            selection: what of it is asked for.
            apply: a saved plan to do exactly as it says.
            on_progress: called after every change.
        """
        ...

    async def bootstrap(self, configuration: Configuration) -> list[str]:
        """Save blocks, limits, work pool and deployments; give a line for each thing that changed."""
        ...

    async def health(self) -> Health:
        """See whether the server answers."""
        ...

    def own_server(self, home: Path) -> AbstractAsyncContextManager[str]:
        """Run a server of our own, with everything it keeps in a folder; give the URL of its UI."""
        ...


def load_orchestrator() -> Orchestrator:
    """Find the installed orchestrator.

    Raises:
        NoOrchestrator: there is none.
    """
    for entry in entry_points(group=GROUP, name="prefect"):
        return cast(Orchestrator, entry.load()())
    raise NoOrchestrator
