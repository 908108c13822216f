from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.standby.cli.conftest import Cloud, Workspace

Until = Callable[[Callable[[], bool]], None]

NEVER_ENDS = """
import asyncio
from standby.cli.output import Output
from standby.cli.run import runnable

class Context:
    info_name, obj = "check", Output()

async def stubborn(output):
    print("begun", flush=True)
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            print("asked", flush=True)

runnable(stubborn)(output=Context)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=["Ctrl-C", "SIGTERM", "SIGHUP"])
def test_leaves_a_true_report_of_what_is_under_way(
    workspace: Workspace, cloud: Cloud, until: Until, number: signal.Signals
) -> None:
    cloud.fault("copy", "operation_hangs", resource="west", analyzer="contract")
    workspace.edit("targets: [west, north]", "targets: [west]")
    # One at a time, first what router waits for: claim is over by then, contract under way, router not begun.
    workspace.edit("    region: westus3", "    region: westus3\n    max_concurrent_copies: 1")

    process = workspace.start("replicate", "invoices", "--json")
    until(lambda: "contract" in cloud.stats("west")["copies_accepted"])
    polls = cloud.stats("west")["calls"].get("poll", 0)
    until(lambda: cloud.stats("west")["calls"].get("poll", 0) > polls + 1)
    second = workspace.run("replicate", "invoices", "--json")
    process.send_signal(number)
    ran = workspace.ended(process)

    assert (second.status, second.document["error"]["kind"]) == (4, "LedgerBusy")
    assert ran.status == 130
    items = {item["analyzer"]: item for item in ran.document["items"]}
    assert items["claim"]["status"] == "succeeded"
    assert items["contract"]["status"] == "failed"
    assert items["contract"]["operation_id"] in items["contract"]["reason"]
    assert len(items["contract"]["operation_id"]) == 36
    assert items["router"]["reason"] == "Interrupted before it began. Run again."
    assert cloud.stats("west")["copies_accepted"] == dict.fromkeys(("invoice", "receipt", "claim", "contract"), 1)
    assert ran.err == (
        "Stopping. Press Ctrl-C again to end at once.\n"
        "Interrupted. Run it again to continue: no copy is started twice.\n"
    )


def test_run_again_it_goes_on_and_copies_nothing_twice(workspace: Workspace, cloud: Cloud, until: Until) -> None:
    cloud.fault("copy", "operation_hangs", resource="west", analyzer="contract")
    workspace.edit("targets: [west, north]", "targets: [west]")

    process = workspace.start("replicate", "invoices")
    until(lambda: cloud.stats("west")["copies_finished"] == 4)
    process.send_signal(signal.SIGINT)
    interrupted = workspace.ended(process)
    cloud.tell("edit", resource="west", analyzer="contract", changes={"status": "ready"})
    again = workspace.run("replicate", "invoices")

    assert interrupted.status == 130
    assert "  ! contract failed: Interrupted while its copy is under way at west as operation " in interrupted.out
    assert again.status == 0
    assert set(cloud.stats("west")["copies_accepted"].values()) == {1}


def test_before_there_is_anything_to_report_it_is_told_as_an_error(
    workspace: Workspace, cloud: Cloud, until: Until
) -> None:
    cloud.tell("outages", resource="west", kind="hang")

    def interrupt() -> None:
        until(lambda: cloud.stats("west")["calls"].get("list", 0) > 0)
        os.kill(os.getpid(), signal.SIGINT)

    impatient = threading.Thread(target=interrupt)
    impatient.start()
    ran = workspace.run("plan", "invoices", "--json")
    impatient.join()

    assert ran.status == 130
    assert ran.document["error"]["kind"] == "Interrupted"
    assert "Traceback" not in ran.err


def test_a_second_one_ends_at_once_whatever_goes_on(workspace: Workspace) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", NEVER_ENDS], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    workspace.processes.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"

    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "asked\n"
    process.send_signal(signal.SIGINT)
    ran = workspace.ended(process)

    assert ran.status == 130
    assert "Traceback" not in ran.err
