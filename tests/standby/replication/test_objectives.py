"""How much would be lost now, against what the plan allows."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from standby.replication.items import PlanItem, ReplicationPlan, Status
from standby.replication.report import RecoveryPoint, end_of, make_report, recovery_points
from standby.replication.verdict import Action, CopyRecord, Verdict
from tests.standby.replication.world import START, plan_item, recovery_plan, sighting

DAY = timedelta(days=1)
SOURCE, EDITED, TARGET = sighting("source"), sighting("edited"), sighting("source")


def copied(age: timedelta) -> CopyRecord:
    return CopyRecord(SOURCE, TARGET, START - age)


def item(verdict: Verdict, **fields: Any) -> PlanItem:
    made = replace(plan_item("invoice"), verdict=verdict, expected=SOURCE, found=TARGET, last=copied(2 * DAY))
    return replace(made, **fields)


def point(made: PlanItem, rpo: str | None = "24h") -> RecoveryPoint:
    plan = recovery_plan(objectives={"rpo": rpo} if rpo else {})
    (found,) = recovery_points(ReplicationPlan(plan, START, (made,), {}))
    return found


def test_a_copy_that_equals_its_source_meets_any_objective_however_old_it_is() -> None:
    found = point(item(Verdict.IN_SYNC))
    assert (found.met, found.source_changed, found.age) == (True, False, 2 * 86400.0)


@pytest.mark.parametrize(("rpo", "met"), [("24h", False), ("7d", True)])
def test_a_copy_that_is_behind_is_as_good_as_it_is_young(rpo: str, met: bool) -> None:
    found = point(item(Verdict.SOURCE_AHEAD, expected=EDITED), rpo)
    assert (found.met, found.source_changed, found.verified_at) == (met, True, START - 2 * DAY)


def test_what_is_retrained_under_the_same_definition_is_behind() -> None:
    assert point(item(Verdict.SOURCE_AHEAD)).source_changed


def test_what_was_never_copied_meets_nothing() -> None:
    found = point(item(Verdict.MISSING, found=None, last=None))
    assert (found.met, found.age, found.verified_at) == (False, None, None)


def test_an_edit_at_the_target_loses_nothing_of_the_source() -> None:
    found = point(item(Verdict.TARGET_AHEAD, found=EDITED))
    assert (found.met, found.source_changed) == (True, False)


def test_an_equal_analyzer_that_is_not_ready_is_no_copy() -> None:
    made = item(Verdict.BLOCKED, found=replace(TARGET, status="failed"))
    assert point(made).source_changed


def test_without_an_objective_nothing_is_met_or_missed() -> None:
    assert point(item(Verdict.SOURCE_AHEAD, expected=EDITED), None).met is None


def test_a_run_leaves_behind_only_what_it_did_not_bring_up_to_date() -> None:
    behind = item(Verdict.SOURCE_AHEAD, expected=EDITED, action=Action.REPLACE)
    results = [end_of(behind, status) for status in Status]

    def missed(rpo: str) -> int:
        plan = ReplicationPlan(recovery_plan(objectives={"rpo": rpo}), START, (behind,) * len(results), {})
        report = make_report(plan, results, run_id="run-1", via="direct", seconds=1.0, now=START)
        return len(report.objectives.missed)

    assert missed("24h") == len(Status) - 2
    assert missed("3d") == 0
