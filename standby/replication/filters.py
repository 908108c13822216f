"""Which analyzers of a source a plan protects."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from fnmatch import fnmatchcase

from standby.config.plan import RecoveryPlan
from standby.config.since import moment_of
from standby.service.models import Analyzer

DRILL_TAG = "standby-drill"
"""Tag of what a drill makes and deletes again: a copy of it elsewhere would be deleted by nobody."""


def is_protected(plan: RecoveryPlan, analyzer: Analyzer, now: datetime) -> bool:
    """Say whether all filters of a plan choose an analyzer; what a drill made is never chosen.

    Args:
        plan: has globs on ids, tags, base analyzers, and a moment since which it must have changed.
        analyzer: as listed at the source.
        now: what a length of time in `modified_since` counts back from, UTC.
    """
    return (
        DRILL_TAG not in analyzer.tags
        and matches(analyzer.analyzer_id, plan.include)
        and not matches(analyzer.analyzer_id, plan.exclude)
        and all(_has_tag(analyzer, wanted) for wanted in plan.tags)
        and matches(analyzer.base_analyzer_id or "", plan.base)
        and _changed_since(analyzer, plan.modified_since, now)
    )


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Say whether a name matches one of some globs; letter case counts."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _has_tag(analyzer: Analyzer, wanted: str) -> bool:
    key, _, pattern = wanted.partition("=")
    value = analyzer.tags.get(key)
    return value is not None and fnmatchcase(value, pattern)


def _changed_since(analyzer: Analyzer, since: str | None, now: datetime) -> bool:
    changed_at = analyzer.last_modified_at
    # One whose date cannot be told is protected: leaving it out could lose it.
    return since is None or changed_at is None or changed_at >= moment_of(since, now)
