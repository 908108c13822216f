"""Fails a plan back to a primary, with every edit that was made at either resource meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from standby.errors import StandbyError
from standby.fencing import read_fence
from standby.recovery.assignments import choose_primary
from standby.recovery.audit import AuditAction, record_action
from standby.recovery.context import RecoveryContext, Stage, Stages
from standby.recovery.decision.input import FailoverRequest
from standby.recovery.failback.divergence import Choices, Comparison, compare
from standby.recovery.failback.errors import UnsettledEdits
from standby.recovery.failback.report import DivergenceReport, Ending, FailbackReport, joined
from standby.recovery.failback.state import FailbackProgress, FailbackState, failback_state, hold_progress
from standby.recovery.failover.failover import commit, fail_over
from standby.recovery.failover.report import CommitReport, FailoverReport
from standby.recovery.sync import StepsFactory, sync_ledgers, synchronise
from standby.replication.items import GOOD, Progress, Selection, Status
from standby.replication.report import Report
from standby.replication.steps import DirectSteps
from standby.text import some_of
from standby.vault.documents import HeldDocument


async def report_divergence(
    context: RecoveryContext, primary: str = "", *, keep: Choices | None = None
) -> DivergenceReport | None:
    """Say how primary and standby changed since the standby serves; nothing is changed by this.

    Args and errors are those of `fail_back`.

    Returns:
        `None` where the primary serves already.
    """
    fence = await read_fence(context.vault, context.plan)
    state = failback_state(fence, choose_primary(context.plan, fence, named=primary))
    if state.standby is None:
        return None
    return (await compare(context, state.primary, state.standby, keep or {})).report


async def fail_back(
    context: RecoveryContext,
    primary: str,
    stages: Stages,
    *,
    keep: Choices | None = None,
    steps: StepsFactory = DirectSteps,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> FailbackReport:
    """Fail a plan back: compare, copy to the primary, make it serve, commit, copy to the standby.

    Interrupted anywhere, the next run goes on. Nothing is deleted, and what is replaced is kept in the vault.

    Args:
        context: plan, vault and connections.
        primary: what is to serve again; if empty, the only primary that does not serve.
        stages: runs each stage.
        keep: whose analyzers are kept, by id at the primary, where both have something of their own.
        steps: makes the steps of copies.
        on_progress: called after every change of a replication.

    Raises:
        UnsettledEdits: `keep` does not say whose is kept.
        PrimaryDoesNotAnswer: nothing can be copied there.
        FailbackUnderWay: another run is doing it.
        FailoverUnfinished: a failover to another resource has to end first.
    """
    chosen = choose_primary(context.plan, await read_fence(context.vault, context.plan), named=primary)
    async with hold_progress(context, chosen) as held:
        unfinished = held.found if held.found and not held.found.ended else None
        fence = await read_fence(context.vault, context.plan)
        state = failback_state(fence, chosen, unfinished.standby if unfinished else None)
        choices = {**(unfinished.keep if unfinished else {}), **(keep or {})}
        run = _Failback(context, state, stages, choices, steps, on_progress, held, unfinished)
        try:
            ending = await run.run()
        except asyncio.CancelledError:
            run.next_action = f"Continue with standby failback {context.plan.name}"
            ending = "interrupted"
        return await run.report(ending)


@dataclass
class _Failback:
    """One run of a failback, and what it has done so far."""

    context: RecoveryContext
    state: FailbackState
    stages: Stages
    keep: Choices
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
            found = await self.stages.run(
                Stage.COMPARE, f"compare {primary} with {standby}", lambda: self._compare(standby)
            )
            self.divergence = found.report
            await self._begin(standby)
            if not self.state.is_switching and not await self._copy_before_switch(standby, found):
                # Where nothing failed, running again as it is would change nothing.
                failed = self.sync and any(item.status is Status.FAILED for item in self.sync.items)
                return await self._end("incomplete" if failed else "refused")
            if not await self._switch(standby):
                return await self._end(self._ending_of_switch)
        await self._begin(standby)
        self.committed = await self.stages.run(Stage.COMMIT, f"commit {primary}", lambda: commit(self.context, primary))
        self.problems += self.committed.problems
        self.next_action = self.committed.next_action
        is_whole = await self._bring_standby_up_to_date(standby)
        return await self._end("failed_back", is_whole=is_whole)

    async def _begin(self, standby: str) -> None:
        """Write down what is begun, and record that once."""
        begun = self.progress
        if begun is not None and begun.standby == standby and begun.keep == dict(self.keep):
            return
        self.progress = FailbackProgress(
            plan=self.context.plan.name,
            primary=self.state.primary,
            standby=standby,
            run_id=self.context.run_id,
            begun_at=begun.begun_at if begun and begun.standby == standby else self.context.clock.now(),
            keep=dict(self.keep),
        )
        await self.held.write(self.progress)
        totals = self.divergence.totals if self.divergence else {}
        await record_action(
            self.context,
            AuditAction.FAILBACK_BEGUN,
            {
                "home": self.state.primary,
                "standby": standby,
                "divergence": {kind.value: count for kind, count in totals.items() if count},
                "keep": dict(self.keep),
            },
        )

    async def _compare(self, standby: str, *, after_switch: bool = False) -> Comparison:
        begun_at = self.progress.begun_at if self.progress else None
        found = await compare(self.context, self.state.primary, standby, self.keep, begun_at)
        if found.report.undecided and not after_switch:
            raise UnsettledEdits(self.context.plan.name, self.state.primary, standby, found.report.undecided)
        return found

    async def _copy_before_switch(self, standby: str, found: Comparison) -> bool:
        """Copy while the standby still serves, so that little is left to copy while nobody serves."""
        self.sync = await self.stages.run(
            Stage.SYNC, f"copy {standby} to {self.state.primary}", lambda: self._copy_to_primary(standby, found)
        )
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
        return await synchronise(
            self.context, source, target, selection=selection, steps=self.steps, on_progress=self.on_progress
        )

    async def _switch(self, standby: str) -> bool:
        async def last_sync(_context: RecoveryContext, _source: str, _target: str, /) -> Report:
            # What was edited since the first comparison, too.
            report = await self._copy_to_primary(standby, await self._compare(standby))
            self.sync = report if self.sync is None else joined(self.sync, report)
            return report

        primary = self.state.primary
        request = FailoverRequest(primary=primary, to=primary, planned=True, reason=f"failback from {standby}")
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
            selection = Selection(on_existing="replace", on_foreign="refuse", force=found.to_standby)
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
        await record_action(
            self.context,
            AuditAction.FAILBACK_ENDED,
            {
                "home": self.state.primary,
                "standby": self.state.standby,
                "state": ending,
                "problems": list(self.problems),
            },
            epoch=(await read_fence(self.context.vault, self.context.plan)).epoch,
        )
        if is_whole and self.progress is not None:
            await self.held.write(self.progress.model_copy(update={"ended": True}))
        return ending

    @property
    def _ending_of_switch(self) -> Ending:
        if self.failover is None or self.failover.interrupted:
            return "interrupted"
        return "unfinished" if self.failover.state == "fenced" else "incomplete"

    async def report(self, ending: Ending) -> FailbackReport:
        context = self.context
        return FailbackReport(
            plan=context.plan.name,
            run_id=context.run_id,
            via=context.via,
            epoch=(await read_fence(context.vault, context.plan)).epoch,
            primary=self.state.primary,
            standby=self.state.standby or "",
            divergence=self.divergence,
            sync=self.sync,
            failover=self.failover,
            commit=self.committed,
            forward=self.forward,
            state=ending,
            seconds=round(context.clock.monotonic() - self._begun, 3),
            problems=tuple(self.problems),
            next_action=self.next_action,
        )
