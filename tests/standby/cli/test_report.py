"""`standby report`: a page that needs nothing else, and says the truth."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.standby.cli.conftest import Cloud, Workspace

VOID = {"meta", "br", "wbr", "rect", "line", "polyline"}


class Checker(HTMLParser):
    """Reads a page, and finds what is not closed and what leads elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.outside: list[str] = []
        self.data = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        leads = [str(value) for name, value in attrs if name in {"src", "href", "action", "data"}]
        self.outside += [each for each in leads if not each.startswith("#")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.data += data

    @property
    def text(self) -> str:
        return " ".join(self.data.split())


def read(path: Path) -> tuple[str, Checker]:
    page = path.read_text(encoding="utf-8")
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    return page, checker


@pytest.fixture
def page(workspace: Workspace) -> Path:
    return workspace.folder / "report.html"


def test_writes_one_page_that_needs_nothing_else(workspace: Workspace, page: Path) -> None:
    workspace.run("replicate", "invoices")
    workspace.run("snapshot", "invoices")

    ran = workspace.run("report", "invoices", "--html", str(page))

    assert ran.status == 0
    assert ran.out.startswith(f"Written: {page}\n  east → west: ready\n  east → north: not ready\n")
    text, found = read(page)
    assert found.outside == []
    assert not re.search(r"url\(|@import|<script|javascript:", text)
    assert "west ready, north not ready" in found.text
    assert "claim is not at north." in found.text
    assert "snapshot.taken" in found.text
    assert "The audit log is complete: 1 entries" in found.text
    assert sorted(each.name for each in workspace.folder.glob("*.html")) == ["report.html"]


def test_shows_every_region_and_marks_the_one_that_serves(workspace: Workspace, page: Path) -> None:
    workspace.run("report", "invoices", "--html", str(page))

    text, _ = read(page)
    boxes = re.findall(r'class="box(.*?)">(.*?)</(?:div|li)>', text, re.DOTALL)
    shown = {" ".join(re.sub("<.*?>", " ", words).split()): is_serving for is_serving, words in boxes}
    assert shown == {
        "east eastus serves": " serves",
        "west westus3 standby; ✕ not ready": "",
        "north northeurope standby; ✕ not ready": "",
    }


def test_words_of_others_are_escaped(workspace: Workspace, page: Path) -> None:
    drills = workspace.folder / "vault" / "drills" / "invoices" / "latest.json"
    drills.parent.mkdir(parents=True)
    drills.write_text(
        '{"drills": {"west": {"run_id": "r", "ended_at": "2026-01-01T00:00:00Z", "target": "west", '
        '"passed": false, "seconds": 2, "recovery_seconds": null, "reason": "<script>alert(1)</script>"}}}',
        encoding="utf-8",
    )

    workspace.run("report", "invoices", "--html", str(page))

    text, found = read(page)
    assert "<script" not in text
    assert "Failed: <script>alert(1)</script>" in found.text


def test_says_where_the_log_is_not_whole(workspace: Workspace, page: Path) -> None:
    workspace.run("snapshot", "invoices")
    log = workspace.folder / "vault" / "audit" / "invoices.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"via":"direct"', b'"via":"prefect"'))

    ran = workspace.run("report", "invoices", "--html", str(page), "--json")

    assert (ran.status, ran.document["audit_whole"]) == (0, False)
    _, found = read(page)
    assert "The audit log is damaged" in found.text


def test_is_written_while_the_source_is_dark(workspace: Workspace, cloud: Cloud, page: Path) -> None:
    workspace.run("replicate", "invoices")
    cloud.tell("outages", resource="east", kind="hang")

    ran = workspace.run("report", "invoices", "--html", str(page), "--wait", "1", "--json")

    assert ran.status == 0
    assert [pair["state"] for pair in ran.document["pairs"]] == ["ready", "not_ready"]
    _, found = read(page)
    assert "judged without an answer from east" in found.text


def test_of_all_plans_one_that_cannot_be_read_costs_itself_only(workspace: Workspace, page: Path) -> None:
    workspace.edit("targets: [west, north]", "targets: [west]")
    workspace.edit("plans:\n", "plans:\n  receipts:\n    pairs: [{source: east, targets: [north]}]\n")
    fence = workspace.folder / "vault" / "recovery" / "receipts" / "fence.json"
    fence.parent.mkdir(parents=True)
    fence.write_text("{", encoding="utf-8")

    ran = workspace.run("report", "--html", str(page), "--json")

    assert ran.status == 0
    assert [each["plan"] for each in ran.document["plans"]] == ["invoices"]
    assert list(ran.document["unread"]) == ["receipts"]
    _, found = read(page)
    assert "2 plans" in found.text
    assert "receipts: could not be read." in found.text
    assert "invoices: west not ready" in found.text


def test_a_place_that_cannot_be_written_is_an_error(workspace: Workspace) -> None:
    ran = workspace.run("report", "invoices", "--html", str(workspace.file / "page.html"))

    assert ran.status == 1
    assert "cannot be written: its folder is a file" in ran.err


def test_shows_no_secret(workspace: Workspace, page: Path) -> None:
    workspace.run("report", "invoices", "--html", str(page))

    assert "canary" not in page.read_text(encoding="utf-8")
