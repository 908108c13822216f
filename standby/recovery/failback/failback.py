"""Fails a plan back to a primary, with every edit that was made at either resource meanwhile."""

import asyncio
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from pydantic import Field

from standby.concurrency import despite_cancellation
from standby.document import JsonValue
from standby.errors import GuardRefused, StandbyError
from standby.fencing import Fence, Phase, read_fence
from standby.recovery.assignments import choose_primary
from standby.recovery.audit import AuditAction, record_action
from standby.recovery.context import RecoveryContext, Stage, Stages
from standby.recovery.decision.input import FailoverRequest
from standby.recovery.failback.divergence import Choices, Comparison, compare
from standby.recovery.failback.report import Choice, DivergenceReport, Ending, FailbackReport, joined
from standby.recovery.failover.begin import SHARED, must_share
from standby.recovery.failover.errors import FailoverUnfinished
from standby.recovery.failover.failover import commit, fail_over
from standby.recovery.failover.report import CommitReport, FailoverReport
from standby.recovery.failover.state import sinks_seen
from standby.recovery.sync import StepsFactory, sync_ledgers, synchronise
from standby.replication.items import GOOD, Progress, Selection, Status
from standby.replication.report import Report
from standby.replication.steps import DirectSteps
from standby.text import some_of
from standby.vault.documents import HeldDocument, Stored, hold_document


class UnsettledEdits(GuardRefused):
    def __init__(self, plan: str, primary: str, standby: str, analyzers: Iterable[str]) -> None:
        names = sorted(analyzers)
        super().__init__(
            f"{primary} and {standby} have different versions of {some_of(names, 5)}, "
            "and nobody has decided which to keep",
            f"Decide for each, with --keep {names[0]}=primary or --keep {names[0]}=standby; "
            "the vault keeps the definition of the other version, but not its training. "
            f"See standby failback {plan} --dry-run",
        )


class TrainingWouldBeLost(GuardRefused):
    """What labelled data trained at the primary would be replaced by what a restore rebuilt at the standby."""

    def __init__(self, plan: str, primary: str, standby: str, analyzers: Iterable[str]) -> None:
        names = sorted(analyzers)
        super().__init__(
            f"{some_of(names, 5)} at {primary} {'is' if len(names) == 1 else 'are'} trained, and what {standby} has "
            f"instead was rebuilt from a definition or has no labelled data: a training cannot be restored",
            f"Keep the trained one with --keep {names[0]}=primary, or replace it with --keep {names[0]}=standby "
            f"--force {names[0]}, which keeps it at {primary} under another id first. "
            f"See standby failback {plan} --dry-run",
        )


class FailbackUnderWay(GuardRefused):
    def __init__(self, plan: str, primary: str, where: str) -> None:
        cause = f"Another run is failing plan {plan} back to {primary} (it has locked {where})"
        super().__init__(cause, f"Wait until it has ended, then see standby status {plan}")


@dataclass(frozen=True)
class FailbackState:
    primary: str
    standby: str | None  # the resource that serves for the primary, or did until the failback; `None` where none did
    is_back: bool  # the primary serves already
    is_switching: bool  # the failback's failover has begun, and has not ended


def failback_state(fence: Fence, primary: str, unfinished: str | None = None) -> FailbackState:
    assignment = fence.assignments[primary]
    is_switching = assignment.phase is Phase.SWITCHING
    if is_switching and (assignment.active == primary or assignment.target != primary):
        raise FailoverUnfinished(fence.plan, primary, assignment.target or assignment.active, assignment.active)
    if assignment.active != primary:
        return FailbackState(primary, assignment.active, is_back=False, is_switching=is_switching)
    return FailbackState(primary, unfinished or assignment.previous, is_back=True, is_switching=False)


class FailbackProgress(Stored):
    """A failback that was begun."""

    plan: str
    primary: str = Field(alias="home")
    standby: str
    run_id: str
    begun_at: datetime
    keep: dict[str, Choice]  # whose analyzers are kept, by id at the primary, where somebody decided
    force: tuple[str, ...] = ()  # ids at the primary of those whose training may be overwritten
    ended: bool = False


def hold_progress(
    context: RecoveryContext, primary: str
) -> AbstractAsyncContextManager[HeldDocument[FailbackProgress]]:
    # One that cannot be read counts as missing: all it adds is what was decided about conflicts, and that can be
    # decided again.
    path = f"recovery/{context.plan.name}/failback-{primary}.json"
    busy = partial(FailbackUnderWay, context.plan.name, primary)
    return hold_document(context.vault, path, FailbackProgress, busy=busy)


async def report_divergence(
    context: RecoveryContext, primary: str = "", *, keep: Choices | None = None, force: Collection[str] = ()
) -> DivergenceReport | None:
    """Say how primary and standby changed since the standby serves; nothing is changed by this.

    Args and errors are those of `fail_back`. It is `None` where the primary serves already.
    """
    fence = await read_fence(context.vault, context.plan)
    state = failback_state(fence, choose_primary(context.plan, fence, named=primary))
    if state.standby is None:
        return None
    return (await compare(context, state.primary, state.standby, keep or {}, force=_trained(force))).report


