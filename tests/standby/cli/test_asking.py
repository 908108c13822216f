"""What changes what serves is asked about: at a terminal by a question, elsewhere by --yes in advance."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.patience import PATIENCE
from tests.standby.cli.conftest import Cloud, Ran, Workspace

ORDERS = {
    "failover": ("failover", "invoices", "--to", "west", "--reason", "maintenance"),
    "failover unplanned": ("failover", "invoices", "--to", "west", "--unplanned"),
    "rollback": ("failover", "invoices", "--to", "east"),
    "commit": ("commit", "invoices"),
    "failback": ("failback", "invoices"),
}
AFTER_A_FAILOVER = ("rollback", "commit", "failback")


def in_sync(workspace: Workspace) -> None:
    workspace.edit("targets: [west, north]", "targets: [west]")
    with workspace.file.open("a", encoding="utf-8") as file:
        file.write("activation: [{kind: file, path: active.json}]\n")
    assert workspace.run("replicate", "invoices").status == 0
    assert workspace.run("commit", "invoices", "--yes").status == 0


def failed_over(site: Workspace) -> None:
    assert site.run("failover", "invoices", "--to", "west", "--yes").status == 0


@pytest.fixture
def site(workspace: Workspace) -> Workspace:
    """Copies in sync at west, and a file that names the resource that serves."""
    return workspace.once(in_sync)


def prepared(site: Workspace, order: str) -> Workspace:
    return site.once(failed_over) if order in AFTER_A_FAILOVER else site


def everything(site: Workspace) -> dict[str, bytes]:
    """What the vault and the sink hold."""
    files = [*(site.folder / "vault").rglob("*"), site.folder / "active.json"]
    return {str(path): path.read_bytes() for path in files if path.is_file()}


def active(site: Workspace) -> str:
    document = json.loads((site.folder / "active.json").read_text(encoding="utf-8"))
    return str(document["plans"]["invoices"]["sources"]["east"]["resource"])


def audited(site: Workspace) -> list[dict[str, Any]]:
    log = site.folder / "vault" / "audit" / "invoices.jsonl"
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


@dataclass
class Terminal:
    """A terminal that a command is started at, and what was written to it."""

    ours: int
    theirs: int
    shown: str = field(default="", init=False)
    process: subprocess.Popen[str] = field(init=False)

    def until_asked(self) -> str:
        """Read until a question stands there; a command that ends without one, or says nothing more, fails."""
        end = time.monotonic() + PATIENCE
        while "[y/N]" not in self.shown:
            if select.select([self.ours], [], [], 0.1)[0]:
                self.shown += os.read(self.ours, 4096).decode()
            else:
                going = self.process.poll() is None and time.monotonic() < end
                assert going, f"it did not ask (its status: {self.process.poll()}): {self.shown!r}"
        return self.shown

    def answer(self, text: str) -> None:
        os.write(self.ours, text.encode())


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    yield Terminal(ours, theirs)
    os.close(ours)
    os.close(theirs)


def started(site: Workspace, terminal: Terminal, *args: str, **streams: Any) -> subprocess.Popen[str]:
    at_it = dict.fromkeys(("stdin", "stdout", "stderr"), terminal.theirs)
    terminal.process = site.start(*args, **{**at_it, **streams})
    return terminal.process


@pytest.mark.parametrize("via", [(), ("--via", "prefect")], ids=["direct", "prefect"])
@pytest.mark.parametrize("as_json", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize("order", ORDERS)
def test_where_nobody_can_be_asked_it_is_refused_before_anything_is_done(
    site: Workspace, cloud: Cloud, order: str, as_json: tuple[str, ...], via: tuple[str, ...]
) -> None:
    before, calls = everything(prepared(site, order)), cloud.stats("east")["calls"]

    ran = site.run(*ORDERS[order], *as_json, *via)

    assert ran.status == 4
    assert "Add --yes" in ran.err
    assert everything(site) == before
    assert cloud.stats("east")["calls"] == calls
    if as_json:
        assert ran.document["error"]["kind"] == "NobodyToAsk"
        assert "--yes" in ran.document["error"]["next_action"]


@pytest.mark.parametrize("missing", ["stdin", "stderr", "all"])
@pytest.mark.parametrize("order", ["failover", "commit"])
def test_a_terminal_on_one_side_only_is_none(site: Workspace, terminal: Terminal, order: str, missing: str) -> None:
    """`2>&1 | tee night.log`, a job's closed input, and no terminal at all."""
    none: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    streams = none if missing == "all" else {missing: none[missing]}
    site.environment["FORCE_COLOR"] = "1"

    process = started(prepared(site, order), terminal, *ORDERS[order], **{**streams, "stdout": subprocess.PIPE})

    assert site.ended(process).status == 4


@pytest.mark.parametrize("order", ORDERS)
def test_with_yes_nobody_is_asked(site: Workspace, order: str) -> None:
    prepared(site, order)
    ran = site.ended(site.start(*ORDERS[order], "--yes", stdin=subprocess.DEVNULL))

    assert ran.status == 0, ran.err
    assert "[y/N]" not in ran.out + ran.err


@pytest.mark.parametrize("order", ORDERS)
def test_at_a_terminal_the_present_state_stands_above_the_question(
    site: Workspace, terminal: Terminal, order: str
) -> None:
    process = started(prepared(site, order), terminal, *ORDERS[order])
    shown = terminal.until_asked()
    terminal.answer("y\n")
    status = process.wait(PATIENCE)

    assert status == 0
    serves = "Now west serves for east since 20" if order in AFTER_A_FAILOVER else "Now east serves"
    assert serves in shown
    assert f"epoch {1 if order in AFTER_A_FAILOVER else 0})" in shown
    reasons = {
        "failover": "standby-health: west is healthy.",
        "failover unplanned": "standby-health: west is healthy.",
        "rollback": "east has every edit that was made at west.",
        "commit": "west can no longer be rolled back to east",
        "failback": "in sync",
    }
    assert reasons[order] in " ".join(shown.split())
    assert active(site) == ("west" if "failover" in order or order == "commit" else "east")


