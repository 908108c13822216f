"""Puts what one run at a switch did into its report, and keeps what it measured."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime

from standby.errors import StandbyError, sentence
from standby.fencing import Fence, HeldFence
from standby.recovery.activation.sinks import Activation, SinkFailed, SinkResult, read_back, tell
from standby.recovery.context import RecoveryContext, Stage
from standby.recovery.durations import Kind, add_durations
from standby.recovery.failover.errors import SinksNotTold, TargetNotReady
from standby.recovery.failover.prepare import RESTORE, Preparation, listing, sync_wholly
from standby.recovery.failover.report import FailoverReport, Phases, State
from standby.recovery.failover.state import (
    SwitchRecord,
    active_map,
    is_forward,
    note_begin,
    note_end,
    settled,
    switching,
    write_record,
)
from standby.replication.items import GOOD
from standby.vault.errors import VaultError


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
            await self._phases.must(Stage.PUBLISH, f"tell sinks: {self.record.to}", self._name_the_side)
            self.told_at = self._context.clock.now()
            await self._phases.must(Stage.VERIFY_SINKS, "read sinks back", self._read_back)
        if not self._is_undoing:
            await self._phases.run(Stage.VERIFY, f"ask {self.record.to}", self._ask_the_side)
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
                record.primary, record.before.active, record.to, planned=self._is_planned
            )
            self.record = record.naming(record.to, names)
            await self._save(prepared=True)
        if set(record.may_tell) - {record.to}:
            await self._save(touched=True)
            await self._phases.must(Stage.WITHDRAW, "tell sinks: nobody", self._silence)
            # By force it goes on without a sink, which may be naming the old side still.
            if all(sink.status != "failed" for sink in self.sinks):
                await self._save(may_tell=())
        if self._is_planned and not is_named:
            # What was edited between the last sync and the moment from which nobody serves.
            await self._phases.must(Stage.SYNC, "closing sync", self._synchronise)

    async def _silence(self) -> None:
        await self._tell(None, self._context.clock.now())

    async def _synchronise(self) -> None:
        record = self.record
        source = record.before.active
        report = await sync_wholly(self._context, self._preparation.sync, source, record.to)
        if source == record.primary:
            # What was created there at the last moment is called by its id here, too.
            new = {item.analyzer: item.target_analyzer for item in report.items if item.status in GOOD}
            self.record = record.naming(record.to, {**new, **record.names_at(record.primary, record.to)})
            await self._save()

    async def _name_the_side(self) -> None:
        at = self.record.told_at or self._context.clock.now()
        may_tell = tuple(dict.fromkeys((*self.record.may_tell, self.record.to)))
        await self._save(may_tell=may_tell, touched=True, told_at=at)
        await self._tell(self.record.to, at)

    async def _tell(self, resource: str | None, at: datetime) -> None:
        activation = self._map(resource, at)
        self.sinks = await tell(self._context.sinks, activation, self.record.primary)
        failed = [sink.reason for sink in self.sinks if sink.status == "failed"]
        if failed:
            raise SinksNotTold(failed)

    async def _read_back(self) -> None:
        """See that the sinks which can be read say what they were told."""
        told = self._map(self.record.to, self.record.told_at or self._context.clock.now())
        found = await read_back(self._context.sinks, told.plan)
        wrong = list(_contradictions(self.sinks, found, told, self.record.primary))
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
        return active_map(self._context, self._held.fence, record, at, named={record.primary: resource})

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
    primary: str,
) -> list[str]:
    wrong = []
    for sink, read in zip(sinks, found, strict=True):
        if sink.status != "told" or read is None:
            continue
        if isinstance(read, SinkFailed):
            wrong.append(str(read))
        elif (read.epoch, read.sources.get(primary)) != (told.epoch, told.sources[primary]):
            wrong.append(f"{sink.name} says something else than it was just told (epoch {read.epoch})")
    return wrong


async def measure(context: RecoveryContext, switch: Switch, phases: Phases) -> None:
    """Keep how long it took, for forecasts; one that was interrupted tells nothing about the next."""
    record = switch.record
    if not switch.ended or not is_forward(record) or switch.told_at is None or _was_interrupted(switch, phases):
        return
    activation = _between(record.started_at, switch.told_at) - phases.seconds_of(RESTORE)
    plan = context.plan.name
    try:
        await add_durations(context.vault, plan, Kind.ACTIVATE, [max(0.0, activation)])
        if record.mode == "unplanned" and record.unhealthy_since is not None:
            detection = _between(record.unhealthy_since, record.detected_at or record.started_at)
            await add_durations(context.vault, plan, Kind.DETECT, [detection])
    except VaultError as error:
        phases.problems.append(f"How long it took was not kept: {error}")


def report_of(
    context: RecoveryContext, fence: Fence, switch: Switch, phases: Phases, preparation: Preparation
) -> FailoverReport:
    """Make the report."""
    asked, record = switch.asked, switch.record
    told = switch.told_at if switch.ended and record.to == asked.to else None
    rto = context.plan.objectives.rto
    objective = rto.total_seconds() if rto is not None else None
    forward = told is not None and is_forward(record)
    taken = None if told is None or not forward else _between(record.unhealthy_since or record.started_at, told)
    stopped = [sentence(error.cause) for error in switch.stopped]
    detected = record.detected_at or record.started_at
    return FailoverReport(
        plan=context.plan.name,
        run_id=context.run_id,
        via=context.via,
        epoch=fence.epoch,
        primary=record.primary,
        from_resource=asked.from_resource,
        to=asked.to,
        mode=asked.mode,
        reason=record.reason,
        decision_id=record.decision_id,
        started_at=record.started_at,
        phases=tuple(phases.times),
        sinks=switch.sinks,
        restored=preparation.restored,
        detection_seconds=_between(record.unhealthy_since, detected) if record.unhealthy_since else None,
        recovery_seconds=None if told is None else _between(record.started_at, told),
        rto_seconds=taken,
        rto_objective_seconds=objective,
        rto_met=None if taken is None or objective is None else taken <= objective,
        serving=fence.assignments[record.primary].active,
        state=_state(switch),
        forced=record.forced,
        problems=tuple(dict.fromkeys((*phases.problems, *stopped))),
        interrupted=switch.interrupted,
        next_action=" ".join(sentence(order) for order in _orders(context, switch)),
    )


def _state(switch: Switch) -> State:
    if not switch.ended:
        return "fenced"
    return "activated" if is_forward(switch.record) else "rolled_back"


def _orders(context: RecoveryContext, switch: Switch) -> Iterator[str]:
    plan, record = context.plan.name, switch.record
    again = f"standby failover {plan} --to"
    if not switch.ended:
        if switch.stopped and switch.stopped[-1].next_action:
            yield switch.stopped[-1].next_action
        other = "go forward" if record.to == record.before.active else "go back"
        yield f"Go on with {again} {record.to}, or {other} with {again} {record.from_resource}"
        return
    if switch.stopped and switch.stopped[0].next_action:
        yield switch.stopped[0].next_action
    if any(sink.status != "told" for sink in switch.sinks):
        yield f"Tell the sinks that were not told with standby commit {plan} when they can be"
    if is_forward(record):
        yield (
            f"See that the applications work, then make it final with standby commit {plan}, "
            f"or go back with {again} {record.from_resource}"
        )


def _was_interrupted(switch: Switch, phases: Phases) -> bool:
    return switch.record.started_at < phases.times[0].started_at


def _between(start: datetime, end: datetime) -> float:
    return round(max(0.0, (end - start).total_seconds()), 3)
