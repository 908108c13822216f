"""Two plans of one configuration, or of two, that protect the same analyzers in one vault."""

from __future__ import annotations

import json

import pytest

from tests.standby.cli.conftest import Cloud, Workspace

OTHER = """  second:
    pairs: [{source: east, targets: [north]}]
    include: [invoice, contract]
    on_existing: replace
    residency: {allow: [north]}
"""


def in_sync(workspace: Workspace) -> None:
    workspace.edit("targets: [west, north]", "targets: [west]")
    workspace.edit("plans:\n", f"plans:\n{OTHER}")
    with workspace.file.open("a", encoding="utf-8") as file:
        file.write("activation: [{kind: file, path: active.json}]\n")
    for plan in ("invoices", "second"):
        assert workspace.run("replicate", plan).status == 0


@pytest.fixture
def site(workspace: Workspace) -> Workspace:
    """Plan `invoices` to west, and a second one that copies two of its analyzers to north; both in sync."""
    return workspace.once(in_sync)


def fail_over(site: Workspace) -> None:
    ran = site.run("failover", "invoices", "--yes", "--to", "west")
    assert ran.status == 0, ran.out + ran.err


def active(site: Workspace, plan: str) -> str:
    book = json.loads((site.folder / "active.json").read_text(encoding="utf-8"))
    return str(book["plans"][plan]["sources"]["east"]["resource"])


def edit(cloud: Cloud, resource: str, text: str, *analyzers: str) -> None:
    for analyzer in analyzers:
        cloud.tell("edit", resource=resource, analyzer=analyzer, changes={"description": text})


def test_while_west_serves_for_one_plan_every_command_of_the_other_says_so(site: Workspace, cloud: Cloud) -> None:
    fail_over(site)
    edit(cloud, "east", "old news", "invoice", "contract")
    news = "west serves for east in plan invoices (epoch 1)"
    copied = site.run("replicate", "second")
    assert copied.status == 4
    assert news in copied.err
    assert "Run standby failback invoices first" in copied.err
    shown = site.run("plan", "second", "--json")
    assert shown.status == 2
    assert {item["action"] for item in shown.document["items"]} == {"refuse"}
    assert all(news in item["reason"] for item in shown.document["items"])
    checked = site.run("check", "second")
    assert checked.status == 2
    assert news in checked.out
    status = site.run("status", "second")
    assert status.status == 2
    assert news in status.out
    assert site.run("snapshot", "second").status == 3


def test_the_other_plan_fails_over_to_nowhere_else(site: Workspace) -> None:
    fail_over(site)
    for force in ((), ("--force", "readiness"), ("--unplanned", "--force", "readiness")):
        ran = site.run("failover", "second", "--yes", "--to", "north", *force)
        assert ran.status == 4, ran.out
        assert "plan invoices" in ran.err
    assert site.run("commit", "second", "--yes").status == 4
    book = json.loads((site.folder / "active.json").read_text(encoding="utf-8"))
    assert "second" not in book["plans"]


def test_after_the_failback_the_other_plan_goes_on(site: Workspace, cloud: Cloud) -> None:
    fail_over(site)
    edit(cloud, "west", "edited where it serves", "invoice")
    assert site.run("commit", "invoices", "--yes").status == 0
    assert site.run("failback", "invoices", "--yes").status == 0
    ran = site.run("replicate", "second", "--json")
    assert ran.status == 0
    assert ran.document["totals"]["succeeded"] == 1
    assert site.run("failover", "second", "--yes", "--to", "north").status == 0
    assert (active(site, "invoices"), active(site, "second")) == ("east", "north")


def test_a_plan_that_was_saved_before_the_failover_is_not_applied(site: Workspace, cloud: Cloud) -> None:
    edit(cloud, "east", "news", "invoice")
    saved = str(site.folder / "saved.json")
    assert site.run("plan", "second", "--out", saved).status == 2
    fail_over(site)
    ran = site.run("replicate", "second", "--apply", saved)
    assert ran.status == 4
    assert "plan invoices" in ran.err


def test_a_plan_that_was_renamed_is_failed_back_under_its_old_name_first(site: Workspace) -> None:
    fail_over(site)
    old = site.file.read_text(encoding="utf-8")
    site.edit("  invoices:\n", "  renamed:\n")
    ran = site.run("replicate", "renamed")
    assert ran.status == 4
    assert "where plan invoices is not in the configuration, add it again" in ran.err
    site.file.write_text(old, encoding="utf-8")
    assert site.run("failback", "invoices", "--yes").status == 0
    site.edit("  invoices:\n", "  renamed:\n")
    assert site.run("replicate", "renamed").status == 0


def test_two_plans_that_serve_at_west_are_failed_back_one_after_the_other_by_order(site: Workspace) -> None:
    # Two configurations with one vault: neither knows the plan of the other.
    alone = site.file.read_text(encoding="utf-8").replace(OTHER, "")
    site.file.write_text(alone, encoding="utf-8")
    file = site.folder / "second.yaml"
    text = alone.replace("  invoices:\n", "  second:\n    include: [invoice, contract]\n")
    file.write_text(text, encoding="utf-8")
    second = ("-c", str(file))
    fail_over(site)
    ran = site.run(*second, "failover", "second", "--yes", "--to", "west")
    assert ran.status == 0, ran.out + ran.err
    assert (active(site, "invoices"), active(site, "second")) == ("west", "west")
    assert site.run("failover", "invoices", "--yes", "--to", "east").status == 4
    assert site.run("commit", "invoices", "--yes").status == 0
    refused = site.run("failback", "invoices", "--yes")
    assert refused.status == 4
    assert "--force shared" in refused.err
    assert active(site, "invoices") == "west"
    assert site.run("failback", "invoices", "--yes", "--force", "shared").status == 0
    ran = site.run(*second, "failback", "second", "--yes")
    assert ran.status == 0, ran.out + ran.err
    assert (active(site, "invoices"), active(site, "second")) == ("east", "east")
