"""Plans, drifts and reports, as lines a person can read on 80 columns."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from itertools import groupby

from standby.cli.output import Line
from standby.config.durations import format_duration, roughly
from standby.replication.forecast import Forecast
from standby.replication.items import GOOD, PlanItem, ReplicationPlan, Status
from standby.replication.report import Report, ReportItem, recovery_points
from standby.replication.verdict import Action, Verdict

SYMBOLS = {
    Action.COPY: "+",
    Action.REPLACE: "~",
    Action.COPY_AS_VERSION: "»",
    Action.ADOPT: "…",
    Action.SKIP: "=",
    Action.REFUSE: "!",
}
_MEANINGS = {
    Action.COPY: "copy",
    Action.REPLACE: "replace",
    Action.COPY_AS_VERSION: "copy as a new version",
    Action.ADOPT: "wait for a copy under way",
    Action.SKIP: "in sync",
    Action.REFUSE: "leave alone",
}
_STYLES = {
    Action.COPY: "green",
    Action.REPLACE: "yellow",
    Action.COPY_AS_VERSION: "green",
    Action.ADOPT: "cyan",
    Action.SKIP: "",
    Action.REFUSE: "red",
}
_COUNTED = {
    Action.COPY: "to copy",
    Action.REPLACE: "to replace",
    Action.COPY_AS_VERSION: "to copy as a version",
    Action.ADOPT: "under way",
    Action.SKIP: "in sync",
    Action.REFUSE: "to leave alone",
}

MOST_NAMED = 3
"""Analyzers that a warning or a reason names before it only counts them."""

MOST_PATHS = 5
"""Differences of one analyzer that are shown unless all are asked for."""


def plan_lines(plan: ReplicationPlan, expected: Forecast | None, *, verbose: bool) -> Iterator[Line]:
    """Show what a run would do: a legend, a line per object, a summary."""
    shown = [item for item in plan.items if verbose or item.action is not Action.SKIP]
    if shown or plan.added_defaults:
        yield Line(_legend(shown, added=bool(plan.added_defaults)))
        yield Line("")
    for pair, items in groupby(plan.items, key=_pair):
        yield from _under(pair, list(_pair_lines(plan, pair[1], list(items), verbose=verbose)))
    counts = Counter(item.action for item in plan.items)
    told = [f"{counts[action]} {_COUNTED[action]}" for action in Action if counts[action]]
    summary = f"Plan {plan.recovery_plan.name}: {', '.join(told) or 'no analyzer is selected'}."
    yield Line(f"{summary} {forecast_words(expected)}" if expected else summary)


def forecast_words(expected: Forecast) -> str:
    """Say in one sentence what a run will take."""
    busiest, share = max(expected.quota_share.items(), key=lambda entry: entry[1])
    return (
        f"At most {expected.all_calls} calls, {max(1, math.ceil(share * 100))}% of the quota per minute "
        f"of {busiest}, about {_span(expected.shortest, expected.longest)}."
    )


def drift_lines(plan: ReplicationPlan, *, verbose: bool) -> Iterator[Line]:
    """Show what differs between the resources, and what would not work though it does not differ."""
    drifted = [item for item in plan.items if item.verdict is not Verdict.IN_SYNC]
    for pair, items in groupby(plan.items, key=_pair):
        yield from _under(pair, list(_drift_of_pair(list(items), verbose=verbose)))
    counts = Counter(item.verdict for item in plan.items)
    told = [f"{counts[verdict]} {_spoken(verdict)}" for verdict in Verdict if counts[verdict]]
    words = ", ".join(told) or "no analyzer is selected"
    yield Line(f"Plan {plan.recovery_plan.name}: {words}.", wrong=bool(drifted))
    yield from _objective_lines(plan)


def report_lines(report: Report, *, verbose: bool = False) -> Iterator[Line]:
    """Show what a run did: whatever did not succeed by name, the rest as a count."""
    for pair, items in groupby(report.items, key=lambda item: (item.source, item.target)):
        told = list(items)
        bad = any(item.status not in GOOD for item in told)
        yield Line(f"{pair[0]} → {pair[1]}: {_totals(told)}", wrong=bad)
        if verbose:
            yield from (_done_line(item) for item in told if item.status in GOOD)
        yield from _failure_lines(told, verbose=verbose)
        yield from _warning_lines((item.analyzer, item.warnings) for item in told)
    yield Line(f"Plan {report.plan}: {_totals(report.items)} in {report.seconds:.1f} s.", wrong=not report.complete)


def _objective_lines(plan: ReplicationPlan) -> Iterator[Line]:
    rpo = plan.recovery_plan.objectives.rpo
    if rpo is None:
        return
    points = recovery_points(plan)
    missed = [point for point in points if not point.met]
    words = f"RPO {format_duration(rpo)}: met by {len(points) - len(missed)} of {len(points)}"
    if missed:
        worst = max(missed, key=lambda point: float("inf") if point.age is None else point.age)
        words = f"{words}; worst is {worst.analyzer} at {worst.target}, {_copied(worst.age)}"
    yield Line(f"{words}.", wrong=bool(missed))


def _copied(age: float | None) -> str:
    return "never copied" if age is None else f"last copied {roughly(timedelta(seconds=age))} ago"


def _legend(shown: Iterable[PlanItem], *, added: bool) -> str:
    used = {item.action for item in shown} | ({Action.COPY} if added else set())
    return "   ".join(f"{SYMBOLS[action]} {_MEANINGS[action]}" for action in Action if action in used)


def _under(pair: tuple[str, str], told: Sequence[Line]) -> Iterator[Line]:
    if told:
        wrong = any(line.wrong for line in told)
        yield Line(f"{pair[0]} → {pair[1]}", wrong=wrong)
        yield from told
        yield Line("", wrong=wrong)


def _pair_lines(plan: ReplicationPlan, target: str, items: Sequence[PlanItem], *, verbose: bool) -> Iterator[Line]:
    for name, deployment in plan.added_defaults.get(target, {}).items():
        text = f"default {name} = {deployment}: the target's defaults lack it."
        yield Line(text, 2, SYMBOLS[Action.COPY], _STYLES[Action.COPY])
    for item in items:
        if verbose or item.action is not Action.SKIP:
            yield from _plan_item(item, verbose=verbose)
    yield from _warning_lines((item.analyzer, item.warnings) for item in items)


def _plan_item(item: PlanItem, *, verbose: bool) -> Iterator[Line]:
    text = f"{_named(item)}: {item.reason}"
    refused = item.action is Action.REFUSE
    yield Line(text, 2, SYMBOLS[item.action], _STYLES[item.action], wrong=refused)
    if verbose:
        yield from (Line(path, 6) for path in item.differences)


def _drift_of_pair(items: Sequence[PlanItem], *, verbose: bool) -> Iterator[Line]:
    for item in items:
        if item.verdict is not Verdict.IN_SYNC:
            yield from _drift_item(item, verbose=verbose)
    yield from _warning_lines((item.analyzer, item.warnings) for item in items)


def _drift_item(item: PlanItem, *, verbose: bool) -> Iterator[Line]:
    yield Line(f"{_named(item)}: {_spoken(item.verdict)}. {item.reason}", 2, "≠", "yellow", wrong=True)
    paths = item.differences if verbose else item.differences[:MOST_PATHS]
    yield from (Line(path, 6, wrong=True) for path in paths)
    if len(paths) < len(item.differences):
        yield Line(f"and {len(item.differences) - len(paths)} more (-v shows all)", 6, wrong=True)


def _done_line(item: ReportItem) -> Line:
    if item.status is Status.SKIPPED:
        return Line(f"{_named(item)}: was in sync.", 2, SYMBOLS[Action.SKIP])
    deed = {Action.REPLACE: "replaced", Action.ADOPT: "its copy was under way"}.get(item.action, "copied")
    text = f"{_named(item)}: {deed}, {item.seconds:.1f} s."
    return Line(text, 2, SYMBOLS[item.action], _STYLES[item.action])


def _failure_lines(items: Iterable[ReportItem], *, verbose: bool) -> Iterator[Line]:
    """Say each reason once, with the analyzers it is about; with all of their names, where asked."""
    same: dict[tuple[Status, str], list[str]] = {}
    for item in items:
        if item.status not in GOOD:
            same.setdefault((item.status, item.reason), []).append(_named(item))
    for (status, reason), names in same.items():
        for told in names if verbose else [_some(names)]:
            yield Line(f"{told} {status}: {reason}", 2, SYMBOLS[Action.REFUSE], "red", wrong=True)


def _warning_lines(warned: Iterable[tuple[str, Iterable[str]]]) -> Iterator[Line]:
    """Say each warning once, with the analyzers it is about: the same one often goes for many."""
    analyzers: dict[str, list[str]] = {}
    for analyzer, warnings in warned:
        for warning in warnings:
            analyzers.setdefault(warning, []).append(analyzer)
    for warning, names in analyzers.items():
        yield Line(f"{_some(names)}: {warning}", 2, "?", "yellow")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{more}"


def _named(item: PlanItem | ReportItem) -> str:
    if item.analyzer == item.target_analyzer:
        return item.analyzer
    return f"{item.analyzer} as {item.target_analyzer}"


def _spoken(word: Verdict) -> str:
    return word.value.replace("_", " ")


def _totals(items: Iterable[ReportItem]) -> str:
    counts = Counter(item.status for item in items)
    told = (f"{counts[status]} {status}" for status in Status if counts[status])
    return ", ".join(told) or "nothing to do"


def _span(shortest: float, longest: float) -> str:
    low, high = math.ceil(shortest), math.ceil(longest)
    if high < 120:
        return f"{low} to {high} s" if low < high else f"{high} s"
    low, high = max(1, math.floor(shortest / 60)), math.ceil(longest / 60)
    return f"{low} to {high} min" if low < high else f"{high} min"


def _pair(item: PlanItem) -> tuple[str, str]:
    return (item.source, item.target)
