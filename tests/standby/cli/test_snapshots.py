from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.standby.cli.conftest import Cloud, Workspace

KEY = "a signing key of the tests"


def damage(workspace: Workspace, pattern: str) -> Path:
    """Turn one bit of a file in the vault."""
    [path, *_] = sorted((workspace.folder / "vault").glob(pattern))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return path


def test_writes_what_serves_and_says_where(workspace: Workspace) -> None:
    ran = workspace.run("snapshot", "invoices")

    assert ran.status == 0
    assert "  + east: 5 analyzers\n" in ran.out
    assert "5 new definitions, not signed.\n" in ran.out


def test_writes_no_definition_twice(workspace: Workspace) -> None:
    workspace.run("snapshot", "invoices")

    ran = workspace.run("snapshot", "invoices", "--json")

    assert ran.document["new_objects"] == 0
    assert ran.document["resources"] == {"east": 5}


def test_is_an_error_where_nothing_that_serves_answers(workspace: Workspace, cloud: Cloud) -> None:
    cloud.tell("outages", resource="east", kind="refuse")

    ran = workspace.run("snapshot", "invoices")

    assert ran.status == 1
    assert "No snapshot of plan invoices was taken" in ran.err


def test_lists_the_snapshots(workspace: Workspace) -> None:
    workspace.run("snapshot", "invoices")
    workspace.run("snapshot", "invoices")

    ran = workspace.run("snapshots", "invoices")

    assert ran.status == 0
    assert ran.out.count("east 5") == 2
    assert ran.out.endswith("Plan invoices: 2 snapshots.\n")


def test_lists_nothing_where_none_was_taken(workspace: Workspace) -> None:
    ran = workspace.run("snapshots", "invoices", "--json")

    assert (ran.status, ran.document["snapshots"]) == (0, [])


def test_finds_everything_as_it_was_written(workspace: Workspace) -> None:
    workspace.run("snapshot", "invoices")

    ran = workspace.run("snapshots", "invoices", "--verify")

    assert ran.status == 0
    assert "1 snapshot and 5 definitions read in 1 store: all files are unchanged.\n" in ran.out


def test_names_a_damaged_definition(workspace: Workspace) -> None:
    workspace.run("snapshot", "invoices")
    path = damage(workspace, "objects/invoices/*/*")

    ran = workspace.run("snapshots", "invoices", "--verify")

    assert ran.status == 3
    assert f"! {path} (the vault) was changed after it was written." in ran.out


def test_names_a_damaged_manifest_also_without_being_asked(workspace: Workspace) -> None:
    workspace.run("snapshot", "invoices")
    path = damage(workspace, "snapshots/invoices/2*.json")

    ran = workspace.run("snapshots", "invoices")

    assert ran.status == 3
    assert f"! {path} (the vault) was changed after it was written." in ran.out


def test_signs_with_the_key_of_the_environment(workspace: Workspace) -> None:
    workspace.environment["SIGNING"] = KEY
    text = workspace.file.read_text(encoding="utf-8")
    workspace.file.write_text(text + "vault: {signing: {kind: hmac, key: '${SIGNING}'}}\n", encoding="utf-8")

    ran = workspace.run("snapshot", "invoices")
    listed = workspace.run("snapshots", "invoices", "--verify", "--json")

    assert ran.out.endswith(", signed.\n")
    assert listed.document["snapshots"][0]["signed"] is True
    assert listed.document["verification"]["problems"] == []
    assert not any(KEY.encode() in path.read_bytes() for path in workspace.folder.rglob("vault/**/*.*"))


def test_writes_a_second_store_and_repairs_the_first_from_it(workspace: Workspace) -> None:
    text = workspace.file.read_text(encoding="utf-8")
    workspace.file.write_text(text + "vault: {second: {path: other}}\n", encoding="utf-8")
    workspace.run("snapshot", "invoices")
    path = damage(workspace, "snapshots/invoices/2*.json")
    good = (workspace.folder / "other" / path.relative_to(workspace.folder / "vault")).read_bytes()

    ran = workspace.run("restore", "invoices", "--to", "west", "--dry-run")

    assert ran.status == 2
    assert f"! {path} (the vault) was changed after it was written." in ran.out
    assert path.read_bytes() == good
