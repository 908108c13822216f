"""The documents that scripts rely on: exactly as the contract has them."""

from __future__ import annotations

import json
from dataclasses import replace

from standby.replication.engine import Attempt, Receipt
from standby.replication.items import GOOD, Progress, ReplicationPlan, Status, count
from standby.replication.report import Report, ReportItem, drift_document, end_of, make_report, plan_document
from standby.replication.verdict import Action, Verdict
from tests.standby.replication.world import START, plan_item, recovery_plan, sighting

ITEMS = {
    "invoice": plan_item("invoice"),
    "edited": plan_item("edited", verdict=Verdict.TARGET_AHEAD, action=Action.REFUSE),
}
ATTEMPT = Attempt(begun=0.0, asked=1, receipt=Receipt(None, "op-1"), warnings=("w",))
COPIED = end_of(ITEMS["invoice"], Status.SUCCEEDED, attempt=ATTEMPT, seconds=3.14159)
EDITED = end_of(
    ITEMS["edited"],
    Status.REFUSED,
    "It was edited at west since it was copied. Undo it.",
)


def report(*results: ReportItem) -> Report:
    items = tuple(ITEMS[result.analyzer] for result in results)
    plan = ReplicationPlan(recovery_plan(objectives={"rpo": "24h"}), START, items, {})
    return make_report(plan, results, run_id="run-1", via="direct", seconds=12.34567, now=START)


def test_a_report_as_json_is_exactly_the_contracts() -> None:
    document = json.loads(json.dumps(report(COPIED, EDITED).model_dump(mode="json")))
    assert document == {
        "plan": "invoices",
        "run_id": "run-1",
        "via": "direct",
        "seconds": 12.346,
        "totals": {"succeeded": 1, "skipped": 0, "failed": 0, "blocked": 0, "refused": 1},
        "objectives": {
            "rpo_seconds": 86400.0,
            "missed": [{"source": "east", "target": "west", "analyzer": "edited", "age_seconds": None}],
        },
        "items": [
            {
                "source": "east",
                "target": "west",
                "analyzer": "invoice",
                "target_analyzer": "invoice",
                "verdict": "missing",
                "action": "copy",
                "status": "succeeded",
                "reason": "",
                "seconds": 3.142,
                "attempts": 1,
                "operation_id": "op-1",
                "warnings": ["w"],
            },
            {
                "source": "east",
                "target": "west",
                "analyzer": "edited",
                "target_analyzer": "edited",
                "verdict": "target_ahead",
                "action": "refuse",
                "status": "refused",
                "reason": "It was edited at west since it was copied. Undo it.",
                "seconds": 0.0,
                "attempts": 0,
                "operation_id": "",
                "warnings": [],
            },
        ],
    }
    assert list(document) == ["plan", "run_id", "via", "seconds", "totals", "objectives", "items"]


def test_a_report_is_read_back_from_its_json() -> None:
    made = report(COPIED, EDITED)
    assert Report.model_validate_json(made.model_dump_json()) == made


def test_a_run_is_complete_when_every_item_is_usable() -> None:
    for status in Status:
        assert report(COPIED, EDITED.model_copy(update={"status": status})).complete is (status in GOOD)
    assert report().complete


def test_totals_name_every_status_and_add_up() -> None:
    counted = count([COPIED, COPIED, EDITED])
    assert set(counted) == set(Status)
    assert (counted[Status.SUCCEEDED], counted[Status.REFUSED], sum(counted.values())) == (2, 1, 3)


def test_progress_knows_how_many_are_done() -> None:
    assert Progress(9, 2, ((Status.SUCCEEDED, 3), (Status.FAILED, 1))).done == 4


ADDED = {"west": {"gpt-4.1": "gpt"}}
PLAN = ReplicationPlan(
    recovery_plan(),
    START,
    (
        plan_item("b", verdict=Verdict.IN_SYNC, action=Action.SKIP, reason="west has the same."),
        plan_item(
            "c",
            verdict=Verdict.FOREIGN,
            action=Action.COPY_AS_VERSION,
            target_analyzer="c_v2",
            reason="west has a different one.",
            found=sighting(),
            differences=("$.description",),
            warnings=("w",),
        ),
    ),
    ADDED,
)


def test_a_plan_as_json_has_a_reports_items_without_what_only_a_run_knows() -> None:
    document = json.loads(json.dumps(plan_document(PLAN)))
    assert document["plan"] == "invoices"
    assert document["made_at"] == "2026-01-02T03:04:05+00:00"
    assert document["added_defaults"] == ADDED
    assert document["items"][1] == {
        "source": "east",
        "target": "west",
        "analyzer": "c",
        "target_analyzer": "c_v2",
        "verdict": "foreign",
        "action": "copy_as_version",
        "reason": "west has a different one.",
        "warnings": ["w"],
    }
    of_a_report = set(report(COPIED).model_dump(mode="json")["items"][0])
    assert of_a_report - set(document["items"][0]) == {"status", "seconds", "attempts", "operation_id"}


def test_a_check_as_json_adds_the_paths_that_differ_and_the_recovery_points() -> None:
    document = json.loads(json.dumps(drift_document(PLAN)))
    planned = json.loads(json.dumps(plan_document(PLAN)))
    assert document["in_sync"] is False
    assert [item["differences"] for item in document["items"]] == [[], ["$.description"]]
    assert document["items"][1].keys() - planned["items"][1].keys() == {"differences", "recovery_point"}
    assert document["items"][1]["recovery_point"].keys() == {
        "verified_at",
        "age_seconds",
        "source_changed",
        "met",
    }


def test_a_check_is_in_sync_when_everything_is() -> None:
    assert drift_document(replace(PLAN, items=PLAN.items[:1]))["in_sync"] is True
    assert drift_document(replace(PLAN, items=()))["in_sync"] is True
