"""The reports of a failover and a commit, and the sentences that terminal, Prefect and pages show."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeVar, assert_never

from pydantic import Field

from standby.clock import Clock
from standby.document import Document, JsonValue
from standby.errors import StandbyError, sentence
from standby.recovery.activation.seen import SinkView, told_words
from standby.recovery.activation.sinks import SinkResult
from standby.recovery.context import RunReport, Stage, Stages
from standby.recovery.failover.errors import FailoverStopped
from standby.recovery.proof.records import Proof
from standby.recovery.readiness.wording import missing_words
from standby.text import lasting, some_of
from standby.vault.replica import ReplicaState

Mode = Literal["planned", "unplanned", "rollback"]
State = Literal["activated", "rolled_back", "fenced"]
"""How a failover ended; fenced: it has not ended, and has to be resumed or rolled back."""


class PhaseTime(Document):
    name: str
    started_at: datetime
    seconds: float
    outcome: str


class Restored(Document):
    """What was restored at the target from a snapshot; of what could not be, the reasons."""

    snapshot_id: str
    taken_at: datetime
    created: tuple[str, ...]
    failed: dict[str, str]


class FailoverReport(RunReport):
    epoch: int
    primary: str = Field(alias="home")
    from_resource: str
    to: str
    mode: Mode
    reason: str
    decision_id: str
    started_at: datetime
    phases: tuple[PhaseTime, ...]
    sinks: tuple[SinkResult, ...]
    seen: tuple[SinkView, ...] = ()  # what the applications of each sink see, where the failover has not ended
    restored: Restored | None  # nothing where nothing was missing, or there was no snapshot
    proofs: tuple[Proof, ...] = ()  # what samples showed of the target, once it served
    # Why analyzers are left out, by their ids at the primary: the resource that serves does not have them.
    missing: dict[str, str] = Field(default_factory=dict)
    healthy_until: datetime | None = None  # the last healthy look before the outage, UTC; `None` where none is known
    # The first look that saw it, UTC; `None` for an operator's order. It began between the two.
    unhealthy_since: datetime | None = None
    detection_at_least_seconds: float | None = None  # like detection_seconds, but at least
    # Since the outage began until the failover was decided or proposed, at most; `None` where no healthy look is known,
    # or an operator ordered it.
    detection_seconds: float | None
    # How long the proposal waited for its approval; `None` where nobody was asked.
    approval_seconds: float | None = None
    recovery_seconds: float | None  # from then, or from the order, until every sink had the target
    rto_at_least_seconds: float | None = None  # like rto_seconds, but at least
    # Since the outage began until every sink had the target, at most; `None` where that is unknown.
    rto_seconds: float | None
    rto_objective_seconds: float | None
    rto_met: bool | None  # judged by both ends; `None` where they say different things, or one is needed and not known
    serving: str = Field(alias="side")
    state: State
    forced: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    interrupted: bool = False
    next_action: str = ""

    @property
    def serves_as_asked(self) -> bool:
        """Whether the resource serves that was asked for, whether or not every sink has it."""
        return self.state in {"activated", "rolled_back"} and self.serving == self.to

    @property
    def complete(self) -> bool:
        """Whether the resource serves that was asked for, with nothing left out, and every sink has it."""
        return self.serves_as_asked and not self.missing and all(sink.status == "told" for sink in self.sinks)

    @property
    def facts(self) -> dict[str, JsonValue]:
        return {
            "from": self.from_resource,
            "decision": self.decision_id,
            **self.model_dump(by_alias=True, include=_FACTS),
            "sinks": {sink.name: sink.status for sink in self.sinks},
            "missing": [*self.missing],
            "missing_count": len(self.missing),
        }


_FACTS = {"primary", "to", "serving", "mode", "state", "epoch", "approval_seconds", "recovery_seconds", "rto_met"} | {
    f"{what}_{bound}" for what in ("detection", "rto") for bound in ("seconds", "at_least_seconds")
}


class CommitReport(RunReport):
    epoch: int
    committed: dict[str, str]  # the resources that were waiting for it, by primary
    serving: dict[str, str] = Field(alias="sides")
    sinks: tuple[SinkResult, ...]
    added: tuple[str, ...] = ()  # ids at the primaries of what was left out, and works by now
    missing: dict[str, tuple[str, ...]] = Field(default_factory=dict)  # what is still left out, by primary
    problems: tuple[str, ...] = ()
    next_action: str = ""
    replica: ReplicaState | None = None

    @property
    def complete(self) -> bool:
        return all(sink.status == "told" for sink in self.sinks)


def ending(report: FailoverReport) -> str:
    """Say how a failover ended and what serves, without a full stop."""
    instead = "" if report.serving == report.primary else f" for {report.primary}"
    about = f"(plan {report.plan}, epoch {report.epoch})"
    match report.state:
        case "activated":
            return f"{report.serving} serves now{instead} {about}"
        case "rolled_back" if report.serves_as_asked:
            return f"{report.serving} serves again{instead} {about}"
        case "rolled_back":
            return f"The failover to {report.to} was undone: {report.serving} still serves{instead} {about}"
        case "fenced":
            text = f"The failover from {report.from_resource} to {report.to} has not ended {about}"
            told = told_words(report.seen, report.primary, report.epoch)
            return f"{text}. {told}" if told else text
        case _:
            assert_never(report.state)


def times(report: FailoverReport) -> str:
    """Say how long it took, as a sentence; empty where that was not measured."""
    parts = []
    if detected := detection_words(report):
        parts.append(f"detected after {detected}")
    if report.approval_seconds is not None:
        parts.append(f"approved after {lasting(report.approval_seconds)}")
    if report.recovery_seconds is not None:
        parts.append(f"failed over in {lasting(report.recovery_seconds)}")
    if outage := outage_words(report):
        parts.append(f"serving again {outage}")
    if report.rto_at_least_seconds is not None and report.rto_objective_seconds is not None:
        parts.append(f"{_kept(report)} the RTO of {lasting(report.rto_objective_seconds)}")
    text = ", ".join(parts)
    return sentence(f"{text[:1].upper()}{text[1:]}") if parts else ""


def _kept(report: FailoverReport) -> str:
    if report.rto_met is not None:
        return "within" if report.rto_met else "beyond"
    if report.unhealthy_since is None:
        return "and when the outage began is not known, so it is unknown whether that is within"
    return "which may or may not be within"


def detection_words(report: FailoverReport) -> str:
    """Say how long it took from the beginning of the outage until the failover was decided; empty for an order."""
    least, most = report.detection_at_least_seconds, report.detection_seconds
    if most is None:
        return "" if least is None else f"at least {lasting(least)}"
    return lasting(most) if least is None else _range(least, most, "to")


def outage_words(report: FailoverReport) -> str:
    """Say how long after the beginning of an outage the target served; empty where no look saw one."""
    least, most = report.rto_at_least_seconds, report.rto_seconds
    if report.unhealthy_since is None or least is None:
        return ""
    if most is None:
        return f"at least {lasting(least)} after the outage began (no healthy look before it is known)"
    between = "" if _range(least, most, "and") == lasting(most) else "between "
    return f"{between}{_range(least, most, 'and')} after the outage began"


def within(objective: float | None, least: float | None, most: float | None) -> bool | None:
    """Say whether an objective was met by what took so long at least, and at most so long; `None` if unknown."""
    if objective is None or least is None:
        return None
    if least > objective:
        return False
    return True if most is not None and most <= objective else None


MOST_CAUSES = 5  # Analyzers that are left out and whose causes a summary names; it names all the others as well


def loss(report: FailoverReport) -> str:
    """Say which analyzers are left out, without a full stop; nothing where none is."""
    if not report.missing:
        return ""
    causes = some_of(dict.fromkeys(cause.rstrip(".") for cause in report.missing.values()), MOST_CAUSES, "; ")
    return f"{missing_words(report.missing, report.serving)} ({causes})"


def summary(report: FailoverReport) -> str:
    """Say in a few sentences how a failover ended, what is lost, how long it took and what to do."""
    parts = (ending(report), loss(report), times(report), *report.problems, report.next_action)
    return " ".join(sentence(part) for part in parts if part)


def commit_endings(report: CommitReport) -> tuple[str, ...]:
    """Say what was committed and what serves, a sentence each, without full stops."""
    parts = [] if report.committed else ["Nothing was waiting for a commit"]
    for primary, resource in report.serving.items():
        final = ", and that is committed" if primary in report.committed else ""
        instead = "" if resource == primary else f" for {primary}"
        parts.append(f"{resource} serves{instead}{final}")
        if missing := report.missing.get(primary, ()):
            parts.append(missing_words(missing, resource))
    if report.added:
        parts.append(f"Back in the active map: {', '.join(report.added)}")
    return tuple(parts)


def commit_summary(report: CommitReport) -> str:
    parts = (*commit_endings(report), *report.problems, report.next_action)
    return " ".join(sentence(part) for part in parts if part)


def _range(least: float, most: float, word: str) -> str:
    """Write a range that is never narrower than it is."""
    if most - least < 0.1:
        return lasting(most)
    if most < 10:
        return f"{math.floor(least * 10) / 10:.1f} {word} {math.ceil(most * 10) / 10:.1f} s"
    if most < 600:
        return f"{math.floor(least)} {word} {math.ceil(most)} s"
    return f"{math.floor(least / 60)} {word} {math.ceil(most / 60)} min"


T = TypeVar("T")


@dataclass
class Phases:
    stages: Stages
    clock: Clock
    forced: frozenset[str]
    times: list[PhaseTime] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)  # what went wrong without stopping the failover, a sentence each

    async def run(self, stage: Stage, name: str, work: Callable[[], Awaitable[T]]) -> T:
        started_at, begun = self.clock.now(), self.clock.monotonic()
        outcome = "done"
        try:
            return await self.stages.run(stage, name, work)
        except StandbyError as error:
            outcome = f"failed: {sentence(error.cause)}"
            raise
        except asyncio.CancelledError:
            outcome = "interrupted"
            raise
        finally:
            seconds = round(self.clock.monotonic() - begun, 3)
            self.times.append(PhaseTime(name=name, started_at=started_at, seconds=seconds, outcome=outcome))

    async def must(self, stage: Stage, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Run one whose guard may be forced."""
        try:
            await self.run(stage, name, work)
        except FailoverStopped as error:
            self.force_past(error)

    def force_past(self, error: FailoverStopped) -> None:
        """Continue after what is forced, and report it; what is not forced stops the failover."""
        if error.guard not in self.forced:
            raise error
        self.problems.append(f"Passed by force: {sentence(error.cause)}")
