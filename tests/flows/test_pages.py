"""What people read in the Prefect UI about a failover, a drill and readiness; no server is needed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode
from prefect.artifacts import TableArtifact

from standby.errors import GuardRefused
from standby.flows.check import readiness_page
from standby.flows.events import every_text
from standby.flows.outage import failover_page, outcome_of
from standby.flows.outcome import (
    FlowOutcome,
    bullets,
    causes,
    in_prefect,
    item_table,
    page,
    refused,
    seconds,
    shown,
    table,
)
from standby.recovery.activation.sinks import SinkResult
from standby.recovery.failover.report import FailoverReport, PhaseTime, Restored, summary
from standby.recovery.readiness.document import Bucket, Readiness, Reason, State
from standby.recovery.runs import RtoForecast
from standby.replication.items import Status
from standby.replication.needs import Severity

AT = datetime(2026, 1, 31, 3, 12, tzinfo=UTC)


def report(**changes: Any) -> FailoverReport:
    made = FailoverReport(
        plan="invoices",
        run_id="run",
        via="prefect",
        epoch=3,
        primary="east",
        from_resource="east",
        to="west",
        mode="unplanned",
        reason="outage of east",
        decision_id="invoices-20260131T031200Z-0000",
        started_at=AT,
        phases=(PhaseTime(name="fence invoices", started_at=AT, seconds=0.2, outcome="done"),),
        sinks=(SinkResult(name="file active.json", status="told", told="west"),),
        restored=None,
        healthy_until=AT - timedelta(seconds=92),
        unhealthy_since=AT - timedelta(seconds=62),
        detection_at_least_seconds=62.0,
        detection_seconds=92.0,
        approval_seconds=None,
        recovery_seconds=8.4,
        rto_at_least_seconds=70.4,
        rto_seconds=100.4,
        rto_objective_seconds=900.0,
        rto_met=True,
        serving="west",
        state="activated",
    )
    return made.model_copy(update=changes)


def test_a_page_says_what_serves_what_it_took_and_who_knows() -> None:
    text = failover_page(report())
    assert text.startswith("# west serves now for east (plan invoices, epoch 3)")
    assert "| detected after | 62 to 92 s |" in text
    assert "approved after" not in text
    assert "| failed over in | 8.4 s |" in text
    assert "| serving again | between 70 and 101 s after the outage began |" in text
    assert "| RTO objective | 15 min, met |" in text
    assert "| file active.json | told | west |  |" in text
    assert "fence invoices" in text


def test_a_page_names_the_wait_for_an_approval_apart() -> None:
    assert "| approved after | 5 min |" in failover_page(report(approval_seconds=300.0))


def test_the_page_of_an_order_names_no_detection() -> None:
    ordered = report(
        healthy_until=None,
        unhealthy_since=None,
        detection_at_least_seconds=None,
        detection_seconds=None,
        rto_seconds=None,
        rto_met=None,
    )
    text = failover_page(ordered)
    assert "detected after" not in text
    assert "serving again" not in text
    assert "| RTO objective | 15 min, unknown whether met |" in text


def test_a_page_without_sinks_says_that_no_application_knows() -> None:
    assert "None is configured: applications are not informed." in failover_page(report(sinks=()))


def test_a_page_tells_what_was_restored_and_what_was_not() -> None:
    restored = Restored(snapshot_id="s1", taken_at=AT, created=("invoice",), failed={"receipt": "Its base | is gone."})
    text = failover_page(report(restored=restored))
    assert "## Restored from snapshot s1 of 2026-01-31 03:12 UTC" in text
    assert "- invoice" in text
    assert "| receipt | Its base \\| is gone. |" in text


FAILED = (SinkResult(name="webhook a.example", status="failed", reason="No connection."),)


@pytest.mark.parametrize(
    ("changes", "name", "kind"),
    [
        ({}, "Activated", "COMPLETED"),
        ({"sinks": FAILED}, "PartiallyActivated", "FAILED"),
        ({"mode": "rollback", "state": "rolled_back"}, "RolledBack", "COMPLETED"),
        ({"state": "rolled_back", "serving": "east"}, "RolledBack", "FAILED"),
        ({"state": "fenced", "serving": "east", "sinks": FAILED}, "Fenced", "FAILED"),
        ({"interrupted": True, "state": "fenced", "serving": "east"}, "Cancelled", "CANCELLED"),
    ],
)
def test_a_state_says_whether_somebody_has_to_look(changes: dict[str, Any], name: str, kind: str) -> None:
    state = outcome_of(report(**changes)).state
    assert (state.name, state.type.value) == (name, kind)


def test_a_summary_is_sentences_and_ends_with_what_to_do() -> None:
    told = summary(report(problems=("A sink was late",), next_action="Commit it with standby commit invoices"))
    assert told == (
        "west serves now for east (plan invoices, epoch 3). Detected after 62 to 92 s, failed over in 8.4 s, "
        "serving again between 70 and 101 s after the outage began, within the RTO of 15 min. "
        "A sink was late. Commit it with standby commit invoices."
    )


def test_markdown_is_not_broken_by_what_is_put_into_it() -> None:
    assert table(("a", "b"), [("x|y", "line\nbreak")]) == "| a | b |\n| --- | --- |\n| x\\|y | line break |"
    assert table(("a",), []) == ""
    assert bullets(["one\ntwo"]) == "- one two"
    assert page("a", "", "b") == "a\n\nb"


ODD = "x\x1b[31m\u202e\n# <img src=//e> [c](//e) `|` ![i](//e) \\[d](//e) &#x202e; [r]\n\n[r]: //e <//e.x> \\"


def test_nothing_from_elsewhere_is_more_than_text_on_a_page() -> None:
    restored = Restored(snapshot_id="s1", taken_at=AT, created=(ODD,), failed={ODD: ODD})
    failed_over = report(reason=ODD, missing={ODD: ODD}, problems=(ODD,), next_action=ODD, restored=restored)
    reason = Reason(bucket=Bucket.MISSING, severity=Severity.ERROR, text=ODD, next_action=ODD, analyzers=(ODD,))
    readiness = Readiness(
        plan="invoices",
        primary="east",
        target="west",
        active="east",
        epoch=1,
        state=State.NOT_READY,
        reasons=(reason,),
        points=(),
        rto=RtoForecast(low=None, high=None, basis="", objective=None, met=None),
        rpo_seconds=None,
        retirements=(),
        last_drill=None,
        assessed_at=AT,
        source_answered=True,
        missing=(ODD,),
        names={},
    )
    rows = TableArtifact(key="rows", table=[{"analyzer": ODD, "seconds": 1.5}], description=f"Plan **a**: {ODD}")
    of_table: Any = shown(rows)
    cell = of_table.table[0]["analyzer"]

    for text in (failover_page(failed_over), readiness_page("invoices", [readiness]), cell, of_table.description):
        assert all(line.isprintable() for line in text.split("\n"))
        kinds = {token.type for token in SyntaxTreeNode(MarkdownIt().enable("table").parse(text)).walk()}
        assert not kinds & {"link", "image", "html_inline", "html_block", "code_inline"}
        assert "[c]" in text


def test_messages_and_events_are_lines_of_text_at_any_depth() -> None:
    for state in (FlowOutcome("Completed", ODD).state, refused(GuardRefused(ODD))):
        assert str(state.message).isprintable()
    assert every_text({"a": ["b", 1, {"c": ("d", None)}]}, str.upper) == {"A": ["B", 1, {"C": ["D", None]}]}


@pytest.mark.parametrize(
    ("value", "text"), [(None, "not known"), (0.0, "0.0 s"), (99.94, "99.9 s"), (125.0, "2 min 5 s")]
)
def test_seconds_are_written_as_people_read_them(value: float | None, text: str) -> None:
    assert seconds(value) == text


@dataclass(frozen=True)
class Ended:
    analyzer: str
    status: Status
    reason: str
    target: str = "west"
    warnings: tuple[str, ...] = ()
    seconds: float = 1.0


EDITED = "It was edited at west since it was copied. Copy the edit to east first, or overwrite it with --force {}."


def test_a_state_message_has_each_cause_once_before_what_follows_from_it() -> None:
    ends = [Ended("mailroom", Status.BLOCKED, "It needs a0, which failed.")]
    ends += [Ended(f"a{number}", Status.REFUSED, EDITED.format(f"a{number}")) for number in range(85)]
    ends += [Ended("done", Status.SUCCEEDED, "")]
    assert causes(ends) == [
        f"a0, a1, a2 and 82 more: {EDITED.format('ANALYZER')}",
        "mailroom: It needs a0, which failed.",
    ]
    more = [*ends, Ended("x", Status.FAILED, "No answer"), Ended("y", Status.FAILED, "Gone")]
    assert causes(more)[-1] == "And 2 other reasons: see the artifacts of this run."
    assert causes(ends[-1:]) == []


def test_a_table_says_the_same_of_many_analyzers_in_one_row_and_never_cuts_off_what_to_do() -> None:
    call = f"Fix it with az cognitiveservices {'deployment create ' * 50}--name end."
    ends = [Ended(f"a{number}", Status.REFUSED, EDITED.format(f"a{number}")) for number in range(12)]
    ends += [Ended("b", Status.FAILED, call), Ended("c", Status.SUCCEEDED, ""), Ended("d", Status.SUCCEEDED, "")]
    made: Any = shown(item_table("t", "Plan", ends, ("analyzer", "to", "status", "reason", "seconds", "warnings")))
    edited, broken, *good = made.table
    assert edited["analyzer"] == "a0, a1, a2 and 9 more"
    assert edited["analyzers"] == ", ".join(f"a{number}" for number in range(12))
    assert "--force ANALYZER" in edited["reason"]
    assert edited["seconds"] == ""
    assert broken["reason"] == call
    assert made.description.split("\n") == [
        *("Plan", "", f"- a0, a1, a2 and 9 more: {EDITED.format('ANALYZER')}", f"- b: {call}")
    ]
    assert [row["analyzer"] for row in good] == ["c", "d"]


@pytest.mark.parametrize(("flow", "form"), [("replicate", "replicate/manual"), ("drill", "drill/scheduled")])
def test_an_option_without_its_command_says_where_it_is_on_a_form(
    flow: str, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited, whole = EDITED.format("a"), "It was never drilled. Run standby drill p --to west."
    assert in_prefect(edited) == edited  # No flow runs here.
    monkeypatch.setenv("PREFECT__RUNTIME__FLOW_RUN__FLOW_NAME", flow)
    assert in_prefect(edited).endswith(f"are fields on the form of {form}, and of the command standby {flow}.")
    assert in_prefect(whole) == whole
