"""How far a run is: a live line on a terminal, elsewhere a plain line every few seconds."""

import math
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from rich.console import Console

from standby.cli.output import Line, Output, show
from standby.recovery.context import Stage
from standby.replication.items import Progress as RunProgress
from standby.replication.items import Status

PLAIN_EVERY = 5.0  # Seconds between two plain lines

NO_WORK = (Status.SKIPPED, Status.BLOCKED, Status.REFUSED)
"""Endings that took no time: counted, they would make the time left look too short."""


@contextmanager
def show_progress(
    console: Console, *, quiet: bool, clock: Callable[[], float] = time.monotonic, done: str = "copied"
) -> Iterator[Callable[[RunProgress], None]]:
    """Give a function that shows how far a run is, or does nothing with `quiet`; `done` is what it does to each."""
    if quiet or not console.is_terminal or console.is_dumb_terminal:
        yield (lambda _: None) if quiet else _plain(console, clock, done)
        return
    # Elsewhere than on a terminal nothing is drawn.
    from rich import progress as parts  # noqa: PLC0415

    columns = (
        "{task.description}",
        parts.BarColumn(bar_width=None),
        parts.MofNCompleteColumn(),
        "{task.fields[rate]}",
        "left:",
        parts.TimeRemainingColumn(compact=True),
    )
    with parts.Progress(*columns, console=console, transient=True, expand=True) as bar:
        task = bar.add_task("reading all resources", total=None, rate="")
        started = clock()

        def update(progress: RunProgress) -> None:
            over, total = _work(progress)
            rate = _rate(progress, clock() - started)
            bar.update(task, total=total, completed=over, description=_words(progress, done), rate=rate)

        yield update


def _plain(console: Console, clock: Callable[[], float], verb: str) -> Callable[[RunProgress], None]:
    started = last = clock()

    def update(progress: RunProgress) -> None:
        nonlocal last
        now = clock()
        if now - last >= PLAIN_EVERY:
            last = now
            done, total = _work(progress)
            seconds = now - started
            left = f", about {math.ceil((total - done) * seconds / done)} s left" if done else ""
            show(console, Line(f"{done} of {total}: {_words(progress, verb)}, {_rate(progress, seconds)}{left}"))

    return update


def _work(progress: RunProgress) -> tuple[int, int]:
    idle = sum(count for status, count in progress.ended if status in NO_WORK)
    return progress.done - idle, progress.total - idle


def _words(progress: RunProgress, verb: str) -> str:
    counts = dict(progress.ended)
    failed, beside = counts[Status.FAILED], counts[Status.BLOCKED] + counts[Status.REFUSED]
    text = f"{progress.in_flight} in flight, {counts[Status.SUCCEEDED]} {verb}{f', {failed} failed' if failed else ''}"
    # They are not among those of which the line says how many there are.
    return f"{text} ({beside} more not begun)" if beside else text


def _rate(progress: RunProgress, seconds: float) -> str:
    minutes = max(seconds, 0.001) / 60
    return f"{dict(progress.ended)[Status.SUCCEEDED] / minutes:.0f}/min"


T = TypeVar("T")


@dataclass(frozen=True)
class ShownStages:
    """Stages without Prefect, each shown when it begins."""

    output: Output
    about: str = ""  # what each is a part of, where its own name could be taken for more

    async def run(self, stage: Stage, name: str, work: Callable[[], Awaitable[T]]) -> T:  # noqa: ARG002
        self.output.say(f"… {self.about}{name}")
        return await work()
