"""A drill: the failover of a plan, rehearsed with everything but the real fence, log, sinks and ids.

What it is about to make is written down first. Then a failover runs, the same code path as a real one, from
the newest snapshot and with no call to the source. Its result is looked at, everything it made is deleted,
and only a proven clean-up lets it pass.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from standby.concurrency import to_its_end
from standby.errors import StandbyError
from standby.fencing import read_fence
from standby.recovery.audit import AuditLine, Deed, note
from standby.recovery.context import RecoveryContext
from standby.recovery.drill.beginning import must_be_rehearsable, must_not_clash, new_intent
from standby.recovery.drill.cleaning import clean
from standby.recovery.drill.errors import NothingToRehearse
from standby.recovery.drill.evidence import Evidence, write_evidence
from standby.recovery.drill.intent import TAG, HeldDrills, Intent, hold_drills
from standby.recovery.drill.judging import Findings, reasons_against
from standby.recovery.drill.leftovers import must_be_clean, remove_leftovers
from standby.recovery.drill.proving import DrilledAnalyzer, look_at
from standby.recovery.drill.rehearsal import Rehearsal, rehearsing
from standby.recovery.drill.report import CleanUp, DrilledAnalyzers, DrillReport
from standby.recovery.drill.summary import DrillSummary, write_latest
from standby.recovery.drill.untouched import seen_now
from standby.recovery.failover.order import FailoverOrder
from standby.recovery.failover.phases import Phases
from standby.recovery.failover.switching import fail_over
from standby.recovery.readiness.durations import Kind, add_durations, read_durations
from standby.recovery.snapshots.naming import Naming
from standby.recovery.snapshots.opening import Snapshot, open_snapshot
from standby.recovery.snapshots.restore_items import RestorePlan
from standby.recovery.snapshots.restore_plan import plan_restore
from standby.recovery.stages import Stages
from standby.service.models import JsonValue


async def drill(
    context: RecoveryContext, home: str, to: str, stages: Stages, *, scratch: str | None = None
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
        NotASide: the plan does not have this target.
        AuditBroken: the audit log cannot be added to; nothing was made.
        VaultUnavailable: the vault does not answer.
    """
    plan = context.plan.name
    async with hold_drills(context.vault, plan) as drills:
        leftovers = await remove_leftovers(context, drills, stages)
        must_be_clean(leftovers, scratch or to)
        fence = await read_fence(context.vault, context.plan)
        must_be_rehearsable(context, fence, home, to)
        intent = await new_intent(context, home, to, scratch)
        async with rehearsing(context, intent, fence, to) as rehearsal:
            if scratch:
                await must_not_clash(rehearsal, intent)
            facts: dict[str, JsonValue] = {
                "home": home,
                "to": to,
                "scratch": scratch,
                "prefix": intent.prefix,
            }
            begun = await note(context, Deed.DRILL_BEGUN, facts)
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
        order = FailoverOrder(home=intent.home, to=intent.to, planned=False, reason=f"drill {intent.run_id}")
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
            home=intent.home,
        )
        if not plan.items:
            raise NothingToRehearse(context.plan.name, intent.home)
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
        self._found.cleanup = await self._phases.run(
            f"clean up {intent.to}", lambda: clean(client, intent, clock)
        )

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
        await note(context, Deed.DRILL_ENDED, facts)
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
            home=intent.home,
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
        home=report.home,
    )
