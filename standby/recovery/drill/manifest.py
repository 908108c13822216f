"""What a drill is about to make, written down before it makes anything: whoever comes next can remove it.

One object in the vault lists the drills of a plan that were begun and not proven clean. It is held while a
drill runs, so that nobody takes its analyzers for leftovers; a run that is killed lets go of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from pydantic import AwareDatetime, Field, ValidationError

from standby.config.errors import summary
from standby.document import Document
from standby.recovery.drill.errors import DrillUnderWay, IntentUnreadable
from standby.replication.inventory import DRILL_TAG
from standby.service.models import Analyzer
from standby.vault.errors import Held
from standby.vault.filesystem import FileSystem, Journal

TAG = DRILL_TAG
"""Tag of every analyzer that a drill makes; its value is the drill's run id."""


class Intent(Document):
    """One drill, and how its analyzers are told from all others.

    Attributes:
        home: the source whose outage is rehearsed.
        to: resource at which analyzers are made.
        scratch: the same, where it is a scratch resource and no target of the plan.
        prefix: of every id it makes; empty at a scratch resource.
        found: ids that were at the scratch resource before; none of them is the drill's.
        begun_at: UTC.
    """

    run_id: str
    primary: str = Field(alias="home")
    to: str
    scratch: str | None
    prefix: str
    found: frozenset[str] = frozenset()
    begun_at: AwareDatetime
    actor: str

    def made(self, analyzer: Analyzer) -> bool:
        """Say whether this drill made an analyzer: its tag and its id must both say so."""
        return (
            analyzer.tags.get(TAG) == self.run_id
            and analyzer.analyzer_id.startswith(self.prefix)
            and analyzer.analyzer_id not in self.found
            and bool(self.prefix or self.scratch)
        )


class OpenDrills(Document):
    """The drills of a plan that were begun and not proven clean, oldest first."""

    drills: tuple[Intent, ...] = ()


@dataclass
class HeldDrills:
    """The list in the hands of one run.

    Attributes:
        drills: as they stand; what was written is safe.
    """

    drills: tuple[Intent, ...]
    _journal: Journal

    async def begin(self, intent: Intent) -> None:
        """Write an intent down; it is safe when this returns."""
        await self._write((*self.drills, intent))

    async def end(self, run_id: str) -> None:
        """Cross a drill off: nothing of it is left."""
        await self._write(tuple(intent for intent in self.drills if intent.run_id != run_id))

    async def _write(self, drills: tuple[Intent, ...]) -> None:
        await self._journal.rewrite(OpenDrills(drills=drills).model_dump_json(indent=1).encode())
        self.drills = drills


@asynccontextmanager
async def hold_drills(files: FileSystem, plan: str) -> AsyncIterator[HeldDrills]:
    """Hold the list of a plan's unfinished drills; one run at a time may.

    Raises:
        DrillUnderWay: another run does.
        IntentUnreadable: it is there and cannot be understood.
    """
    path = open_path(plan)
    async with AsyncExitStack() as stack:
        try:
            journal = await stack.enter_async_context(files.hold(path))
        except Held as held:
            raise DrillUnderWay(plan, held.where) from None
        yield HeldDrills(_parse(files.where(path), journal.found), journal)


def open_path(plan: str) -> str:
    """Give the path in the vault of the list of a plan's unfinished drills."""
    return f"drills/{plan}/open.json"


def _parse(where: str, content: bytes | None) -> tuple[Intent, ...]:
    if not content:
        return ()
    try:
        return OpenDrills.model_validate_json(content).drills
    except ValidationError as error:
        raise IntentUnreadable(where, summary(error)) from None
