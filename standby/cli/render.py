"""Plans, drifts and reports, as lines a person can read on 80 columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from standby.replication.actions import Action
from standby.replication.planning import PlanItem, ReplicationPlan
from standby.replication.report import Report, ReportItem
from standby.replication.results import GOOD, Status
from standby.replication.verdict import Verdict

SYMBOLS = {
    Action.COPY: "+",
    Action.REPLACE: "~",
    Action.COPY_AS_VERSION: "»",
    Action.ADOPT: "…",
    Action.SKIP: "=",
    Action.REFUSE: "!",
}
LEGEND = "+ copy   ~ replace   » copy as a new version   … wait for a copy under way   ! not touched"

MOST_NAMED = 3
"""Analyzers that a warning names before it only counts them."""

_SUMMARY = {
    Action.COPY: "to copy",
    Action.REPLACE: "to replace",
    Action.COPY_AS_VERSION: "to copy as a version",
    Action.ADOPT: "under way",
    Action.SKIP: "in sync",
    Action.REFUSE: "not touched",
}


def plan_lines(plan: ReplicationPlan, *, verbose: bool) -> Iterator[str]:
    """Show what a run would do: a legend, a line per object, a summary."""
    if verbose or plan.added_defaults or any(_worth_a_line(item) for item in plan.items):
        yield LEGEND
        yield ""
    for pair, items in groupby(plan.items, key=_pair):
        told = list(_pair_lines(plan, pair, list(items), verbose=verbose))
        if told:
            yield f"{pair[0]} → {pair[1]}"
            yield from told
            yield ""
    counts = {action: sum(item.action is action for item in plan.items) for action in Action}
    told = [f"{count} {_SUMMARY[action]}" for action, count in counts.items() if count]
    yield f"Plan {plan.recovery_plan.name}: {', '.join(told) or 'no analyzer is selected'}."


def drift_lines(plan: ReplicationPlan, *, verbose: bool) -> Iterator[str]:
    """Show what differs between the resources, and nothing that does not."""
    drifted = [item for item in plan.items if item.verdict is not Verdict.IN_SYNC]
    for pair, items in groupby(drifted, key=_pair):
        yield f"{pair[0]} → {pair[1]}"
        for item in items:
            yield f"  {item.analyzer}: {item.verdict}. {item.reason}"
            paths = item.differences if verbose else item.differences[:5]
            yield from (f"      {path}" for path in paths)
            if len(paths) < len(item.differences):
                yield f"      and {len(item.differences) - len(paths)} more (-v shows all)"
        yield ""
    same = len(plan.items) - len(drifted)
    yield f"Plan {plan.recovery_plan.name}: {same} in sync, {len(drifted)} not."


def report_lines(report: Report) -> Iterator[str]:
    """Show what a run did: whatever did not succeed by name, the rest as a count."""
    for pair, items in groupby(report.items, key=lambda item: (item.source, item.target)):
        told = list(items)
        yield f"{pair[0]} → {pair[1]}: {_totals(told)}"
        for item in told:
            if item.status not in GOOD:
                yield f"  ! {item.analyzer} {item.status}: {item.reason}"
        yield from _warning_lines((item.analyzer, item.warnings) for item in told)
    yield f"Plan {report.plan}: {_totals(report.items)} in {report.seconds:.1f} s."


def _pair_lines(
    plan: ReplicationPlan, pair: tuple[str, str], items: Sequence[PlanItem], *, verbose: bool
) -> Iterator[str]:
    for name, deployment in plan.added_defaults.get(pair[1], {}).items():
        yield f"  + default {name} = {deployment}: the target's defaults lack it."
    for item in items:
        if verbose or _worth_a_line(item):
            yield from _plan_item(item, verbose=verbose)
    yield from _warning_lines((item.analyzer, item.warnings) for item in items)


def _worth_a_line(item: PlanItem) -> bool:
    return item.action is not Action.SKIP


def _warning_lines(warned: Iterable[tuple[str, Iterable[str]]]) -> Iterator[str]:
    """Say each warning once, with the analyzers it is about: the same one often goes for many."""
    analyzers: dict[str, list[str]] = {}
    for analyzer, warnings in warned:
        for warning in warnings:
            analyzers.setdefault(warning, []).append(analyzer)
    for warning, names in analyzers.items():
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        yield f"  ? {', '.join(names[:MOST_NAMED])}{more}: {warning}"


def _plan_item(item: PlanItem, *, verbose: bool) -> Iterator[str]:
    name = (
        item.analyzer
        if item.analyzer == item.target_analyzer
        else f"{item.analyzer} as {item.target_analyzer}"
    )
    yield f"  {SYMBOLS[item.action]} {name}: {item.reason}"
    if verbose:
        yield from (f"      {path}" for path in item.differences)


def _totals(items: Iterable[ReportItem]) -> str:
    counts = Counter(item.status for item in items)
    told = (f"{counts[status]} {status}" for status in Status if counts[status])
    return ", ".join(told) or "nothing to do"


def _pair(item: PlanItem) -> tuple[str, str]:
    return (item.source, item.target)
