"""Cases for a decision, right in everything that is not said otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from standby.config.plan import FailoverPolicy
from standby.fencing import Assignment
from standby.recovery.decision.automation import Automation
from standby.recovery.decision.input import RULES, Candidate, CopyAge, DecisionInput, Fitness
from standby.recovery.probe import Observation

NOW = datetime(2026, 11, 24, 3, 14, 2, tzinfo=UTC)

SELF = "evaluation@desk"
"""The observer who decides."""


def look(
    ago: float,
    healthy: bool | None = False,
    observer: str = "watch@desk",
    resource: str = "east",
    **more: Any,
) -> Observation:
    """Make an observation so many seconds before the decision."""
    return Observation(
        resource=resource,
        observer=observer,
        at=NOW - timedelta(seconds=ago),
        healthy=healthy,
        checks=(),
        **{"seconds": 0.5, "summary": "listing: HTTP 503 (Busy) (0.5 s)", **more},
    )


PROVED = (look(61), look(31), look(1), look(0.6, observer=SELF))
"""The least that proves an outage to the default policy, and the look of whoever decides."""


def candidate(name: str = "west", healthy: bool | None = True, state: Any = "ready", **more: Any) -> Candidate:
    """Make a target; a dark one was not asked whether it is ready."""
    verified = CopyAge(analyzer="invoice", verified_at=NOW - timedelta(hours=3), source_changed=None)
    fitness = Fitness(state=state, **{"copies": (verified,), **more}) if healthy else None
    return Candidate(resource=name, observation=look(1, healthy, SELF, name), fitness=fitness)


def an_input(
    observations: Sequence[Observation] = PROVED, policy: dict[str, Any] | None = None, **more: Any
) -> DecisionInput:
    """Make a decision input: by default of an outage that is proved, with a standby that is ready."""
    fields: dict[str, Any] = {
        "plan": "invoices",
        "home": "east",
        "run_id": "run-1",
        "observer": SELF,
        "asked_at": NOW,
        "requested_by": "outage",
        "policy": FailoverPolicy.model_validate({"automatic": True, **(policy or {})}),
        "automation": Automation(),
        "epoch": 0,
        "assignments": {"east": Assignment(active="east")},
        "candidates": (candidate(),),
        "observations": tuple(observations),
        "rules": RULES,
        **more,
    }
    return DecisionInput(**fields)
