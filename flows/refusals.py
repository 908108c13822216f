"""An outage that cannot be answered is told once, not at every evaluation while it lasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from flows.events import REFUSED, tell_of_plan
from standby.recovery.context import RecoveryContext
from standby.recovery.decision.verdict import Guard
from standby.service.models import JsonValue
from standby.vault.filesystem import Objects

AGAIN = timedelta(hours=1)
"""After which the same is told again."""


class LastRefusal(BaseModel):
    """What was told last, and when."""

    model_config = ConfigDict(frozen=True)

    home: str
    guards: tuple[Guard, ...]
    at: AwareDatetime


async def tell_refusal(
    context: RecoveryContext, facts: Mapping[str, JsonValue], guards: Sequence[Guard], summary: str
) -> None:
    """Emit that an outage was not answered by a failover, unless the same was told lately.

    Args:
        context: of the recovery.
        facts: of the decision; `home` among them.
        guards: those that refused.
        summary: for people.
    """
    path = f"recovery/{context.plan.name}/refused.json"
    refusal = LastRefusal(home=str(facts["home"]), guards=tuple(guards), at=context.clock.now())
    if _is_news(refusal, await _read(context.vault, path)):
        tell_of_plan(REFUSED, context.plan.name, {**facts, "summary": summary})
        await context.vault.write(path, refusal.model_dump_json(indent=1).encode())


def _is_news(refusal: LastRefusal, last: LastRefusal | None) -> bool:
    return (
        last is None
        or (last.home, last.guards) != (refusal.home, refusal.guards)
        or refusal.at - last.at >= AGAIN
    )


async def _read(objects: Objects, path: str) -> LastRefusal | None:
    content = await objects.read(path)
    try:
        return LastRefusal.model_validate_json(content) if content else None
    except ValidationError:
        # It is there to spare repetitions only: what it said is told once more.
        return None
