"""The page about metrics: each instrument with its name in Prometheus, its unit and its attributes."""

from __future__ import annotations

from collections.abc import Iterable

from docs.site.markdown import as_sentence, code, table
from standby.telemetry import OF_RUNS, OF_THE_GATEWAY, Metric


def metrics_page() -> str:
    """Write the page."""
    text = [
        "# Metrics",
        "How to scrape or push them: [Metrics and traces](../how-to/metrics.md).",
        "## What a run pushes by OTLP {#of-runs}",
        _table(OF_RUNS),
        "## What the gateway serves at /metrics {#of-the-gateway}",
        _table(OF_THE_GATEWAY),
    ]
    return "\n\n".join(text) + "\n"


def _table(metrics: Iterable[Metric]) -> str:
    return table(
        ("metric", "in Prometheus", "kind", "unit", "attributes", "meaning"),
        (
            (
                code(each.name),
                code(each.exposed),
                each.kind,
                code(each.unit),
                ", ".join(map(code, each.attributes)),
                as_sentence(each.description),
            )
            for each in metrics
        ),
    )
