"""An evaluation: look, gather, decide, and again while there is reason to wait."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from standby.clock import Clock
from standby.config.failover import FailoverPolicy
from standby.recovery.context import RecoveryContext
from standby.recovery.decision.case import Case
from standby.recovery.decision.decide import decide
from standby.recovery.decision.gathering import gather_case
from standby.recovery.decision.request import Request
from standby.recovery.decision.verdict import Decision, Guard, Outcome, Verdict
from standby.recovery.watch.observation import Observation
from standby.recovery.watch.probe import LIMITS
from standby.recovery.watch.tries import Limits

SPARE_ROUNDS = 3
"""Looks beyond what an outage needs to be proved: for a standby side that stumbles, too."""

SHORTEST_PAUSE = timedelta(seconds=1)

Recall = Callable[[], Awaitable[Sequence[Observation]]]
Look = Callable[[Sequence[Observation]], Awaitable[Case]]


async def nothing_more() -> Sequence[Observation]:
    """Recall nothing: nobody else looks, or nobody can tell."""
    return ()


_PROOF = frozenset({Guard.QUORUM, Guard.MINIMUM_OUTAGE})
"""Guards that further looks satisfy."""


async def evaluate(
    context: RecoveryContext,
    request: Request,
    *,
    history: Sequence[Observation] = (),
    recall: Recall = nothing_more,
    rounds: int | None = None,
    limits: Limits = LIMITS,
) -> tuple[Case, Decision]:
    """Come to a decision.

    It ends with the first one that does not wait: so as soon as the source answers again, with a refusal. One
    that still waits after the last round is for its caller to take as it is: nothing is to be done.

    Args:
        context: the plan, its resources and its vault.
        request: what is asked.
        history: observations from before, such as those that events told of.
        recall: asked before every look for those that others have made by then.
        rounds: how often is looked at most; by default as often as the policy needs, and a few times more.
        limits: of every check of a probe.

    Raises:
        FenceUnreadable: it is not known which side serves.
        AutomationUnreadable: it is not known whether outages may start anything.
        VaultUnavailable: the vault does not answer.
    """

    async def look(observations: Sequence[Observation]) -> Case:
        known = dict.fromkeys([*observations, *await recall()])
        return await gather_case(context, request, tuple(known), limits=limits)

    return await until_settled(look, context.clock, history=history, rounds=rounds)


async def until_settled(
    look: Look, clock: Clock, *, history: Sequence[Observation] = (), rounds: int | None = None
) -> tuple[Case, Decision]:
    """Decide what each look finds, until one is not to wait or the rounds are over.

    Args:
        look: gathers a case, given the observations before it.
        clock: waits.
        history: observations before the first look.
        rounds: how often at most.
    """
    case = await look(history)
    decision = decide(case)
    for _ in range(1, rounds_of(case.policy) if rounds is None else rounds):
        if decision.outcome is not Outcome.WAIT:
            break
        await clock.sleep(pause_after(case, decision).total_seconds())
        case = await look(case.observations)
        decision = decide(case)
    return case, decision


def rounds_of(policy: FailoverPolicy) -> int:
    """Say how often is looked so that every outage that lasts is proved."""
    proof = max(policy.minimum_outage, policy.probe_every * policy.quorum)
    return math.ceil(proof / policy.probe_every) + 1 + SPARE_ROUNDS


def pause_after(case: Case, decision: Decision) -> timedelta:
    """Say how long to wait: to the next probe period, or to where a look can prove the minimum outage."""
    period = case.policy.probe_every
    begun = max((observation.at for observation in case.observations), default=case.asked_at)
    due = min(begun, case.asked_at) + period
    waiting = {result.guard for result in decision.saying(Verdict.WAIT)}
    if Guard.MINIMUM_OUTAGE in waiting <= _PROOF and decision.unhealthy_since is not None:
        enough = decision.unhealthy_since + case.policy.minimum_outage
        is_all = waiting == {Guard.MINIMUM_OUTAGE}
        # A look just before that would only put off the one that settles it.
        due = enough if enough < due + period / 2 and (is_all or enough >= due) else due
    return max(SHORTEST_PAUSE, due - case.asked_at)
