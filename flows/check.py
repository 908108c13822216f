"""Compare the copies of a plan with their sources, and say whether the targets could take over."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

from prefect.artifacts import LinkArtifact, MarkdownArtifact
from prefect.client.schemas.objects import State

from standby.config.durations import format_duration, roughly
from standby.config.plan import RecoveryPlan
from standby.document import JsonValue
from standby.errors import StandbyError, sentence
from standby.fencing import Fence
from standby.flows.events import READINESS_CHANGED, PlanEvent, tell_concerns, told_if_failing
from standby.flows.outcome import FlowOutcome, bullets, escaped, flow, item_table, page, shown, table
from standby.flows.recovery import recovering
from standby.recovery.activation.seen import SinkView, under_way_words
from standby.recovery.audit import HOW_TO_GO_ON
from standby.recovery.concerns import Kind, Look, Severity, Subject, grouped
from standby.recovery.context import RecoveryContext
from standby.recovery.failover.state import sinks_seen
from standby.recovery.page import gather_content, render_page
from standby.recovery.readiness import wording
from standby.recovery.readiness.assess import assess_plan
from standby.recovery.readiness.document import Bucket, LastStates, Readiness, Reason
from standby.recovery.readiness.document import State as TargetState
from standby.recovery.snapshots.catalog import open_catalog
from standby.recovery.witnesses import looked
from standby.replication import items, needs, replicate, report
from standby.tasks.stage import SHOWN_SECONDS, tried
from standby.vault.replica import replica_state

log = logging.getLogger("standby.flows")

MOST_REASONS = 20  # Reasons of one target that the page shows; the worst come first


@flow(name="check", flow_run_name="check-{plan}", persist_result=False)
async def check(plan: str) -> State[dict[str, Any]]:
    """Compare every analyzer of a recovery plan with its copies, and judge each target's readiness.

    Nothing is changed. Readiness comes first: it is known even while a source does not answer, drift is not.

    Args:
        plan: Name of a saved recovery-plan block.
    """
    async with recovering(plan) as opened:
        async with told_if_failing(opened, Kind.READINESS, "check"):
            context = await looked(opened)
            found = await assess_plan(context, await replica_state(context.vault))
            await publish_readiness(context, found, await sinks_seen(context))
            look = protection(found, context.plan) | await snapshot_age(context)
        await tell_concerns(nullcontext(context.vault), plan, look)
        await publish_report(context, found)
        proposal = await replicate.survey(context.run, items.Selection())
    document = report.drift_document(proposal)
    name = "Completed" if document["in_sync"] else "Drifted"
    problem = context.known.problem if context.known else ""
    message = f"{sentence(problem)} {sentence(HOW_TO_GO_ON)}" if problem else f"{report.drift_totals(proposal)}."
    name = "RecordsLost" if problem else name
    text = f"Plan **{plan}**: {report.drift_totals(proposal)}."
    columns = ("analyzer", "from", "to", "verdict", "differences", "reason")
    drifted = [each for each in proposal.items if not each.is_in_sync]
    artifact = item_table("drift", text, drifted, columns, empty="all in sync")
    return await FlowOutcome(name, message, document, good=not problem, artifact=artifact).finish()


async def publish_readiness(
    context: RecoveryContext, found: Sequence[Readiness], sinks: Sequence[SinkView] = ()
) -> None:
    """Write the page, and emit an event for each target whose state is not that of the last check."""
    plan = context.plan.name
    description = f"Plan **{plan}**: {wording.plan_words(found)}."
    markdown = readiness_page(plan, found, sinks, context.known.fence if context.known else None)
    page = shown(MarkdownArtifact(key="readiness", markdown=markdown, description=description))
    await tried("the page of readiness", page.acreate)
    last = await LastStates.read(context.vault, plan)
    for each in last.changed(found):
        worst = f" {sentence(each.reasons[0].text)}" if each.reasons and each.state is not TargetState.READY else ""
        before = last.before(each)
        facts: dict[str, JsonValue] = {"home": each.primary, "target": each.target, "state": each.state.value}
        facts["before"] = before.value if before else None
        PlanEvent(READINESS_CHANGED, plan, facts).emit(f"{wording.state_words(each)}.{worst}")
    await LastStates.change(context.vault, plan, lambda known: known.after(found))


async def publish_report(context: RecoveryContext, found: Sequence[Readiness]) -> None:
    """Keep the report page in the vault where the configuration asks for that, and say where it is."""
    settings, path = context.configuration.vault, f"report/{context.plan.name}.html"
    if not settings.report:
        return
    try:
        async with asyncio.timeout(SHOWN_SECONDS):
            content = await gather_content(context, tuple(found))
            await context.vault.write(path, render_page([content], content.made_at).encode())
    except (StandbyError, TimeoutError) as error:
        log.warning("The report page could not be kept in the vault: %s", str(error) or "it took too long")
        return
    text = f"Report of plan {context.plan.name}: {wording.headline(found)}"
    where, address = context.vault.where(path), settings.address(path)
    in_words = MarkdownArtifact(key="report", markdown=f"{escaped(text)}\n\n{escaped(where)}", description=text)
    link = LinkArtifact(key="report", link=address, link_text=text, description=text)
    await tried("the link to the report page", shown(link if address else in_words).acreate)


OF_TARGETS = frozenset({Kind.READINESS, Kind.RPO, Kind.DRIFT, Kind.MODELS, Kind.PROOF})
KINDS = {
    Bucket.RPO_MISSED: Kind.RPO,
    Bucket.EDITED: Kind.DRIFT,
    Bucket.DIVERGED: Kind.DRIFT,
    Bucket.MODEL_RETIRING: Kind.MODELS,
    Bucket.REPLICA: Kind.REPLICA,
    Bucket.PROOF_DIFFERS: Kind.PROOF,
    Bucket.PROOF_OLD: Kind.PROOF,
}
LEFT_ALONE = {Bucket.FOREIGN: Kind.DRIFT, Bucket.STALE: Kind.DRIFT}  # Where the policy refuses to overwrite
UNPROVED = frozenset({Bucket.NEVER_COMPARED, Bucket.NO_VERDICT})
MODELS_UNSEEN = frozenset({Bucket.MODEL_UNKNOWN, Bucket.UNREACHABLE, Bucket.PERMISSION})


def protection(found: Iterable[Readiness], plan: RecoveryPlan) -> Look:
    """Give what lessens the protection by the readiness of every target, each kind once for a target."""
    judged = [each for each in found if not each.is_failback]
    kinds = {**KINDS, **(LEFT_ALONE if plan.on_existing == "refuse" else {})}
    reasons: dict[Subject, list[Reason]] = {}
    critical: set[Subject] = set()
    unsure: set[Subject] = {(Kind.PROOF, "")}  # that a comparison failed, the next one settles
    for each in judged:
        others = [it.state for it in judged if it.primary == each.primary and it.target != each.target]
        for reason in each.reasons:
            is_error = reason.severity is needs.Severity.ERROR
            kind = kinds.get(reason.bucket, Kind.READINESS if is_error else None)
            if kind is not None:
                subject = (kind, "" if kind is Kind.REPLICA else each.target)
                reasons.setdefault(subject, []).append(reason)
                critical |= {subject} if is_error and TargetState.READY not in others else set()
        unsure |= {(kind, each.target) for kind in _unseen(each)}
    made = []
    for (kind, about), its in reasons.items():
        severity: Severity = "critical" if (kind, about) in critical else "warning"
        lost = f"{about} could not take over: " if kind is Kind.READINESS else ""
        made.append(grouped(kind, about, severity, [(each.text, each.next_action) for each in its], lost))
    return Look(OF_TARGETS | {Kind.REPLICA}, tuple(made), frozenset(unsure))


def _unseen(each: Readiness) -> frozenset[Kind]:
    if each.state is TargetState.UNKNOWN:
        return OF_TARGETS
    buckets = {reason.bucket for reason in each.reasons}
    unseen = frozenset() if each.source_answered else frozenset({Kind.RPO, Kind.DRIFT})
    unseen |= {Kind.MODELS} if MODELS_UNSEEN & buckets else set()
    return unseen | ({Kind.PROOF} if UNPROVED & buckets else set())


async def snapshot_age(context: RecoveryContext) -> Look:
    """Give whether the newest snapshot is older than the plan allows."""
    newest, now = (await open_catalog(context)).listed[-1:], context.clock.now()
    return old_snapshot(context.plan, now - newest[0].taken_at if newest else None)


def old_snapshot(plan: RecoveryPlan, age: timedelta | None) -> Look:
    kinds, most = frozenset({Kind.SNAPSHOT_AGE}), plan.snapshots.max_age
    if age is not None and age <= most:
        return Look(kinds)
    has = "has no snapshot" if age is None else f"took its last snapshot {roughly(age)} ago"
    text = f"Plan {plan.name} {has}, and its policy allows {format_duration(most)}"
    action = f"Run standby snapshot {plan.name}, and see why the schedule of snapshot/scheduled took none"
    return Look(kinds, (grouped(Kind.SNAPSHOT_AGE, "", "warning", [(text, action)]),))


COLUMNS: dict[str, Callable[[Readiness], str]] = {
    "primary": lambda each: each.primary,
    "target": lambda each: each.target,
    "state": lambda each: f"**{wording.STATES[each.state]}**",
    "serves now": wording.serving_words,
    "recovery points": wording.points_words,
    "RTO forecast": lambda each: wording.span_words(each.rto),
    "last drill": wording.drill_words,
    "proof by document": wording.proof_words,
}


def readiness_page(
    plan: str, found: Sequence[Readiness], sinks: Sequence[SinkView] = (), fence: Fence | None = None
) -> str:
    """Write which targets of a plan could take over, why others could not, and what applications see."""
    seen = bullets(sentence(words) for words in (*under_way_words(sinks, fence), *(view.words for view in sinks)))
    return page(
        f"# Readiness of {plan}",
        table([*COLUMNS], ([words(each) for words in COLUMNS.values()] for each in found)),
        "## What applications see" if seen else "",
        seen,
        *(_reasons(each) for each in found),
    )


def _reasons(each: Readiness) -> str:
    if not each.reasons:
        return ""
    shown = [
        f"**{reason.bucket.value.replace('_', ' ')}** ({reason.severity}): "
        f"{sentence(reason.text)} {sentence(reason.next_action)}"
        for reason in each.reasons[:MOST_REASONS]
    ]
    if more := len(each.reasons) - len(shown):
        shown.append(f"and {more} more: standby status {each.plan}")
    return page(f"## {escaped(wording.state_words(each))}", bullets(shown))
