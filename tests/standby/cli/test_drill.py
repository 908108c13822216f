"""`standby drill` as an operator meets it: passed, not passed, killed, cleaned up, and checked later."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.standby.cli.conftest import Cloud, Workspace

Until = Callable[[Callable[[], bool]], None]


@pytest.fixture
def site(workspace: Workspace, cloud: Cloud) -> Workspace:
    """A snapshot of five analyzers, a key, an RTO, and a source that is gone."""
    workspace.edit("    deadlines:", "    objectives: {rto: 15m}\n    deadlines:")
    with workspace.file.open("a", encoding="utf-8") as file:
        file.write("vault: {signing: {kind: hmac, key: '${VAULT_KEY}'}}\n")
    workspace.environment["VAULT_KEY"] = "canary-0123456789abcdef"
    assert workspace.run("snapshot", "invoices").status == 0
    cloud.tell("outages", resource="east", kind="refuse")
    return workspace


def evidence(site: Workspace, run: str) -> Path:
    return site.folder / "vault" / "drills" / "invoices" / run / "evidence.json"


def test_passes_and_says_so(site: Workspace, cloud: Cloud) -> None:
    ran = site.run("drill", "invoices", "--to", "west")
    assert ran.status == 0, ran.out + ran.err
    assert "  analyzers: 5 of 5 could serve, 5 equivalent.\n" in ran.out
    assert ", within the RTO of 15 min.\n" in ran.out
    assert "  clean-up: 5 of 5 deleted, proven complete.\n" in ran.out
    assert "signed with key " in ran.out
    assert ran.out.splitlines()[-1].startswith("✓ Drill ")
    phases = [line for line in ran.err.splitlines() if line.startswith("… ")]
    assert "… drill, no real failover: clean up west" in phases
    assert all("drill, no real failover: " in phase for phase in phases)
    assert "canary" not in ran.out + ran.err
    assert cloud.stats("west")["calls"]["delete"] == 5


def test_gives_one_document_whose_evidence_can_be_checked(site: Workspace, tmp_path: Path) -> None:
    document = site.run("drill", "invoices", "--to", "west", "--json").document
    assert document["passed"]
    assert (document["home"], document["to"], document["rto_met"]) == ("east", "west", True)
    run = document["run_id"]

    ran = site.run("drill", "invoices", "--verify", run)
    assert ran.status == 0, ran.out
    assert "is unchanged since it was written, signed with key " in ran.out
    assert f"Drill {run} of plan invoices, east → west: passed in " in ran.out

    # Somewhere else, with its signature beside it; and changed by one letter.
    copy = tmp_path / "handed-in.json"
    shutil.copy(evidence(site, run), copy)
    shutil.copy(evidence(site, run).with_name("evidence.json.sig"), tmp_path / "handed-in.json.sig")
    assert site.run("drill", "invoices", "--verify", str(copy)).status == 0
    copy.write_bytes(copy.read_bytes().replace(b'"to": "west"', b'"to": "best"'))
    ran = site.run("drill", "invoices", "--verify", str(copy), "--json")
    assert ran.status == 1
    assert not ran.document["genuine"]
    assert len(ran.document["problems"]) == 2


def test_does_not_pass_where_a_model_is_missing(site: Workspace, cloud: Cloud) -> None:
    ran = site.run("drill", "invoices", "--to", "north")
    assert ran.status == 3
    assert "! claim: " in ran.out
    assert "gpt-4o" in ran.out
    assert "did not pass" in ran.out.splitlines()[-1]
    assert "proven complete" in ran.out


def test_one_that_is_killed_is_cleaned_up_by_command(site: Workspace, cloud: Cloud, until: Until) -> None:
    cloud.tell("settings", service_time=5.0)
    process = site.start("drill", "invoices", "--to", "west")
    until(lambda: cloud.stats("west")["calls"].get("put", 0) > 0)
    process.kill()
    process.wait()
    cloud.tell("settings", service_time=0.01)

    ran = site.run("drill", "invoices", "--clean-up")

    assert ran.status == 0, ran.out + ran.err
    assert ran.out.startswith("✓ Drill ")
    assert ", proven complete.\n" in ran.out
    ran = site.run("drill", "invoices", "--clean-up")
    assert (ran.status, ran.out) == (0, "No drill of plan invoices is unfinished: nothing is left.\n")


def test_is_in_the_audit_log(site: Workspace) -> None:
    run = site.run("drill", "invoices", "--to", "west", "--json").document["run_id"]
    (told,) = site.run("audit", "show", "invoices", "-n", "2", "--json").document["plans"]
    assert told["whole"]
    assert [(line["deed"], line["run_id"]) for line in told["lines"]] == [
        ("drill.begun", run),
        ("drill.ended", run),
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--clean-up", "--to", "west"],
        ["--clean-up", "--verify", "x"],
        ["--verify", "x", "--scratch", "north"],
    ],
)
def test_what_does_not_fit_together_is_wrong_usage(site: Workspace, arguments: list[str]) -> None:
    ran = site.run("drill", "invoices", *arguments, "--json")
    assert ran.status == 1
    assert ran.document["error"]["kind"] == "WrongUsage"


def test_a_run_without_evidence_is_told(site: Workspace) -> None:
    ran = site.run("drill", "invoices", "--verify", "never", "--json")
    assert ran.status == 1
    assert ran.document["error"]["kind"] == "NoEvidence"


def test_a_resource_of_the_plan_is_no_scratch_resource(site: Workspace) -> None:
    ran = site.run("drill", "invoices", "--to", "west", "--scratch", "north", "--json")
    assert ran.status == 4
    assert ran.document["error"]["kind"] == "ScratchUnfit"
    assert json.dumps(ran.document).count("north") >= 1
