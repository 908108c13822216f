"""What the commands do about analyzers that labelled data trained: nothing is overwritten that cannot be put back."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.standby.cli.conftest import CANARIES, Cloud, Workspace

LATER = "2040-01-01T00:00:00Z"
"""A date after everything that these tests do, so that none of them waits for the next second."""


@pytest.fixture
def site(workspace: Workspace, cloud: Cloud) -> Workspace:
    """A plan of one trained analyzer, which was copied to west."""
    workspace.edit("targets: [west, north]}]", "targets: [west]}]\n    include: [taught]")
    with workspace.file.open("a", encoding="utf-8") as file:
        file.write("activation: [{kind: file, path: active.json}]\n")
    put(cloud, "east")
    ran = workspace.run("replicate", "invoices")
    assert ran.status == 0, ran.err
    return workspace


def call(cloud: Cloud, method: str, where: str, analyzer: str = "", **options: Any) -> Any:
    place = cloud.emulator.resources[where]
    url = f"{place.endpoint}/contentunderstanding/analyzers{analyzer and '/'}{analyzer}?api-version=2025-11-01"
    headers = {"Ocp-Apim-Subscription-Key": CANARIES[where]}
    answer = httpx.request(method, url, headers=headers, **options)
    answer.raise_for_status()
    return answer.json() if answer.content else None


def put(cloud: Cloud, where: str) -> None:
    """Train an analyzer with labelled data."""
    source = {"kind": "labeledData", "containerUrl": "https://x.blob.core.windows.net/l", "fileListPath": "f"}
    call(
        cloud,
        "PUT",
        where,
        "taught",
        json={
            "baseAnalyzerId": "prebuilt-document",
            "models": {"completion": "gpt-4.1"},
            "fieldSchema": {"name": "taught", "fields": {"Total": {"type": "number", "method": "extract"}}},
            "knowledgeSources": [source],
        },
    )
    while call(cloud, "GET", where, "taught")["status"] != "ready":
        pass


def held(cloud: Cloud, where: str) -> dict[str, Mapping[str, Any]]:
    """Everything of the plan that a resource holds."""
    listed = call(cloud, "GET", where)["value"]
    return {each["analyzerId"]: each for each in listed if each["analyzerId"].startswith("taught")}


def dated(cloud: Cloud, where: str, **changes: str) -> None:
    cloud.tell("edit", resource=where, analyzer="taught", changes=changes)


def edit(cloud: Cloud, where: str) -> None:
    dated(cloud, where, description=f"edited at {where}")


def rebuild(site: Workspace, cloud: Cloud, where: str) -> None:
    """Lose an analyzer after a snapshot, and restore it from that."""
    assert site.run("snapshot", "invoices").status == 0
    call(cloud, "DELETE", where, "taught")
    assert site.run("restore", "invoices", "--to", where).status == 0
    dates = held(cloud, where)["taught"]
    assert dates["status"] == "ready"


RETRAINED = pytest.mark.parametrize(
    "dates",
    [{"lastModifiedAt": LATER}, {"lastModifiedAt": LATER, "createdAt": LATER}],
    ids=["in its place", "as another incarnation"],
)


@RETRAINED
def test_a_training_at_the_target_is_told_by_every_command_and_stays(
    site: Workspace, cloud: Cloud, dates: dict[str, str]
) -> None:
    dated(cloud, "west", **dates)
    before = held(cloud, "west")

    for command in ("plan", "check"):
        ran = site.run(command, "invoices", "--json")
        assert ran.status == 2
        [item] = ran.document["items"]
        assert item["verdict"] == "target_ahead"
    replicated = site.run("replicate", "invoices", "--on-existing", "replace", "--json")

    assert replicated.status == 3
    [item] = replicated.document["items"]
    assert (item["status"], item["action"]) == ("refused", "refuse")
    assert item["reason"].startswith("By its dates, it was trained again at west since it was copied.")
    assert held(cloud, "west") == before


@RETRAINED
def test_trainings_at_both_are_divergence(site: Workspace, cloud: Cloud, dates: dict[str, str]) -> None:
    for where in ("east", "west"):
        dated(cloud, where, **dates)
    before = held(cloud, "west")

    ran = site.run("replicate", "invoices", "--on-existing", "replace", "--json")

    assert (ran.status, ran.document["items"][0]["verdict"]) == (3, "diverged")
    assert held(cloud, "west") == before


@pytest.mark.parametrize("lost", [(), ("rebuilt",), ("ledger", "begun"), ("rebuilt", "ledger", "begun")])
def test_a_region_that_was_restored_does_not_overwrite_the_only_trained_copy(
    site: Workspace, cloud: Cloud, lost: tuple[str, ...]
) -> None:
    rebuild(site, cloud, "east")
    if lost:
        # All of this may have happened within one second, and then dates tell nothing: an edit tells the two apart.
        edit(cloud, "east")
    before = held(cloud, "west")
    for folder in lost:
        shutil.rmtree(site.folder / "vault" / folder)

    ran = site.run("replicate", "invoices", "--on-existing", "replace")

    assert ran.status == 3
    assert "taught at west has its training, and the one at east was rebuilt from a definition" in " ".join(
        ran.out.split()
    )
    assert held(cloud, "west") == before


def test_by_order_the_trained_copy_is_kept_at_the_same_resource(site: Workspace, cloud: Cloud) -> None:
    rebuild(site, cloud, "east")
    shown = site.run("plan", "invoices", "--on-existing", "replace", "--force", "taught", "--json")
    assert "is kept under another id" in " ".join(shown.document["items"][0]["warnings"])

    ran = site.run("replicate", "invoices", "--on-existing", "replace", "--force", "taught", "--json")

    assert ran.status == 0, ran.err
    [item] = ran.document["items"]
    [kept] = held(cloud, "west").keys() - {"taught"}
    assert kept.startswith("taught_kept_20")
    assert any(kept in warning for warning in item["warnings"])
    assert cloud.stats("west")["copies_accepted"] == {"taught": 2, kept: 1}
    again = site.run("plan", "invoices", "--json")
    assert (again.status, [each["analyzer"] for each in again.document["items"]]) == (0, ["taught"])


def test_a_training_of_the_primary_comes_back_by_a_failover_and_a_failback(site: Workspace, cloud: Cloud) -> None:
    rebuild(site, cloud, "east")
    # The dates of the service are whole seconds: a copy of the same second looks like what it replaces.
    while f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}" <= held(cloud, "east")["taught"]["createdAt"]:
        pass
    before = held(cloud, "west")

    assert site.run("failover", "invoices", "--to", "west", "--planned", "--yes").status == 0
    assert site.run("commit", "invoices", "--yes").status == 0
    ran = site.run("failback", "invoices", "--yes")

    assert ran.status == 0, ran.out + ran.err
    assert "rebuilt at east, trained at west: taught (the version at west is kept)" in ran.out
    assert cloud.stats("east")["copies_accepted"] == {"taught": 1}
    assert held(cloud, "west") == before
    assert site.run("check", "invoices").status == 0


def test_a_failback_does_not_replace_the_trained_original_by_what_was_rebuilt(site: Workspace, cloud: Cloud) -> None:
    assert site.run("failover", "invoices", "--to", "west", "--yes").status == 0
    assert site.run("commit", "invoices", "--yes").status == 0
    rebuild(site, cloud, "west")
    edit(cloud, "west")
    before = held(cloud, "east")

    compared = site.run("failback", "invoices", "--dry-run", "--json")
    refused = [site.run("failback", "invoices", "--yes", *keep) for keep in ((), ("--keep", "taught=standby"))]

    assert compared.status == 4
    [item] = compared.document["items"]
    assert (item["divergence"], item["keep"], item["costs_training"]) == ("edited_at_standby", None, True)
    for ran in refused:
        assert ran.status == 4
        assert "taught at east is trained" in " ".join(ran.err.split())
        assert "--keep taught=standby --force taught" in " ".join(ran.err.split())
    assert held(cloud, "east") == before

    forced = site.run("failback", "invoices", "--yes", "--keep", "taught=standby", "--force", "taught")

    assert forced.status == 0, forced.err
    at_east = held(cloud, "east")
    [kept] = at_east.keys() - {"taught"}
    assert at_east["taught"]["description"] == "edited at west"
    assert kept in " ".join(forced.out.split())


def test_a_restore_leaves_a_trained_one_alone(site: Workspace, cloud: Cloud) -> None:
    assert site.run("snapshot", "invoices").status == 0
    edit(cloud, "west")
    dated(cloud, "west", lastModifiedAt=LATER)
    before = held(cloud, "west")

    ran = site.run("restore", "invoices", "--to", "west", "--json")

    assert [item["action"] for item in ran.document["items"]] == ["keep"]
    assert held(cloud, "west") == before
