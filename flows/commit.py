"""Make a failover final."""

from __future__ import annotations

from functools import partial
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.events import COMMITTED, PlanEvent
from flows.outcome import FlowOutcome, refused
from flows.recovery import recovering
from standby.errors import GuardRefused, sentence
from standby.recovery.context import Stage
from standby.recovery.failover import failover as committing
from standby.recovery.failover.report import CommitReport
from tasks.stage import TaskStages


@flow(name="commit", flow_run_name="commit-{plan}", persist_result=False)
async def commit(plan: str, home: str = "") -> State[Any]:
    """Make the failovers of a recovery plan final: from then on the way back is a failback.

    Every sink is told once more what serves, so one that could not be told before is brought up to date.

    Args:
        plan: Name of a saved recovery-plan block.
        home: Only the failover of this source; empty means of all.
    """
    try:
        async with recovering(plan) as context:
            work = partial(committing.commit, context, home or None)
            report = await TaskStages().run(Stage.COMMIT, f"commit {plan}", work)
    except GuardRefused as error:
        return refused(error)
    name = "Committed" if report.committed else "NothingToCommit"
    return await FlowOutcome(
        "PartiallyFailed" if report.problems else name,
        _told(report),
        report,
        good=not report.problems,
        event=PlanEvent(COMMITTED, plan, {"committed": dict(report.committed), "epoch": report.epoch})
        if report.committed
        else None,
    ).finish()


def _told(report: CommitReport) -> str:
    made_final = [f"{side} serves for good in the place of {primary}" for primary, side in report.committed.items()]
    serves = [f"{side} serves in the place of {primary}" for primary, side in report.serving.items() if primary != side]
    parts = made_final or ["Nothing waited to be committed", *serves]
    return " ".join(sentence(part) for part in (*parts, *report.problems, report.next_action) if part)
