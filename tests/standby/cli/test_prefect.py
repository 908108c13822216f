"""The command with the real Prefect. The first test needs no server, but the seconds that importing takes."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import PrefectServer
    from tests.standby.cli.conftest import Cloud, Workspace

Until = Callable[[Callable[[], bool]], None]


def use(workspace: Workspace, server: PrefectServer) -> None:
    workspace.environment["PREFECT_API_URL"] = server.api_url


@pytest.mark.prefect
def test_bootstrap_starts_no_server_of_its_own(workspace: Workspace) -> None:
    ran = workspace.ended(workspace.start("bootstrap", "--json"))

    assert ran.status == 1
    assert ran.document["error"]["cause"] == (
        "Bootstrap saves on a Prefect server, but no Prefect server is configured"
    )
    assert not (workspace.folder / "prefect" / "prefect.db").exists()


@pytest.mark.prefect
def test_without_a_server_a_run_has_one_for_itself_that_keeps_all_of_it(workspace: Workspace) -> None:
    ran = workspace.ended(workspace.start("replicate", "invoices", "--target", "west", "--json", "--via", "prefect"))

    assert ran.document["via"] == "prefect", ran.err
    copied = ran.document["totals"]["succeeded"]
    assert copied
    with closing(sqlite3.connect(workspace.folder / "prefect" / "prefect.db")) as database:
        runs = database.execute("SELECT state_type FROM flow_run").fetchall()
        (steps,) = database.execute("SELECT count(*) FROM task_run WHERE state_type = 'COMPLETED'").fetchone()
        (states,) = database.execute("SELECT count(*) FROM task_run_state").fetchone()
        (lines,) = database.execute("SELECT count(*) FROM log WHERE message LIKE 'Finished in state%'").fetchone()
        (events,) = database.execute("SELECT count(*) FROM events").fetchone()
    assert len(runs) == 1
    assert steps >= 5 * copied
    # What each costs: its three states, and nothing beside them.
    assert states >= 3 * steps
    assert (lines, events) == (len(runs), 0)
    assert not ran.err.count("Traceback")


@pytest.mark.prefect
def test_a_server_that_ends_as_it_starts_is_not_waited_for(workspace: Workspace) -> None:
    workspace.environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = "sqlite+aiosqlite:////nowhere/prefect.db"

    ran = workspace.ended(workspace.start("replicate", "invoices", "--json", "--via", "prefect"))

    assert ran.status == 1
    cause = ran.document["error"]["cause"]
    assert cause.startswith("No Prefect server is configured, and the Prefect server did not start: "), cause


def test_gives_the_same_items_as_without_prefect(
    workspace: Workspace, cloud: Cloud, prefect_server: PrefectServer
) -> None:
    use(workspace, prefect_server)
    directly = workspace.run("replicate", "invoices", "--json")
    cloud.tell("reset")
    workspace.forget()

    ran = workspace.ended(workspace.start("replicate", "invoices", "--json", "--via", "prefect", "-v"))

    assert ran.status == directly.status == 3
    assert ran.document["via"] == "prefect"
    assert ran.document["totals"] == directly.document["totals"]

    def lasting(item: dict[str, object]) -> dict[str, object]:
        return {name: value for name, value in item.items() if name not in {"seconds", "operation_id"}}

    assert list(map(lasting, ran.document["items"])) == list(map(lasting, directly.document["items"]))
    assert "canary" not in ran.out + ran.err


def test_interrupted_it_reports_what_is_under_way(
    workspace: Workspace, cloud: Cloud, until: Until, prefect_server: PrefectServer
) -> None:
    use(workspace, prefect_server)
    cloud.fault("copy", "operation_hangs", resource="west", analyzer="contract")
    only = (
        "replicate",
        "invoices",
        "--target",
        "west",
        "--analyzer",
        "contract",
        "--via",
        "prefect",
        "--json",
    )

    process = workspace.start(*only)
    until(lambda: cloud.stats("west")["calls"].get("poll", 0) > 2)
    process.send_signal(signal.SIGINT)
    ran = workspace.ended(process)

    assert ran.status == 130, ran.err
    (item,) = ran.document["items"]
    assert item["status"] == "failed"
    assert item["operation_id"] in item["reason"]
    assert "Traceback" not in ran.err


def test_switches_the_automation_of_flows_and_notes_it_in_the_log_of_every_plan(
    workspace: Workspace, prefect_server: PrefectServer
) -> None:
    use(workspace, prefect_server)
    with workspace.file.open("a", encoding="utf-8") as file:
        file.write("  contracts:\n    pairs: [{source: west, targets: [east]}]\n")

    ran = workspace.ended(workspace.start("automation", "off", "--reason", "a test", "--via", "prefect", "--json"))

    assert ran.status == 0, ran.err
    assert (ran.document["on"], ran.document["reason"]) == (False, "a test")
    logs = workspace.folder / "vault" / "audit"
    for plan in ("invoices", "contracts"):
        assert '"automation.switched"' in (logs / f"{plan}.jsonl").read_text(encoding="utf-8")
    shown = workspace.ended(workspace.start("automation", "--via", "prefect"))
    assert shown.out.startswith("Automation is off, by ")
