"""Compare the copies of a plan with their sources, and say whether the targets could take over."""

from collections.abc import Sequence
from typing import Any

from prefect import flow
from prefect.artifacts import MarkdownArtifact, TableArtifact
from prefect.client.schemas.objects import State

from flows.events import READINESS_CHANGED, PlanEvent
from flows.outcome import FlowOutcome, bullets, escaped, item_table, page, shown, table
from flows.recovery import recovering
from standby.document import JsonValue
from standby.errors import sentence
from standby.fencing import Fence
from standby.recovery.activation.seen import SinkView, under_way_words
from standby.recovery.audit import HOW_TO_GO_ON
from standby.recovery.context import RecoveryContext
from standby.recovery.failover.state import sinks_seen
from standby.recovery.readiness import wording
from standby.recovery.readiness.assess import assess_plan
from standby.recovery.readiness.document import Readiness, read_last_states, remember_states
from standby.recovery.readiness.document import State as TargetState
from standby.recovery.witnesses import looked
from standby.replication.items import ReplicationPlan, Selection
from standby.replication.replicate import survey
from standby.replication.report import drift_document, drift_totals
from standby.vault.replica import replica_state
from tasks.stage import tried

MOST_REASONS = 20  # Reasons of one target that the page shows; the worst come first


@flow(name="check", flow_run_name="check-{plan}", persist_result=False)
async def check(plan: str) -> State[dict[str, Any]]:
    """Compare every analyzer of a recovery plan with its copies, and judge each target's readiness.

    Nothing is changed. Readiness comes first: it is known even while a source does not answer, drift is not.

    Args:
        plan: Name of a saved recovery-plan block.
    """
    async with recovering(plan) as opened:
        context = await looked(opened)
        found = await assess_plan(context, await replica_state(context.vault))
        await publish_readiness(context, found, await sinks_seen(context))
        proposal = await survey(context.run, Selection())
    document = drift_document(proposal)
    name = "Completed" if document["in_sync"] else "Drifted"
    problem = context.known.problem if context.known else ""
    message = f"{sentence(problem)} {sentence(HOW_TO_GO_ON)}" if problem else f"{drift_totals(proposal)}."
    name = "RecordsLost" if problem else name
    return await FlowOutcome(name, message, document, good=not problem, artifact=drift_table(proposal)).finish()


async def publish_readiness(
    context: RecoveryContext, found: Sequence[Readiness], sinks: Sequence[SinkView] = ()
) -> None:
    """Write the page, and emit an event for each target whose state is not that of the last check."""
    plan = context.plan.name
    description = f"Plan **{plan}**: {wording.plan_words(found)}."
    markdown = readiness_page(plan, found, sinks, context.known.fence if context.known else None)
    page = shown(MarkdownArtifact(key="readiness", markdown=markdown, description=description))
    await tried("the page of readiness", page.acreate)
    last = await read_last_states(context.vault, plan)
    for each in last.changed(found):
        _emit(each, last.before(each))
    await remember_states(context.vault, plan, found)


def _emit(each: Readiness, before: TargetState | None) -> None:
    worst = f" {sentence(each.reasons[0].text)}" if each.reasons and each.state is not TargetState.READY else ""
    facts: dict[str, JsonValue] = {"home": each.primary, "target": each.target, "state": each.state.value}
    facts["before"] = before.value if before else None
    PlanEvent(READINESS_CHANGED, each.plan, facts).emit(f"{wording.state_words(each)}.{worst}")


def readiness_page(
    plan: str, found: Sequence[Readiness], sinks: Sequence[SinkView] = (), fence: Fence | None = None
) -> str:
    """Write which targets of a plan could take over, why others could not, and what applications see."""
    seen = bullets(sentence(words) for words in (*under_way_words(sinks, fence), *(view.words for view in sinks)))
    overview = table(
        ("primary", "target", "state", "serves now", "recovery points", "RTO forecast", "last drill"),
        (
            (
                each.primary,
                each.target,
                f"**{wording.STATES[each.state]}**",
                wording.serving_words(each),
                wording.points_words(each),
                wording.span_words(each.rto),
                wording.drill_words(each),
            )
            for each in found
        ),
    )
    return page(
        f"# Readiness of {plan}",
        overview,
        "## What applications see" if seen else "",
        seen,
        *(_reasons(each) for each in found),
    )


def _reasons(each: Readiness) -> str:
    if not each.reasons:
        return ""
    shown = [
        f"**{reason.bucket.value}** ({reason.severity}): {sentence(reason.text)} {sentence(reason.next_action)}"
        for reason in each.reasons[:MOST_REASONS]
    ]
    if more := len(each.reasons) - len(shown):
        shown.append(f"and {more} more: standby status {each.plan}")
    return page(f"## {escaped(wording.state_words(each))}", bullets(shown))


def drift_table(proposal: ReplicationPlan) -> TableArtifact:
    """Make the table of every copy that is not in sync."""
    text = f"Plan **{proposal.recovery_plan.name}**: {drift_totals(proposal)}."
    columns = ("analyzer", "from", "to", "verdict", "differences", "reason")
    return item_table("drift", text, [it for it in proposal.items if not it.is_in_sync], columns, empty="all in sync")
