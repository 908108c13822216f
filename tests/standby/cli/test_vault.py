"""The vault, as commands meet it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.standby.cli.conftest import Cloud, Workspace

COMMANDS = [
    ("plan", "invoices"),
    ("check", "invoices"),
    ("replicate", "invoices"),
    ("status", "invoices"),
    ("snapshots", "invoices"),
    ("audit", "verify"),
    ("automation",),
    ("failover", "invoices", "--yes", "--to", "west"),
    ("doctor",),
]


@pytest.mark.parametrize("vault", ["{block: s3-bucket/vault}", "{path: own, block: s3-bucket/vault}"])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_configuration_that_still_names_a_block_gets_one_error_that_says_what_to_write(
    workspace: Workspace, command: tuple[str, ...], vault: str
) -> None:
    workspace.edit("plans:", f"vault: {vault}\nplans:")
    ran = workspace.run("--json", *command)
    assert ran.status == 1
    error = ran.document["error"]
    assert error["kind"] == "ConfigurationError"
    assert error["cause"].count("can no longer be a Prefect block") == 1
    assert "url: az://CONTAINER/FOLDER with endpoint and credentials" in error["cause"]
    assert not (workspace.folder / "own").exists()


def test_the_report_says_where_what_was_replaced_is_kept(workspace: Workspace, cloud: Cloud) -> None:
    only = ("--json", "replicate", "invoices", "--analyzer", "contract", "--target", "west")
    workspace.run(*only)
    cloud.tell("edit", resource="east", analyzer="contract", changes={"description": "edited"})
    ran = workspace.run(*only, "--on-existing", "replace")
    (item,) = ran.document["items"]
    (kept,) = (workspace.folder / "vault" / "replaced" / "west" / "contract").iterdir()
    assert f"The analyzer contract that west had before is saved in {kept}." in item["warnings"]
    assert json.loads(kept.read_text(encoding="utf-8"))["analyzerId"] == "contract"
