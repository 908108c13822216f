"""Restores, as lines a person can read on 80 columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from standby.cli.lines import Line
from standby.cli.snapshot_lines import some_names
from standby.errors import sentence
from standby.recovery.snapshots.restore_items import Fidelity, RestoreAction, RestoreItem, RestorePlan
from standby.recovery.snapshots.restore_report import RestoredItem, RestoreReport
from standby.replication.results import GOOD, Status

_MARKS = {
    RestoreAction.CREATE: ("+", "green"),
    RestoreAction.KEEP: ("=", ""),
    RestoreAction.REFUSE: ("!", "red"),
}
_MEANINGS = {
    Fidelity.EXACT: "exact: a verified copy is there",
    Fidelity.EQUIVALENT: "equivalent: the same definition, built anew",
    Fidelity.UNFAITHFUL: "unfaithful: labelled data changed, gone or unknown; or something else is there",
}


def plan_lines(plan: RestorePlan) -> Iterator[Line]:
    """Show, before anything is done, how true each analyzer will be to the one that was kept."""
    yield Line(f"Snapshot {plan.snapshot_id} of {plan.taken_at:%Y-%m-%d %H:%M:%S} UTC → {plan.to}")
    for problem in plan.problems:
        yield Line(sentence(problem), 2, "!", "red", True)
    for name, deployment in plan.added_defaults.items():
        yield Line(f"default {name} = {deployment}: the target's defaults lack it.", 2, "+", "green")
    for item in plan.items:
        yield from _item_lines(item)
    counts = Counter(item.fidelity for item in plan.items)
    for fidelity in Fidelity:
        if counts[fidelity]:
            yield Line(f"{counts[fidelity]} {_MEANINGS[fidelity]}", 2)
    yield Line("")


def report_lines(report: RestoreReport, *, verbose: bool = False) -> Iterator[Line]:
    """Show what a restore did: whatever did not succeed by name, the rest as a count."""
    same: dict[tuple[Status, str], list[str]] = {}
    for item in report.items:
        if item.status not in GOOD:
            same.setdefault((item.status, item.reason), []).append(_named(item))
        elif verbose:
            deed = f"built, {item.seconds:.1f} s" if item.status is Status.SUCCEEDED else "was there"
            yield Line(f"{_named(item)}: {deed} ({item.fidelity}).", 2, "+", "green")
    for (status, reason), names in same.items():
        for told in names if verbose else [some_names(names)]:
            yield Line(f"{told} {status}: {reason}", 2, "!", "red", True)
    for problem in report.problems:
        yield Line(sentence(problem), 2, "!", "red", True)
    counts = ", ".join(f"{count} {status}" for status, count in report.totals.items() if count)
    true = Counter(item.fidelity for item in report.items if item.status in GOOD)
    faithful = ", ".join(f"{true[fidelity]} {fidelity}" for fidelity in Fidelity if true[fidelity])
    yield Line(
        f"Plan {report.plan} → {report.to}: {counts or 'nothing to do'} in {report.seconds:.1f} s"
        f"{f' ({faithful})' if faithful else ''}.",
        wrong=not report.complete,
    )


def _item_lines(item: RestoreItem) -> Iterator[Line]:
    mark, style = _MARKS[item.action]
    wrong = item.action is not RestoreAction.CREATE and not item.met
    text = f"{_named(item)}: {item.fidelity}. {item.reason}"
    yield Line(text, 2, "!" if wrong else mark, "red" if wrong else style, wrong)
    for warning in item.warnings:
        yield Line(warning, 6, "?", "yellow")


def _named(item: RestoreItem | RestoredItem) -> str:
    if item.analyzer == item.target_analyzer:
        return item.analyzer
    return f"{item.analyzer} as {item.target_analyzer}"
