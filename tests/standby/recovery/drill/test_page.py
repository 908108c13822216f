"""The page of a drill: everything that matters, and nothing in it that a name could make run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

from standby.recovery.drill.evidence import MOST_ANALYZERS, evidence_page
from standby.recovery.drill.report import CleanUp, DrilledAnalyzers, DrillReport
from standby.recovery.drill.verification import DrilledAnalyzer
from standby.recovery.failover.report import PhaseTime
from standby.recovery.snapshots.fidelity import Fidelity

BEGUN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NASTY = "<script>alert('x')</script>\"&"


def report(**changed: Any) -> DrillReport:
    made = {
        "plan": "invoices",
        "run_id": "run1",
        "via": "direct",
        "actor": NASTY,
        "home": "east",
        "to": "west",
        "scratch": None,
        "passed": True,
        "reasons": (),
        "phases": (PhaseTime(name="restore at west", started_at=BEGUN, seconds=2.0, outcome="done"),),
        "analyzers": DrilledAnalyzers(count=2, usable=2, fidelity={Fidelity.EQUIVALENT: 2}),
        "snapshot_id": "s1",
        "snapshot_taken_at": BEGUN,
        "recovery_seconds": 3.14,
        "rto_seconds": 900.0,
        "rto_met": True,
        "cleanup": CleanUp(created=("a",), deleted=("a",), proven=True),
        "seconds": 5.0,
        "begun_at": BEGUN,
        "ended_at": BEGUN + timedelta(seconds=5),
        "evidence": "vault/evidence.json",
        "evidence_digest": "ab" * 32,
        "key_id": "abc",
    }
    return DrillReport.model_validate({**made, **changed})


def analyzer(name: str, problem: str = "") -> DrilledAnalyzer:
    return DrilledAnalyzer(
        analyzer=name,
        target_analyzer=f"drill-{name}",
        fidelity=Fidelity.EXACT,
        fingerprint="f",
        problem=problem,
    )


class Tags(HTMLParser):
    """Collects the tags, and everything that a page would fetch."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in {"src", "href"}]


def test_says_what_was_proved() -> None:
    page = evidence_page(report(), None, [analyzer("invoice")], {"fence": "aa"}, {"fence": "aa"})
    for told in (
        "Passed",
        "the loss of east, with west in its place",
        "3.1 s, RTO 900 s: met",
        "2 of 2 could serve, 2 equivalent",
        "1 created, 1 deleted, 0 left; proven complete",
        "drill-invoice",
        "ab" * 32,
        "standby drill invoices --verify run1",
    ):
        assert told in page


def test_is_one_file_without_anything_that_runs() -> None:
    made = report(reasons=(NASTY,), passed=False, cleanup=CleanUp(left=(NASTY,), problem=NASTY))
    page = evidence_page(made, None, [analyzer(NASTY, NASTY)], {NASTY: "aa"}, {NASTY: "bb"})
    found = Tags(page)
    assert "script" not in found.tags
    assert found.fetched == []
    assert "Not passed" in page
    assert "not proven complete" in page


def test_lists_what_is_wrong_first_however_many_there_are() -> None:
    many = [analyzer(f"a{number}") for number in range(MOST_ANALYZERS + 5)]
    page = evidence_page(report(), None, [*many, analyzer("last", "It is broken")], {}, {})
    assert "It is broken" in page
    assert "And 6 more, which the JSON file has." in page


def test_of_one_that_did_not_come_far() -> None:
    made = report(
        passed=False,
        reasons=("The vault has no snapshot.",),
        snapshot_id="",
        snapshot_taken_at=None,
        recovery_seconds=None,
        rto_seconds=None,
        rto_met=None,
        phases=(),
        key_id=None,
    )
    page = evidence_page(made, None, [], {}, {})
    assert "did not come about" in page
    assert "none: vault.signing has no key" in page
