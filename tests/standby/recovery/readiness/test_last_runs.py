"""What a replication run leaves for the night in which its source is dark."""

from __future__ import annotations

from datetime import timedelta

import pytest

from standby.recovery.runs import Durations, Kind, LastRuns, PairRun, remember_run
from standby.replication.items import ReplicationPlan, Selection, Status
from standby.replication.report import Report, ReportItem, end_of, make_report
from standby.replication.verdict import Action, Verdict
from tests.standby.replication.world import START, plan_item, recovery_plan
from tests.standby.vault.world import Memory

LATER = START + timedelta(days=1)


def result(
    analyzer: str, status: Status, action: Action = Action.COPY, verdict: Verdict = Verdict.MISSING
) -> ReportItem:
    item = plan_item(analyzer, verdict=verdict, action=action, target_analyzer=f"{analyzer}-dr")
    return end_of(item, status, "" if status is Status.SUCCEEDED else "Why.", seconds=2.5)


def report(*results: ReportItem) -> Report:
    items = tuple(plan_item(each.analyzer, verdict=each.verdict, action=each.action) for each in results)
    plan = ReplicationPlan(recovery_plan(), START, items, {})
    return make_report(plan, results, run_id="run-1", via="direct", seconds=9.0, now=START)


async def test_every_analyzer_is_remembered_with_its_name_and_whether_it_was_left_behind() -> None:
    vault = Memory()
    await remember_run(
        vault,
        report(
            result("copied", Status.SUCCEEDED),
            result("same", Status.SKIPPED, Action.SKIP, Verdict.IN_SYNC),
            result("broke", Status.FAILED),
            result("old", Status.REFUSED, Action.REFUSE, Verdict.SOURCE_AHEAD),
            result("edited", Status.REFUSED, Action.REFUSE, Verdict.TARGET_AHEAD),
        ),
        Selection(),
        START,
    )
    left = (await LastRuns.read(vault, "invoices")).of("east", "west").analyzers
    assert {name: (each.target_analyzer, each.behind) for name, each in left.items()} == {
        "copied": ("copied-dr", False),
        "same": ("same-dr", False),
        "broke": ("broke-dr", True),
        "old": ("old-dr", True),
        "edited": ("edited-dr", False),
    }
    assert {each.at for each in left.values()} == {START}


async def test_a_later_run_replaces_what_it_was_about_and_leaves_the_rest() -> None:
    vault = Memory()
    both = report(result("a", Status.FAILED), result("b", Status.SUCCEEDED))
    await remember_run(vault, both, Selection(), START)
    await remember_run(vault, report(result("a", Status.SUCCEEDED)), Selection(("a",)), LATER)
    left = (await LastRuns.read(vault, "invoices")).of("east", "west")
    assert {name: (each.at, each.behind) for name, each in left.analyzers.items()} == {
        "a": (LATER, False),
        "b": (START, False),
    }
    assert left.listed_at == START
    assert (await LastRuns.read(vault, "invoices")).of("east", "north") == PairRun()


async def test_a_later_run_of_the_whole_plan_forgets_what_is_no_longer_there() -> None:
    vault = Memory()
    both = report(result("a", Status.SUCCEEDED), result("b", Status.SUCCEEDED))
    await remember_run(vault, both, Selection(), START)
    await remember_run(vault, report(result("a", Status.SUCCEEDED)), Selection(), LATER)
    left = (await LastRuns.read(vault, "invoices")).of("east", "west")
    assert (set(left.analyzers), left.listed_at) == ({"a"}, LATER)


async def test_only_copies_that_succeeded_are_measured() -> None:
    vault = Memory()
    await remember_run(
        vault,
        report(
            result("a", Status.SUCCEEDED),
            result("b", Status.SUCCEEDED, Action.REPLACE, Verdict.SOURCE_AHEAD),
            result("c", Status.SUCCEEDED, Action.ADOPT, Verdict.CREATING),
            result("d", Status.SKIPPED, Action.SKIP, Verdict.IN_SYNC),
            result("e", Status.FAILED),
        ),
        Selection(),
        START,
    )
    assert (await Durations.read(vault, "invoices")).of(Kind.COPY) == (2.5, 2.5)


async def test_a_vault_that_fails_is_warned_of_and_does_not_fail_the_run(
    caplog: pytest.LogCaptureFixture,
) -> None:
    vault = Memory()
    vault.down = True
    await remember_run(vault, report(result("a", Status.SUCCEEDED)), Selection(), START)
    assert "This run is not recorded for readiness" in caplog.text


async def test_a_damaged_file_is_warned_of_and_made_anew(caplog: pytest.LogCaptureFixture) -> None:
    vault = Memory(files={"readiness/invoices.json": b"[1]"})
    assert await LastRuns.read(vault, "invoices") == LastRuns()
    await remember_run(vault, report(result("a", Status.SUCCEEDED)), Selection(), START)
    assert "counts as missing" in caplog.text
    assert set((await LastRuns.read(vault, "invoices")).of("east", "west").analyzers) == {"a"}


async def test_what_a_list_has_without_a_name_may_be_what_an_earlier_run_knew_and_is_none_itself() -> None:
    vault = Memory()
    await remember_run(vault, report(result("a", Status.SUCCEEDED), result("b", Status.SUCCEEDED)), Selection(), START)
    odd = report(result("a", Status.SKIPPED), result("no id (entry 2)", Status.BLOCKED))
    await remember_run(vault, odd, Selection(), LATER)
    left = (await LastRuns.read(vault, "invoices")).of("east", "west").analyzers
    assert {name: run.at for name, run in left.items()} == {"a": LATER, "b": START}
