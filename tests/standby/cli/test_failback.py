"""`standby failback`: what was edited where, and how the primary serves again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.standby.cli.conftest import Cloud, Workspace


def failed_over(workspace: Workspace) -> None:
    workspace.edit("targets: [west, north]", "targets: [west]")
    with workspace.file.open("a", encoding="utf-8") as file:
        file.write("activation: [{kind: file, path: active.json}]\n")
    assert workspace.run("replicate", "invoices").status == 0
    assert workspace.run("failover", "invoices", "--yes", "--to", "west").status == 0
    assert workspace.run("commit", "invoices", "--yes").status == 0
    assert active(workspace) == "west"


@pytest.fixture
def site(workspace: Workspace) -> Workspace:
    """A plan that was failed over to west and committed, and a file that says so."""
    return workspace.once(failed_over)


def active(workspace: Workspace) -> Any:
    book = json.loads((workspace.folder / "active.json").read_text(encoding="utf-8"))
    return book["plans"]["invoices"]["sources"]["east"]["resource"]


def edit(cloud: Cloud, where: str, analyzer: str) -> None:
    cloud.tell("edit", resource=where, analyzer=analyzer, changes={"description": f"edited at {where}"})


def test_edits_are_copied_to_the_primary_and_it_serves_again(site: Workspace, cloud: Cloud) -> None:
    edit(cloud, "west", "invoice")
    edit(cloud, "east", "contract")

    ran = site.run("failback", "invoices", "--yes")

    assert ran.status == 0, ran.err
    assert "east and west since the last copies:\n" in ran.out
    assert "  ← edited at west: invoice (the version at west is kept)\n" in ran.out
    assert "  → edited at east: contract (the version at east is kept)\n" in ran.out
    assert "  = 3 in sync\n" in ran.out
    assert "west → east: 1 succeeded" in ran.out
    assert "east serves again, and that is committed" in ran.out
    assert active(site) == "east"
    assert site.run("check", "invoices").status == 0


def test_dry_run_compares_and_does_nothing(site: Workspace, cloud: Cloud) -> None:
    edit(cloud, "west", "invoice")

    ran = site.run("failback", "invoices", "--dry-run", "--json")

    assert ran.status == 0
    assert set(ran.document) == {*("plan", "home", "standby", "epoch", "compared_at", "items", "superseded", "outside")}
    (edited,) = (item for item in ran.document["items"] if item["divergence"] != "in_sync")
    assert edited == {
        "analyzer": "invoice",
        "standby_analyzer": "invoice",
        "divergence": "edited_at_standby",
        "keep": "standby",
        "differences": ["$.description"],
        "rebuilt": False,
    }
    assert active(site) == "west"


def test_edits_at_both_refuse_it_until_somebody_decides(site: Workspace, cloud: Cloud) -> None:
    for where in ("east", "west"):
        edit(cloud, where, "invoice")

    compared = site.run("failback", "invoices", "--dry-run")
    refused = site.run("failback", "invoices", "--yes")
    settled = site.run("failback", "invoices", "--yes", "--keep", "invoice=standby", "--json")

    assert compared.status == refused.status == 4
    assert "  ? edited at east and at west: invoice\n" in refused.out
    assert "--keep invoice=primary or --keep invoice=standby" in refused.err
    assert settled.status == 0, settled.err
    report = settled.document
    assert (report["state"], report["home"], report["standby"]) == ("failed_back", "east", "west")
    assert report["sync"]["totals"]["succeeded"] == 1
    assert active(site) == "east"
    kept = list((site.folder / "vault" / "replaced" / "east" / "invoice").iterdir())
    assert [json.loads(each.read_text(encoding="utf-8"))["description"] for each in kept] == ["edited at east"]


def test_a_second_one_says_that_there_is_nothing_to_fail_back(site: Workspace) -> None:
    assert site.run("failback", "invoices", "--yes").status == 0

    again = site.run("failback", "invoices", "--yes")
    compared = site.run("failback", "invoices", "--dry-run")

    assert (again.status, compared.status) == (0, 0)
    assert "east serves already; there is nothing to fail back" in again.out
    assert "Every primary of plan invoices serves" in compared.out


def test_a_copy_that_fails_leaves_the_standby_serving(site: Workspace, cloud: Cloud) -> None:
    edit(cloud, "west", "contract")
    cloud.fault("copy", "operation_fails", resource="east", analyzer="contract", code="ContentTooLarge")

    ran = site.run("failback", "invoices", "--yes")

    assert ran.status == 3
    assert "ContentTooLarge" in ran.out
    assert "Not failed back to east: west still serves" in ran.out
    assert active(site) == "west"


def test_the_primary_s_may_be_kept_by_either_word(site: Workspace, cloud: Cloud) -> None:
    for where in ("east", "west"):
        edit(cloud, where, "invoice")

    kept = {
        word: site.run("failback", "invoices", "--dry-run", "--json", "--keep", f"invoice={word}").document
        for word in ("primary", "home")
    }

    assert kept["primary"]["items"] == kept["home"]["items"]
    assert {item["keep"] for item in kept["primary"]["items"]} == {"home"}


@pytest.mark.parametrize("wrong", ["invoice", "invoice=both", "=home"])
def test_keep_says_which(site: Workspace, wrong: str) -> None:
    ran = site.run("failback", "invoices", "--yes", "--keep", wrong)

    assert ran.status == 1
    assert "write ID=primary or ID=standby" in ran.err


def test_an_analyzer_that_nobody_has_is_told(site: Workspace) -> None:
    ran = site.run("failback", "invoices", "--yes", "--keep", "invoize=home", "--json")

    assert ran.status == 1
    assert ran.document["error"]["kind"] == "NotCompared"
    assert "standby failback invoices --dry-run" in ran.document["error"]["next_action"]
