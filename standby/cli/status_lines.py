"""Readiness, as lines a person can read on 80 columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from standby.cli.lines import Line
from standby.errors import sentence
from standby.recovery.readiness.analyzer_words import MOST_NAMED
from standby.recovery.readiness.document import Readiness, Reason, State
from standby.recovery.readiness.words import (
    STATES,
    drill_words,
    forecast_words,
    point_words,
    points_words,
    serving_words,
)
from standby.replication.serving import Severity

_MARKS = {Severity.ERROR: "!", Severity.UNKNOWN: "?", Severity.WARNING: "·"}
_STYLES = {Severity.ERROR: "red", Severity.UNKNOWN: "yellow", Severity.WARNING: "yellow"}


def status_lines(plan: str, found: Sequence[Readiness], *, verbose: bool) -> Iterator[Line]:
    """Show a block for each pair, and how many targets are ready."""
    for readiness in found:
        yield from _block(readiness, verbose=verbose)
        yield Line("")
    counts = Counter(readiness.state for readiness in found)
    told = ", ".join(f"{counts[state]} {STATES[state]}" for state in State if counts[state])
    wrong = counts[State.READY] < len(found)
    epoch = max((readiness.epoch for readiness in found), default=0)
    yield Line(f"Plan {plan}: {told} of {len(found)} (epoch {epoch}).", wrong=wrong)


def _block(readiness: Readiness, *, verbose: bool) -> Iterator[Line]:
    wrong = readiness.state is not State.READY
    yield Line(f"{readiness.home} → {readiness.target}: {STATES[readiness.state]}", wrong=wrong)
    for reason in readiness.reasons:
        yield from _reason(reason, verbose=verbose)
    yield Line(serving_words(readiness), 2)
    yield Line(points_words(readiness), 2)
    if verbose:
        yield from (Line(point_words(point, readiness.assessed_at), 4) for point in readiness.points)
    yield Line(forecast_words(readiness.rto), 2)
    if not readiness.is_way_back:
        yield Line(drill_words(readiness.last_drill, readiness.assessed_at), 2)


def _reason(reason: Reason, *, verbose: bool) -> Iterator[Line]:
    wrong = reason.severity is not Severity.WARNING
    yield Line(sentence(reason.text), 2, _MARKS[reason.severity], _STYLES[reason.severity], wrong=wrong)
    if verbose and len(reason.analyzers) > MOST_NAMED:
        yield Line(f"({', '.join(reason.analyzers)})", 4, wrong=wrong)
    yield Line(sentence(reason.next_action), 4, "→", wrong=wrong)
