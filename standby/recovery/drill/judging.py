"""Whether a drill passed, and why not; a pure function of what it found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from standby.config.plan import RecoveryPlan
from standby.errors import sentence
from standby.recovery.activation.document import Activation
from standby.recovery.drill.errors import some
from standby.recovery.drill.intent import Intent
from standby.recovery.drill.proving import DrilledAnalyzer, unusable
from standby.recovery.drill.report import CleanUp
from standby.recovery.drill.untouched import UNKNOWN
from standby.recovery.failover.report import FailoverReport

MOST_REASONS = 20
"""Analyzers whose failure is told one by one."""


@dataclass
class Findings:
    """What a drill found, as far as it came.

    Attributes:
        epoch: of the fence before.
        failover: the rehearsed failover's report.
        seen: the analyzers at the target.
        told: what the rehearsal's sink was told, in order.
        before: digests of what must stay as it is.
        after: the same, at the end.
        problems: what stopped it, a sentence each.
        interrupted: it was asked to stop.
        cleanup: what became of what it made.
    """

    epoch: int = 0
    failover: FailoverReport | None = None
    seen: tuple[DrilledAnalyzer, ...] = ()
    told: tuple[Activation, ...] = ()
    before: Mapping[str, str] = field(default_factory=dict)
    after: Mapping[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    interrupted: bool = False
    cleanup: CleanUp = field(default_factory=CleanUp)


def reasons_against(plan: RecoveryPlan, intent: Intent, found: Findings) -> tuple[str, ...]:
    """Say why a drill did not pass, a sentence each, the cause first; none where it passed."""
    told: list[str] = []
    if found.interrupted:
        told.append("It was interrupted before its end.")
    told += [sentence(problem) for problem in found.problems]
    wrong = list(unusable(found.seen))
    told += wrong[:MOST_REASONS]
    if len(wrong) > MOST_REASONS:
        told.append(f"And {len(wrong) - MOST_REASONS} more analyzers could not serve.")
    if not found.problems and not found.interrupted:
        told += _failover(plan, intent, found)
    told += _touched(found)
    told += _left(intent, found.cleanup)
    # The failover and the look at its result often say the same.
    return tuple(dict.fromkeys(told))


def _failover(plan: RecoveryPlan, intent: Intent, found: Findings) -> Iterator[str]:
    report = found.failover
    if report is None or report.state != "activated":
        yield from (sentence(problem) for problem in (report.problems if report else ()))
        yield f"The failover did not come to its end at {intent.to}."
        return
    if report.epoch <= found.epoch:
        yield f"The epoch did not grow: it was {found.epoch}, and is {report.epoch}."
    yield from _told(intent, found, report)
    objective = plan.objectives.rto
    if objective is not None and report.recovery_seconds is not None:
        allowed = objective.total_seconds()
        if report.recovery_seconds > allowed:
            yield f"The recovery took {report.recovery_seconds:.1f} s, and the RTO is {allowed:.0f} s."


def _told(intent: Intent, found: Findings, report: FailoverReport) -> Iterator[str]:
    named = [activation.sources.get(intent.home) for activation in found.told]
    if not named or named[-1] is None or named[-1].resource != intent.to:
        yield f"The sink was not told that {intent.to} serves in the place of {intent.home}."
    elif found.told[-1].epoch != report.epoch:
        yield f"The sink was told epoch {found.told[-1].epoch}, and the failover had {report.epoch}."
    elif named[0] is not None:
        yield f"The sink was told of {intent.to} before it was told that nobody serves."


def _touched(found: Findings) -> Iterator[str]:
    for name, before in found.before.items():
        after = found.after.get(name, UNKNOWN)
        if UNKNOWN not in (before, after) and before != after:
            yield f"{name} changed while it was rehearsed: see standby audit show who did that."


def _left(intent: Intent, cleanup: CleanUp) -> Iterator[str]:
    if cleanup.proven:
        return
    unknown = f"It is not known what is left at {intent.to}"
    what = f"{some(cleanup.left)} left at {intent.to}" if cleanup.left else unknown
    yield f"The clean-up is not proven complete. {sentence(f'{what}: {cleanup.problem}')}"
