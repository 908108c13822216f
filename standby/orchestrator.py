"""The interface of an orchestrator to Standby, and how it is found without importing it here.

The library runs without any. The `flows` package offers one under the entry point `standby.orchestrators`.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, TypeVar, cast

from pydantic import BaseModel

from standby.config.configuration import Configuration
from standby.config.plan import RecoveryPlan
from standby.document import JsonValue
from standby.errors import ExtraMissing
from standby.replication.items import Progress, Selection
from standby.replication.report import Ended

GROUP = "standby.orchestrators"
M = TypeVar("M", bound=BaseModel)


class NoOrchestrator(ExtraMissing):
    def __init__(self) -> None:
        super().__init__("What runs by Prefect", "prefect")


@dataclass(frozen=True)
class Health:
    """Whether a part of the orchestrator works: what was found, and what to do where it does not."""

    well: bool | None  # `None` where it is not in use, or unknown
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
        past_loss: str | None = None,  # why it continues although the fence or the audit log was lost
    ) -> Ended:
        """Run the replicate flow here and now, under the orchestrator's eyes."""

    async def recover(
        self,
        configuration: Configuration,
        plan: str,
        flow: str,  # snapshot, restore, watch, failover, commit, failback, drill, compare or automation
        parameters: Mapping[str, JsonValue],  # the flow's own; the plan need not be among them
    ) -> dict[str, JsonValue]:
        """Run one of the recovery's flows here and now; give its report as JSON, also where it was interrupted."""

    async def bootstrap(self, configuration: Configuration) -> list[str]:
        """Save everything a configuration needs; give a line for each thing that changed."""

    async def removable(self, configuration: Configuration) -> list[str]:
        """Name everything that bootstrap and runs made on the server, and nothing else."""

    async def remove(self, configuration: Configuration, names: Sequence[str]) -> None:
        """Delete what `removable` named."""

    async def pause_schedules(self) -> None:
        """Keep schedules from starting anything until they are resumed."""

    async def health(self) -> Health:
        """See whether the server answers."""

    async def watching(self, plans: Sequence[RecoveryPlan]) -> Mapping[str, Health]:
        """See whether workers run, and whether the watch of each plan still looks; give it by what it is about."""

    async def notify(self, blocks: Sequence[str]) -> Mapping[str, Health]:
        """Send people a test message by each notification block; say what became of it, by block."""

    def own_server(self, home: Path) -> AbstractAsyncContextManager[str]:
        """Run a server of our own, with everything it keeps in a folder; give the URL of its UI."""

    def own_workers(self, folder: Path) -> AbstractAsyncContextManager[None]:
        """Run a worker of each work pool against the server that this process uses; what they say goes to a folder."""


def load_orchestrator() -> Orchestrator:
    """Find the installed orchestrator; its flows are there always, and Prefect only where it was asked for."""
    for entry in entry_points(group=GROUP, name="prefect") if find_spec("prefect") else ():
        return cast(Orchestrator, entry.load()())
    raise NoOrchestrator


async def run_flow(
    report: type[M], configuration: Configuration, plan: str, flow: str, parameters: Mapping[str, JsonValue]
) -> M:
    """Run one of the recovery's flows, and read its report; see `Orchestrator.recover`."""
    return report.model_validate(await load_orchestrator().recover(configuration, plan, flow, parameters))
