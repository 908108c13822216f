"""`standby automation`: the off switch, shown and set."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.standby.cli.conftest import Cloud, Workspace


def test_is_on_until_somebody_switches_it_off(workspace: Workspace) -> None:
    ran = workspace.run("automation")

    assert ran.status == 0
    assert ran.out == (
        "Automation is on: nobody has ever switched it off.\n"
        "  invoices: an outage proposes a failover, which waits for approval (failover.automatic is false).\n"
    )
    assert [path.name for path in workspace.folder.iterdir()] == ["standby.yaml"]


def test_is_switched_off_with_a_reason_and_on_again(workspace: Workspace, cloud: Cloud) -> None:
    off = workspace.run("automation", "off", "--reason", "east is being moved")
    shown = workspace.run("automation", "-q")
    on = workspace.run("automation", "on")

    assert (off.status, shown.status, on.status) == (0, 0, 0)
    assert off.out.startswith("Automation is off, by ")
    assert off.out.endswith(
        " UTC: east is being moved.\n  invoices: an outage is reported, and no failover is started.\n"
    )
    # Silence must not hide that nothing would happen.
    assert shown.out == off.out.splitlines(keepends=True)[0]
    assert on.out.startswith("Automation is on, by ")
    assert cloud.calls() == set()


def test_is_in_the_audit_log(workspace: Workspace) -> None:
    workspace.run("automation", "off", "--reason", "a test")

    log = (workspace.folder / "vault/audit/invoices.jsonl").read_text()

    assert '"automation.switched"' in log
    assert '"a test"' in log


def test_is_given_as_json(workspace: Workspace) -> None:
    document = workspace.run("--json", "automation", "off", "--reason", "a test").document

    assert (document["on"], document["reason"]) == (False, "a test")
    assert document["plans"] == {"invoices": {"automatic": False}}
    assert document["where"].endswith("recovery/automation.json")


def test_a_reason_without_a_position_is_wrong(workspace: Workspace) -> None:
    ran = workspace.run("automation", "--reason", "none")

    assert ran.status == 1
    assert "say on or off with it" in ran.err


def test_tells_of_a_switch_that_cannot_be_read(workspace: Workspace) -> None:
    workspace.run("automation", "off")
    (workspace.folder / "vault/recovery/automation.json").write_text("{")

    shown = workspace.run("automation")
    mended = workspace.run("automation", "off")

    assert shown.status == 1
    assert "Set it again with standby automation on or standby automation off" in shown.err
    assert mended.status == 0
