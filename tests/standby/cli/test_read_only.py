"""With --read-only nothing changes, anywhere: commands that only look work in full, and all others refuse at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from standby.cli.app import COMMANDS, OF_THEIR_OWN
from standby.config.vault import VaultSettings
from standby.errors import ReadOnly, is_read_only
from standby.vault.vault import open_vault
from tests.standby.cli.conftest import Cloud, Workspace

LOOKING = [
    ("schema",),
    ("status", "invoices"),
    ("check", "invoices"),
    ("plan", "invoices"),
    ("plan", "invoices", "--on-existing", "replace", "--force", "invoice"),
    ("doctor", "invoices"),
    ("snapshots", "invoices"),
    ("snapshots", "invoices", "--verify"),
    ("audit", "verify", "invoices"),
    ("audit", "show", "invoices"),
    ("automation",),
    ("explain", "DECISION"),
    ("restore", "invoices", "--to", "west", "--dry-run"),
    ("failback", "invoices", "--dry-run"),
    ("drill", "invoices", "--verify", "nothing"),
    ("report", "--html", "FILE"),
    ("report", "invoices", "--html", "FILE"),
    ("plan", "invoices", "--out", "FILE"),
    ("schema", "--out", "FILE"),
    ("doctor", "invoices", "--notify"),
    ("restore", "invoices", "--to", "west", "--dry-run", "--vault", "second"),
    ("status", "invoices", "--vault", "second"),
]
CHANGING = [
    ("init",),
    ("init", "--out", "FILE", "--yes"),
    ("replicate", "invoices"),
    ("replicate", "invoices", "--via", "prefect"),
    ("compare", "invoices", "--yes"),
    ("snapshot", "invoices"),
    ("restore", "invoices", "--to", "west"),
    ("restore", "invoices", "--to", "west", "--via", "prefect"),
    ("failover", "invoices", "--to", "west"),
    ("failover", "invoices", "--to", "west", "--yes"),
    ("failover", "invoices", "--to", "west", "--yes", "--via", "prefect"),
    ("failover", "invoices", "--to", "west", "--yes", "--force", "fence", "--reason", "lost"),
    ("commit", "invoices", "--yes"),
    ("failback", "invoices", "--yes"),
    ("drill", "invoices", "--to", "west"),
    ("drill", "invoices", "--clean-up"),
    ("automation", "off"),
    ("automation", "on", "--via", "prefect"),
    ("vault", "move", "vault", "elsewhere"),
    ("bootstrap",),
    ("bootstrap", "--remove", "--yes"),
    ("gateway",),
]
WRITES = {"put", "patch", "delete", "patch_defaults", "authorize", "copy"}  # The kinds of call that are no GET


def test_each_command_is_tried() -> None:
    assert {asked[0] for asked in (*LOOKING, *CHANGING)} | OF_THEIR_OWN == COMMANDS.keys()


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def calls(cloud: Cloud) -> dict[str, dict[str, int]]:
    """How often each resource was called, by kind of call."""
    return {name: cloud.stats(name)["calls"] for name in cloud.emulator.resources}


def writes(cloud: Cloud) -> dict[str, dict[str, int]]:
    return {name: {kind: n for kind, n in of.items() if kind in WRITES} for name, of in calls(cloud).items()}


def prepare(workspace: Workspace) -> None:
    """Leave copies, a snapshot, a sink, a failover and its decision, and a block that notifies people."""
    with workspace.file.open("a", encoding="utf-8") as file:
        file.write("vault: {path: vault, report: true, second: {path: replica}}\n")
        file.write("activation: [{kind: file, path: active.json}]\nnotifications: [slack-webhook/team]\n")
    assert workspace.run("replicate", "invoices", "--target", "west").status == 0
    assert workspace.run("snapshot", "invoices").status == 0
    assert workspace.run("failover", "invoices", "--to", "west", "--unplanned", "--yes").status == 0


@pytest.fixture
def kept(workspace: Workspace) -> Workspace:
    return workspace.once(prepare)


def filled(kept: Workspace, asked: tuple[str, ...]) -> list[str]:
    decision = next((kept.folder / "vault" / "decisions").iterdir()).stem
    return [{"FILE": str(kept.folder / "named"), "DECISION": decision}.get(part, part) for part in asked]


@pytest.mark.parametrize("asked", LOOKING, ids=" ".join)
def test_what_only_looks_works_in_full_and_writes_nothing_but_the_file_that_is_named(
    kept: Workspace, cloud: Cloud, asked: tuple[str, ...]
) -> None:
    named = kept.folder / "named"
    before = kept.run(*filled(kept, asked))
    named.unlink(missing_ok=True)
    content, done = files(kept.folder), writes(cloud)
    kept.environment["STANDBY_READ_ONLY"] = "1"
    ran = kept.run(*filled(kept, asked))
    assert ran.status == before.status, ran.out + ran.err
    assert "read-only" not in ran.err
    assert named.exists() == ("FILE" in asked)
    named.unlink(missing_ok=True)
    assert files(kept.folder) == content
    assert writes(cloud) == done
    assert is_read_only() is False  # of this process: the environment was that of the command


@pytest.mark.parametrize("asked", CHANGING, ids=" ".join)
def test_what_exists_to_change_something_refuses_at_once(kept: Workspace, cloud: Cloud, asked: tuple[str, ...]) -> None:
    content, done = files(kept.folder), calls(cloud)
    ran = kept.run("--read-only", *filled(kept, asked))
    assert ran.status == 4, ran.out + ran.err
    assert "read-only here; nothing was changed" in " ".join(ran.err.split())
    assert files(kept.folder) == content
    assert calls(cloud) == done


@pytest.mark.parametrize("word", ["1", "true", "YES", "on", "anything", "00", "-"])
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


@pytest.mark.parametrize("word", ["", " ", "0", "false", "FALSE", "No", " off "])
def test_a_plain_no_means_that_changes_are_allowed(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv("STANDBY_READ_ONLY", word)
    assert not is_read_only()
