"""The evidence of a drill as a page to read and to print: one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from standby.recovery.drill.proving import DrilledAnalyzer
from standby.recovery.drill.report import DrillReport
from standby.recovery.failover.report import FailoverReport
from standby.recovery.templates import template

MOST_ANALYZERS = 500
"""Analyzers that the page lists; the JSON file has all."""


def evidence_page(
    report: DrillReport,
    failover: FailoverReport | None,
    analyzers: Sequence[DrilledAnalyzer],
    before: Mapping[str, str],
    after: Mapping[str, str],
) -> str:
    """Write the page.

    Args:
        report: of the drill, with where its evidence is.
        failover: of the rehearsed failover, as far as it came.
        analyzers: each one at the resource it was rehearsed at.
        before: digests of what must stay as it is.
        after: the same, at the end.
    """
    # What is wrong comes first, however many there are.
    listed = sorted(analyzers, key=lambda each: not each.problem)
    longest = max((phase.seconds for phase in report.phases), default=0.0) or 1.0
    return template("standby.recovery.drill", "evidence.html.j2").render(
        report=report,
        failover=failover,
        at=report.scratch or report.to,
        analyzers=listed[:MOST_ANALYZERS],
        more=len(analyzers) - MOST_ANALYZERS,
        widths=[round(100 * phase.seconds / longest, 1) for phase in report.phases],
        untouched=[(name, digest, after.get(name, "unknown")) for name, digest in before.items()],
    )
