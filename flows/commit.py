"""Commit a failover."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from prefect.client.schemas.objects import State

from standby.document import JsonValue
from standby.flows import events, outcome, recovery
from standby.recovery.context import Stage
from standby.recovery.failover import failover as committing
from standby.recovery.failover.report import commit_summary
from standby.recovery.witnesses import settle
from standby.tasks.stage import TaskStages


@outcome.flow(name="commit", flow_run_name="commit-{plan}", persist_result=False)
async def commit(plan: str, home: str = "", force: Sequence[str] = (), reason: str = "") -> State[Any]:
    """Commit the failovers of a recovery plan: from then on only a failback returns to the primary.

    The active map is published to every sink once more, so a sink that did not take it before gets it now.

    Args:
        plan: Name of a saved recovery-plan block.
        home: Only the failover of this primary; empty means all of them.
        force: "fence" continues although the fence or the audit log was lost.
        reason: Why, where that is forced.
    """
    async with recovery.recovering(plan) as opened:
        context = await settle(opened, force, reason)
        work = partial(committing.commit, context, home or None)
        report = await TaskStages().run(Stage.COMMIT, f"commit {plan}", work)
    name = "Committed" if report.committed else "NothingToCommit"
    name, good = "PartiallyFailed" if report.problems else name, not report.problems
    facts: dict[str, JsonValue] = {"committed": dict(report.committed), "epoch": report.epoch}
    event = events.PlanEvent(events.COMMITTED, plan, facts) if report.committed else None
    return await outcome.FlowOutcome(name, commit_summary(report), report, good=good, event=event).finish()
