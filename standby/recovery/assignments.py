"""Which primary an operation is about, and which resource may serve for it: asked here by every operation."""

from collections.abc import Iterable
from typing import assert_never

from standby.config.plan import RecoveryPlan
from standby.errors import GuardRefused, StandbyError
from standby.fencing import Fence, Phase
from standby.text import utc


class NotAPrimary(StandbyError):
    def __init__(self, plan: str, resource: str, primaries: Iterable[str]) -> None:
        names = sorted(primaries)
        super().__init__(f"{resource} is not a primary of plan {plan}", f"Choose one of {', '.join(names)}")


class NotATarget(StandbyError):
    def __init__(self, plan: str, resource: str, known: Iterable[str], primary: str = "") -> None:
        names = sorted(known)
        pair = f"{primary} in plan {plan}" if primary else f"plan {plan}"
        super().__init__(f"{resource} is not a target of {pair}", f"Choose one of {', '.join(names)}")


class SeveralPrimaries(StandbyError):
    def __init__(self, plan: str, primaries: Iterable[str]) -> None:
        names = sorted(primaries)
        cause = f"Plan {plan} has several primaries, and it is not clear which one is meant: {', '.join(names)}"
        super().__init__(cause, f"Name one of them, such as --primary {names[0]}")


class AlreadyActive(GuardRefused):
    def __init__(self, plan: str, primary: str, resource: str) -> None:
        place = "" if resource == primary else f" for {primary}"
        cause = f"{resource} already serves{place} in plan {plan}"
        super().__init__(cause, f"See standby status {plan}; standby commit {plan} publishes to every sink once more")
        self.resource = resource


def present_words(fence: Fence, primary: str) -> str:
    """Say what serves for a primary now and since when, without a full stop."""
    assignment = fence.assignments[primary]
    active, since = assignment.active, f" since {utc(assignment.since)}" if assignment.since else ""
    instead, about = "" if active == primary else f" for {primary}", f"(plan {fence.plan}, epoch {fence.epoch})"
    match assignment.phase:
        case Phase.STEADY:
            return f"Now {active} serves{instead}{since} {about}"
        case Phase.ACTIVATED:
            return (
                f"Now {active} serves{instead}{since}, not committed; before that it was {assignment.previous} {about}"
            )
        case Phase.SWITCHING:
            there = f"from {active} to {assignment.target}"
            return f"A failover{instead} {there} has been under way{since} and has not ended {about}"
        case _:
            assert_never(assignment.phase)


def may_serve(plan: RecoveryPlan, primary: str) -> tuple[str, ...]:
    """Name every resource that may serve for a primary, itself included; none where it is no primary."""
    pairs = [pair for pair in plan.pairs if pair.source == primary]
    return tuple(dict.fromkeys(name for pair in pairs for name in (primary, *pair.targets)))


def must_be_able_to_serve(plan: RecoveryPlan, primary: str, resource: str) -> None:
    able = may_serve(plan, primary)
    if not able:
        raise NotAPrimary(plan.name, primary, {pair.source for pair in plan.pairs})
    if resource not in able:
        raise NotATarget(plan.name, resource, set(able) - {primary}, primary)


def choose_primary(plan: RecoveryPlan, fence: Fence, *, to: str = "", named: str = "") -> str:
    """Give the primary that an operation is about: the one that was named, or the only one that it can be.

    `to` is to serve for it; empty where the primary itself is to serve again.
    """
    if named:
        must_be_able_to_serve(plan, named, to or named)
        return named
    assignments = fence.assignments
    if to:
        able = [primary for primary in assignments if to in may_serve(plan, primary)]
        if not able:
            raise NotATarget(plan.name, to, plan.targets)
        left = [name for name in able if assignments[name].active != to or assignments[name].phase is Phase.SWITCHING]
        if not left:
            raise AlreadyActive(plan.name, able[0], to)
    else:
        away = [name for name, each in assignments.items() if name != each.active or each.phase is not Phase.STEADY]
        left = away or list(assignments)
    if len(left) > 1:
        raise SeveralPrimaries(plan.name, left)
    return left[0]


def candidates(plan: RecoveryPlan, primary: str, active: str, to: str = "") -> tuple[str, ...]:
    """Name the resources that could serve next for a primary, in the order of preference.

    Where none is named, these are its targets. The primary itself is then none of them: what was edited since
    would have to be copied there first.
    """
    if to:
        must_be_able_to_serve(plan, primary, to)
        return (to,)
    targets = [name for name in may_serve(plan, primary) if name != primary]
    preferred = [target for target in plan.failover.prefer if target in targets]
    return tuple(name for name in dict.fromkeys([*preferred, *targets]) if name != active)


def choose_assignment(plan: RecoveryPlan, fence: Fence, *, to: str = "", named: str = "") -> tuple[str, str]:
    """Give the primary and the resource that is to serve for it.

    A target that is not named is that of the failover that is under way; else the one that the decision about an
    outage would try first.
    """
    if to:
        return choose_primary(plan, fence, to=to, named=named), to
    if named:
        must_be_able_to_serve(plan, named, named)
    primaries = [named] if named else list(fence.assignments)
    for primary in primaries:
        if upcoming := fence.assignments[primary].upcoming:
            return primary, upcoming
    for primary in primaries:
        others = candidates(plan, primary, fence.assignments[primary].active)
        if others:
            return primary, others[0]
    raise AlreadyActive(plan.name, primaries[0], fence.assignments[primaries[0]].active)
