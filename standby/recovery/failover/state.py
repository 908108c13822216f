"""How far a failover is: its record, the fence and the active map that follow, and its lines in the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime

from pydantic import Field

from standby import fencing
from standby.concurrency import side_by_side
from standby.config.errors import UnknownName
from standby.config.globs import scope_of
from standby.config.plan import RecoveryPlan
from standby.document import JsonValue
from standby.fencing import Assignment, Fence, HeldFence, LastFailover, Phase
from standby.recovery.activation.seen import SinkRecord, SinkView, see_sinks
from standby.recovery.activation.sinks import Activation, ActiveEndpoint
from standby.recovery.audit import AuditAction, must_be_whole, record_action, verify_audit
from standby.recovery.context import RecoveryContext
from standby.recovery.decision.input import Requester
from standby.recovery.failover.report import Mode
from standby.vault.documents import HeldDocument, open_document, read_document
from standby.vault.signing import LogMark
from standby.vault.storage import Storage


class SwitchRecord(LastFailover):
    """One failover of a plan; the last one stays as the record of what was published."""

    plan: str
    run_id: str
    from_resource: str
    mode: Mode
    requested_by: Requester = "operator"
    reason: str = ""
    decision_id: str = ""
    forced: tuple[str, ...] = ()
    started_at: datetime
    detected_at: datetime | None = None
    approved_at: datetime | None = None
    unhealthy_since: datetime | None = None
    healthy_until: datetime | None = None
    prepared: bool = False  # the target was brought up to date and found ready
    # The resources that a sink may name now. One of them may be published again at any time; another only when no sink
    # names any of them.
    may_name: tuple[str, ...] = Field(alias="may_tell")
    # When the resource that is to serve was first published, UTC.
    published_at: datetime | None = Field(None, alias="told_at")
    # Why an analyzer is left out at a resource, by its id at the primary; by primary and resource.
    missing: Mapping[str, Mapping[str, Mapping[str, str]]] = {}
    # Why the decision leaves out what the target may have nevertheless, by the id at the primary.
    withheld: Mapping[str, str] = {}

    @property
    def decided_at(self) -> datetime:
        """When nothing was left to wait for: detected, and approved where somebody was asked; or ordered."""
        return self.approved_at or self.detected_at or self.started_at

    def is_of(self, fence: Fence) -> bool:
        """Say whether this is the failover that a fence has under way; the record is written first."""
        assignment = fence.assignments.get(self.primary)
        return (
            assignment is not None
            and assignment.phase is Phase.SWITCHING
            and self.epoch - fence.epoch in (0, 1)
            and assignment.target in (self.to, self.from_resource)
        )

    def names_at(self, primary: str, resource: str) -> Mapping[str, str]:
        """Give the ids to call at a resource; an id that is not among them stays the same."""
        known = self.names.get(primary, {})
        if resource == primary and primary not in known:
            return {name: name for names in known.values() for name in names}
        return known.get(resource, {})

    def missing_at(self, primary: str, resource: str) -> Mapping[str, str]:
        return self.missing.get(primary, {}).get(resource, {})

    def naming(
        self, resource: str, names: Mapping[str, str], missing: Mapping[str, str], *, primary: str = ""
    ) -> SwitchRecord:
        """Say which ids to call at one resource of this failover, and which analyzers are left out there."""
        primary = primary or self.primary
        called = {**self.names.get(primary, {}), resource: dict(names)}
        without = {**self.missing.get(primary, {}), resource: dict(missing)}
        changed = {"names": {**self.names, primary: called}, "missing": {**self.missing, primary: without}}
        return self.model_copy(update=changed)


async def read_record(storage: Storage, plan: str) -> SwitchRecord | None:
    """Read how far the last failover of a plan is; a record that cannot be understood counts as none."""
    # Without it nothing counts as done, and a run that resumes starts from the beginning, which is safe.
    return await read_document(storage, fencing.switch_path(plan), SwitchRecord)


async def open_record(storage: Storage, plan: str) -> HeldDocument[SwitchRecord]:
    """Open that record for the run that holds the fence; see `read_record`."""
    return await open_document(storage, fencing.switch_path(plan), SwitchRecord)


def active_map(
    context: RecoveryContext, serving: Mapping[str, str | None], epoch: int, record: SwitchRecord | None, at: datetime
) -> Activation:
    """Make the active map of what serves for each primary; `None` for nobody."""

    def endpoint(primary: str, resource: str) -> ActiveEndpoint:
        found = context.configuration.resource(resource)
        return ActiveEndpoint(
            resource=resource,
            **found.model_dump(include={"endpoint", "region", "resource_id", "api_version"}),
            analyzers=record.names_at(primary, resource) if record is not None else {},
            missing=tuple(sorted(record.missing_at(primary, resource))) if record is not None else (),
        )

    return Activation(
        plan=context.plan.name,
        epoch=epoch,
        changed_at=at,
        as_of=context.clock.now(),
        run_id=record.run_id if record is not None else context.run_id,
        sources={
            primary: None if resource is None else endpoint(primary, resource) for primary, resource in serving.items()
        },
    )


def is_forward(record: SwitchRecord) -> bool:
    """Say whether a failover leads to a new resource, and not back to one that served before."""
    return record.mode != "rollback" and record.to != record.before.active


def names_during(record: SwitchRecord) -> dict[str, Mapping[str, str]]:
    """Give what a failover is about, by resource; what its target has is known once that is prepared."""
    serve = {record.before.active, record.to} if record.prepared else {record.before.active}
    known = record.names.get(record.primary, {})
    # What a primary has is listed whole, and not only what belongs to the plan.
    return {resource: known[resource] for resource in serve - {record.primary} if resource in known}


def fence_after(fence: Fence, plan: RecoveryPlan, record: SwitchRecord, now: datetime) -> Fence:
    if record.to == record.before.active and not record.touched:
        # Nothing was published: it does not count for the cool-down.
        assignment = record.before
    elif record.to == record.before.active:
        assignment = record.before.model_copy(update={"run_id": record.run_id, "since": now})
    elif is_forward(record):
        assignment = Assignment(
            active=record.to, phase=Phase.ACTIVATED, previous=record.before.active, run_id=record.run_id, since=now
        )
    else:
        assignment = Assignment(active=record.to, run_id=record.run_id, since=now)
    if record.to not in (record.before.active, record.primary):
        ids = record.names_at(record.primary, record.to)
        scope = scope_of(plan, {record.to: ids} if ids else {}, complete=bool(ids))
        assignment = assignment.model_copy(update={"scope": scope})
    if record.to != record.before.active:
        missing = tuple(sorted(record.missing_at(record.primary, record.to)))
        assignment = assignment.model_copy(update={"missing": missing})
    return _with(fence, record, assignment)


def fence_committed(fence: Fence, primary: str, run_id: str, log: LogMark) -> Fence:
    """Give the fence after a commit: it can no longer be rolled back. The cool-down counts from the failover."""
    changed = {"phase": Phase.STEADY, "target": None, "previous": None, "run_id": run_id}
    assignment = fence.assignments[primary].model_copy(update=changed)
    return fence.model_copy(update={"assignments": {**fence.assignments, primary: assignment}, "log": log})


def back_from(fence: Fence, primary: str, record: SwitchRecord | None) -> str | None:
    """Give the resource that a rollback leads to; `None` where there is nothing to roll back."""
    assignment = fence.assignments[primary]
    if assignment.phase is Phase.SWITCHING:
        if record is None or not record.is_of(fence):
            return assignment.active
        # A rollback that was interrupted is resumed.
        return record.to if record.mode == "rollback" else record.before.active
    return assignment.previous if assignment.phase is Phase.ACTIVATED else None


def _with(fence: Fence, record: SwitchRecord, assignment: Assignment) -> Fence:
    assignments = {**fence.assignments, record.primary: assignment}
    return fence.model_copy(update={"epoch": record.epoch, "assignments": assignments, "log": record.log or fence.log})


async def begin_switching(
    context: RecoveryContext, held: HeldFence, file: HeldDocument[SwitchRecord], record: SwitchRecord
) -> SwitchRecord:
    """Fence the plan for a failover that begins, is resumed or reversed, and record that in the audit log."""
    # The record comes first: a run that dies after it has changed nothing, and one that dies later can be resumed. The
    # fence comes before all that knows its epoch, so that nothing ever knows a higher one than a fence that is whole.
    await must_be_whole(context)
    record = record.model_copy(update={"fenced": False})
    await file.write(record)
    scope, now = scope_of(context.plan, names_during(record), complete=record.prepared), context.clock.now()
    changed = {"phase": Phase.SWITCHING, "target": record.to, "run_id": record.run_id, "since": now, "scope": scope}
    await held.write(_with(held.fence, record, record.before.model_copy(update=changed)))
    record = record.model_copy(update={"fenced": True})
    # A run that was taken over meanwhile finds out here, and adds no line to the log.
    await file.write(record)
    line = await record_action(context, AuditAction.FENCED, _facts(record), epoch=record.epoch)
    # It is written down with what comes next.
    return record.model_copy(update={"log": line.mark})


async def record_added(
    context: RecoveryContext, held: HeldFence, file: HeldDocument[SwitchRecord], record: SwitchRecord, primary: str
) -> SwitchRecord:
    """Let the fence say that less is left out for a primary, under an epoch of its own, as the record does."""
    # The record comes last, since it says what is left to be added: where a run dies before, the next one does all of
    # it again.
    await must_be_whole(context)
    fence, assignment = held.fence, held.fence.assignments[primary]
    missing = tuple(sorted(record.missing_at(primary, assignment.active)))
    added: list[JsonValue] = [name for name in assignment.missing if name not in missing]
    facts: dict[str, JsonValue] = {"home": primary, "side": assignment.active, "added": added, "missing": [*missing]}
    line = await record_action(context, AuditAction.COMPLETED, facts, epoch=fence.epoch)
    epoch = fence.epoch + 1
    assignments = {**fence.assignments, primary: assignment.model_copy(update={"missing": missing})}
    await held.write(fence.model_copy(update={"epoch": epoch, "assignments": assignments, "log": line.mark}))
    changed = {"epoch": epoch, "fenced": True, "published_at": context.clock.now(), "log": line.mark}
    record = record.model_copy(update=changed)
    await file.write(record)
    return record


async def record_end(
    context: RecoveryContext, file: HeldDocument[SwitchRecord], record: SwitchRecord, *, late: bool = False
) -> None:
    """Record in the audit log that a failover was completed or undone, and then that this was recorded."""
    facts = {**_facts(record), "noted_late": True} if late else _facts(record)
    line = await record_action(context, _end_of(record), facts, epoch=record.epoch)
    await file.write(record.model_copy(update={"ended": True, "log": line.mark}))


async def record_missed_end(context: RecoveryContext, fence: Fence, file: HeldDocument[SwitchRecord]) -> None:
    """Record the end of a failover whose run died before it could."""
    record = file.found
    if record is None or record.ended or record.epoch != fence.epoch:
        return
    assignment = fence.assignments.get(record.primary)
    if assignment is None or assignment.phase is Phase.SWITCHING or assignment.active != record.to:
        return
    said = (await verify_audit(context.vault, record.plan, None)).lines
    if any(line.epoch == record.epoch and line.action == _end_of(record) for line in said):
        await file.write(record.model_copy(update={"ended": True}))
    else:
        await record_end(context, file, record, late=True)


def _end_of(record: SwitchRecord) -> AuditAction:
    return AuditAction.ACTIVATED if is_forward(record) else AuditAction.ROLLED_BACK


def _facts(record: SwitchRecord) -> dict[str, JsonValue]:
    missing = sorted(record.missing_at(record.primary, record.to))
    facts: dict[str, JsonValue] = {"home": record.primary, "from": record.from_resource, "to": record.to}
    facts |= {"mode": record.mode, "reason": record.reason, "decision": record.decision_id, "forced": [*record.forced]}
    return {**facts, "missing": [*missing], "missing_count": len(missing)} if missing else facts


def current_map(context: RecoveryContext, fence: Fence, record: SwitchRecord | None) -> Activation:
    """Make the active map of a plan that nothing is under way in."""
    # As the failover published it, so that a sink which has it already sees that it is the same.
    same = record is not None and record.epoch == fence.epoch
    at = record.published_at if record is not None and same and record.published_at else context.clock.now()
    return active_map(context, fence.serving, fence.epoch, record, at)


async def sinks_seen(context: RecoveryContext) -> tuple[SinkView, ...]:
    """Say what the applications of each sink see; nothing is changed."""
    fence, record, known = await sink_records(context)
    return await views_of_sinks(context, fence, record, known)


async def sink_records(context: RecoveryContext) -> tuple[Fence | None, SwitchRecord | None, SinkRecord]:
    """Read what decides about the sinks, in as few calls as possible: it is read every few seconds."""
    vault, plan = context.vault, context.plan
    async with side_by_side() as group:
        stored = group.create_task(fencing.read_stored_fence(vault, plan.name))
        record = group.create_task(read_record(vault, plan.name))
        known = group.create_task(recorded_sinks(context))
    fence = stored.result()
    if fence is not None:
        fence = fencing.fence_of_plan(plan, fence, vault.where(fencing.fence_path(plan.name)))
    return fence, record.result(), known.result()


async def recorded_sinks(context: RecoveryContext) -> SinkRecord:
    """Read what the sinks that cannot be read were told."""
    if all(sink.readable for sink in context.sinks):
        return SinkRecord()
    return await SinkRecord.read(context.vault, context.plan.name)


async def views_of_sinks(
    context: RecoveryContext, fence: Fence | None, record: SwitchRecord | None, known: SinkRecord
) -> tuple[SinkView, ...]:
    """Say what the applications of each sink see, by what decides about them."""
    wanted, under_way = None, 0
    if fence is not None and fence.is_under_way:
        under_way = fence.epoch if record is None or record.touched else 0
    elif fence is not None:
        with suppress(UnknownName):  # Then it cannot be said whether a sink has the current map.
            wanted = current_map(context, fence, record)
    return await see_sinks(context.sinks, context.plan.name, wanted, known, under_way=under_way)
