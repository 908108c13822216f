"""The page of a drill: everything that matters, and nothing in it that a name could make run."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

from standby.recovery.drill.cleanup import CleanUp
from standby.recovery.drill.findings import (
    MOST_ANALYZERS,
    DrilledAnalyzer,
    DrilledAnalyzers,
    DrillReport,
    Evidence,
    evidence_page,
)
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


def written(
    made: DrillReport,
    analyzers: Iterable[DrilledAnalyzer],
    before: dict[str, str] | None = None,
    after: dict[str, str] | None = None,
) -> str:
    """Give the page of a drill."""
    return evidence_page(
        Evidence(
            written_at=BEGUN,
            begun_line="",
            report=made,
            failover=None,
            analyzers=tuple(analyzers),
            published=(),
            before=before or {},
            after=after or {},
        )
    )


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
    page = written(report(), [analyzer("invoice")], {"fence": "aa"}, {"fence": "aa"})
    for told in (
        "Drill run1 of plan invoices, east → west: passed in 5.0 s.",
        "east is lost, and west serves for it",
        "3.1 s, within the RTO of 15 min",
        "2 of 2 could serve, 2 equivalent",
        "1 of 1 deleted, proven complete",
        "drill-invoice",
        "ab" * 32,
        "standby drill invoices --verify run1",
    ):
        assert told in page


def test_is_one_file_without_anything_that_runs() -> None:
    made = report(reasons=(NASTY,), passed=False, cleanup=CleanUp(left=(NASTY,), problem=NASTY))
    page = written(made, [analyzer(NASTY, NASTY)], {NASTY: "aa"}, {NASTY: "bb"})
    found = Tags(page)
    assert "script" not in found.tags
    assert found.fetched == []
    assert ": did not pass, after " in page
    assert "not proven complete" in page


def test_lists_what_is_wrong_first_however_many_there_are() -> None:
    many = [analyzer(f"a{number}") for number in range(MOST_ANALYZERS + 5)]
    page = written(report(), [*many, analyzer("last", "It is broken")], {}, {})
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
    page = written(made, [], {}, {})
    assert "not completed" in page
    assert "not signed: vault.signing has no key" in page
