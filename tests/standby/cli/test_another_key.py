"""A signing key that is another one is no damage: what it cannot check says so, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.standby.cli.conftest import Workspace


@pytest.fixture
def signed(workspace: Workspace) -> tuple[Workspace, Path]:
    """A snapshot, the evidence of a drill and a log, all signed with a key that is replaced afterwards."""
    more = "vault: {path: ./vault, signing: {kind: hmac, key: '${VAULT_KEY}'}}\n"
    workspace.file.write_text(workspace.file.read_text(encoding="utf-8") + more, encoding="utf-8")
    workspace.environment["VAULT_KEY"] = "a-key-of-sixteen"
    for line in ("replicate invoices", "snapshot invoices", "drill invoices --to west"):
        assert workspace.run(*line.split()).status in {0, 3}
    (evidence,) = workspace.folder.glob("vault/drills/invoices/*/evidence.json")
    workspace.environment["VAULT_KEY"] = "another-key-of-sixteen"
    return workspace, evidence


def test_what_another_key_signed_is_not_called_damaged(signed: tuple[Workspace, Path]) -> None:
    workspace, evidence = signed
    for line, status in (
        ("audit verify", 1),
        (f"drill invoices --verify {evidence.parent.name}", 1),
        ("restore invoices --to west --dry-run", 1),
    ):
        ran = workspace.run(*line.split())
        said = " ".join((ran.out + ran.err).split())
        assert ran.status == status, said
        assert "but the configured key is" in said
        assert "→ Put that key back under vault.signing to check it" in said
        assert "damaged" not in said
        assert "trusted" not in said
        assert "who changed this" not in said


def test_a_changed_line_is_called_so_whatever_the_key_is(signed: tuple[Workspace, Path]) -> None:
    workspace, _ = signed
    log = workspace.folder / "vault" / "audit" / "invoices.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"drill.ended"', b'"drill.begun"'))
    ran = workspace.run("audit", "verify")
    assert (ran.status, "is damaged or was changed." in ran.out) == (1, True)
    assert "Put that key back" not in ran.out


def test_a_new_log_begins_as_the_advice_says(signed: tuple[Workspace, Path]) -> None:
    workspace, _ = signed
    kept = workspace.folder / "kept"
    kept.mkdir()
    for file in (workspace.folder / "vault" / "audit").iterdir():
        file.rename(kept / file.name)
    commit = workspace.run("commit", "invoices", "--force", "fence", "--reason", "the key was replaced", "--yes")
    assert commit.status == 0, commit.err
    assert workspace.run("snapshot", "invoices").status == 0
    verified = workspace.run("audit", "verify")
    assert verified.status == 0, verified.out
    assert workspace.run("restore", "invoices", "--to", "west", "--dry-run").status == 0


def test_every_forced_action_leaves_a_line(workspace: Workspace) -> None:
    assert workspace.run("replicate", "invoices").status in {0, 3}
    assert workspace.run("snapshot", "invoices").status == 0
    forced = ("--force", "fence", "--reason", "to be sure")
    for count, line in enumerate(("commit invoices --yes", "drill invoices --to west", "failback invoices --yes"), 1):
        workspace.run(*line.split(), *forced)
        shown = workspace.run("audit", "show", "invoices", "--json").document["plans"][0]["lines"]
        told = [each["facts"]["reason"] for each in shown if each["deed"] == "fence.not_lost"]
        assert told == ["to be sure"] * count, line
