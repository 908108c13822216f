from __future__ import annotations

import io

import pytest
from rich.console import Console

from standby.cli import progress
from standby.cli.progress import show_progress
from standby.replication.results import Progress, Status


def at(**ended: int) -> Progress:
    counts = tuple((status, ended.get(status.value, 0)) for status in Status)
    return Progress(total=10, in_flight=2, ended=counts)


def shown(monkeypatch: pytest.MonkeyPatch, *, quiet: bool, seconds: float) -> str:
    now = iter([0.0, *(seconds for _ in range(10))])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    stream = io.StringIO()
    with show_progress(Console(file=stream), quiet=quiet) as update:
        update(at(succeeded=3, skipped=4, failed=1))
    return stream.getvalue()


def test_a_plain_line_tells_of_the_work_and_not_of_what_needed_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, quiet=False, seconds=60.0) == "4 of 6: 2 in flight, 3 copied, 1 not, 3/min\n"


def test_plain_lines_come_only_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, quiet=False, seconds=1.0) == ""


def test_there_is_none_where_silence_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, quiet=True, seconds=60.0) == ""
