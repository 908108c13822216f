"""Readiness in plain words, one line each: the same on a terminal and on a page."""

from __future__ import annotations

from datetime import datetime, timedelta

from standby.config.durations import format_duration, roughly
from standby.errors import sentence
from standby.recovery.drill.summary import DrillSummary
from standby.recovery.readiness.document import AnalyzerPoint, Readiness, RtoForecast, State

STATES = {State.READY: "ready", State.NOT_READY: "not ready", State.UNKNOWN: "unknown"}


def serving_words(readiness: Readiness) -> str:
    """Say what serves, and whether the source was heard."""
    place = "" if readiness.active == readiness.home else f" in the place of {readiness.home}"
    asked = "" if readiness.source_answered else f"; {readiness.home} was not heard"
    return f"{readiness.active} serves{place}{asked}."


def points_words(readiness: Readiness) -> str:
    """Say how many analyzers hold the RPO, and which is worst."""
    if readiness.is_way_back:
        return "RPO: none on the way back; a failback brings everything along before it switches."
    known = len(readiness.points)
    if readiness.rpo_seconds is None:
        changed = sum(point.source_changed is True for point in readiness.points)
        return f"RPO: the plan has none; {changed} of {known} behind the source."
    words = f"RPO {format_duration(timedelta(seconds=readiness.rpo_seconds))}"
    met = sum(point.met is True for point in readiness.points)
    told = f"{words}: met by {met} of {known}"
    others = [point for point in readiness.points if point.met is not True]
    if not others:
        return f"{told}."
    worst = max(others, key=lambda point: (point.met is False, _age(point)))
    return f"{told}; worst is {worst.analyzer}, {_last(worst)}."


def _age(point: AnalyzerPoint) -> float:
    return float("inf") if point.age_seconds is None else point.age_seconds


def _last(point: AnalyzerPoint) -> str:
    if point.age_seconds is None:
        return "not known to have been equal"
    return f"last equal {roughly(timedelta(seconds=point.age_seconds))} ago"


def point_words(point: AnalyzerPoint, now: datetime) -> str:
    """Say how far one copy is behind."""
    changed = {
        True: "the source has changed",
        False: "the source has not changed",
        None: "whether it changed is unknown",
    }
    last = f"; {_last(point)}" if point.source_changed is not False else ""
    at = f" ({point.verified_at:%Y-%m-%d %H:%M} UTC)" if point.verified_at and point.verified_at < now else ""
    return f"{point.analyzer}: {changed[point.source_changed]}{last}{at}"


def forecast_words(rto: RtoForecast) -> str:
    """Say how long a failover would take, and what that is made from."""
    return f"{span_words(rto)}. {rto.basis}"


def span_words(rto: RtoForecast) -> str:
    """Say how long a failover would take, without a full stop."""
    named = f"RTO {format_duration(timedelta(seconds=rto.objective))}" if rto.objective else "RTO"
    if rto.low is None or rto.high is None:
        return f"{named}: no forecast"
    held = {True: ", within it", False: ", which may be too long", None: ""}[rto.met]
    return f"{named}: {rto.low:.0f} to {rto.high:.0f} s{held}"


def drill_words(drill: DrillSummary | None, now: datetime) -> str:
    """Say how the last drill ended."""
    if drill is None:
        return "Last drill: none."
    ended = f"{roughly(max(timedelta(), now - drill.ended_at))} ago, in {drill.seconds:.0f} s"
    if drill.passed:
        return f"Last drill: passed {ended}."
    return sentence(f"Last drill: failed {ended}: {drill.reason}")
