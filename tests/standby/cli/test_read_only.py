"""With --read-only nothing changes, anywhere: commands that only look work in full, and all others refuse at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from standby.config.vault import VaultSettings
from standby.errors import ReadOnly, is_read_only
from standby.vault.vault import open_vault
from tests.standby.cli.conftest import Cloud, Workspace

LOOKING = [
    ("status", "invoices"),
    ("check", "invoices"),
    ("plan", "invoices"),
    ("doctor", "invoices"),
    ("snapshots", "invoices"),
    ("audit", "verify", "invoices"),
    ("audit", "show", "invoices"),
    ("automation", "show"),
]
CHANGING = [
    ("replicate", "invoices"),
    ("snapshot", "invoices"),
    ("restore", "invoices", "--to", "west"),
    ("failover", "invoices", "--to", "west", "--yes"),
    ("commit", "invoices", "--yes"),
    ("failback", "invoices", "--yes"),
    ("drill", "invoices", "--to", "west"),
    ("automation", "off"),
    ("vault", "move", "vault", "elsewhere"),
    ("bootstrap",),
    ("gateway",),
]


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def calls(cloud: Cloud) -> dict[str, Any]:
    """What each resource has counted, by kind of call."""
    return {name: cloud.stats(name)["calls"] for name in cloud.emulator.resources}


@pytest.fixture
def kept(workspace: Workspace) -> Workspace:
    """A plan with copies, a snapshot and a sink."""
    with workspace.file.open("a", encoding="utf-8") as file:
        file.write("vault: {path: vault, report: true}\nactivation: [{kind: file, path: active.json}]\n")
    assert workspace.run("replicate", "invoices", "--target", "west").status == 0
    assert workspace.run("snapshot", "invoices").status == 0
    return workspace


@pytest.mark.parametrize("by", ["option", "environment"])
def test_what_only_looks_works_in_full_and_writes_nothing(kept: Workspace, by: str) -> None:
    before = {asked: kept.run(*asked) for asked in LOOKING}
    content = files(kept.folder)
    option = ("--read-only",) if by == "option" else ()
    if by == "environment":
        kept.environment["STANDBY_READ_ONLY"] = "1"
    for asked in LOOKING:
        ran = kept.run(*asked, *option)
        assert ran.status == before[asked].status, (asked, ran.out, ran.err)
    page = kept.folder / "page.html"
    assert kept.run("report", "invoices", "--html", str(page), *option).status == 0
    page.unlink()
    assert files(kept.folder) == content
    assert not is_read_only()


def test_a_decision_is_explained_and_nothing_is_written(kept: Workspace) -> None:
    done = kept.run("failover", "invoices", "--to", "west", "--unplanned", "--yes", "--json")
    content = files(kept.folder)
    assert kept.run("--read-only", "explain", done.document["decision_id"]).status == 0
    assert files(kept.folder) == content


@pytest.mark.parametrize("asked", CHANGING, ids=" ".join)
def test_what_exists_to_change_something_refuses_at_once(kept: Workspace, cloud: Cloud, asked: tuple[str, ...]) -> None:
    content, before = files(kept.folder), calls(cloud)
    ran = kept.run("--read-only", *asked)
    assert ran.status == 4, ran.out + ran.err
    assert "read-only here; nothing was changed" in " ".join(ran.err.split())
    assert files(kept.folder) == content
    assert calls(cloud) == before


@pytest.mark.parametrize("word", ["1", "true", "yes", "anything"])
async def test_the_edges_refuse_whatever_asks_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make_resource: Any, word: str
) -> None:
    monkeypatch.setenv("STANDBY_READ_ONLY", word)
    async with open_vault(VaultSettings(path=tmp_path / "vault")) as vault:
        for work in (vault.write("a", b""), vault.swap("a", b"", None), vault.remove("a")):
            with pytest.raises(ReadOnly):
                await work
        with pytest.raises(ReadOnly):
            async with vault.hold("a"):
                pass
        assert await vault.read("a") is None
    assert not (tmp_path / "vault").exists()


@pytest.mark.parametrize("word", ["", "0", "false", "No", " off "])
def test_a_plain_no_means_that_changes_are_allowed(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv("STANDBY_READ_ONLY", word)
    assert not is_read_only()
