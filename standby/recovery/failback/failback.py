"""Brings a plan back to a source, with every edit that was made on either side meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from standby.errors import StandbyError
from standby.fencing import read_fence
from standby.recovery.assignments import choose_primary
from standby.recovery.audit import AuditAction, record_action
from standby.recovery.context import RecoveryContext, Stage, Stages
from standby.recovery.decision.input import FailoverRequest
from standby.recovery.failback.comparison import Comparison, Keep, compare
from standby.recovery.failback.errors import UnsettledEdits
from standby.recovery.failback.report import DivergenceReport, FailbackReport, State, joined
from standby.recovery.failback.state import (
    FailbackProgress,
    HeldProgress,
    Way,
    hold_progress,
    way_back,
)
from standby.recovery.failover.failover import commit, fail_over
from standby.recovery.failover.report import CommitReport, FailoverReport
from standby.recovery.sync import StepsFactory, once_free, record_equal, synchronise
from standby.replication.items import GOOD, Progress, Selection, Status
from standby.replication.report import Report, ReportItem
from standby.replication.steps import DirectSteps
from standby.text import some_of


async def divergence(
    context: RecoveryContext, primary: str | None = None, *, keep: Keep | None = None
) -> DivergenceReport | None:
    """Say what became of both sides since one serves in the place of the other; nothing is changed.

    Args:
        context: of the recovery.
        home: the source of ordinary times; without it, the one that is away.
        keep: whose analyzers go on, by id at home, where somebody said so.

    Returns:
        `None` where home serves already.

    Raises:
        HomeDoesNotAnswer: it cannot be said what home has.
        SwitchUnfinished: a switch that leads elsewhere has to end first.
    """
    fence = await read_fence(context.vault, context.plan)
    way = way_back(fence, choose_primary(context.plan, fence, named=primary or ""), None)
    if way.standby is None:
        return None
    return (await compare(context, way.primary, way.standby, keep or {})).report


async def fail_back(
    context: RecoveryContext,
    primary: str | None,
    stages: Stages,
    *,
    keep: Keep | None = None,
    steps: StepsFactory = DirectSteps,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> FailbackReport:
    """Bring a plan back: compare, copy home, switch, commit, bring the standby up to date.

    Interrupted anywhere, the next run goes on. Nothing is deleted, and what is replaced is kept in the vault.

    Args:
        context: of this recovery.
        home: the source to bring back; without it, the one that is away.
        stages: runs each stage.
        keep: whose analyzers go on, by id at home, where both sides have something of their own.
        steps: makes the steps of copies.
        on_progress: called after every change of a replication.

    Raises:
        UnsettledEdits: `keep` does not say whose goes on.
        HomeDoesNotAnswer: nothing can be brought there.
        FailbackUnderWay: another run is at it.
        SwitchUnfinished: a switch that leads elsewhere has to end first.
    """
    fence = await read_fence(context.vault, context.plan)
    chosen = choose_primary(context.plan, fence, named=primary or "")
    async with hold_progress(context, chosen) as held:
        unfinished = held.unfinished
        way = way_back(
            await read_fence(context.vault, context.plan), chosen, unfinished.standby if unfinished else None
        )
        said = {**(unfinished.keep if unfinished else {}), **(keep or {})}
        run = _Failback(context, way, stages, said, steps, on_progress, held)
        try:
            state = await run.run()
        except asyncio.CancelledError:
            run.next_action = f"Go on with standby failback {context.plan.name}"
            state = "interrupted"
        return await run.report(state)


@dataclass
class _Failback:
    """One run of a failback, and what it has come to."""

    context: RecoveryContext
    way: Way
    stages: Stages
    keep: Keep
    steps: StepsFactory
    on_progress: Callable[[Progress], None]
    held: HeldProgress
    first: DivergenceReport | None = None
    sync: Report | None = None
    failover: FailoverReport | None = None
    committed: CommitReport | None = None
    forward: Report | None = None
    problems: list[str] = field(default_factory=list)
    next_action: str = ""

    def __post_init__(self) -> None:
        self._begun = self.context.clock.monotonic()
        self._progress = self.held.unfinished

    async def run(self) -> State:
        standby = self.way.standby
        if standby is None:
            return "at_home"
        if not self.way.is_back:
            found = await self.stages.run(
                Stage.COMPARE, f"compare {self.way.primary} with {standby}", lambda: self._compare(standby)
            )
            self.first = found.report
            await self._begin(standby)
            if not self.way.is_switching and not await self._bring_to_primary(standby, found):
                return await self._end("refused" if self._is_refused else "incomplete")
            if not await self._switch(standby):
                return await self._end(self._state_of_switch)
        await self._begin(standby)
        self.committed = await self.stages.run(
            Stage.COMMIT, f"commit {self.way.primary}", lambda: commit(self.context, self.way.primary)
        )
        self.problems += self.committed.problems
        self.next_action = self.committed.next_action
        is_whole = await self._bring_standby_up_to_date(standby)
        return await self._end("failed_back", is_whole=is_whole)

    async def _begin(self, standby: str) -> None:
        """Put down what is begun, and say so once."""
        begun = self._progress
        if begun is not None and begun.standby == standby and begun.keep == dict(self.keep):
            return
        self._progress = FailbackProgress(
            plan=self.context.plan.name,
            primary=self.way.primary,
            standby=standby,
            run_id=self.context.run_id,
            begun_at=begun.begun_at if begun and begun.standby == standby else self.context.clock.now(),
            keep=dict(self.keep),
        )
        await self.held.write(self._progress)
        totals = self.first.totals if self.first else {}
        await record_action(
            self.context,
            AuditAction.FAILBACK_BEGUN,
            {
                "home": self.way.primary,
                "standby": standby,
                "divergence": {kind.value: count for kind, count in totals.items() if count},
                "keep": dict(self.keep),
            },
        )

    async def _compare(self, standby: str) -> Comparison:
        """Look at both sides; what is not settled stops it here."""
        begun_at = self._progress.begun_at if self._progress else None
        found = await compare(self.context, self.way.primary, standby, self.keep, begun_at)
        if found.report.unsettled:
            raise UnsettledEdits(self.context.plan.name, self.way.primary, standby, found.report.unsettled)
        return found

    async def _bring_to_primary(self, standby: str, found: Comparison) -> bool:
        """Copy while the standby still serves: what is left for the switch is little."""
        self.sync = await self.stages.run(
            Stage.SYNC, f"copy {standby} to {self.way.primary}", lambda: self._copy_to_primary(standby, found)
        )
        left = self._left_behind(self.sync, found)
        if left:
            self.problems += [f"{item.analyzer} {item.status}: {item.reason}" for item in left]
            names = [found.provenance.primary_ids[item.analyzer] for item in left]
            self.next_action = f"Mend that and run again, or leave it at {standby} with --keep {names[0]}=home"
        return not left

    async def _copy_to_primary(self, standby: str, found: Comparison) -> Report:
        await self._record_equal(standby, found)
        return await synchronise(
            self.context,
            standby,
            self.way.primary,
            selection=found.homeward,
            steps=self.steps,
            on_progress=self.on_progress,
        )

    async def _record_equal(self, standby: str, found: Comparison) -> None:
        await once_free(
            self.context.clock,
            lambda: record_equal(self.context, self.way.primary, standby, found.equal),
        )

    async def _switch(self, standby: str) -> bool:
        async def last_sync(_context: RecoveryContext, _source: str, _target: str, /) -> Report:
            # What was edited since the first look, too.
            report = await self._copy_to_primary(standby, await self._compare(standby))
            self.sync = report if self.sync is None else joined(self.sync, report)
            return report

        request = FailoverRequest(
            primary=self.way.primary, to=self.way.primary, planned=True, reason=f"failback from {standby}"
        )
        self.failover = await fail_over(self.context, request, self.stages, sync=last_sync)
        self.problems += self.failover.problems
        self.next_action = self.failover.next_action
        return self.failover.state == "activated"

    async def _bring_standby_up_to_date(self, standby: str) -> bool:
        """Let the ledgers agree, and bring what home had of its own to the standby."""

        async def go_out() -> Report:
            begun_at = self._progress.begun_at if self._progress else None
            found = await compare(self.context, self.way.primary, standby, self.keep, begun_at)
            await self._record_equal(standby, found)
            selection = Selection(on_existing="replace", on_foreign="refuse", force=found.going_out)
            return await synchronise(
                self.context,
                self.way.primary,
                standby,
                selection=selection,
                steps=self.steps,
                on_progress=self.on_progress,
            )

        try:
            self.forward = await self.stages.run(Stage.SYNC, f"copy {self.way.primary} to {standby}", go_out)
        except StandbyError as error:
            # Home serves, with all that it should have: a standby that is behind does not undo that.
            self.problems.append(f"{standby} could not be brought up to date: {error}")
            self.next_action = f"When that is mended, run standby failback {self.context.plan.name} again"
            return False
        behind = sorted(item.analyzer for item in self.forward.items if item.status not in GOOD)
        if behind:
            self.problems.append(f"{standby} is behind with {some_of(behind, 5)}")
            self.next_action = f"See standby check {self.context.plan.name}, then replicate again"
        return True

    async def _end(self, state: State, *, is_whole: bool = False) -> State:
        await record_action(
            self.context,
            AuditAction.FAILBACK_ENDED,
            {
                "home": self.way.primary,
                "standby": self.way.standby,
                "state": state,
                "problems": list(self.problems),
            },
            epoch=(await read_fence(self.context.vault, self.context.plan)).epoch,
        )
        if is_whole and self._progress is not None:
            await self.held.write(self._progress.model_copy(update={"ended": True}))
        return state

    def _left_behind(self, report: Report, found: Comparison) -> Sequence[ReportItem]:
        coming = set(found.coming_home)
        return [item for item in report.items if item.analyzer in coming and item.status not in GOOD]

    @property
    def _is_refused(self) -> bool:
        """Whether running again as it is would change nothing."""
        items = self.sync.items if self.sync else ()
        return not any(item.status is Status.FAILED for item in items)

    @property
    def _state_of_switch(self) -> State:
        switch = self.failover
        if switch is None or switch.interrupted:
            return "interrupted"
        return "unfinished" if switch.state == "fenced" else "incomplete"

    async def report(self, state: State) -> FailbackReport:
        """Put everything it has come to into its report."""
        context = self.context
        return FailbackReport(
            plan=context.plan.name,
            run_id=context.run_id,
            via=context.via,
            epoch=(await read_fence(context.vault, context.plan)).epoch,
            primary=self.way.primary,
            standby=self.way.standby or "",
            divergence=self.first,
            sync=self.sync,
            failover=self.failover,
            commit=self.committed,
            forward=self.forward,
            state=state,
            seconds=round(context.clock.monotonic() - self._begun, 3),
            problems=tuple(self.problems),
            next_action=self.next_action,
        )
