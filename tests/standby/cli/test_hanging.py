"""A region that hangs is given up as soon as `standby status` gives it up, said, and the rest goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.standby.cli.conftest import Cloud, Workspace

PATIENCE = 3.0
"""Seconds for these tests; the commands have 15. A hung call would take thirty, four times."""

GIVEN_UP = "No complete answer from west within 3 s"


@pytest.fixture(autouse=True)
def _short_of_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("standby.service.sender.ANSWER_SECONDS", PATIENCE)


def with_a_snapshot(workspace: Workspace) -> None:
    assert workspace.run("replicate", "invoices").status == 3
    assert workspace.run("snapshot", "invoices").status == 0


@pytest.fixture
def site(workspace: Workspace) -> Workspace:
    """Copies at west and at north, as far as north can serve them, and a snapshot."""
    return workspace.once(with_a_snapshot)


def hang(cloud: Cloud, resource: str, call: str | None = None) -> None:
    """Let a resource hang; or only one kind of its calls, while it answers others."""
    if call is None:
        cloud.tell("outages", resource=resource, kind="hang")
    else:
        cloud.fault(call, "hang", resource=resource)


def by_target(document: Any) -> dict[str, set[str]]:
    """What each target has, by verdict."""
    found: dict[str, set[str]] = {}
    for item in document["items"]:
        found.setdefault(item["target"], set()).add(item["verdict"])
    return found


@pytest.mark.parametrize("call", [None, "list"])
@pytest.mark.parametrize(("command", "status"), [("plan", 2), ("check", 2), ("replicate", 3)])
def test_a_target_that_hangs_costs_its_own_copies_only(
    site: Workspace, cloud: Cloud, command: str, status: int, call: str | None
) -> None:
    cloud.tell("edit", resource="east", analyzer="contract", changes={"description": "edited"})
    hang(cloud, "west", call)

    ran = site.run(command, "invoices", *(["--on-existing", "replace"] if command != "check" else []), "--json")

    assert ran.status == status, ran.err
    assert by_target(ran.document)["west"] == {"blocked"}
    assert {"in_sync", "source_ahead"} <= by_target(ran.document)["north"]
    assert GIVEN_UP in ran.document["unseen"]["west"]
    if command == "replicate":
        done = [item for item in ran.document["items"] if item["target"] == "north" and item["analyzer"] == "contract"]
        assert [item["status"] for item in done] == ["succeeded"]
        assert {GIVEN_UP in item["reason"] for item in ran.document["items"] if item["target"] == "west"} == {True}


def test_what_was_known_of_a_target_that_hangs_stays_known(site: Workspace, cloud: Cloud) -> None:
    """Its copies are no older for it: once it answers again, it can take over as before."""
    file = site.folder / "vault" / "readiness" / "invoices.json"
    before = json.loads(file.read_text(encoding="utf-8"))["sources"]["east"]["west"]
    hang(cloud, "west")
    assert site.run("replicate", "invoices").status == 3
    assert json.loads(file.read_text(encoding="utf-8"))["sources"]["east"]["west"] == before


def test_a_run_says_what_it_could_not_look_at(site: Workspace, cloud: Cloud) -> None:
    hang(cloud, "west")
    ran = site.run("check", "invoices")
    assert "west could not be read, and everything about it is blocked" in ran.out


def test_a_plan_whose_source_hangs_ends_with_the_reason(site: Workspace, cloud: Cloud) -> None:
    hang(cloud, "east")
    for command in ("plan", "check", "replicate"):
        ran = site.run(command, "invoices")
        assert (ran.status, "No complete answer from east within 3 s" in ran.err) == (1, True), command


def test_of_two_sources_the_one_that_answers_is_copied(workspace: Workspace, cloud: Cloud) -> None:
    workspace.edit("targets: [west, north]}", "targets: [west]}, {source: north, targets: [east]}")
    hang(cloud, "north")
    ran = workspace.run("replicate", "invoices", "--json")
    assert ran.status == 3, ran.out + ran.err
    assert set(ran.document["unseen"]) == {"north"}
    assert by_target(ran.document) == {"west": {"missing"}}
    assert ran.document["totals"]["succeeded"] == 5
    assert workspace.run("check", "invoices").status == 2
    assert (site_knows(workspace, "east"), site_knows(workspace, "north")) == (True, False)


def site_knows(workspace: Workspace, source: str) -> bool:
    """Say whether the records of the last runs claim to have listed a source."""
    file = workspace.folder / "vault" / "readiness" / "invoices.json"
    return source in json.loads(file.read_text(encoding="utf-8"))["sources"]


@pytest.mark.parametrize(
    ("command", "resource", "status"),
    [
        (("snapshot", "invoices"), "east", 1),
        (("restore", "invoices", "--to", "west"), "west", 1),
        (("drill", "invoices", "--to", "west"), "west", 3),
        (("doctor", "invoices"), "west", 1),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_what_needs_the_region_itself_ends_with_the_reason(
    site: Workspace, cloud: Cloud, command: tuple[str, ...], resource: str, status: int
) -> None:
    hang(cloud, resource)
    ran = site.run(*command)
    assert ran.status == status, ran.out + ran.err
    assert f"No complete answer from {resource} within 3 s" in ran.out + ran.err


@pytest.mark.parametrize("resource", ["east", "west"])
def test_a_failback_is_not_begun_with_a_region_that_hangs(site: Workspace, cloud: Cloud, resource: str) -> None:
    assert site.run("failover", "invoices", "--to", "west", "--unplanned", "--yes").status == 0
    hang(cloud, resource)
    ran = site.run("failback", "invoices", "--yes")
    assert ran.status in {1, 4}, ran.out
    assert f"No complete answer from {resource} within 3 s" in ran.err
