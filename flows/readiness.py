"""What readiness leaves in Prefect: a page, and an event for each target whose state has changed."""

from __future__ import annotations

from collections.abc import Sequence

from prefect.artifacts import acreate_markdown_artifact
from pydantic import Field

from flows.events import READINESS_CHANGED, PlanEvent
from flows.outcome import bullets, page, table
from standby.document import Document
from standby.errors import sentence
from standby.recovery.context import RecoveryContext
from standby.recovery.readiness.document import Readiness, State
from standby.recovery.readiness.wording import (
    STATES,
    drill_words,
    plan_words,
    points_words,
    serving_words,
    span_words,
    state_words,
)
from standby.vault.documents import read_document

MOST_REASONS = 20
"""Reasons of one target that the page shows; the worst come first."""


class LastStates(Document):
    """The state of each target at the last check, by `primary/target`."""

    states: dict[str, State] = Field(default_factory=dict)


async def publish_readiness(context: RecoveryContext, found: Sequence[Readiness]) -> None:
    """Write the page, and emit an event for each target whose state is not that of the last check."""
    await acreate_markdown_artifact(
        key="readiness",
        markdown=readiness_page(context.plan.name, found),
        description=f"Plan **{context.plan.name}**: {plan_words(found)}.",
    )
    path = f"recovery/{context.plan.name}/readiness.json"
    # It only prevents repeated events: where it cannot be read, they are emitted once more.
    before = await read_document(context.vault, path, LastStates) or LastStates()
    now = LastStates(states={_pair(each): each.state for each in found})
    for each in found:
        if before.states.get(_pair(each)) != each.state:
            _emit(each, before.states.get(_pair(each)))
    if now != before:
        await context.vault.write(path, now.model_dump_json(indent=1).encode())


def readiness_page(plan: str, found: Sequence[Readiness]) -> str:
    """Write which targets of a plan could take over, and why others could not."""
    overview = table(
        ("primary", "target", "state", "serves now", "recovery points", "RTO forecast", "last drill"),
        (
            (
                each.primary,
                each.target,
                f"**{STATES[each.state]}**",
                serving_words(each),
                points_words(each),
                span_words(each.rto),
                drill_words(each),
            )
            for each in found
        ),
    )
    return page(f"# Readiness of {plan}", overview, *(_reasons(each) for each in found))


def _reasons(each: Readiness) -> str:
    if not each.reasons:
        return ""
    shown = [
        f"**{reason.bucket.value}** ({reason.severity}): {sentence(reason.text)} {sentence(reason.next_action)}"
        for reason in each.reasons[:MOST_REASONS]
    ]
    if more := len(each.reasons) - len(shown):
        shown.append(f"and {more} more: standby status {each.plan}")
    return page(f"## {state_words(each)}", bullets(shown))


def _emit(each: Readiness, before: State | None) -> None:
    worst = f" {sentence(each.reasons[0].text)}" if each.reasons and each.state is not State.READY else ""
    PlanEvent(
        READINESS_CHANGED,
        each.plan,
        {
            "home": each.primary,
            "target": each.target,
            "before": before.value if before else None,
            "state": each.state.value,
        },
    ).emit(f"{state_words(each)}.{worst}")


def _pair(each: Readiness) -> str:
    return f"{each.primary}/{each.target}"
