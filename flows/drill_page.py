"""What a drill came to, as a page for the Prefect UI; the evidence itself is in the vault."""

from __future__ import annotations

from flows.markdown import bullets, page, seconds, table
from standby.recovery.drill.report import DrillReport


def drill_page(report: DrillReport) -> str:
    """Write what was rehearsed, what it took, and whether anything is left of it."""
    return page(
        f"# Drill of {report.plan}: {'passed' if report.passed else '**not passed**'}",
        bullets(report.reasons),
        table(
            ("", ""),
            (
                ("lost, as rehearsed", report.home),
                ("served in its place", report.to),
                ("snapshot", report.snapshot_id or "none"),
                ("analyzers usable", f"{report.analyzers.usable} of {report.analyzers.count}"),
                ("a failover would have taken", seconds(report.recovery_seconds)),
                ("RTO objective", seconds(report.rto_seconds) if report.rto_seconds else "none"),
                (
                    "nothing is left",
                    "proven" if report.cleanup.proven else f"**not proven**: {_left(report)}",
                ),
                ("evidence", report.evidence or "not written"),
                ("signed with", report.key_id or "nothing"),
            ),
        ),
        "## Phases",
        table(
            ("phase", "began (UTC)", "took", "outcome"),
            (
                (phase.name, f"{phase.started_at:%H:%M:%S}", seconds(phase.seconds), phase.outcome)
                for phase in report.phases
            ),
        ),
    )


def _left(report: DrillReport) -> str:
    return report.cleanup.problem or f"{len(report.cleanup.left)} analyzer(s)"
