"""Writes the page: one file that needs nothing else, in which every word of others is escaped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from standby.errors import sentence
from standby.recovery.audit_words import facts_told
from standby.recovery.page.content import PageContent
from standby.recovery.page.region_map import BOX_HEIGHT, BOX_WIDTH, draw_map
from standby.recovery.readiness.document import Readiness, State
from standby.recovery.readiness.words import (
    STATES,
    drill_words,
    forecast_words,
    point_words,
    points_words,
    serving_words,
    span_words,
)
from standby.recovery.templates import template
from standby.replication.serving import Severity

MOST_ANALYZERS = 500
"""Analyzers of a pair that the page lists; `standby status --json` has all."""

MOST_LINES = 100
"""Newest lines of the log that it shows."""

MOST_SNAPSHOTS = 20


@dataclass(frozen=True)
class _Row:
    analyzer: str
    target_analyzer: str
    told: str
    problems: str
    wrong: bool


def render_page(content: PageContent) -> str:
    """Write the page as HTML."""
    states = {readiness.state for readiness in content.readiness}
    worst = next((state for state in (State.NOT_READY, State.UNKNOWN) if state in states), State.READY)
    return template("standby.recovery.page", "report.html.j2").render(
        content=content,
        plan=content.plan.name,
        states=STATES,
        worst=worst,
        map=draw_map(content.readiness, content.fence, content.regions),
        box=(BOX_WIDTH, BOX_HEIGHT),
        rows=[list(_rows(readiness)) for readiness in content.readiness],
        most_analyzers=MOST_ANALYZERS,
        serving=serving_words,
        points=points_words,
        forecast=forecast_words,
        span=span_words,
        drill=drill_words,
        sentence=sentence,
        lines=list(reversed(content.audit.lines[-MOST_LINES:])),
        older=max(0, len(content.audit.lines) - MOST_LINES),
        facts=facts_told,
        snapshots=content.snapshots[:MOST_SNAPSHOTS],
    )


def _rows(readiness: Readiness) -> Iterator[_Row]:
    """Give a row for each analyzer, those with something wrong first."""
    told: dict[str, list[str]] = {}
    wrong: set[str] = set()
    for reason in readiness.reasons:
        for analyzer in reason.analyzers:
            told.setdefault(analyzer, []).append(reason.bucket.value.replace("_", " "))
            if reason.severity is not Severity.WARNING:
                wrong.add(analyzer)
    points = sorted(
        readiness.points, key=lambda point: (point.analyzer not in wrong, point.analyzer not in told)
    )
    for point in points:
        yield _Row(
            analyzer=point.analyzer,
            target_analyzer=readiness.names.get(point.analyzer, ""),
            told=point_words(point, readiness.assessed_at).removeprefix(f"{point.analyzer}: "),
            problems=", ".join(dict.fromkeys(told.get(point.analyzer, ()))) or "ready",
            wrong=point.analyzer in wrong,
        )