async def fail_back(
    context: RecoveryContext,
    primary: str,  # what is to serve again; if empty, the only primary that does not serve
    stages: Stages,
    *,
    keep: Choices | None = None,  # whose analyzers are kept, by id at the primary, where both have their own
    # Ids at the primary of what was trained and may be replaced by what was not; it is kept there under another id.
    # `SHARED` lets the primary serve although another plan has the standby serve as well.
    force: Collection[str] = (),
    steps: StepsFactory = DirectSteps,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> FailbackReport:
    """Fail a plan back: compare, copy to the primary, make it serve, commit, copy to the standby.

    Interrupted anywhere, the next run goes on. Nothing is deleted, and what is replaced is kept in the vault.
    """
    chosen = choose_primary(context.plan, await read_fence(context.vault, context.plan), named=primary)
    async with hold_progress(context, chosen) as held:
        unfinished = held.found if held.found and not held.found.ended else None
        fence = await read_fence(context.vault, context.plan)
        state = failback_state(fence, chosen, unfinished.standby if unfinished else None)
        choices = {**(unfinished.keep if unfinished else {}), **(keep or {})}
        forced = tuple(sorted({*(unfinished.force if unfinished else ()), *force}))
        earlier = frozenset({*choices, *forced} - {*(keep or {}), *force})
        if not state.is_back:
            # Before anything is copied.
            await must_share(context, chosen, chosen, forced=forced)
        run = _Failback(context, state, stages, choices, forced, earlier, steps, on_progress, held, unfinished)
        try:
            ending = await run.run()
        except asyncio.CancelledError:
            run.next_action = f"Continue with standby failback {context.plan.name}"
            ending = "interrupted"
        return await despite_cancellation(run.report(ending))


def _trained(force: Collection[str]) -> tuple[str, ...]:
    """Give the ids of analyzers among what is forced."""
    return tuple(name for name in force if name != SHARED)


@dataclass
class _Failback:
    context: RecoveryContext
    state: FailbackState
    stages: Stages
    keep: Choices
    force: tuple[str, ...]
    earlier: frozenset[str]
    steps: StepsFactory
    on_progress: Callable[[Progress], None]
    held: HeldDocument[FailbackProgress]
    progress: FailbackProgress | None
    divergence: DivergenceReport | None = None
    sync: Report | None = None
    failover: FailoverReport | None = None
    committed: CommitReport | None = None
    forward: Report | None = None
    problems: list[str] = field(default_factory=list)
    next_action: str = ""

    def __post_init__(self) -> None:
        self._begun = self.context.clock.monotonic()

    async def run(self) -> Ending:
        primary, standby = self.state.primary, self.state.standby
        if standby is None:
            return "at_home"
        if not self.state.is_back:
            name = f"compare {primary} with {standby}"
            found = await self.stages.run(Stage.COMPARE, name, lambda: self._compare(standby))
            self.divergence = found.report
            await self._begin(standby)
            if not self.state.is_switching and not await self._copy_before_switch(standby, found):
                # Where nothing failed, running again as it is would change nothing.
                failed = self.sync and any(item.status is Status.FAILED for item in self.sync.items)
                return await self._end("incomplete" if failed else "refused")
            if not await self._switch(standby):
                if self.failover is None or self.failover.interrupted:
                    return await self._end("interrupted")
                return await self._end("unfinished" if self.failover.state == "fenced" else "incomplete")
        await self._begin(standby)
        self.committed = await self.stages.run(Stage.COMMIT, f"commit {primary}", lambda: commit(self.context, primary))
        self.problems += self.committed.problems
        self.next_action = self.committed.next_action
        is_whole = await self._bring_standby_up_to_date(standby)
        return await self._end("failed_back", is_whole=is_whole)

    async def _begin(self, standby: str) -> None:
        """Write down what is begun, and record that once."""
        begun = self.progress
        orders = (standby, dict(self.keep), self.force)
        if begun is not None and (begun.standby, begun.keep, begun.force) == orders:
            return
        self.progress = FailbackProgress(
            plan=self.context.plan.name,
            primary=self.state.primary,
            standby=standby,
            run_id=self.context.run_id,
            begun_at=begun.begun_at if begun and begun.standby == standby else self.context.clock.now(),
            keep=dict(self.keep),
            force=self.force,
        )
        await self.held.write(self.progress)
        totals = self.divergence.totals if self.divergence else {}
        divergence: dict[str, JsonValue] = {kind.value: count for kind, count in totals.items() if count}
        facts: dict[str, JsonValue] = {"home": self.state.primary, "standby": standby, "divergence": divergence}
        facts |= {"keep": dict(self.keep), "force": list(self.force)}
        await record_action(self.context, AuditAction.FAILBACK_BEGUN, facts)

    async def _compare(self, standby: str, *, after_switch: bool = False) -> Comparison:
        begun_at = self.progress.begun_at if self.progress else None
        given = (self.context, self.state.primary, standby, self.keep, begun_at)
        found = await compare(*given, force=_trained(self.force), earlier=self.earlier)
        if found.report.unforced and not after_switch:
            raise TrainingWouldBeLost(self.context.plan.name, self.state.primary, standby, found.report.unforced)
        if found.report.undecided and not after_switch:
            raise UnsettledEdits(self.context.plan.name, self.state.primary, standby, found.report.undecided)
        return found

    async def _copy_before_switch(self, standby: str, found: Comparison) -> bool:
        """Copy while the standby still serves, so that little is left to copy while nobody serves."""
        copy = partial(self._copy_to_primary, standby, found)
        self.sync = await self.stages.run(Stage.SYNC, f"copy {standby} to {self.state.primary}", copy)
        coming = set(found.to_primary)
        left = [item for item in self.sync.items if item.analyzer in coming and item.status not in GOOD]
        if left:
            self.problems += [f"{item.analyzer} {item.status}: {item.reason}" for item in left]
            name = found.provenance.primary_ids[left[0].analyzer]
            self.next_action = f"Fix that and run again, or leave it at {standby} with --keep {name}=primary"
        return not left

    async def _copy_to_primary(self, standby: str, found: Comparison) -> Report:
        await sync_ledgers(self.context, self.state.primary, standby, found.equal)
        return await self._synchronise(standby, self.state.primary, found.selection)

    async def _synchronise(self, source: str, target: str, selection: Selection) -> Report:
        shown = self.on_progress
        return await synchronise(self.context, source, target, selection=selection, steps=self.steps, on_progress=shown)

    async def _switch(self, standby: str) -> bool:
        async def last_sync(_context: RecoveryContext, _source: str, _target: str, /) -> Report:
            # What was edited since the first comparison, too.
            report = await self._copy_to_primary(standby, await self._compare(standby))
            self.sync = report if self.sync is None else joined(self.sync, report)
            return report

        primary = self.state.primary
        reason = f"failback from {standby}"
        forced = frozenset({SHARED}.intersection(self.force))
        request = FailoverRequest(primary=primary, to=primary, planned=True, reason=reason, forced=forced)
        self.failover = await fail_over(self.context, request, self.stages, sync=last_sync)
        self.problems += self.failover.problems
        self.next_action = self.failover.next_action
        return self.failover.state == "activated"

    async def _bring_standby_up_to_date(self, standby: str) -> bool:
        """Let the ledgers agree, and copy what the primary had of its own to the standby."""
        primary = self.state.primary

        async def copy_to_standby() -> Report:
            found = await self._compare(standby, after_switch=True)
            await sync_ledgers(self.context, primary, standby, found.equal)
            trained = _trained(self.force)
            selection = Selection(
                on_existing="replace", on_foreign="refuse", force=found.to_standby, force_trained=trained
            )
            return await self._synchronise(primary, standby, selection)

        try:
            self.forward = await self.stages.run(Stage.SYNC, f"copy {primary} to {standby}", copy_to_standby)
        except StandbyError as error:
            # The primary serves, with all that it should have: a standby that is behind does not undo that.
            self.problems.append(f"{standby} could not be updated: {error}")
            self.next_action = f"Fix that, then run standby failback {self.context.plan.name} again"
            return False
        behind = sorted(item.analyzer for item in self.forward.items if item.status not in GOOD)
        if behind:
            self.problems.append(f"{standby} is not up to date with {some_of(behind, 5)}")
            self.next_action = f"See standby check {self.context.plan.name}, then replicate again"
        return True

    async def _end(self, ending: Ending, *, is_whole: bool = False) -> Ending:
        fence = await read_fence(self.context.vault, self.context.plan)
        facts: dict[str, JsonValue] = {"home": self.state.primary, "standby": self.state.standby, "state": ending}
        facts["problems"] = list(self.problems)
        await record_action(self.context, AuditAction.FAILBACK_ENDED, facts, epoch=fence.epoch)
        if is_whole and self.progress is not None:
            await self.held.write(self.progress.model_copy(update={"ended": True}))
        return ending

    async def report(self, ending: Ending) -> FailbackReport:
        context = self.context
        return FailbackReport(
            **context.of_run,
            epoch=(await read_fence(context.vault, context.plan)).epoch,
            primary=self.state.primary,
            standby=self.state.standby or "",
            divergence=self.divergence,
            sync=self.sync,
            failover=self.failover,
            commit=self.committed,
            forward=self.forward,
            seen=await sinks_seen(context) if ending in {"unfinished", "interrupted"} else (),
            state=ending,
            seconds=round(context.clock.monotonic() - self._begun, 3),
            problems=tuple(self.problems),
            next_action=self.next_action,
        )
