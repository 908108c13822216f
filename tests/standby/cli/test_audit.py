"""`standby audit`: whole or not, with a status that scripts can rely on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from standby.config.configuration import load_configuration
from standby.document import JsonValue
from standby.fencing import hold_fence
from standby.recovery.audit import HOW_TO_GO_ON, AuditAction, record_action
from standby.recovery.context import open_recovery

if TYPE_CHECKING:
    from pathlib import Path

    from tests.standby.cli.conftest import Workspace

SIGNING = "vault: {signing: {kind: hmac, key: '${AUDIT_KEY}'}}\n"
KEY = "0123456789abcdef-canary"


@pytest.fixture
def keyed(workspace: Workspace) -> Workspace:
    workspace.file.write_text(workspace.file.read_text() + SIGNING)
    workspace.environment["AUDIT_KEY"] = KEY
    return workspace


def write(workspace: Workspace, count: int) -> None:
    async def notes() -> None:
        configuration = load_configuration(workspace.file, workspace.environment)
        async with open_recovery(configuration, "invoices", actor="ada@desk", run_id="run-1") as context:
            for number in range(count):
                facts: dict[str, JsonValue] = {"to": "west", "number": number, "reason": "x" * 300}
                await record_action(context, AuditAction.ACTIVATED, facts, epoch=number)
            async with hold_fence(context.vault, context.plan) as held:
                await held.write(held.fence.model_copy(update={"epoch": count - 1}))

    asyncio.run(notes())


def log(workspace: Workspace) -> Path:
    return workspace.folder / "vault" / "audit" / "invoices.jsonl"


def test_says_that_there_is_no_log_yet(workspace: Workspace) -> None:
    ran = workspace.run("audit", "verify")
    assert (ran.status, ran.out) == (0, "✓ invoices: no log yet.\n")
    assert [path.name for path in workspace.folder.iterdir()] == ["standby.yaml"]


def test_says_that_a_log_is_whole_and_under_which_epoch_it_ends(keyed: Workspace) -> None:
    write(keyed, 2)
    ran = keyed.run("audit", "verify", "invoices")
    assert ran.status == 0
    assert ran.out.startswith("✓ invoices: 2 lines, complete, signed with key ")
    assert ran.out.endswith("Z, the last epoch is 1.\n")
    assert KEY not in ran.out + ran.err


def test_says_that_a_log_is_not_signed(workspace: Workspace) -> None:
    write(workspace, 1)
    assert "1 line, complete, not signed; the last is of " in workspace.run("audit", "verify").out


def test_says_which_line_was_changed_and_ends_with_an_error(keyed: Workspace) -> None:
    write(keyed, 3)
    lines = log(keyed).read_text().splitlines(keepends=True)
    lines[1] = lines[1].replace("ada@desk", "eve@desk")
    log(keyed).write_text("".join(lines))

    ran = keyed.run("audit", "verify", "-q")

    assert ran.status == 1
    assert ran.out.splitlines() == [
        f"✗ invoices: {log(keyed)} is damaged or was changed.",
        "  Line 2: it was changed after it was written.",
        "  → Do not change it. Compare it with another copy of the vault.",
        f"  → {HOW_TO_GO_ON}.",
    ]


def test_notices_an_end_that_was_cut_off(workspace: Workspace) -> None:
    write(workspace, 3)
    log(workspace).write_text("".join(log(workspace).read_text().splitlines(keepends=True)[:1]))

    ran = workspace.run("audit", "verify", "--json")

    assert ran.status == 1
    (told,) = ran.document["plans"]
    assert not ran.document["whole"]
    assert told["problems"] == [
        f"{log(workspace).with_name('invoices.head.json')} counts 3 lines, and the log has 1: its end was cut off"
    ]


def test_gives_what_it_found_as_one_document(keyed: Workspace) -> None:
    write(keyed, 2)
    document = keyed.run("audit", "verify", "--json").document
    (told,) = document["plans"]
    assert document["whole"]
    assert len(document["key_id"]) == 12
    assert (told["plan"], told["whole"], told["length"], told["signed"], told["epoch"]) == (
        "invoices",
        True,
        2,
        2,
        1,
    )
    assert "lines" not in told


def test_shows_the_newest_lines_for_people(workspace: Workspace) -> None:
    write(workspace, 3)
    ran = workspace.run("audit", "show", "invoices", "-n", "2", "-v")
    assert ran.status == 0
    shown = ran.out.splitlines()
    assert shown[0] == "The newest 2 of 3 lines (-n shows more):"
    assert shown[1].startswith("2  20")
    assert "Z  west serves for (not recorded): xxx" in shown[1]
    assert shown[2] == "    by ada@desk (direct), run run-1, epoch 1"
    assert shown[3].startswith("    failover.activated: to west, number 1, reason xxx")
    assert shown[3].endswith("x…")
    brief = workspace.run("audit", "show", "invoices", "-n", "2").out
    assert "failover.activated" not in brief
    assert "number" not in brief
    assert shown[-1].startswith("✓ invoices: 3 lines, complete")


def test_shows_the_lines_as_one_document(workspace: Workspace) -> None:
    write(workspace, 3)
    (told,) = workspace.run("audit", "show", "invoices", "-n", "1", "--json").document["plans"]
    (line,) = told["lines"]
    assert (line["sequence"], line["deed"], line["facts"]["to"]) == (3, "failover.activated", "west")


def test_shows_what_can_be_read_of_a_broken_log_and_says_that_it_is_broken(workspace: Workspace) -> None:
    write(workspace, 3)
    log(workspace).write_bytes(log(workspace).read_bytes().replace(b'"number":2', b'"number":9'))
    ran = workspace.run("audit", "show", "invoices")
    assert ran.status == 1
    assert "2  20" in ran.out
    assert "3  20" not in ran.out
    assert "  Line 3: it was changed after it was written." in ran.out


def test_asks_for_the_plan_that_is_to_be_shown(workspace: Workspace) -> None:
    ran = workspace.run("audit", "show")
    assert ran.status == 1
    assert "name the plan, as in standby audit show PLAN" in ran.err


def test_knows_the_plans_of_the_configuration_only(workspace: Workspace) -> None:
    ran = workspace.run("audit", "verify", "invoice")
    assert ran.status == 1
    assert "invoices" in ran.err
