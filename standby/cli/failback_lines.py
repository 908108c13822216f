"""What a failback found and did, as lines a person can read on 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from standby.cli.lines import Line
from standby.cli.render import report_lines
from standby.errors import sentence
from standby.recovery.failback.divergence import Divergence
from standby.recovery.failback.report import DivergenceItem, DivergenceReport, FailbackReport

MOST_NAMED = 10
"""Analyzers of one kind that are named unless all are asked for."""

_TOLD = {
    Divergence.EDITED_AT_BOTH: "edited at {home} and at {standby}",
    Divergence.DIFFERENT: "different, and no copy of one to the other is known",
    Divergence.EDITED_AT_STANDBY: "edited at {standby}",
    Divergence.NEW_AT_STANDBY: "new at {standby}",
    Divergence.DELETED_AT_HOME: "gone from {home}",
    Divergence.UNUSABLE_AT_HOME: "not ready at {home}",
    Divergence.UNDER_WAY: "being copied to {home}",
    Divergence.EDITED_AT_HOME: "edited at {home}",
    Divergence.NEW_AT_HOME: "new at {home}",
    Divergence.DELETED_AT_STANDBY: "gone from {standby}",
}

_MARKS = {None: ("?", "yellow"), "standby": ("←", "green"), "home": ("→", "cyan")}


def divergence_lines(report: DivergenceReport, *, verbose: bool = False) -> Iterator[Line]:
    """Show what became of both sides, and whose analyzers go on."""
    yield Line(f"{report.home} and {report.standby} since the last copies:")
    for kind, words in _TOLD.items():
        yield from _of_kind(report, kind, words.format(home=report.home, standby=report.standby), verbose)
    equal = report.totals[Divergence.IN_SYNC]
    yield Line(f"{equal} in sync", 2, "=")
    yield from _staying("older copies beside a newer one", report.superseded, report.standby)
    yield from _staying("none of the plan's concern", report.outside, report.standby)
    if report.untrained:
        yield from untrained_lines(report)
    if report.unsettled:
        first = report.unsettled[0]
        text = f"Say whose goes on: --keep {first}=home or --keep {first}=standby, for each."
        yield Line(text, wrong=True)


def untrained_lines(report: DivergenceReport) -> Iterator[Line]:
    """Warn of what comes home without the training that it had there."""
    names = list(report.untrained)
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    text = f"rebuilt at {report.standby}, so not trained as before: {', '.join(names[:MOST_NAMED])}{more}"
    yield Line(text, 2, "!", "yellow")
    yield Line(f"Train again at {report.home} once it serves, from the labelled data.", 4, "→")


def failback_lines(report: FailbackReport, *, verbose: bool = False) -> Iterator[Line]:
    """Show what was copied which way, what serves now, and what to do next."""
    for copies in (report.sync, report.forward):
        if copies is not None and copies.items:
            yield from report_lines(copies, verbose=verbose)
    if report.divergence is not None and report.divergence.untrained:
        yield from untrained_lines(report.divergence)
    for problem in dict.fromkeys(report.problems):
        yield Line(sentence(problem), 2, "!", "red", True)
    yield Line(_ending(report), wrong=not report.complete)
    if report.next_action:
        yield Line(sentence(report.next_action), 2, "→", wrong=True)


def _of_kind(report: DivergenceReport, kind: Divergence, words: str, verbose: bool) -> Iterator[Line]:
    items = [item for item in report.items if item.divergence is kind]
    for keep in (None, "standby", "home"):
        same = [item for item in items if item.keep == keep]
        if same:
            mark, style = _MARKS[keep]
            names = _names(same, everything=verbose)
            yield Line(f"{words}: {names}{_goes_on(report, kind, keep)}", 2, mark, style, keep is None)
            if verbose:
                yield from (Line(f"{item.analyzer} {path}", 6) for item in same for path in item.differences)


def _goes_on(report: DivergenceReport, kind: Divergence, keep: str | None) -> str:
    if keep is None:
        return ""
    side = report.home if keep == "home" else report.standby
    if keep == "home" and kind in {Divergence.DELETED_AT_HOME, Divergence.NEW_AT_STANDBY}:
        return f" (stays at {report.standby} only)"
    return f" (that of {side} goes on)"


def _names(items: Sequence[DivergenceItem], *, everything: bool) -> str:
    names = [
        item.analyzer
        if item.standby_analyzer in (None, item.analyzer)
        else f"{item.analyzer} ({item.standby_analyzer})"
        for item in items
    ]
    if everything or len(names) <= MOST_NAMED:
        return ", ".join(names)
    return f"{', '.join(names[:MOST_NAMED])} and {len(names) - MOST_NAMED} more"


def _staying(words: str, names: Iterable[str], standby: str) -> Iterator[Line]:
    if told := list(names):
        more = f" and {len(told) - MOST_NAMED} more" if len(told) > MOST_NAMED else ""
        yield Line(f"{words}: {', '.join(told[:MOST_NAMED])}{more} (stay at {standby})", 2, "·")


def _ending(report: FailbackReport) -> str:
    about = f"plan {report.plan}, epoch {report.epoch}"
    match report.state:
        case "failed_back":
            return f"{report.home} serves again, for good ({about}), after {report.seconds:.1f} s."
        case "at_home":
            return f"{report.home} serves already; there is nothing to bring back ({about})."
        case "refused" | "incomplete":
            return f"Not brought back to {report.home}: {report.standby} still serves ({about})."
        case "unfinished":
            return f"The switch back to {report.home} has not ended ({about})."
        case "interrupted":
            return f"Interrupted on the way back to {report.home} ({about})."
