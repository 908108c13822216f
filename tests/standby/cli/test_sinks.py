"""Sinks at the command line: one that is not required holds up nothing, and what applications were told is said."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.standby.cli.conftest import Workspace

Until = Callable[[Callable[[], bool]], None]


class Hook:
    """A receiver in a mood.

    Attributes:
        status: what it answers; 0 while it does not answer at all.
        maps: what it was sent.
        free: set where nothing is to wait any more.
    """

    def __init__(self) -> None:
        self.status = 204
        self.maps: list[dict[str, Any]] = []
        self.free = threading.Event()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.maps.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                if not hook.status:
                    hook.free.wait()
                    return
                self.send_response(hook.status)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.name = f"webhook 127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.free.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.close()


def with_sinks(workspace: Workspace, hook: Hook, *, required: bool) -> Path:
    """Publish to a file and to the receiver; both have the first map."""
    workspace.edit("targets: [west, north]", "targets: [west]")
    url = f"http://{hook.name.removeprefix('webhook ')}/"
    sinks = f"- {{kind: webhook, url: '{url}', secret: ${{HOOK_KEY}}, required: {str(required).lower()}}}\n"
    with workspace.file.open("a", encoding="utf-8") as file:
        file.write(f"activation:\n- {{kind: file, path: active.json}}\n{sinks}")
    workspace.environment["HOOK_KEY"] = "canary-key-of-hook"
    assert workspace.run("replicate", "invoices").status == 0
    assert workspace.run("commit", "invoices", "--yes").status == 0
    return workspace.folder / "active.json"


def named(file: Path) -> str | None:
    active = json.loads(file.read_text())["plans"]["invoices"]["sources"]["east"]
    return active and str(active["resource"])


@pytest.mark.parametrize("status", [0, 500])
def test_a_webhook_that_is_not_required_holds_up_no_failover(workspace: Workspace, hook: Hook, status: int) -> None:
    file = with_sinks(workspace, hook, required=False)
    hook.status = status
    ran = workspace.run("failover", "invoices", "--to", "west", "--unplanned", "--yes", "--json")

    assert ran.document["state"] == "activated"
    assert named(file) == "west"
    told, missed = ran.document["sinks"]
    assert (told["status"], missed["status"], missed["required"]) == ("told", "failed", False)
    assert missed["reason"].endswith(
        "It is not required, so a failover does not wait for it; the map is published to it later."
    )
    assert ran.status == 3
    # It was given up in its first attempt, and not asked to take the target.
    assert status or len(hook.maps) == 2

    seen = workspace.run("status", "invoices", "--json").document["sinks"]
    assert [(view["name"], view["serving"], view["current"]) for view in seen] == [
        (f"file {file}", {"east": "west"}, True),
        (hook.name, {"east": "east"}, False),
    ]
    hook.status = 204
    assert workspace.run("commit", "invoices", "--yes").status == 0
    assert hook.maps[-1]["sources"]["east"]["resource"] == "west"
    shown = workspace.run("status", "invoices").out
    assert f"{hook.name}: west serves for east (epoch 1, acknowledged " in shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_interrupted_after_sinks_were_told_it_says_what_applications_see(
    workspace: Workspace, hook: Hook, until: Until, number: signal.Signals
) -> None:
    file = with_sinks(workspace, hook, required=True)
    hook.status = 0
    process = workspace.start("failover", "invoices", "--to", "west", "--unplanned", "--yes")
    until(lambda: len(hook.maps) > 1 and named(file) is None)
    process.send_signal(number)
    ran = workspace.ended(process)

    told = (
        f"Applications were told that nobody serves (file {file}); "
        f"{hook.name}, by its last acknowledgement, still names east."
    )
    assert ran.status == 130
    assert f"The failover from east to west has not ended (plan invoices, epoch 1). {told}" in ran.out
    assert "last resource that served" not in ran.out
    status = workspace.run("status", "invoices")
    assert status.status == 2
    assert f"The failover of east to west has not ended. {told}" in status.out
    assert "east serves.\n" not in status.out
    assert "it is unknown whether it took the map" in status.out

    # Whatever refuses to go on from there says it, too.
    refused = workspace.run("failover", "invoices", "--to", "north", "--unplanned", "--yes")
    assert refused.status in {1, 4}
    assert told in refused.err.replace("\n    ", " ").replace("\n", " ")

    hook.status = 204
    again = workspace.run("failover", "invoices", "--to", "west", "--unplanned", "--yes")
    assert again.status == 0
    assert hook.maps[-1]["sources"]["east"]["resource"] == "west"


def test_a_required_sink_that_is_down_stops_it_and_both_say_what_applications_were_told(
    workspace: Workspace, hook: Hook
) -> None:
    file = with_sinks(workspace, hook, required=True)
    hook.status = 400
    ran = workspace.run("failover", "invoices", "--to", "west", "--unplanned", "--yes", "--json")

    assert (ran.status, ran.document["state"]) == (3, "fenced")
    # It was undone as far as that goes: the file has the old resource again.
    seen = {view["name"]: view for view in ran.document["seen"]}
    assert seen[f"file {file}"]["serving"] == {"east": "east"}
    assert seen[hook.name]["serving"] == {"east": "east"}
    assert "HTTP 400" in seen[hook.name]["problem"]


def test_status_says_where_somebody_put_an_old_map_back(workspace: Workspace, hook: Hook) -> None:
    file = with_sinks(workspace, hook, required=True)
    old = file.read_bytes()
    assert workspace.run("failover", "invoices", "--to", "west", "--unplanned", "--yes").status == 0
    file.write_bytes(old)
    ran = workspace.run("status", "invoices")
    assert ran.status == 2
    assert f"! file {file}: east serves for east (epoch 0, not current).\n" in ran.out.replace("\n    ", " ")
    page = workspace.folder / "report.html"
    assert workspace.run("report", "invoices", "--html", str(page)).status == 0
    text = page.read_text().replace("<wbr>", "")
    assert "<h2>What applications see</h2>" in text
    assert f"file {file}: east serves for east (epoch 0, not current)." in text
