"""A drill: the failover of a plan, rehearsed with everything but the real fence, log, sinks and ids.

What it is about to make is written down first. Then a failover runs, the same code path as a real one, from
the newest snapshot and with no call to the source. Its result is looked at, everything it made is deleted,
and only a proven clean-up lets it pass.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter

from standby.concurrency import to_its_end
from standby.document import JsonValue
from standby.errors import StandbyError
from standby.fencing import Fence, Phase, read_fence
from standby.recovery.assignments import must_be_able_to_serve
from standby.recovery.audit import AuditAction, AuditLine, record_action
from standby.recovery.context import RecoveryContext, Stages
from standby.recovery.drill.cleanup import clean, must_be_clean, remove_leftovers
from standby.recovery.drill.errors import (
    NothingToRehearse,
    ReallySwitching,
    ScratchUnfit,
    ServesAlready,
)
from standby.recovery.drill.evidence import Evidence, write_evidence
from standby.recovery.drill.manifest import TAG, HeldDrills, Intent, hold_drills
from standby.recovery.drill.report import CleanUp, DrilledAnalyzers, DrillReport
from standby.recovery.drill.sandbox import Rehearsal, connected, rehearsing, seen_now
from standby.recovery.drill.verification import DrilledAnalyzer, Findings, look_at, reasons_against
from standby.recovery.durations import Kind, add_durations, read_durations
from standby.recovery.failover.begin import FailoverOrder
from standby.recovery.failover.failover import fail_over
from standby.recovery.failover.report import Phases
from standby.recovery.readiness.last_runs import DrillSummary, write_latest
from standby.recovery.snapshots.fidelity import RestorePlan
from standby.recovery.snapshots.id_mapping import Naming
from standby.recovery.snapshots.restore_plan import plan_restore
from standby.recovery.snapshots.snapshot import Snapshot, open_snapshot
from standby.replication.dependencies import PREBUILT
from standby.text import some_of

RUN_CHARACTERS = 12
"""Characters of a run id that a prefix has: an id may have 64 in all."""


def must_be_rehearsable(context: RecoveryContext, fence: Fence, primary: str, to: str) -> None:
    """Let only a failover be rehearsed that could really be asked for now.

    Raises:
        NotAPrimary: the plan has no such primary.
        NotATarget: the plan does not have this target.
        ReallySwitching: a real switch is under way.
        ServesAlready: the target serves already.
    """
    plan = context.plan
    must_be_able_to_serve(plan, primary, to)
    for served, side in fence.assignments.items():
        if side.phase is Phase.SWITCHING:
            raise ReallySwitching(plan.name, served)
    if fence.assignments[primary].active == to:
        raise ServesAlready(plan.name, primary, to)


async def new_intent(context: RecoveryContext, primary: str, to: str, scratch: str | None) -> Intent:
    """Say what a drill is going to make; nothing is made or written yet.

    Raises:
        UnknownName: the configuration has no such scratch resource.
        ScratchUnfit: it is in the way of a plan, or has something of the plan's.
        ServiceError: it does not answer.
    """
    return Intent(
        run_id=context.run_id,
        primary=primary,
        to=scratch or to,
        scratch=scratch,
        prefix="" if scratch else prefix_of(context.run_id),
        found=await _found(context, scratch) if scratch else frozenset(),
        begun_at=context.clock.now(),
        actor=context.actor,
    )


def prefix_of(run_id: str) -> str:
    """Give what every id that a drill makes begins with."""
    return f"drill-{re.sub('[^a-zA-Z0-9]', '', run_id)[:RUN_CHARACTERS].lower()}-"


async def must_not_clash(rehearsal: Rehearsal, intent: Intent) -> None:
    """Let a scratch resource be used only where it has none of the ids that a rehearsal makes there.

    Raises:
        ScratchUnfit: it has.
        SnapshotError: there is no snapshot, or it cannot be trusted.
        ServiceError: the resource does not answer.
    """
    snapshot = await open_snapshot(rehearsal.context)
    plan = await plan_restore(rehearsal.context, snapshot, intent.to, primary=intent.primary)
    held = sorted({item.target_analyzer for item in plan.items} & intent.found)
    if held:
        raise ScratchUnfit(intent.to, f"it has {some_of(held, 5)} already")


async def _found(context: RecoveryContext, scratch: str) -> frozenset[str]:
    context.configuration.resource(scratch)
    for name, plan in context.configuration.plans.items():
        if scratch in plan.resources:
            raise ScratchUnfit(scratch, f"plan {name} uses it")
    async with connected(context, scratch) as connections:
        listed = await connections[scratch].list_analyzers()
    return frozenset(each.analyzer_id for each in listed if not each.analyzer_id.startswith(PREBUILT))


async def drill(
    context: RecoveryContext, primary: str, to: str, stages: Stages, *, scratch: str | None = None
) -> DrillReport:
    """Rehearse the loss of a source with a target in its place.

    Once it has begun nothing is raised for what goes wrong: the report says it. A cancellation ends it early,
    and not before everything it made is removed.

    Args:
        context: the real one; its fence, log, measurements and sinks have no part in the rehearsal.
        home: the source that is taken for lost; it is not called.
        to: the resource that is to serve in its place.
        stages: runs the phases.
        scratch: another resource of the configuration at which it is rehearsed, under the real ids.

    Raises:
        DrillUnderWay: another drill of the plan runs.
        ServesAlready: there is nothing to rehearse.
        ReallySwitching: a real switch is under way.
        ScratchUnfit: the scratch resource is in the way of a plan, or has one of its ids.
        LeftBehind: what an earlier drill left at the same resource cannot be removed.
        NotATarget: the plan does not have this target.
        AuditBroken: the audit log cannot be added to; nothing was made.
        VaultUnavailable: the vault does not answer.
    """
    plan = context.plan.name
    async with hold_drills(context.vault, plan) as drills:
        leftovers = await remove_leftovers(context, drills, stages)
        must_be_clean(leftovers, scratch or to)
        fence = await read_fence(context.vault, context.plan)
        must_be_rehearsable(context, fence, primary, to)
        intent = await new_intent(context, primary, to, scratch)
        async with rehearsing(context, intent, fence, to) as rehearsal:
            if scratch:
                await must_not_clash(rehearsal, intent)
            facts: dict[str, JsonValue] = {
                "home": primary,
                "to": to,
                "scratch": scratch,
                "prefix": intent.prefix,
            }
            begun = await record_action(context, AuditAction.DRILL_BEGUN, facts)
            await drills.begin(intent)
            return await _Drill(context, to, intent, rehearsal, drills, begun, stages).run()


class _Drill:
    def __init__(
        self,
        context: RecoveryContext,
        to: str,
        intent: Intent,
        rehearsal: Rehearsal,
        drills: HeldDrills,
        begun: AuditLine,
        stages: Stages,
    ) -> None:
        self._context = context
        self._to = to
        self._intent = intent
        self._rehearsal = rehearsal
        self._drills = drills
        self._begun = begun
        self._stages = stages
        self._phases = Phases(stages, context.clock, frozenset())
        self._found = Findings(epoch=rehearsal.fence.epoch)
        self._snapshot: Snapshot | None = None
        self._plan: RestorePlan | None = None
        self._may_have_made = False

    async def run(self) -> DrillReport:
        begun = self._context.clock.monotonic()
        try:
            await self._as_far_as_it_goes()
        finally:
            # However it comes to its end: what it made is removed.
            await self._clean_up()
        return await to_its_end(self._told(begun))

    async def _as_far_as_it_goes(self) -> None:
        try:
            self._found.before = await seen_now(self._context)
            await self._rehearse()
        except StandbyError as error:
            self._found.problems.append(str(error))
        except asyncio.CancelledError:
            self._found.interrupted = True

    async def _rehearse(self) -> None:
        intent, phases, rehearsal = self._intent, self._phases, self._rehearsal
        snapshot, plan = await phases.run(f"plan the rehearsal at {intent.to}", self._planned)
        self._snapshot, self._plan = snapshot, plan
        order = FailoverOrder(primary=intent.primary, to=intent.to, planned=False, reason=f"drill {intent.run_id}")
        self._may_have_made = True
        report = await fail_over(rehearsal.context, order, self._stages, naming=_naming(intent))
        self._found.failover = report
        phases.times.extend(report.phases)
        self._found.told = await rehearsal.sink.told()
        self._found.interrupted = report.interrupted
        if not report.interrupted:
            self._found.seen = await phases.run(
                f"look at {intent.to}", lambda: look_at(rehearsal.context, intent, snapshot, plan)
            )

    async def _planned(self) -> tuple[Snapshot, RestorePlan]:
        context, intent = self._rehearsal.context, self._intent
        snapshot = await open_snapshot(context)
        plan = await plan_restore(
            context,
            snapshot,
            intent.to,
            naming=_naming(intent),
            only_missing=not intent.prefix,
            primary=intent.primary,
        )
        if not plan.items:
            raise NothingToRehearse(context.plan.name, intent.primary)
        return snapshot, plan

    async def _clean_up(self) -> None:
        try:
            await to_its_end(self._cleaned())
        except asyncio.CancelledError:
            self._found.interrupted = True

    async def _cleaned(self) -> None:
        intent, clock = self._intent, self._context.clock
        if not self._may_have_made:
            self._found.cleanup = CleanUp(proven=True)
            return
        client = self._rehearsal.context.connections[intent.to]
        self._found.cleanup = await self._phases.run(f"clean up {intent.to}", lambda: clean(client, intent, clock))

    async def _told(self, begun: float) -> DrillReport:
        """Write down how it ended, and cross it off where nothing is left."""
        context, intent, found = self._context, self._intent, self._found
        found.after = await seen_now(context)
        reasons = reasons_against(context.plan, intent, found)
        seconds = context.clock.monotonic() - begun
        evidence = Evidence(
            written_at=context.clock.now(),
            begun_line=self._begun.digest,
            report=self._report(reasons, round(seconds, 3)),
            failover=found.failover,
            analyzers=found.seen,
            told=found.told,
            before=found.before,
            after=found.after,
        )
        report = await write_evidence(context, evidence)
        await self._keep_measurements()
        if not found.interrupted:
            # One that was interrupted says nothing about the target.
            await write_latest(context.vault, context.plan.name, _summary(report))
        facts: dict[str, JsonValue] = {
            "to": intent.to,
            "passed": report.passed,
            "reason": reasons[0] if reasons else "",
            "recovery_seconds": report.recovery_seconds,
            "left": len(found.cleanup.left),
            "evidence": report.evidence_digest,
        }
        await record_action(context, AuditAction.DRILL_ENDED, facts)
        if found.cleanup.proven:
            await self._drills.end(intent.run_id)
        return report

    async def _keep_measurements(self) -> None:
        """Let forecasts learn from the rehearsal: it took what a failover takes."""
        measured = await read_durations(self._rehearsal.context.vault, self._context.plan.name)
        for kind in (Kind.RESTORE, Kind.ACTIVATE):
            await add_durations(self._context.vault, self._context.plan.name, kind, measured.of(kind))

    def _report(self, reasons: tuple[str, ...], seconds: float) -> DrillReport:
        context, intent, found = self._context, self._intent, self._found
        failover, objective = found.failover, context.plan.objectives.rto
        recovery = failover.recovery_seconds if failover else None
        allowed = objective.total_seconds() if objective else None
        return DrillReport(
            plan=context.plan.name,
            run_id=intent.run_id,
            via=context.via,
            actor=context.actor,
            primary=intent.primary,
            to=self._to,
            scratch=intent.scratch,
            passed=not reasons,
            reasons=reasons,
            phases=tuple(self._phases.times),
            analyzers=_counted(self._plan, found.seen),
            snapshot_id=self._snapshot.id if self._snapshot else "",
            snapshot_taken_at=self._snapshot.taken_at if self._snapshot else None,
            recovery_seconds=recovery,
            rto_seconds=allowed,
            rto_met=None if recovery is None or allowed is None else recovery <= allowed,
            cleanup=found.cleanup,
            seconds=seconds,
            begun_at=intent.begun_at,
            ended_at=context.clock.now(),
            interrupted=found.interrupted,
        )


def _naming(intent: Intent) -> Naming:
    return Naming(prefix=intent.prefix, tags={TAG: intent.run_id})


def _counted(plan: RestorePlan | None, seen: tuple[DrilledAnalyzer, ...]) -> DrilledAnalyzers:
    if plan is None:
        return DrilledAnalyzers()
    return DrilledAnalyzers(
        count=len(plan.items),
        usable=sum(not each.problem for each in seen),
        fidelity=dict(Counter(item.fidelity for item in plan.items)),
    )


def _summary(report: DrillReport) -> DrillSummary:
    return DrillSummary(
        run_id=report.run_id,
        ended_at=report.ended_at,
        target=report.scratch or report.to,
        passed=report.passed,
        seconds=report.seconds,
        recovery_seconds=report.recovery_seconds,
        reason=report.reasons[0] if report.reasons else "",
        primary=report.primary,
    )
