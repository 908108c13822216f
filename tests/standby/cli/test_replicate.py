from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from standby.service.retries import HttpRetries

if TYPE_CHECKING:
    from tests.standby.cli.conftest import Cloud, Workspace

ITEM = {
    *("source", "target", "analyzer", "target_analyzer", "verdict", "action"),
    *("status", "reason", "seconds", "attempts", "operation_id", "warnings"),
}


def test_copies_what_is_missing_and_says_how_much(workspace: Workspace, cloud: Cloud) -> None:
    ran = workspace.run("replicate", "invoices", "--target", "west")

    assert ran.status == 0
    assert "east → west: 5 succeeded\n" in ran.out
    assert sum(cloud.stats("west")["copies_accepted"].values()) == 5


def test_run_twice_it_skips_everything(workspace: Workspace, cloud: Cloud) -> None:
    workspace.run("replicate", "invoices", "--target", "west")

    again = workspace.run("replicate", "invoices", "--target", "west", "--json")

    assert again.status == 0
    assert again.document["totals"] == {"succeeded": 0, "skipped": 5, "failed": 0, "blocked": 0, "refused": 0}
    assert sum(cloud.stats("west")["copies_accepted"].values()) == 5


def test_names_what_did_not_succeed_with_its_reason_and_ends_with_3(workspace: Workspace) -> None:
    ran = workspace.run("replicate", "invoices")

    assert ran.status == 3
    assert "east → north: 4 succeeded, 1 blocked\n" in ran.out
    assert "  ! claim blocked: north has no default deployment for model gpt-4o. Fix it with PATCH" in ran.out


def test_its_json_has_the_keys_of_the_contract(workspace: Workspace) -> None:
    ran = workspace.run("replicate", "invoices", "--json")

    report = ran.document
    assert set(report) == {"plan", "run_id", "via", "seconds", "totals", "objectives", "items"}
    assert (report["plan"], report["via"]) == ("invoices", "direct")
    assert report["totals"] == {"succeeded": 9, "skipped": 0, "failed": 0, "blocked": 1, "refused": 0}
    assert all(set(item) == ITEM for item in report["items"])
    for item in report["items"]:
        assert bool(item["operation_id"]) == (item["status"] == "succeeded")
        assert bool(item["reason"]) == (item["status"] != "succeeded")


def test_a_failure_is_told_with_the_services_inner_code(workspace: Workspace, cloud: Cloud) -> None:
    cloud.fault("copy", "operation_fails", resource="west", analyzer="contract", code="ContentTooLarge")

    ran = workspace.run("replicate", "invoices", "--target", "west", "--json")

    assert ran.status == 3
    (failed,) = (item for item in ran.document["items"] if item["status"] == "failed")
    assert failed["analyzer"] == "contract"
    assert "ContentTooLarge" in failed["reason"]


def test_can_be_told_which_analyzers_and_brings_along_what_they_need(workspace: Workspace) -> None:
    ran = workspace.run("replicate", "invoices", "--analyzer", "rout*", "--target", "west", "--json")

    assert ran.status == 0
    assert {item["analyzer"] for item in ran.document["items"]} == {"router", "invoice", "receipt"}
    assert all(item["target"] == "west" for item in ran.document["items"])


def test_says_which_analyzers_came_along_and_why(workspace: Workspace) -> None:
    ran = workspace.run("replicate", "invoices", "--analyzer", "router", "--target", "west")

    assert "  ? invoice and receipt: Not selected, but needed by router.\n" in ran.out


def test_replaces_only_with_leave_to(workspace: Workspace, cloud: Cloud) -> None:
    workspace.run("replicate", "invoices", "--target", "west")
    cloud.tell("edit", resource="east", analyzer="contract", changes={"description": "edited"})
    only = ("replicate", "invoices", "--target", "west", "--analyzer", "contract", "--json")

    refused = workspace.run(*only)
    replaced = workspace.run(*only, "--on-existing", "replace")

    assert refused.status == 3
    assert refused.document["items"][0]["status"] == "refused"
    assert "Allow it with --on-existing replace" in refused.document["items"][0]["reason"]
    assert replaced.status == 0
    assert replaced.document["items"][0]["action"] == "replace"


def test_copies_beside_what_is_there_as_a_version(workspace: Workspace, cloud: Cloud) -> None:
    workspace.run("replicate", "invoices", "--target", "west")
    cloud.tell("edit", resource="east", analyzer="contract", changes={"description": "edited"})

    ran = workspace.run(
        *("replicate", "invoices", "--target", "west", "--analyzer", "contract"),
        *("--on-existing", "version", "-v"),
    )

    assert ran.status == 0
    assert "  » contract as contract_v2: copied, " in ran.out


def test_names_each_copy_when_asked_to_say_more(workspace: Workspace) -> None:
    ran = workspace.run("-v", "replicate", "invoices", "--target", "west")

    assert "  + invoice: copied, " in ran.out


@pytest.mark.parametrize("more", [("--analyzer", "invoice"), ("--target", "west"), ("--on-existing", "replace")])
def test_a_saved_plan_leaves_nothing_else_to_choose(
    workspace: Workspace, tmp_path: Path, more: tuple[str, str]
) -> None:
    ran = workspace.run("replicate", "invoices", "--apply", str(tmp_path / "plan.json"), *more)

    assert ran.status == 1
    assert ran.out == ""
    assert f"leave out {more[0]}" in ran.err.replace("--analyzer, --target and --on-existing", more[0])


def test_a_plan_file_that_is_none_is_an_error(workspace: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text("{}", encoding="utf-8")

    ran = workspace.run("replicate", "invoices", "--apply", str(file))

    assert ran.status == 1
    assert (
        ran.err
        == f"error: {file} is not a saved plan of this version.\n  → Make one with standby plan PLAN --out FILE.\n"
    )


def test_a_target_that_cannot_be_reached_is_one_error_with_its_next_action(
    workspace: Workspace, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = partial(HttpRetries, attempts=2, wait_max=0.0)
    monkeypatch.setattr("standby.service.client.HttpRetries", impatient)
    cloud.tell("outages", resource="west", kind="refuse")

    ran = workspace.run("replicate", "invoices", "--target", "west", "--json")

    assert ran.status == 1
    assert ran.document["error"]["kind"] == "NotConnected"
    assert ran.document["error"]["next_action"] == (
        "Check the host and the port of the endpoint: nothing listens there, or a firewall refuses; "
        "if the region is down, fail over"
    )
    cause = ran.document["error"]["cause"]
    assert ran.err.startswith(f"error: {cause}.\n")
    assert "stamina" not in ran.err


def test_an_error_of_ours_is_no_traceback_unless_asked_for(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError(workspace.environment["EAST_KEY"])

    monkeypatch.setattr("standby.cli.replicate.open_recovery", broken)

    brief = workspace.run("replicate", "invoices", "--json")
    whole = workspace.run("replicate", "invoices", "-v")

    assert brief.status == whole.status == 1
    assert brief.document["error"]["kind"] == "ZeroDivisionError"
    assert "Traceback" not in brief.err
    assert workspace.environment["EAST_KEY"] not in brief.err
    assert "Traceback" in whole.err
