"""A vault with a block for flows and a folder beside it: no switch goes by the folder's fence unasked."""

from __future__ import annotations

import pytest

from tests.standby.cli.conftest import Cloud, Workspace


@pytest.fixture
def apart(workspace: Workspace) -> Workspace:
    text = workspace.file.read_text(encoding="utf-8").replace("targets: [west, north]", "targets: [west]")
    more = (
        "vault: {path: ./vault, block: remote-file-system/vault}\nactivation:\n  - {kind: file, path: ./active.json}\n"
    )
    workspace.file.write_text(text + more, encoding="utf-8")
    return workspace


@pytest.mark.parametrize(
    "arguments",
    [("failover", "invoices", "--to", "west"), ("commit", "invoices"), ("failback", "invoices")],
)
def test_nothing_is_switched_by_books_that_flows_do_not_read(
    apart: Workspace, cloud: Cloud, arguments: tuple[str, ...]
) -> None:
    apart.run("replicate", "invoices")

    ran = apart.run(*arguments)

    assert ran.status == 4
    assert "remote-file-system/vault" in ran.err
    assert "--via prefect" in ran.err
    assert not (apart.folder / "active.json").exists()


def test_where_prefect_is_lost_it_can_be_forced_and_is_then_gone_on_with(apart: Workspace, cloud: Cloud) -> None:
    apart.run("replicate", "invoices")
    cloud.tell("outages", resource="east", kind="refuse")

    forced = apart.run("failover", "invoices", "--to", "west", "--unplanned", "--force", "vault")

    assert forced.status == 0, forced.err
    assert apart.run("commit", "invoices").status == 0
