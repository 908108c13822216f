"""`standby commit`: there is no way back, and every sink knows."""

from __future__ import annotations

import json

from tests.standby.cli.conftest import Workspace


def prepared(workspace: Workspace) -> Workspace:
    workspace.edit("targets: [west, north]", "targets: [west]")
    with workspace.file.open("a", encoding="utf-8") as file:
        file.write("activation: [{kind: file, path: active.json}]\n")
    assert workspace.run("replicate", "invoices").status == 0
    return workspace


def test_before_any_failover_it_tells_the_sinks_what_serves(workspace: Workspace) -> None:
    site = prepared(workspace)
    ran = site.run("commit", "invoices", "--yes")
    assert ran.status == 0
    assert "Nothing was waiting for a commit" in ran.out
    book = json.loads((site.folder / "active.json").read_text(encoding="utf-8"))
    told = book["plans"]["invoices"]
    assert (told["epoch"], told["sources"]["east"]["resource"]) == (0, "east")


def test_it_makes_a_failover_final_and_repeating_it_changes_nothing(workspace: Workspace) -> None:
    site = prepared(workspace)
    assert site.run("failover", "invoices", "--yes", "--to", "west").status == 0
    before = (site.folder / "active.json").read_bytes()
    first = site.run("commit", "invoices", "--yes", "--json")
    assert first.status == 0
    assert (first.document["committed"], first.document["epoch"]) == ({"east": "west"}, 1)
    again = site.run("commit", "invoices", "--yes", "--json")
    assert (again.status, again.document["committed"]) == (0, {})
    assert (site.folder / "active.json").read_bytes() == before
    assert site.run("failover", "invoices", "--yes", "--to", "east").status == 4


def test_an_unknown_source_is_told(workspace: Workspace) -> None:
    ran = prepared(workspace).run("commit", "invoices", "--yes", "--primary", "west")
    assert ran.status == 1
    assert "west" in ran.err
