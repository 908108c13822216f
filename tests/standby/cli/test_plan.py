from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from standby.document import digest_of_json

if TYPE_CHECKING:
    from tests.standby.cli.conftest import Cloud, Workspace

READING = {"list", "get_defaults"}


def test_shows_a_line_for_each_copy_with_its_symbol_and_reason(workspace: Workspace) -> None:
    ran = workspace.run("plan", "invoices", "--target", "west")

    assert ran.status == 2
    assert ran.err == ""
    assert "east → west" in ran.out
    assert "  + 5 analyzers: west does not have it.\n      claim, contract, invoice, receipt, router\n" in ran.out


def test_has_a_legend_of_the_symbols_that_it_uses_and_no_others(workspace: Workspace) -> None:
    legend = workspace.run("plan", "invoices").out.splitlines()[0]

    assert legend == "+ copy   ! leave alone"


def test_says_in_one_line_how_much_there_is_to_do_and_what_it_takes(workspace: Workspace) -> None:
    last = workspace.run("plan", "invoices").out.splitlines()[-1]

    assert last.startswith("Plan invoices: 9 to copy, 1 to leave alone. At most ")
    assert "% of the quota per minute of " in last
    assert last.endswith(" s by recordings of the service; no copy was measured yet.")


def test_changes_nothing_at_the_service(workspace: Workspace, cloud: Cloud) -> None:
    workspace.run("plan", "invoices")

    assert cloud.calls() == READING


def test_has_nothing_to_do_where_all_is_in_sync(workspace: Workspace) -> None:
    workspace.run("replicate", "invoices", "--target", "west")

    ran = workspace.run("plan", "invoices", "--target", "west")

    assert ran.status == 0
    assert ran.out == "Plan invoices: 5 in sync.\n"


def test_shows_what_differs_only_when_asked_to_say_more(workspace: Workspace, cloud: Cloud) -> None:
    workspace.run("replicate", "invoices")
    cloud.tell("edit", resource="east", analyzer="invoice", changes={"description": "edited"})

    brief = workspace.run("plan", "invoices", "--target", "west", "--on-existing", "replace")
    whole = workspace.run("plan", "invoices", "--target", "west", "--on-existing", "replace", "-v")

    assert "~ invoice: west has an older copy." in brief.out
    assert "$.description" not in brief.out
    assert "      $.description\n" in whole.out
    assert "= 4 analyzers: west has the same.\n      claim, contract, receipt, router\n" in whole.out


def test_says_why_an_analyzer_is_left_alone_and_what_mends_it(workspace: Workspace) -> None:
    ran = workspace.run("plan", "invoices")

    assert "! claim: north has no default deployment for model gpt-4o. Fix it with PATCH " in ran.out


def test_shows_defaults_that_would_be_added_before_the_copies(workspace: Workspace, cloud: Cloud) -> None:
    workspace.edit("    deadlines:", "    missing_defaults: sync\n    deadlines:")
    models = ("gpt-4.1", "gpt-4o", "text-embedding-3-large")
    made = [{"name": name, "model": name} for name in models]
    cloud.tell("settings", resource="west", defaults=None, deployments=made)
    # Which deployments there are is told by the management plane, and that only to Entra.
    workspace.edit('{kind: key, key: ${WEST_KEY}}\n    arm_endpoint: ""', "{kind: entra}\n    arm_endpoint: ARM")
    workspace.edit("ARM", cloud.emulator.arm)

    ran = workspace.run("plan", "invoices", "--target", "west", "--analyzer", "claim")

    assert ran.status == 2
    assert "+ default gpt-4o = gpt-4o: the target's defaults lack it." in ran.out


def test_gives_the_same_as_json_with_its_forecast(workspace: Workspace) -> None:
    ran = workspace.run("plan", "invoices", "--json")

    assert ran.status == 2
    plan = ran.document
    assert {item["action"] for item in plan["items"]} == {"copy", "refuse"}
    assert set(plan["items"][0]) == {
        *("source", "target", "analyzer", "target_analyzer", "verdict", "action", "reason", "warnings")
    }
    assert set(plan["forecast"]["calls"]) == {"east", "west", "north"}
    assert plan["forecast"]["quota_share"]["west"] > plan["forecast"]["quota_share"]["east"]
    shortest, longest = plan["forecast"]["seconds"]
    assert 0 < shortest < longest


def test_a_saved_plan_can_be_applied(workspace: Workspace, tmp_path: Path, cloud: Cloud) -> None:
    file = str(tmp_path / "plan.json")

    planned = workspace.run("plan", "invoices", "--target", "west", "--analyzer", "invoice", "--out", file)
    applied = workspace.run("replicate", "invoices", "--apply", file, "--json")

    assert planned.status == 2
    assert f"standby replicate invoices --apply {file}" in planned.err
    assert applied.status == 0
    assert [item["analyzer"] for item in applied.document["items"]] == ["invoice"]
    assert cloud.stats("west")["copies_accepted"] == {"invoice": 1}


