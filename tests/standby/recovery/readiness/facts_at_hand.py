"""Facts to judge, right in every way unless a test says otherwise."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from standby.config.plan import RecoveryPlan
from standby.fencing import Assignment
from standby.recovery.readiness.document import Facts, ModelFact, Standing
from standby.recovery.runs import DrillSummary, Durations, Kind
from standby.replication.needs import Finding, Severity
from standby.replication.verdict import Verdict

NOW = datetime(2026, 5, 4, 3, 12, tzinfo=UTC)

DAY = timedelta(days=1)


def a_plan(**more: Any) -> RecoveryPlan:
    """Plan `p` from east to west and north."""
    return RecoveryPlan.model_validate(
        {"name": "p", "pairs": [{"source": "east", "targets": ["west", "north"]}], **more}
    )


def good(analyzer: str = "invoice", **more: Any) -> Standing:
    """An analyzer that is at the target as it is at the source."""
    standing = Standing(analyzer, analyzer, Verdict.IN_SYNC, "ready", NOW, source_changed=False)
    return replace(standing, **more)


def a_drill(**more: Any) -> DrillSummary:
    """A drill at west that passed yesterday."""
    known = {
        "run_id": "r",
        "ended_at": NOW - DAY,
        "target": "west",
        "passed": True,
        "seconds": 40.0,
        "recovery_seconds": 12.0,
        "reason": "",
    }
    return DrillSummary.model_validate({**known, **more})


def a_finding(severity: Severity = Severity.ERROR, **more: Any) -> ModelFact:
    """A model that leads nowhere."""
    finding = Finding(severity, "completion", "gpt-4.1", None, "west has no default for gpt-4.1", "Add it")
    return ModelFact(replace(finding, **more), ("invoice",))


def facts(*standings: Standing, plan: RecoveryPlan | None = None, **more: Any) -> Facts:
    """Of east to west, where east serves and both answered."""
    ready = Facts(
        plan=plan or a_plan(),
        primary="east",
        target="west",
        assignment=Assignment(active="east"),
        epoch=0,
        run_id="me",
        now=NOW,
        source_asked=True,
        standings=standings or (good(),),
        drill=a_drill(),
        durations=Durations(seconds={Kind.ACTIVATE: (2.0,)}),
        names={each.analyzer: each.target_analyzer for each in standings or (good(),)},
    )
    return replace(ready, **more)
