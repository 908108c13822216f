from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.standby.cli.conftest import Cloud, Workspace


@pytest.fixture
def lost_east(workspace: Workspace, cloud: Cloud) -> Workspace:
    """A workspace with a snapshot of the east, which is gone since."""
    workspace.run("snapshot", "invoices")
    cloud.tell("outages", resource="east", kind="refuse")
    return workspace


def test_says_how_true_each_analyzer_will_be_before_it_acts(lost_east: Workspace, cloud: Cloud) -> None:
    ran = lost_east.run("restore", "invoices", "--to", "west")

    assert ran.status == 0
    assert "  + 5 analyzers: equivalent. west does not have it. It is rebuilt from its definition.\n" in ran.out
    assert ran.out.index("analyzers: equivalent") < ran.out.index("5 succeeded")
    assert "5 succeeded in " in ran.out


def test_asks_nothing_of_the_source(lost_east: Workspace, cloud: Cloud) -> None:
    before = cloud.stats("east")["calls"]

    lost_east.run("restore", "invoices", "--to", "west")

    assert cloud.stats("east")["calls"] == before


def test_shows_only_what_it_would_do(lost_east: Workspace, cloud: Cloud) -> None:
    ran = lost_east.run("restore", "invoices", "--to", "west", "--dry-run", "--json")

    assert ran.status == 2
    assert ran.document["totals"] == {"create": 5, "keep": 0, "refuse": 0}
    assert {item["fidelity"] for item in ran.document["items"]} == {"equivalent"}
    assert "put" not in cloud.stats("west")["calls"]


def test_says_how_long_it_will_take_as_soon_as_that_was_measured(workspace: Workspace, cloud: Cloud) -> None:
    workspace.run("snapshot", "invoices")
    unknown = workspace.run("restore", "invoices", "--to", "west", "--dry-run")
    unknown_json = workspace.run("restore", "invoices", "--to", "west", "--dry-run", "--json").document
    workspace.run("replicate", "invoices", "--target", "north")
    ran = workspace.run("restore", "invoices", "--to", "west", "--dry-run")
    usual, slow = workspace.run("restore", "invoices", "--to", "west", "--dry-run", "--json").document["forecast"][
        "seconds"
    ]

    assert "Not known yet: 5 analyzers must be restored first, and no restore was measured.\n" in unknown.out
    assert unknown_json["forecast"] is None
    assert "5 analyzers, 10 at a time, children first, from " in ran.out
    assert "copies, because no restore was measured yet).\n" in ran.out
    assert 0 < usual <= slow


def test_finds_nothing_left_to_do_the_second_time(lost_east: Workspace) -> None:
    lost_east.run("restore", "invoices", "--to", "west")

    again = lost_east.run("restore", "invoices", "--to", "west", "--dry-run")

    assert again.status == 0
    assert "  = 5 analyzers: equivalent. west has it already, rebuilt from its definition.\n" in again.out
    assert "\n\n" not in again.out
    assert again.out.endswith("\n5 analyzers: 5 there.\n")


def test_calls_verified_copies_exact(workspace: Workspace, cloud: Cloud) -> None:
    workspace.run("replicate", "invoices")
    workspace.run("snapshot", "invoices")
    cloud.tell("outages", resource="east", kind="refuse")

    ran = workspace.run("restore", "invoices", "--to", "west", "--json")

    assert {item["fidelity"] for item in ran.document["items"]} == {"exact"}
    assert ran.document["totals"]["skipped"] == 5


def test_leaves_alone_what_differs_and_ends_as_partial(workspace: Workspace, cloud: Cloud) -> None:
    workspace.run("replicate", "invoices")
    workspace.run("snapshot", "invoices")
    cloud.tell("edit", resource="west", analyzer="contract", changes={"description": "edited here"})

    ran = workspace.run("restore", "invoices", "--to", "west", "--json")

    assert ran.status == 3
    [kept] = [item for item in ran.document["items"] if item["status"] == "refused"]
    assert (kept["analyzer"], kept["action"], kept["fidelity"]) == ("contract", "keep", "unfaithful")
    assert "not changed" in kept["reason"]


def test_restores_only_what_is_asked_for_with_what_it_needs(lost_east: Workspace) -> None:
    ran = lost_east.run("restore", "invoices", "--to", "west", "--analyzer", "router", "--json")

    assert [item["analyzer"] for item in ran.document["items"]] == ["invoice", "receipt", "router"]
    assert ran.document["items"][0]["warnings"] == ["Not selected, but needed by one that is."]


def test_refuses_what_the_target_cannot_serve(lost_east: Workspace) -> None:
    ran = lost_east.run("restore", "invoices", "--to", "north", "--json")

    assert ran.status == 3
    [refused] = [item for item in ran.document["items"] if item["status"] == "refused"]
    assert refused["analyzer"] == "claim"
    assert "north has no default deployment for model gpt-4o" in refused["reason"]


def test_restores_from_an_earlier_moment(workspace: Workspace, cloud: Cloud) -> None:
    workspace.run("snapshot", "invoices")

    ran = workspace.run("restore", "invoices", "--to", "west", "--as-of", "2020-01-01")

    assert ran.status == 1
    assert "has no snapshot of plan invoices as of 2020-01-01 00:00:00 UTC" in ran.err


@pytest.mark.parametrize("moment", ["now", "0.001s ago", "UTC"])
def test_a_moment_can_be_given_as_the_help_says_and_as_it_is_listed(workspace: Workspace, moment: str) -> None:
    taken = workspace.run("snapshot", "invoices", "--json").document["taken_at"]
    if moment == "UTC":
        moment = taken[:19].replace("T", " ") + " UTC"
        assert moment in workspace.run("snapshots", "invoices").out

    ran = workspace.run("restore", "invoices", "--to", "west", "--dry-run", "--as-of", moment)

    assert ran.status == 2, ran.err


def test_refuses_a_moment_that_is_none(workspace: Workspace) -> None:
    ran = workspace.run("restore", "invoices", "--to", "west", "--as-of", "last summer")

    assert ran.status == 1
    assert "must be a date such as 2026-01-31" in ran.err


def test_refuses_an_unknown_target_with_the_nearest_name(workspace: Workspace) -> None:
    workspace.run("snapshot", "invoices")

    ran = workspace.run("restore", "invoices", "--to", "wets")

    assert ran.status == 1
    assert "There is no resource of plan invoices named wets: did you mean west?" in ran.err


def test_says_that_nothing_was_kept_yet(workspace: Workspace) -> None:
    ran = workspace.run("restore", "invoices", "--to", "west")

    assert ran.status == 1
    assert "The vault has no snapshot of plan invoices." in ran.err


def test_writes_down_who_restored_what(lost_east: Workspace) -> None:
    lost_east.run("restore", "invoices", "--to", "west")

    log = (lost_east.folder / "vault" / "audit" / "invoices.jsonl").read_text(encoding="utf-8")
    assert [deed in log for deed in ("snapshot.taken", "restore.begun", "restore.ended")] == [True] * 3
