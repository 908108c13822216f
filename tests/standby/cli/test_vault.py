"""The vault in a Prefect block, seen from commands that use no Prefect."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.standby.cli.conftest import Cloud, Workspace

BLOCK = "vault: {block: azure-blob-storage-container/vault}\nplans:"


@pytest.mark.parametrize("command", ["plan", "check", "replicate"])
def test_a_vault_in_a_block_alone_is_an_error_that_names_the_remedy(workspace: Workspace, command: str) -> None:
    workspace.edit("plans:", BLOCK)
    ran = workspace.run("--json", command, "invoices")
    assert ran.status == 1
    error = ran.document["error"]
    assert error["kind"] == "VaultNeedsPrefect"
    assert "azure-blob-storage-container/vault" in error["cause"]
    assert "add a path beside the block" in error["next_action"]


def test_a_path_beside_the_block_is_what_runs_without_prefect_use(workspace: Workspace) -> None:
    workspace.edit("plans:", BLOCK.replace("vault}", "vault, path: own}"))
    ran = workspace.run("--json", "replicate", "invoices", "--analyzer", "contract")
    assert ran.status == 0
    assert sorted(path.name for path in (workspace.folder / "own").rglob("*.jsonl")) == [
        "east_north.jsonl",
        "east_west.jsonl",
    ]


def test_the_report_says_where_what_was_replaced_is_kept(workspace: Workspace, cloud: Cloud) -> None:
    only = ("--json", "replicate", "invoices", "--analyzer", "contract", "--target", "west")
    workspace.run(*only)
    cloud.tell("edit", resource="east", analyzer="contract", changes={"description": "edited"})
    ran = workspace.run(*only, "--on-existing", "replace")
    (item,) = ran.document["items"]
    (kept,) = (workspace.folder / "vault" / "replaced" / "west" / "contract").iterdir()
    assert f"The analyzer contract that west had before is saved in {kept}." in item["warnings"]
    assert json.loads(kept.read_text(encoding="utf-8"))["analyzerId"] == "contract"
