from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from standby.emulator.definitions import PREBUILT_ANALYZERS
from tests.standby.cli.conftest import analyzers

if TYPE_CHECKING:
    from tests.standby.cli.conftest import Cloud, Workspace


def test_finds_nothing_where_all_is_in_sync(workspace: Workspace) -> None:
    workspace.edit("targets: [west, north]", "targets: [west]")
    workspace.run("replicate", "invoices")

    ran = workspace.run("check", "invoices")

    assert ran.status == 0
    assert ran.out == "Plan invoices: 5 in sync.\n"


def test_is_silent_where_all_is_in_sync_and_silence_is_asked_for(workspace: Workspace) -> None:
    workspace.edit("targets: [west, north]", "targets: [west]")
    workspace.run("replicate", "invoices")

    ran = workspace.run("check", "invoices", "-q")

    assert (ran.status, ran.out, ran.err) == (0, "", "")


def test_shows_what_differs_and_where(workspace: Workspace, cloud: Cloud) -> None:
    workspace.run("replicate", "invoices")
    cloud.tell("edit", resource="east", analyzer="contract", changes={"description": "edited"})

    ran = workspace.run("check", "invoices")

    assert ran.status == 2
    assert "  ≠ contract: source ahead. west has an older copy." in ran.out
    assert "      $.description\n" in ran.out
    assert "invoice:" not in ran.out
    assert ran.out.endswith("Plan invoices: 7 in sync, 2 source ahead, 1 blocked.\n")


def test_gives_differences_as_json_paths(workspace: Workspace, cloud: Cloud) -> None:
    workspace.run("replicate", "invoices")
    fields = {"fieldSchema": {"fields": {"Total": {"method": "generate"}}}}
    cloud.tell("edit", resource="west", analyzer="contract", changes=fields)

    ran = workspace.run("--json", "check", "invoices")

    assert ran.status == 2
    assert not ran.document["in_sync"]
    found = {(item["analyzer"], item["target"]): item for item in ran.document["items"]}
    assert found["contract", "west"]["verdict"] == "target_ahead"
    assert found["contract", "west"]["differences"] == ["$.fieldSchema.fields.Total.method"]
    assert found["contract", "north"]["differences"] == []


def test_changes_nothing_at_the_service_nor_in_the_vault(workspace: Workspace, cloud: Cloud) -> None:
    ran = workspace.run("check", "invoices")

    assert ran.status == 2
    assert cloud.calls() == {"list", "get_defaults"}
    assert [path.name for path in workspace.folder.iterdir()] == ["standby.yaml"]


def test_tells_of_an_analyzer_that_is_the_same_and_would_not_work(workspace: Workspace, cloud: Cloud) -> None:
    workspace.run("replicate", "invoices", "--target", "west")
    cloud.tell("settings", resource="west", defaults={"gpt-4.1": "gpt-4.1"})

    ran = workspace.run("check", "invoices")

    assert "  ? claim: west has no default deployment for model gpt-4o." in ran.out


def test_asks_for_each_page_once_and_for_the_defaults_and_for_nothing_of_single_analyzers(
    workspace: Workspace, cloud: Cloud
) -> None:
    workspace.run("replicate", "invoices")
    workspace.edit("targets: [west, north]", "targets: [west]")
    cloud.tell("settings", page_size=7)
    before = {name: cloud.stats(name)["calls"] for name in ("east", "west")}

    workspace.run("check", "invoices")

    for name, calls in before.items():
        made = {kind: count - calls.get(kind, 0) for kind, count in cloud.stats(name)["calls"].items()}
        pages = ceil((len(PREBUILT_ANALYZERS) + len(analyzers())) / 7)
        # The defaults say which copies would not work: a check that left them out would not be true.
        assert {kind: count for kind, count in made.items() if count} == {"list": pages, "get_defaults": 1}
