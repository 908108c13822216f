"""A drill: the failover of a plan, with everything real except its fence, audit log, sinks and ids.

What it will make is written down first. Then a failover runs, the same code path as a real one, from the
newest snapshot and with no call to the source. Its result is inspected, everything it made is deleted, and
only a proven clean-up lets the drill pass.
"""

import asyncio
import re
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial

from standby.concurrency import to_its_end
from standby.document import JsonValue
from standby.errors import GuardRefused, StandbyError
from standby.fencing import read_fence
from standby.recovery.assignments import must_be_able_to_serve
from standby.recovery.audit import AuditAction, record_action
from standby.recovery.chain import AuditLine
from standby.recovery.context import RecoveryContext, Stage, Stages
from standby.recovery.decision.input import FailoverRequest
from standby.recovery.drill import cleanup, findings
from standby.recovery.drill.cleanup import CleanUp, DrillManifest, HeldDrills
from standby.recovery.drill.findings import DrilledAnalyzers, DrillReport, Evidence, Findings
from standby.recovery.drill.sandbox import SandboxSink, digests_of_production, open_sandbox
from standby.recovery.failover.begin import must_have_ended
from standby.recovery.failover.executor import by_samples
from standby.recovery.failover.failover import fail_over
from standby.recovery.failover.report import Phases
from standby.recovery.failover.state import read_record
from standby.recovery.proof.records import Verdict
from standby.recovery.runs import DrillSummary, Durations, Kind, LatestDrills, add_durations
from standby.recovery.snapshots.fidelity import RestorePlan
from standby.recovery.snapshots.id_mapping import Naming
from standby.recovery.snapshots.plan import plan_restore
from standby.recovery.snapshots.snapshot import Snapshot, open_snapshot
from standby.replication.inventory import DRILL_TAG
from standby.text import some_of

RUN_CHARACTERS = 12  # Characters of a run id that a prefix has: an id may have 64 in all


class ServesAlready(GuardRefused):
    def __init__(self, plan: str, primary: str, resource: str) -> None:
        cause = f"{resource} already serves for {primary} in plan {plan}, so there is no failover to drill"
        super().__init__(cause, f"Choose another target, or run standby failback {plan} first")


class ScratchUnfit(GuardRefused):
    def __init__(self, resource: str, reason: str) -> None:
        super().__init__(
            f"{resource} cannot be the scratch resource: {reason}",
            "Name a resource that no plan uses and that has none of these ids; or leave out --scratch, "
            "then the drill uses temporary ids at the target",
        )


class NothingToDrill(StandbyError):
    def __init__(self, plan: str, primary: str) -> None:
        cause = f"The newest snapshot of plan {plan} has no analyzer of {primary}, so a drill would prove nothing"
        super().__init__(cause, f"Take one with standby snapshot {plan} while {primary} answers")


async def drill(
    context: RecoveryContext,  # the real one; its fence, audit log, measurements and sinks are not used by the failover
    primary: str,  # whose loss is simulated; it is not called
    to: str,
    stages: Stages,
    *,
    scratch: str | None = None,  # another resource where the analyzers are made, under the real ids
) -> DrillReport:
    """Drill the failover from a primary to a target.

    Once it has begun nothing is raised for what goes wrong: the report says it. A cancellation ends it early,
    after everything it made is removed.

    Raises:
        GuardRefused: another drill of the plan runs, the target serves already or the plan does not have it, a
            real failover has not ended, or the scratch resource is in use.
        StandbyError: something else keeps it from beginning; nothing was made.
    """
    async with cleanup.hold_drills(context.vault, context.plan.name) as drills:
        leftovers = await cleanup.remove_leftovers(context, drills, stages)
        cleanup.must_be_clean(leftovers, scratch or to)
        # Only a failover that could really be asked for now is drilled.
        plan, fence = context.plan, await read_fence(context.vault, context.plan)
        must_be_able_to_serve(plan, primary, to)
        must_have_ended(fence, await read_record(context.vault, plan.name))
        if fence.assignments[primary].active == to:
            raise ServesAlready(plan.name, primary, to)
        manifest = await _new_manifest(context, primary, to, scratch)
        async with open_sandbox(context, manifest, fence, to) as (sandbox, sink):
            if scratch:
                # It must have none of the ids that the drill will make there.
                restored = await plan_restore(sandbox, await open_snapshot(sandbox), manifest.to, primary=primary)
                if held := sorted({item.target_analyzer for item in restored.items} & manifest.found):
                    raise ScratchUnfit(manifest.to, f"it has {some_of(held, 5)} already")
            facts: dict[str, JsonValue] = {"home": primary, "to": to, "scratch": scratch, "prefix": manifest.prefix}
            begun = await record_action(context, AuditAction.DRILL_BEGUN, facts)
            await drills.begin(manifest)
            return await _Drill(context, to, manifest, sandbox, sink, drills, begun, stages, fence.epoch).run()


