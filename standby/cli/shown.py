"""What several commands show: lines about analyzers and records, and how far a run is.

That is a live line on a terminal, elsewhere a plain line every few seconds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console

from standby.cli.output import Line, Output, show
from standby.errors import sentence
from standby.recovery.context import Stage
from standby.replication.items import GOOD, Status
from standby.replication.items import Progress as RunProgress
from standby.text import alike, counted, some_of

if TYPE_CHECKING:
    # What a command does not need it does not wait for.
    from standby.recovery.snapshots.fidelity import RestoreItem
    from standby.recovery.snapshots.restore import RestoredItem
    from standby.recovery.witnesses import Finding
    from standby.replication.items import PlanItem
    from standby.replication.report import ReportItem


def named(item: PlanItem | ReportItem | RestoreItem | RestoredItem) -> str:
    """Name an analyzer, and its copy where that has another id."""
    if item.analyzer == item.target_analyzer:
        return item.analyzer
    return f"{item.analyzer} as {item.target_analyzer}"


def failures(items: Iterable[ReportItem | RestoredItem], *, verbose: bool) -> Iterator[Line]:
    """Say each reason once, with the analyzers it is about; with all of their names, where asked."""
    bad = {named(item): item for item in items if item.status not in GOOD}
    for names, reason in alike((item.status, name, item.reason) for name, item in bad.items()):
        for subject in names if verbose else [some_of(names)]:
            yield Line(f"{subject} {bad[names[0]].status}: {reason}", 2, "!", "red", wrong=True)


def warnings(warned: Iterable[tuple[str, Iterable[str]]]) -> Iterator[Line]:
    """Say each warning once, with the analyzers it is about: the same one often goes for many."""
    for names, warning in alike(("", analyzer, each) for analyzer, warnings in warned for each in warnings):
        yield Line(f"{some_of(names)}: {warning}", 2, "?", "yellow")


Look = tuple[str, str, bool, tuple[str, ...]]  # Mark, style, whether it is wrong, and what stands below
MOST_IN_LINE = 3  # Names that stand before what is said of them; more have a line of their own


def grouped(said: Iterable[tuple[Look, str, str]]) -> Iterator[Line]:
    """Say once what is the same of several analyzers, with all of their names."""
    shown = [*said]
    looks = {name: look for look, name, _ in shown}
    for names, text in alike(shown):
        mark, style, wrong, below = looks[names[0]]
        subject = counted(len(names), "analyzer") if len(names) > MOST_IN_LINE else some_of(names)
        yield Line(f"{subject}: {text}", 2, mark, style, wrong=wrong)
        if len(names) > MOST_IN_LINE:
            yield Line(", ".join(names), 6, wrong=wrong)
        yield from (Line(each, 6, wrong=wrong) for each in below)


def losses(finding: Finding) -> Iterator[Line]:
    """Say what of a plan's records is not what was written last; nothing where all is."""
    if finding.problem:
        yield Line(sentence(finding.problem), 0, "✗", "red", wrong=True)
        yield Line(sentence(finding.next_action), 2, "→", wrong=True)
    if finding.snapshots:
        yield Line(sentence(finding.snapshots), 0, "!", "red", wrong=True)
        yield Line(sentence(finding.how_to_list_again), 2, "→", wrong=True)


def problems(found: Iterable[str]) -> Iterator[Line]:
    return (Line(sentence(problem), 2, "!", "red", wrong=True) for problem in found)


PLAIN_EVERY = 5.0  # Seconds between two plain lines

NO_WORK = (Status.SKIPPED, Status.BLOCKED, Status.REFUSED)
"""Endings that took no time: counted, they would make the time left look too short."""


@contextmanager
def progress(
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
class Stages:
    """Stages without Prefect, each shown when it begins."""

    output: Output
    about: str = ""  # what each is a part of, where its own name could be taken for more

    async def run(self, stage: Stage, name: str, work: Callable[[], Awaitable[T]]) -> T:  # noqa: ARG002
        self.output.say(f"… {self.about}{name}")
        return await work()
