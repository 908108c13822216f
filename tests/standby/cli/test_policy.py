"""What a plan's policy refuses: copies that leave their geography, and a failover that one person orders."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.standby.cli.conftest import Cloud, Workspace


@pytest.fixture
def elsewhere(workspace: Workspace) -> Workspace:
    """The target north is in Europe, and nothing allows that."""
    workspace.edit("    residency: {allow: [north]}\n", "")
    return workspace


def test_copies_that_leave_the_geography_are_refused_one_by_one(elsewhere: Workspace, cloud: Cloud) -> None:
    ran = elsewhere.run("replicate", "invoices", "--json")
    assert ran.status == 3
    items = [item for item in ran.document["items"] if item["target"] == "north"]
    assert {item["status"] for item in items} == {"refused", "blocked"}  # claim has no model there besides
    items = [item for item in items if item["analyzer"] != "claim"]
    reason = (
        "north is in Europe (EU data zone), and data of east stays in United States (US data zone). If that is "
        "allowed, add residency: {allow: [north]} to plan invoices."
    )
    assert {item["reason"] for item in items} == {reason}
    assert {item["status"] for item in ran.document["items"] if item["target"] == "west"} == {"succeeded"}
    planned = elsewhere.run("plan", "invoices", "--json").document["items"]
    reasons = {item["reason"] for item in planned if item["target"] == "north" and item["analyzer"] != "claim"}
    assert reasons == {reason}
    elsewhere.edit("targets: [west, north]}]", "targets: [west, north]}]\n    residency: {allow: [north]}")
    again = elsewhere.run("replicate", "invoices", "--json")
    assert "succeeded" in {item["status"] for item in again.document["items"] if item["target"] == "north"}


def test_a_restore_refuses_what_leaves_the_geography(elsewhere: Workspace, cloud: Cloud) -> None:
    assert elsewhere.run("snapshot", "invoices").status == 0
    ran = elsewhere.run("restore", "invoices", "--to", "north", "--json")
    assert ran.status == 3
    refused = [item for item in ran.document["items"] if item["status"] == "refused"]
    assert all("north is in Europe" in item["reason"] for item in refused)
    assert len(refused) == len(ran.document["items"])


def test_a_failover_that_leaves_the_geography_is_refused_and_can_be_forced(workspace: Workspace, cloud: Cloud) -> None:
    assert workspace.run("replicate", "invoices", "--analyzer", "invoice").status == 0
    workspace.edit("    residency: {allow: [north]}\n", "    include: [invoice]\n")
    asked = ("failover", "invoices", "--to", "north", "--unplanned", "--yes")
    told = workspace.run("status", "invoices")
    assert told.status == 2
    assert "! north is in Europe (EU data zone), and data of east stays in" in told.out
    assert "If that is allowed, add residency: {allow: [north]} to plan invoices." in told.out
    ran = workspace.run(*asked)
    assert ran.status == 4
    assert "NO residency: north is in Europe" in ran.out
    assert "ok readiness" in ran.out
    assert "--force residency" in ran.err
    forced = workspace.run(*asked, "--force", "residency", "--reason", "an emergency")
    assert forced.status == 0, forced.out + forced.err
    assert "residency: north is in Europe" in forced.out
    assert "(passed by force)" in forced.out
    log = workspace.run("audit", "show", "invoices", "--json").document
    assert '"forced": ["residency"]' in json.dumps(log)


def test_what_was_forced_once_is_resumed_without_force_and_leads_home_again(
    workspace: Workspace, cloud: Cloud, until: Callable[[Callable[[], bool]], None]
) -> None:
    workspace.edit("    residency: {allow: [north]}\n", "    include: [invoice]\n")
    assert workspace.run("snapshot", "invoices").status == 0
    cloud.fault("put", "hang", resource="north")
    asked = ("failover", "invoices", "--to", "north", "--unplanned", "--yes")
    killed = workspace.start(*asked, "--force", "residency")
    until(lambda: "put" in cloud.stats("north")["calls"])
    killed.kill()
    killed.wait()
    resumed = workspace.run(*asked, "--json")
    assert resumed.status == 0, resumed.out + resumed.err
    assert resumed.document["restored"]["created"] == ["invoice"]
    assert workspace.run("commit", "invoices", "--yes").status == 0
    home = workspace.run("failback", "invoices", "--yes")
    assert home.status == 0, home.out + home.err


def test_two_persons_fail_over_by_the_same_command(workspace: Workspace, cloud: Cloud) -> None:
    workspace.edit("    residency: {allow: [north]}\n", "    failover: {approvals: 2}\n    include: [invoice]\n")
    workspace.edit("targets: [west, north]", "targets: [west]")
    assert workspace.run("replicate", "invoices").status == 0
    asked = ("failover", "invoices", "--to", "west", "--unplanned", "--yes")
    workspace.environment["LOGNAME"] = "ada"
    for _ in range(2):
        ran = workspace.run(*asked)
        assert ran.status == 4
        assert "2 different persons have to approve it, and so far ada@" in " ".join(ran.out.split())
        assert "Another person has to run the same command within 30m" in " ".join(ran.err.split())
        assert "--force approvals" in ran.err
    # Programs get who approves, and anybody sees what waits and what the other person runs.
    facts = workspace.run(*asked, "--json").document["error"]["approvals"]
    assert [(each["by"].partition("@")[0], each["to"], each["planned"]) for each in facts] == [("ada", "west", False)]
    told = " ".join(workspace.run("status", "invoices").out.split())
    command = "standby failover invoices --primary east --to west --unplanned"
    assert f"{facts[0]['by']} approved a failover of east to west. It waits until " in told
    assert f"for another person, who runs {command}" in told
    assert workspace.run("status", "invoices", "--json").document["approvals"][0]["by"] == facts[0]["by"]
    workspace.environment["LOGNAME"] = "bob"
    done = workspace.run(*command.split()[1:], "--yes", "--json")
    assert done.status == 0, done.out + done.err
    explained = workspace.run("explain", done.document["decision_id"])
    assert "approvals approved by ada@" in " ".join(explained.out.split())
    assert " and bob@" in " ".join(explained.out.split())
    told = workspace.run("audit", "show", "invoices").out
    assert "was approved, by ada@" in " ".join(told.split())


def test_automatic_failover_by_two_persons_is_an_error_that_says_so(workspace: Workspace) -> None:
    workspace.edit("    residency: {allow: [north]}\n", "    failover: {approvals: 2, automatic: true}\n")
    ran = workspace.run("plan", "invoices")
    assert ran.status == 1
    assert "nobody approves an automatic failover: set automatic: false" in " ".join(ran.err.split())


def test_nobody_is_led_past_the_other_person_where_something_else_refuses_as_well(
    workspace: Workspace, cloud: Cloud
) -> None:
    assert workspace.run("replicate", "invoices", "--analyzer", "invoice").status == 0
    workspace.edit("    residency: {allow: [north]}\n", "    failover: {approvals: 2}\n    include: [invoice]\n")
    asked = ("failover", "invoices", "--to", "north", "--unplanned", "--yes")
    refused = workspace.run(*asked)
    assert refused.status == 4
    assert "fail over anyway with --force residency." in " ".join(refused.err.split())
    for person, status in (("ada", 4), ("bob", 0)):
        workspace.environment["LOGNAME"] = person
        ran = workspace.run(*asked, "--force", "residency")
        assert ran.status == status, ran.out + ran.err