async def _new_manifest(context: RecoveryContext, primary: str, to: str, scratch: str | None) -> DrillManifest:
    there: frozenset[str] = frozenset()
    if scratch:
        context.configuration.resource(scratch)
        for name, plan in context.configuration.plans.items():
            if scratch in plan.resources:
                raise ScratchUnfit(scratch, f"plan {name} uses it")
        async with cleanup.connected(context, scratch) as connections:
            listed = await connections[scratch].list_analyzers()
        there = frozenset(each.analyzer_id for each in listed if not each.is_prebuilt)
    # Only the beginning, so that the longest id stays short enough.
    run = re.sub("[^a-zA-Z0-9]", "", context.run_id)[:RUN_CHARACTERS].lower()
    return DrillManifest(
        run_id=context.run_id,
        primary=primary,
        to=scratch or to,
        scratch=scratch,
        prefix="" if scratch else f"drill-{run}-",
        found=there,
        begun_at=context.clock.now(),
        actor=context.actor,
    )


@dataclass
class _Drill:
    context: RecoveryContext
    to: str
    manifest: DrillManifest
    sandbox: RecoveryContext
    sink: SandboxSink
    drills: HeldDrills
    begun: AuditLine
    stages: Stages
    epoch: int

    def __post_init__(self) -> None:
        self._phases = Phases(self.stages, self.context.clock, frozenset())
        self._found = Findings(epoch=self.epoch)
        self._naming = Naming(prefix=self.manifest.prefix, tags={DRILL_TAG: self.manifest.run_id})
        self._snapshot: Snapshot | None = None
        self._plan: RestorePlan | None = None
        self._may_have_made = False

    async def run(self) -> DrillReport:
        begun = self.context.clock.monotonic()
        try:
            self._found.before = await digests_of_production(self.context)
            await self._fail_over()
        except asyncio.CancelledError:
            self._found.interrupted = True
        except StandbyError as error:
            self._found.problems.append(str(error))
        finally:
            # However it ends: what it made is removed.
            try:
                await to_its_end(self._clean_up())
            except asyncio.CancelledError:
                self._found.interrupted = True
        return await to_its_end(self._finish(begun))

    async def _fail_over(self) -> None:
        manifest, phases, sandbox = self.manifest, self._phases, self.sandbox
        snapshot, plan = await phases.run(Stage.PLAN_DRILL, f"plan the drill at {manifest.to}", self._planned)
        self._snapshot, self._plan = snapshot, plan
        reason = f"drill {manifest.run_id}"
        request = FailoverRequest(primary=manifest.primary, to=manifest.to, planned=False, reason=reason)
        self._may_have_made = True
        report = await fail_over(sandbox, request, self.stages, naming=self._naming)
        self._found.failover = report
        phases.times.extend(report.phases)
        self._found.published = await self.sink.published()
        self._found.interrupted = report.interrupted
        if not report.interrupted:
            inspect = partial(findings.inspect_analyzers, sandbox, manifest, snapshot, plan)
            self._found.analyzers = await phases.run(Stage.VERIFY, f"inspect {manifest.to}", inspect)
            await self._prove()

    async def _prove(self) -> None:
        """Analyse samples at the resource of the drill; what fails at all of its samples could not serve."""
        context, manifest, samples = self.context, self.manifest, self.context.plan.samples
        if samples is None:
            return
        # The baselines and the budget are the real vault's, the analyzers and their tags are the sandbox's.
        plan = self.sandbox.plan.model_copy(update={"samples": samples})
        real = replace(context, run=replace(self.sandbox.run, vault=context.vault, recovery_plan=plan))
        called = {each.analyzer: each.target_analyzer for each in self._found.analyzers if not each.problem}
        seconds = samples.deadline.total_seconds()
        about = (real, manifest.primary, manifest.to, called)
        work = partial(by_samples, *about, seconds=seconds, samples=samples.each)
        found, name = self._found, f"analyse samples at {manifest.to}"
        found.proofs, found.by_samples = await self._phases.run(Stage.ANALYZE, name, work)
        failing = [each for each in found.proofs if each.verdict is Verdict.DIFFERS and not each.samples]
        problems = {each.analyzer: {"problem": each.reason} for each in failing}
        found.analyzers = tuple(each.model_copy(update=problems.get(each.analyzer)) for each in found.analyzers)

    async def _planned(self) -> tuple[Snapshot, RestorePlan]:
        context, manifest = self.sandbox, self.manifest
        snapshot = await open_snapshot(context)
        plan_it = partial(plan_restore, context, snapshot, manifest.to, naming=self._naming)
        plan = await plan_it(only_missing=not manifest.prefix, primary=manifest.primary)
        if not plan.items:
            raise NothingToDrill(context.plan.name, manifest.primary)
        return snapshot, plan

    async def _clean_up(self) -> None:
        manifest, clock = self.manifest, self.context.clock
        if not self._may_have_made:
            self._found.cleanup = CleanUp(proven=True)
            return
        client = self.sandbox.connections[manifest.to]
        work, name = partial(cleanup.clean, client, manifest, clock), f"clean up {manifest.to}"
        self._found.cleanup = await self._phases.run(Stage.CLEAN_UP, name, work)

    async def _finish(self, begun: float) -> DrillReport:
        """Write down how it ended, and take it off the list where nothing is left."""
        context, manifest, found = self.context, self.manifest, self._found
        found.after = await digests_of_production(context)
        reasons = findings.reasons_against(context.plan, manifest, found)
        seconds = context.clock.monotonic() - begun
        evidence = Evidence(
            written_at=context.clock.now(),
            begun_line=self.begun.digest,
            report=self._report(reasons, round(seconds, 3)),
            **{name: getattr(found, name) for name in ("failover", "analyzers", "published", "before", "after")},
        )
        report = await findings.write_evidence(context, evidence)
        # Forecasts learn from the drill: it took what a failover takes.
        measured = await Durations.read(self.sandbox.vault, context.plan.name)
        learnt = {kind: measured.of(kind) for kind in (Kind.RESTORE, Kind.ACTIVATE)}
        await add_durations(context.vault, context.plan.name, learnt)
        reason = reasons[0] if reasons else ""
        if not found.interrupted:
            # One that was interrupted says nothing about the target.
            said = report.model_dump(include={"run_id", "ended_at", "passed", "seconds", "recovery_seconds", "primary"})
            summary = DrillSummary(**said, target=manifest.to, reason=reason)
            await LatestDrills.change(context.vault, context.plan.name, lambda known: known.after(summary))
        facts: dict[str, JsonValue] = {"to": manifest.to, "passed": report.passed, "reason": reason}
        facts |= {"recovery_seconds": report.recovery_seconds, "left": len(found.cleanup.left)}
        facts["evidence"] = report.evidence_digest
        await record_action(context, AuditAction.DRILL_ENDED, facts)
        if found.cleanup.proven:
            await self.drills.end(manifest.run_id)
        return report

    def _report(self, reasons: tuple[str, ...], seconds: float) -> DrillReport:
        context, manifest, found, plan = self.context, self.manifest, self._found, self._plan
        objective = context.plan.objectives.rto
        recovery = found.failover.recovery_seconds if found.failover else None
        allowed = objective.total_seconds() if objective else None
        return DrillReport(
            **context.of_run,
            actor=context.actor,
            primary=manifest.primary,
            to=self.to,
            scratch=manifest.scratch,
            passed=not reasons,
            reasons=reasons,
            phases=tuple(self._phases.times),
            analyzers=DrilledAnalyzers(
                count=len(plan.items) if plan else 0,
                usable=sum(not each.problem for each in found.analyzers),
                fidelity=dict(Counter(item.fidelity for item in plan.items)) if plan else {},
            ),
            proofs=found.proofs,
            by_samples=found.by_samples,
            snapshot_id=self._snapshot.id if self._snapshot else "",
            snapshot_taken_at=self._snapshot.taken_at if self._snapshot else None,
            recovery_seconds=recovery,
            rto_seconds=allowed,
            rto_met=None if recovery is None or allowed is None else recovery <= allowed,
            cleanup=found.cleanup,
            seconds=seconds,
            begun_at=manifest.begun_at,
            ended_at=context.clock.now(),
            interrupted=found.interrupted,
        )
