"""Readiness in plain words, one line each: the same on a terminal and on a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from standby.config.durations import format_duration, roughly
from standby.errors import sentence
from standby.recovery.durations import RtoForecast
from standby.recovery.readiness.document import AnalyzerPoint, Bucket, Facts, Readiness, Standing, State
from standby.recovery.readiness.last_runs import DrillSummary
from standby.replication.serving import Severity
from standby.text import some_of

MOST_NAMED = 3
"""Analyzers that a text names before it only counts them."""


@dataclass(frozen=True)
class Kind:
    """What is wrong with some analyzers in the same way.

    Attributes:
        explanation: what a replication says of it, where that matters.
    """

    bucket: Bucket
    severity: Severity
    explanation: str = ""


@dataclass(frozen=True)
class Told:
    """What a text is made of."""

    kind: Kind
    names: tuple[str, ...]
    standings: Sequence[Standing]
    facts: Facts

    @property
    def them(self) -> str:
        return some_of(self.names)

    @property
    def are(self) -> str:
        return "is" if len(self.names) == 1 else "are"

    @property
    def where(self) -> str:
        return self.facts.destination

    @property
    def plan(self) -> str:
        return self.facts.plan.name

    @property
    def oldest(self) -> str:
        moments = [each.verified_at for each in self.standings]
        known = [moment for moment in moments if moment is not None]
        if len(known) < len(moments):
            return "never" if not known else "some of it never"
        return f"{roughly(max(timedelta(), self.facts.now - min(known)))} ago"

    def bring(self, replicate: str = "") -> str:
        """Say how analyzers get to where they would be needed."""
        if self.facts.is_failback:
            return f"Run standby failback {self.plan}, which brings it along"
        if self.facts.switched or not self.facts.source_asked or self.facts.source_failure is not None:
            return f"Rebuild from a snapshot with standby restore {self.plan} --to {self.where}"
        return f"Run standby replicate {self.plan}{replicate}"


_Words = Callable[[Told], tuple[str, str]]


def _missing(told: Told) -> tuple[str, str]:
    return f"{told.them} {told.are} not at {told.where}", told.bring()


def _blocked(told: Told) -> tuple[str, str]:
    cause = told.kind.explanation.rstrip(".")
    return (
        f"{told.them} cannot be copied to {told.where}: {cause}",
        f"Settle that, then run standby replicate {told.plan}",
    )


def _broken(told: Told) -> tuple[str, str]:
    states = ", ".join(sorted({str(each.status) for each in told.standings}))
    return f"{told.them} {told.are} at {told.where} and not usable: {states}", told.bring(" --on-existing replace")


def _creating(told: Told) -> tuple[str, str]:
    command = "failback" if told.facts.is_failback else "replicate"
    return (
        f"{told.them} {told.are} still being built at {told.where}",
        f"Wait for its end; standby {command} {told.plan} does that too",
    )


def _differing(told: Told, how: str) -> tuple[str, str]:
    forced = " ".join(f"--force {name}" for name in told.names[:MOST_NAMED])
    return (
        f"{told.them} {how}, so {told.where} would answer otherwise than {told.facts.primary}",
        f"See the difference with standby check {told.plan}; "
        f"take that of {told.facts.primary} with standby replicate {told.plan} {forced}",
    )


def _edited(told: Told) -> tuple[str, str]:
    return _differing(told, f"{_was(told)} edited at {told.where}")


def _diverged(told: Told) -> tuple[str, str]:
    return _differing(told, f"{_was(told)} edited at both sides since the last copy")


def _foreign(told: Told) -> tuple[str, str]:
    return _differing(told, f"at {told.where} {told.are} no copy of ours")


def _was(told: Told) -> str:
    return "was" if len(told.names) == 1 else "were"


def _unverified(told: Told) -> tuple[str, str]:
    return (
        f"{told.them} {told.are} at {told.where}, and nothing recorded says whether it is what "
        f"{told.facts.primary} had",
        f"Compare it with standby check {told.plan} when {told.facts.primary} answers",
    )


def _stale(told: Told) -> tuple[str, str]:
    if told.facts.is_failback:
        return f"{told.them} at {told.where} differs from what serves now", told.bring()
    if told.kind.explanation:
        return (
            f"Whether {told.them} changed at {told.facts.primary} since it was last seen equal "
            f"({told.oldest}) cannot be told",
            f"Run standby check {told.plan} when {told.facts.primary} answers",
        )
    return (
        f"{told.them} at {told.where} {told.are} behind {told.facts.primary}, last equal {told.oldest}",
        told.bring(" --on-existing replace"),
    )


def _rpo_missed(told: Told) -> tuple[str, str]:
    allowed = told.facts.plan.objectives.rpo
    within = f" and the plan allows {format_duration(allowed)}" if allowed else ""
    return (
        f"{told.them} at {told.where} {told.are} behind {told.facts.primary}, last equal {told.oldest},{within}",
        told.bring(" --on-existing replace"),
    )


def rebuilt_words(facts: Facts) -> tuple[str, str]:
    """Say what was rebuilt at the target of what labelled data trained, and how a real copy gets there."""
    names = facts.rebuilt
    one = len(names) == 1
    forced = " ".join(f"--force {name}" for name in names[:MOST_NAMED])
    again = f"standby replicate {facts.plan.name} --target {facts.target} {forced}"
    copy = f"copy {'it' if one else 'them'} again from there with {again}"
    if facts.switched:
        action = f"When {facts.primary} serves again, {copy}"
    elif not facts.source_asked or facts.source_failure is not None:
        action = f"When {facts.primary} answers, {copy}"
    else:
        action = f"Copy {'it' if one else 'them'} again from {facts.primary} with {again}"
    return (
        f"{some_of(names)} at {facts.target} {'was' if one else 'were'} rebuilt by a restore, "
        f"and may not read as {'it does' if one else 'they do'} at {facts.primary}, where labelled data "
        f"trained {'it' if one else 'them'}",
        action,
    )


WORDS: Mapping[Bucket, _Words] = {
    Bucket.MISSING: _missing,
    Bucket.BLOCKED: _blocked,
    Bucket.BROKEN: _broken,
    Bucket.CREATING: _creating,
    Bucket.EDITED: _edited,
    Bucket.DIVERGED: _diverged,
    Bucket.FOREIGN: _foreign,
    Bucket.UNVERIFIED: _unverified,
    Bucket.STALE: _stale,
    Bucket.RPO_MISSED: _rpo_missed,
}


STATES = {State.READY: "ready", State.NOT_READY: "not ready", State.UNKNOWN: "unknown"}


def serving_words(readiness: Readiness) -> str:
    """Say what serves, and whether the source was heard."""
    place = "" if readiness.active == readiness.primary else f" in the place of {readiness.primary}"
    asked = "" if readiness.source_answered else f"; {readiness.primary} was not heard"
    return f"{readiness.active} serves{place}{asked}."


def points_words(readiness: Readiness) -> str:
    """Say how many analyzers hold the RPO, and which is worst."""
    if readiness.is_failback:
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
