"""What readiness leaves in Prefect: a page, and an event where it is not what it was."""

from __future__ import annotations

from collections.abc import Sequence

from prefect.artifacts import acreate_markdown_artifact
from pydantic import Field, ValidationError

from flows.events import READINESS_CHANGED, PlanEvent
from flows.outcome import bullets, page, seconds, table
from standby.document import Document
from standby.recovery.context import RecoveryContext
from standby.recovery.readiness.document import Readiness, State
from standby.vault.filesystem import Objects

SAID = {State.READY: "ready", State.NOT_READY: "not ready", State.UNKNOWN: "unknown"}

MOST_REASONS = 20
"""Reasons of one target that the page shows; the worst come first."""


class LastStates(Document):
    """What each target was when it was last looked at, by `home/target`."""

    states: dict[str, State] = Field(default_factory=dict)


async def publish_readiness(context: RecoveryContext, found: Sequence[Readiness]) -> None:
    """Leave the page, and emit an event for each target whose state is another one than the time before."""
    await acreate_markdown_artifact(
        key="readiness",
        markdown=readiness_page(context.plan.name, found),
        description=f"Plan **{context.plan.name}**: {_told(found)}.",
    )
    path = f"recovery/{context.plan.name}/readiness.json"
    before = await _read(context.vault, path)
    now = LastStates(states={_pair(each): each.state for each in found})
    for each in found:
        if before.states.get(_pair(each)) != each.state:
            _tell(each, before.states.get(_pair(each)))
    if now != before:
        await context.vault.write(path, now.model_dump_json(indent=1).encode())


def readiness_page(plan: str, found: Sequence[Readiness]) -> str:
    """Write what the targets of a plan are ready for, and why not."""
    overview = table(
        ("source", "target", "serves now", "state", "oldest copy", "RTO forecast", "last drill"),
        (
            (
                each.primary,
                each.target,
                each.active,
                f"**{SAID[each.state]}**",
                _oldest(each),
                _forecast(each),
                _drill(each),
            )
            for each in found
        ),
    )
    return page(f"# Readiness of {plan}", overview, *(_reasons(each) for each in found))


def _reasons(each: Readiness) -> str:
    if not each.reasons:
        return ""
    shown = [
        f"**{reason.bucket.value}** ({reason.severity}): {reason.text} {reason.next_action}."
        for reason in each.reasons[:MOST_REASONS]
    ]
    more = len(each.reasons) - len(shown)
    return page(
        f"## {each.target} in the place of {each.primary}",
        bullets([*shown, *([f"and {more} more: standby status {each.plan}"] if more else [])]),
    )


def _tell(each: Readiness, before: State | None) -> None:
    worst = f" {each.reasons[0].text}" if each.reasons and each.state is not State.READY else ""
    said = f"{each.target} is {SAID[each.state]} to serve in the place of {each.primary}."
    PlanEvent(
        READINESS_CHANGED,
        each.plan,
        {
            "home": each.primary,
            "target": each.target,
            "before": before.value if before else None,
            "state": each.state.value,
        },
    ).emit(f"{said}{worst}")


async def _read(objects: Objects, path: str) -> LastStates:
    content = await objects.read(path)
    try:
        return LastStates.model_validate_json(content) if content else LastStates()
    except ValidationError:
        # It is there to spare repetitions only: what it said is told once more.
        return LastStates()


def _pair(each: Readiness) -> str:
    return f"{each.primary}/{each.target}"


def _told(found: Sequence[Readiness]) -> str:
    return ", ".join(f"{each.target} {SAID[each.state]}" for each in found) or "no target"


def _oldest(each: Readiness) -> str:
    ages = [point.age_seconds for point in each.points]
    known = [age for age in ages if age is not None]
    if len(known) < len(ages):
        return "never verified"
    return seconds(max(known)) if known else "nothing to copy"


def _forecast(each: Readiness) -> str:
    if each.rto.low is None or each.rto.high is None:
        return "not known"
    return f"{seconds(each.rto.low)} to {seconds(each.rto.high)}"


def _drill(each: Readiness) -> str:
    if each.last_drill is None:
        return "never"
    passed = "passed" if each.last_drill.passed else "failed"
    return f"{passed}, {each.last_drill.ended_at:%Y-%m-%d}"
