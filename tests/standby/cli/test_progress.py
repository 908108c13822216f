from __future__ import annotations

import io

from rich.console import Console

from standby.cli.shown import progress as show_progress
from standby.replication.items import Progress, Status


def at(**ended: int) -> Progress:
    counts = tuple((status, ended.get(status.value, 0)) for status in Status)
    return Progress(total=10, in_flight=2, ended=counts)


def shown(*, quiet: bool, seconds: float, **ended: int) -> str:
    """What is shown of a run after these seconds."""
    moments = iter([0.0, seconds])
    stream = io.StringIO()
    with show_progress(Console(file=stream), quiet=quiet, clock=lambda: next(moments)) as update:
        update(at(**(ended or {"succeeded": 3, "skipped": 4, "failed": 1})))
    return stream.getvalue()


def test_a_plain_line_tells_of_the_work_and_not_of_what_needed_none() -> None:
    assert shown(quiet=False, seconds=60.0) == ("4 of 6: 2 in flight, 3 copied, 1 failed, 3/min, about 30 s left\n")


def test_what_is_counted_is_counted_once() -> None:
    said = shown(quiet=False, seconds=60.0, succeeded=5, blocked=2, refused=1)
    assert said.startswith("5 of 7: 2 in flight, 5 copied (3 more not begun), ")


def test_plain_lines_come_only_now_and_then() -> None:
    assert shown(quiet=False, seconds=1.0) == ""


def test_there_is_none_where_silence_is_asked_for() -> None:
    assert shown(quiet=True, seconds=60.0) == ""
