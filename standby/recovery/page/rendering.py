"""Writes the page: one file that needs nothing else, in which every word of others is escaped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from standby.errors import sentence
from standby.recovery.audit import AuditLine
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
from standby.replication.serving import Severity
from standby.service.models import JsonValue

MOST_ANALYZERS = 500
"""Analyzers of a pair that the page lists; `standby status --json` has all."""

MOST_LINES = 100
"""Newest lines of the log that it shows."""

MOST_SNAPSHOTS = 20

LONGEST_FACT = 200
"""Characters of a fact of the log that are shown."""


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
    return _template().render(
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
        facts=_facts,
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


def _facts(line: AuditLine) -> str:
    return ", ".join(f"{name} {_fact(value)}" for name, value in line.facts.items())


def _fact(value: JsonValue) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_FACT else f"{text[:LONGEST_FACT]}…"


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("standby.recovery.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2")
