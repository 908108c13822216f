"""Puts what one run at a switch did into its report, and keeps what it measured."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from standby.errors import sentence
from standby.fencing import Fence
from standby.recovery.context import RecoveryContext
from standby.recovery.failover.phases import Phases
from standby.recovery.failover.preparing import RESTORE, Preparation
from standby.recovery.failover.report import FailoverReport, State
from standby.recovery.failover.sides import is_forward
from standby.recovery.failover.switch import Switch
from standby.recovery.readiness.durations import Kind, add_durations
from standby.vault.errors import VaultError


async def measure(context: RecoveryContext, switch: Switch, phases: Phases) -> None:
    """Keep how long it took, for forecasts; one that was interrupted tells nothing about the next."""
    record = switch.record
    if (
        not switch.ended
        or not is_forward(record)
        or switch.told_at is None
        or _was_interrupted(switch, phases)
    ):
        return
    activation = _between(record.started_at, switch.told_at) - phases.seconds_of(RESTORE)
    plan = context.plan.name
    try:
        await add_durations(context.vault, plan, Kind.ACTIVATE, [max(0.0, activation)])
        if record.mode == "unplanned" and record.unhealthy_since is not None:
            detection = _between(record.unhealthy_since, record.detected_at or record.started_at)
            await add_durations(context.vault, plan, Kind.DETECT, [detection])
    except VaultError as error:
        phases.problems.append(f"How long it took was not kept: {error}")


def report_of(
    context: RecoveryContext, fence: Fence, switch: Switch, phases: Phases, preparation: Preparation
) -> FailoverReport:
    """Make the report."""
    asked, record = switch.asked, switch.record
    told = switch.told_at if switch.ended and record.to == asked.to else None
    rto = context.plan.objectives.rto
    objective = rto.total_seconds() if rto is not None else None
    forward = told is not None and is_forward(record)
    taken = (
        None if told is None or not forward else _between(record.unhealthy_since or record.started_at, told)
    )
    stopped = [sentence(error.cause) for error in switch.stopped]
    detected = record.detected_at or record.started_at
    return FailoverReport(
        plan=context.plan.name,
        run_id=context.run_id,
        via=context.via,
        epoch=fence.epoch,
        home=record.home,
        from_resource=asked.from_resource,
        to=asked.to,
        mode=asked.mode,
        reason=record.reason,
        decision_id=record.decision_id,
        started_at=record.started_at,
        phases=tuple(phases.times),
        sinks=switch.sinks,
        restored=preparation.restored,
        detection_seconds=_between(record.unhealthy_since, detected) if record.unhealthy_since else None,
        recovery_seconds=None if told is None else _between(record.started_at, told),
        rto_seconds=taken,
        rto_objective_seconds=objective,
        rto_met=None if taken is None or objective is None else taken <= objective,
        side=fence.sides[record.home].active,
        state=_state(switch),
        forced=record.forced,
        problems=tuple(dict.fromkeys((*phases.problems, *stopped))),
        interrupted=switch.interrupted,
        next_action=" ".join(sentence(order) for order in _orders(context, switch)),
    )


def _state(switch: Switch) -> State:
    if not switch.ended:
        return "fenced"
    return "activated" if is_forward(switch.record) else "rolled_back"


def _orders(context: RecoveryContext, switch: Switch) -> Iterator[str]:
    plan, record = context.plan.name, switch.record
    again = f"standby failover {plan} --to"
    if not switch.ended:
        if switch.stopped and switch.stopped[-1].next_action:
            yield switch.stopped[-1].next_action
        other = "go forward" if record.to == record.before.active else "go back"
        yield f"Go on with {again} {record.to}, or {other} with {again} {record.from_resource}"
        return
    if switch.stopped and switch.stopped[0].next_action:
        yield switch.stopped[0].next_action
    if any(sink.status != "told" for sink in switch.sinks):
        yield f"Tell the sinks that were not told with standby commit {plan} when they can be"
    if is_forward(record):
        yield (
            f"See that the applications work, then make it final with standby commit {plan}, "
            f"or go back with {again} {record.from_resource}"
        )


def _was_interrupted(switch: Switch, phases: Phases) -> bool:
    return switch.record.started_at < phases.times[0].started_at


def _between(start: datetime, end: datetime) -> float:
    return round(max(0.0, (end - start).total_seconds()), 3)