@pytest.mark.parametrize("answer", ["n\n", "\n", "yes please\n", "\x04"], ids=["n", "empty", "else", "end"])
def test_any_other_answer_changes_nothing_and_is_in_the_audit_log(
    site: Workspace, terminal: Terminal, answer: str
) -> None:
    process = started(site, terminal, *ORDERS["failover"])
    terminal.until_asked()
    terminal.answer(answer)

    assert process.wait(PATIENCE) == 4
    assert active(site) == "east"
    assert "failover.fenced" not in [line["deed"] for line in audited(site)]
    assert audited(site)[-1]["deed"] == "order.declined"
    assert audited(site)[-1]["facts"] == {
        "order": "failover",
        "home": "east",
        "from": "east",
        "to": "west",
        "reason": "maintenance",
    }
    assert site.run("audit", "verify").status == 0
    assert (
        "An operator was asked to confirm a failover and declined: maintenance."
        in site.run("audit", "show", "invoices").out
    )


@pytest.mark.parametrize("order", ["failover", "commit", "failback"])
def test_by_prefect_it_is_asked_in_the_same_way(site: Workspace, terminal: Terminal, order: str) -> None:
    process = started(prepared(site, order), terminal, *ORDERS[order], "--via", "prefect")
    shown = terminal.until_asked()
    terminal.answer("n\n")

    assert process.wait(PATIENCE) == 4
    assert "serves" in shown
    assert (audited(site)[-1]["deed"], audited(site)[-1]["via"]) == ("order.declined", "prefect")


@pytest.mark.parametrize("order", AFTER_A_FAILOVER)
def test_every_order_that_is_declined_is_in_the_audit_log(site: Workspace, terminal: Terminal, order: str) -> None:
    process = started(prepared(site, order), terminal, *ORDERS[order])
    terminal.until_asked()
    terminal.answer("n\n")

    assert process.wait(PATIENCE) == 4
    assert active(site) == "west"
    assert (audited(site)[-1]["deed"], audited(site)[-1]["facts"]["order"]) == ("order.declined", order)
    assert site.run(*ORDERS[order], "--yes").status == 0


def test_ctrl_c_at_the_question_declines_it(site: Workspace, terminal: Terminal) -> None:
    process = started(site, terminal, *ORDERS["failover"])
    terminal.until_asked()
    process.send_signal(signal.SIGINT)

    assert process.wait(PATIENCE) == 130
    assert active(site) == "east"
    assert audited(site)[-1]["deed"] == "order.declined"


@pytest.mark.parametrize("more", [(), ("--json",), ("-q",)], ids=["piped", "json", "quiet"])
def test_where_the_result_goes_elsewhere_the_reasons_are_at_the_terminal_all_the_same(
    site: Workspace, terminal: Terminal, more: tuple[str, ...]
) -> None:
    process = started(site, terminal, *ORDERS["failover"], *more, stdout=subprocess.PIPE)
    shown = terminal.until_asked()
    terminal.answer("y\n")
    ran: Ran = site.ended(process)

    assert ran.status == 0
    assert "Now east serves" in shown
    assert "standby-health: west is healthy." in shown
    if more == ("--json",):
        assert ran.document["side"] == "west"


def test_a_rollback_says_what_it_leaves_behind(site: Workspace, cloud: Cloud, terminal: Terminal) -> None:
    prepared(site, "rollback")
    cloud.tell("edit", resource="west", analyzer="invoice", changes={"description": "edited at west"})

    process = started(site, terminal, *ORDERS["rollback"])
    shown = " ".join(terminal.until_asked().split())
    terminal.answer("n\n")

    assert process.wait(PATIENCE) == 4
    assert "These edits exist only at west: invoice" in shown
    assert "standby failback invoices instead" in shown


def test_going_on_past_lost_records_is_asked_about_before_they_are_written(site: Workspace, terminal: Terminal) -> None:
    prepared(site, "rollback")
    fence = site.folder / "vault" / "recovery" / "invoices" / "fence.json"
    fence.unlink()

    process = started(site, terminal, "commit", "invoices", "--force", "fence", "--reason", "the disk burnt")
    shown = terminal.until_asked()
    terminal.answer("n\n")

    assert process.wait(PATIENCE) == 4
    assert "with the records that are left?" in shown
    assert not fence.exists()


def test_only_looking_needs_no_answer(site: Workspace) -> None:
    assert prepared(site, "failback").run("failback", "invoices", "--dry-run").status == 0


def test_a_comparison_says_first_what_it_takes(site: Workspace, cloud: Cloud, terminal: Terminal) -> None:
    folder = site.folder / "samples" / "invoice"
    folder.mkdir(parents=True)
    (folder / "1.pdf").write_bytes(b"%PDF-1.4\n<< /Type /Page >>\n(No. 1) Tj\n")
    site.edit("    deadlines:", "    samples: {path: ./samples}\n    deadlines:")
    process = started(site, terminal, "compare", "invoices")

    shown = " ".join(terminal.until_asked().split())

    assert (
        "1 document of 1 analyzer will be read at sources and targets: 3 analyses, 3 pages, about 12,000 tokens."
        in shown
    )
    assert "The budget of the plan allows 200 analyses now." in shown
    terminal.answer("n\n")
    assert process.wait(PATIENCE) == 4
    assert not any(cloud.stats(name)["analyses"] for name in ("east", "west"))