def test_a_saved_plan_that_was_applied_says_so_and_one_that_was_interrupted_goes_on(
    workspace: Workspace, tmp_path: Path, cloud: Cloud
) -> None:
    file = str(tmp_path / "plan.json")
    workspace.run("plan", "invoices", "--target", "west", "--out", file)
    cloud.fault("authorize", "status", status=409, message="Busy.", analyzer="contract", times=1)
    first = workspace.run("replicate", "invoices", "--apply", file, "--json")
    assert (first.status, first.document["totals"]["succeeded"]) == (3, 4)

    second = workspace.run("replicate", "invoices", "--apply", file, "--json")
    third = workspace.run("replicate", "invoices", "--apply", file)

    assert (second.status, second.document["totals"]["succeeded"]) == (0, 1), second.err
    assert third.status == 0
    assert f"Nothing of {file} was left to do: it was applied before" in third.err
    assert sum(cloud.stats("west")["copies_accepted"].values()) == 5


def test_a_saved_plan_is_refused_once_the_world_has_moved(workspace: Workspace, tmp_path: Path, cloud: Cloud) -> None:
    file = str(tmp_path / "plan.json")
    workspace.run("plan", "invoices", "--out", file)
    cloud.tell("edit", resource="east", analyzer="invoice", changes={"description": "edited"})

    ran = workspace.run("replicate", "invoices", "--apply", file)

    assert ran.status == 4
    assert ran.out == ""
    assert "invoice (east → west) was edited at the source" in ran.err
    assert "Make a new plan, check it, and apply it." in ran.err
    assert cloud.stats("west")["copies_accepted"] == {}


def test_a_refusal_is_told_as_json_too(workspace: Workspace, tmp_path: Path, cloud: Cloud) -> None:
    file = str(tmp_path / "plan.json")
    workspace.run("plan", "invoices", "--out", file)
    cloud.tell("edit", resource="east", analyzer="invoice", changes={"description": "edited"})

    ran = workspace.run("--json", "replicate", "invoices", "--apply", file)

    assert ran.status == 4
    assert ran.document["error"]["kind"] == "PlanMoved"
    assert "invoice (east → west) was edited at the source" in ran.document["error"]["cause"]


def force_into(file: Path, item: dict[str, Any], *, digest: bool) -> None:
    """Edit a saved plan so that all it says of one refused analyzer agrees: it is to be overwritten."""
    held = json.loads(file.read_text(encoding="utf-8"))
    (found,) = [each for each in held["items"] if each["analyzer"] == item["analyzer"]]
    assert found["action"] == "refuse"
    found |= {"action": "replace", "verdict": item["verdict"], "reason": item["reason"]}
    held["force"] = [item["analyzer"]]
    if digest:
        held["digest"] = digest_of_json({key: held[key] for key in held if key not in {"digest", "seal"}})
    file.write_text(json.dumps(held), encoding="utf-8")


@pytest.mark.parametrize(("signing", "digest"), [("", False), ("hmac", False), ("hmac", True)])
def test_a_saved_plan_that_was_edited_is_refused_and_overwrites_nothing(
    workspace: Workspace, tmp_path: Path, cloud: Cloud, signing: str, digest: bool
) -> None:
    if signing:
        workspace.environment["VAULT_KEY"] = "a shared secret of many letters"
        workspace.edit("plans:", 'vault: {path: vault, signing: {kind: hmac, key: "${VAULT_KEY}"}}\nplans:')
    only = ("invoices", "--target", "west", "--analyzer", "invoice")
    workspace.run("replicate", *only)
    cloud.tell("edit", resource="west", analyzer="invoice", changes={"description": "edited at west"})
    forced = workspace.run("plan", *only, "--force", "invoice", "--json").document["items"][0]
    file = tmp_path / "plan.json"
    workspace.run("plan", *only, "--out", str(file))
    before = cloud.stats("west")["copies_accepted"]

    force_into(file, forced, digest=digest)
    ran = workspace.run("replicate", "invoices", "--apply", str(file), "--json")

    assert ran.status == 4
    assert ran.document["error"]["kind"] == "PlanNotTrusted"
    assert "so nothing was done" in ran.document["error"]["cause"]
    assert (
        ran.document["error"]["next_action"]
        == "Make a new plan with standby plan PLAN --out FILE, check it, and apply it"
    )
    assert cloud.stats("west")["copies_accepted"] == before


def test_with_a_public_key_alone_a_plan_is_not_saved_because_nobody_could_apply_it(
    workspace: Workspace, tmp_path: Path
) -> None:
    public = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
    workspace.edit("plans:", f'vault: {{path: vault, signing: {{kind: ed25519, public_key: "{public}"}}}}\nplans:')

    ran = workspace.run("plan", "invoices", "--out", str(tmp_path / "plan.json"))

    assert ran.status == 1
    assert "has only a public key, which cannot sign" in ran.err
    assert not (tmp_path / "plan.json").exists()


def test_a_plan_that_cannot_be_saved_is_an_error_before_anything_is_asked(
    workspace: Workspace, cloud: Cloud, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    wrong = {
        ".": "Is a directory",
        "file/plan.json": "its folder is a file",
        "file/deeper/plan.json": "Not a directory",
    }
    for path, why in wrong.items():
        ran = workspace.run("plan", "invoices", "--out", str(tmp_path / path))
        assert ran.status == 1
        assert ran.out == ""
        assert f"cannot be written: {why}." in ran.err
    assert cloud.calls() == set()


def test_a_folder_that_a_file_is_to_be_in_is_made(workspace: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "new" / "folder" / "plan.json"

    assert workspace.run("plan", "invoices", "--out", str(file)).status == 2
    assert file.is_file()
