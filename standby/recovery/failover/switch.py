"""One run at a switch: forward or back, from wherever an earlier run left it.

The rule behind it all: a side is named to a sink only when no sink may be naming another one. So every sink
is told first that nobody serves, and what may be told is written down before it is. A switch that cannot go
on before a sink was told of the target is undone; after that it stays as it is, until a run ends it one way
or the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from standby.errors import StandbyError
from standby.fencing import HeldFence
from standby.recovery.activation.document import Activation
from standby.recovery.activation.publishing import SinkResult, read_back, tell
from standby.recovery.activation.sink import SinkFailed
from standby.recovery.context import RecoveryContext
from standby.recovery.failover.errors import SinksNotTold, TargetNotReady
from standby.recovery.failover.mapping import active_map
from standby.recovery.failover.noting import note_begin, note_end
from standby.recovery.failover.phases import Phases
from standby.recovery.failover.preparing import Preparation, listing, sync_wholly
from standby.recovery.failover.record import SwitchRecord, write_record
from standby.recovery.failover.sides import is_forward, settled, switching
from standby.replication.results import GOOD


class Switch:
    """A switch in the hands of one run.

    Attributes:
        record: how far it is; what was written is safe.
        asked: the record with which this run began.
        sinks: what became of each, the last time they were told.
        told_at: when the last of them was told which side serves, UTC.
        stopped: why it did not go on, and where undoing it failed too, why that did not.
        ended: it is done or undone.
        interrupted: it was cancelled.
    """

    def __init__(
        self,
        context: RecoveryContext,
        held: HeldFence,
        record: SwitchRecord,
        preparation: Preparation,
        phases: Phases,
    ) -> None:
        """Take up a switch that has just been fenced."""
        self.record = self.asked = record
        self.sinks: tuple[SinkResult, ...] = ()
        self.told_at: datetime | None = None
        self.stopped: list[StandbyError] = []
        self.ended = False
        self.interrupted = False
        self._context = context
        self._held = held
        self._preparation = preparation
        self._phases = phases

    async def run(self) -> None:
        """Go as far as it goes; how far that was is told by the attributes, and not by an error."""
        try:
            await self._to_its_end()
        except StandbyError as error:
            self.stopped.append(error)
        except asyncio.CancelledError:
            self.interrupted = True

    async def _to_its_end(self) -> None:
        try:
            await self._clear_the_way()
        except StandbyError as error:
            if self._is_undoing:
                raise
            self.stopped.append(error)
            await self._turn_back()
            await self._clear_the_way()
        # Undoing what no sink was told of is to be told to nobody.
        if self.record.touched or not self._is_undoing:
            await self._phases.must(f"tell sinks: {self.record.to}", self._name_the_side)
            self.told_at = self._context.clock.now()
            await self._phases.must("read sinks back", self._read_back)
        if not self._is_undoing:
            await self._phases.run(f"ask {self.record.to}", self._ask_the_side)
        await self._settle()

    @property
    def _is_undoing(self) -> bool:
        return self.record.to == self.record.before.active

    @property
    def _is_planned(self) -> bool:
        return is_forward(self.record) and self.record.mode == "planned"

    async def _clear_the_way(self) -> None:
        """Bring it about that the side may be named: prepared where it is new, and no other one named."""
        record = self.record
        is_named = record.to in record.may_tell
        if is_forward(record) and not record.prepared:
            names = await self._preparation.run(
                record.home, record.before.active, record.to, planned=self._is_planned
            )
            self.record = record.naming(record.to, names)
            await self._save(prepared=True)
        if set(record.may_tell) - {record.to}:
            await self._save(touched=True)
            await self._phases.must("tell sinks: nobody", self._silence)
            # By force it goes on without a sink, which may be naming the old side still.
            if all(sink.status != "failed" for sink in self.sinks):
                await self._save(may_tell=())
        if self._is_planned and not is_named:
            # What was edited between the last sync and the moment from which nobody serves.
            await self._phases.must("closing sync", self._synchronise)

    async def _silence(self) -> None:
        await self._tell(None, self._context.clock.now())

    async def _synchronise(self) -> None:
        record = self.record
        source = record.before.active
        report = await sync_wholly(self._context, self._preparation.sync, source, record.to)
        if source == record.home:
            # What was created there at the last moment is called by its id here, too.
            new = {item.analyzer: item.target_analyzer for item in report.items if item.status in GOOD}
            self.record = record.naming(record.to, {**new, **record.names_at(record.home, record.to)})
            await self._save()

    async def _name_the_side(self) -> None:
        at = self.record.told_at or self._context.clock.now()
        may_tell = tuple(dict.fromkeys((*self.record.may_tell, self.record.to)))
        await self._save(may_tell=may_tell, touched=True, told_at=at)
        await self._tell(self.record.to, at)

    async def _tell(self, resource: str | None, at: datetime) -> None:
        activation = self._map(resource, at)
        self.sinks = await tell(self._context.sinks, activation, self.record.home)
        failed = [sink.reason for sink in self.sinks if sink.status == "failed"]
        if failed:
            raise SinksNotTold(failed)

    async def _read_back(self) -> None:
        """See that the sinks which can be read say what they were told."""
        told = self._map(self.record.to, self.record.told_at or self._context.clock.now())
        found = await read_back(self._context.sinks, told.plan)
        wrong = list(_contradictions(self.sinks, found, told, self.record.home))
        if wrong:
            raise SinksNotTold(wrong)

    async def _ask_the_side(self) -> None:
        """See that the side answers; it serves all the same, and whoever reads the report must know."""
        try:
            await listing(self._context, self.record.to)
        except TargetNotReady as error:
            self._phases.problems.append(str(error))

    def _map(self, resource: str | None, at: datetime) -> Activation:
        record = self.record
        return active_map(self._context, self._held.fence, record, at, named={record.home: resource})

    async def _turn_back(self) -> None:
        """Lead the switch back to where it came from, under an epoch of its own."""
        changed = {
            "epoch": self.record.epoch + 1,
            "to": self.record.from_resource,
            "from_resource": self.record.to,
            "told_at": None,
        }
        self.record = self.record.model_copy(update=changed)
        await note_begin(self._context, self.record)
        await write_record(self._context.vault, self.record)
        await self._held.write(switching(self._held.fence, self.record, self._context.clock.now()))

    async def _settle(self) -> None:
        await self._held.write(settled(self._held.fence, self.record, self._context.clock.now()))
        self.ended = True
        await note_end(self._context, self.record)

    async def _save(self, **changed: object) -> None:
        """Write down what is true from here on, and see that no other run has taken the switch over."""
        self.record = self.record.model_copy(update=changed)
        await write_record(self._context.vault, self.record)
        await self._held.write(self._held.fence)


def _contradictions(
    sinks: Sequence[SinkResult],
    found: Sequence[Activation | SinkFailed | None],
    told: Activation,
    home: str,
) -> list[str]:
    wrong = []
    for sink, read in zip(sinks, found, strict=True):
        if sink.status != "told" or read is None:
            continue
        if isinstance(read, SinkFailed):
            wrong.append(str(read))
        elif (read.epoch, read.sources.get(home)) != (told.epoch, told.sources[home]):
            wrong.append(f"{sink.name} says something else than it was just told (epoch {read.epoch})")
    return wrong
