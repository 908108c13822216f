"""An evaluation: probe, gather, decide, and again while there is reason to wait."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from standby.clock import Clock
from standby.concurrency import all_of
from standby.config.plan import FailoverPolicy
from standby.document import JsonValue
from standby.fencing import Fence, read_fence
from standby.recovery.assignments import candidates
from standby.recovery.audit import AuditAction, record_action
from standby.recovery.chain import plain_text
from standby.recovery.context import Known, RecoveryContext, allowing
from standby.recovery.decision.automation import read_automation
from standby.recovery.decision.evidence import provable_at
from standby.recovery.decision.guards import decide, evidence_of
from standby.recovery.decision.input import (
    RULES,
    Approval,
    Approvals,
    Candidate,
    CopyAge,
    Decision,
    DecisionInput,
    FailoverRequest,
    Fitness,
    Guard,
    GuardOutcome,
    Outcome,
    Restorable,
    waiting_approvals,
)
from standby.recovery.probe import LIMITS, Limits, Observation, observer_here, probe_resources
from standby.recovery.readiness.assess import Rebuilding, assess, what_can_be_rebuilt
from standby.recovery.readiness.document import Bucket, Readiness, with_parents
from standby.recovery.snapshots.fidelity import Fidelity
from standby.service.errors import ServiceError

PLANNING_SECONDS = 45.0  # After which a restore that cannot be planned counts as one that cannot be done


def lacked(readiness: Readiness) -> tuple[str, ...]:
    """Name the analyzers, by their ids at the primary, of which the target has nothing that works."""
    buckets = {Bucket.MISSING, Bucket.BLOCKED, Bucket.BROKEN, Bucket.CREATING}
    named = {name for reason in readiness.reasons if reason.bucket in buckets for name in reason.analyzers}
    return tuple(sorted(named.intersection(readiness.missing)))


async def _rebuilding(context: RecoveryContext, readiness: Readiness) -> Rebuilding:
    absent = lacked(readiness)
    # A failover to the primary restores nothing: a failback copies what is missing there.
    if not absent or readiness.target in {readiness.primary, readiness.active}:
        return Rebuilding()
    about = (context, readiness.primary, readiness.target, readiness.names)
    return await what_can_be_rebuilt(*about, lacked=absent, held=_unusable(readiness), seconds=PLANNING_SECONDS)


def _unusable(readiness: Readiness) -> set[str]:
    reasons = (each for each in readiness.reasons if each.bucket in {Bucket.BROKEN, Bucket.CREATING})
    return {name for reason in reasons for name in reason.analyzers}


async def approvals_of(context: RecoveryContext, request: FailoverRequest, epoch: int) -> tuple[Approval, ...]:
    """Give who approves a failover, each person once: who did so before, and whoever orders it now."""
    if context.plan.failover.approvals == 1:
        return ()
    own = [_approval(context, request, epoch, context.actor)] if request.requested_by == "operator" else []
    known = [*await waiting_approvals(context, epoch), *(each for each in own if each.person)]
    return tuple({each.person: each for each in reversed(known) if each.is_of(request)}.values())[::-1]


async def approve(
    context: RecoveryContext, request: FailoverRequest, epoch: int, *, by: str = "", comment: str = ""
) -> tuple[Approval, ...]:
    """Keep that a person approves a failover, and give all who do; `by` is whoever runs this where it is left out."""
    one = _approval(context, request, epoch, plain_text(by or context.actor))
    facts: dict[str, JsonValue] = {"home": one.primary, "to": one.to, "by": one.by, "comment": comment, "waiting": True}
    # The log has it first: no approval counts that it does not know.
    await record_action(context, AuditAction.APPROVED, facts, epoch=epoch)

    def add(known: Approvals) -> Approvals:
        others = [each for each in known.approvals if each.until > one.at and each.by != one.by]
        return Approvals(approvals=(*others, one))

    await Approvals.change(context.vault, context.plan.name, add)
    return await approvals_of(context, request, epoch)


async def withdraw_approvals(context: RecoveryContext) -> None:
    """Let no approval of a plan count any more, because somebody rejected a failover."""
    await Approvals.change(context.vault, context.plan.name, lambda _: Approvals())


def _approval(context: RecoveryContext, request: FailoverRequest, epoch: int, by: str) -> Approval:
    now = context.clock.now()
    return Approval(
        by=by,
        at=now,
        until=now + context.plan.failover.approval_timeout,
        primary=request.primary,
        to=request.to,
        planned=bool(request.planned),
        forced=tuple(sorted(request.forced)),
        epoch=epoch,
    )


ASSESSMENT_SECONDS = 45.0
"""After which it counts as unknown whether a target is ready that answers probes and little else."""


async def gather_input(
    context: RecoveryContext,
    request: FailoverRequest,
    observations: Sequence[Observation] = (),
    *,
    limits: Limits = LIMITS,
) -> DecisionInput:
    """Gather everything that a decision is made from; nothing is changed."""
    known = context.known or Known()
    fence = known.correct(await read_fence(context.vault, context.plan))
    automation = await read_automation(context.vault)
    active = fence.assignments[request.primary].active
    names = candidates(context.plan, request.primary, active, request.to)
    if request.requested_by == "outage" and not request.to and active != request.primary:
        # Last of all, without what was edited since: better than nobody, where it is healthy again.
        names = (*names, request.primary)
    clients = [context.connections[name] for name in dict.fromkeys([active, *names])]
    observer = observer_here("evaluation")
    resources, tls = [client.resource for client in clients], clients[0].tls
    seen = await probe_resources(resources, observer, context.clock, tls=tls, limits=limits)
    found = await all_of(_candidate(context, request, fence, seen[name], seen[active]) for name in names)
    return DecisionInput(
        plan=context.plan.name,
        primary=request.primary,
        run_id=context.run_id,
        observer=observer,
        asked_at=context.clock.now(),
        requested_by=request.requested_by,
        planned=bool(request.planned),
        reason=request.reason,
        forced=request.guards,
        outage_of=request.outage_of,
        records_lost=known.problem,
        approvals=await approvals_of(context, request, fence.epoch),
        policy=context.plan.failover,
        automation=automation,
        epoch=fence.epoch,
        # A decision has no use for the names of all analyzers.
        assignments={name: each.model_copy(update={"scope": None}) for name, each in fence.assignments.items()},
        candidates=tuple(found),
        observations=(*(past for past in observations if past.resource == active), seen[active]),
        rules=RULES,
    )


async def _candidate(
    context: RecoveryContext, request: FailoverRequest, fence: Fence, seen: Observation, source: Observation
) -> Candidate:
    """Judge a candidate as far as that matters: not where it does not answer, nor where there is no outage."""
    name, known = seen.resource, context.configuration
    outside = context.plan.leaving(known.resource(request.primary), known.resource(name))
    if outside and Guard.RESIDENCY in request.forced:
        context = allowing(context, name)
    nothing_to_do = request.requested_by == "outage" and source.healthy is True
    if not seen.healthy or nothing_to_do:
        return Candidate(resource=name, observation=seen, fitness=None, outside=outside)
    try:
        async with asyncio.timeout(ASSESSMENT_SECONDS):
            found = await assess(context, request.primary, name, ask_source=source.healthy is True, fence=fence)
    except ServiceError as error:
        fitness = Fitness(state="unknown", reasons=(error.cause,))
    except TimeoutError:
        reason = f"{name} did not list its analyzers within {ASSESSMENT_SECONDS:.0f} s"
        fitness = Fitness(state="unknown", reasons=(reason,))
    else:
        served_until = fence.assignments[request.primary].since if name == request.primary else None
        fitness = fitness_of(found, await _rebuilding(context, found), served_until)
    return Candidate(resource=name, observation=seen, fitness=fitness, outside=outside)


def fitness_of(readiness: Readiness, rebuilding: Rebuilding, served_until: datetime | None = None) -> Fitness:
    """Take from readiness, and from what a snapshot has, what a decision needs.

    What the resource has was current until it served last: `served_until`, UTC.
    """
    # A failover of the primary that has not ended is no reason against ending it: other guards ask that.
    of_others = {Bucket.SWITCH_UNDER_WAY, Bucket.RESIDENCY}
    against = [reason for reason in readiness.against if reason.bucket not in of_others]
    absent = lacked(readiness)
    whole = any(reason in against for reason in readiness.against_the_target)
    restorable = tuple(
        Restorable(
            analyzer=name,
            fidelity=item.fidelity,
            snapshot=rebuilding.snapshot,
            seen_at=rebuilding.seen[name],
            doubt=item.reason if item.fidelity is Fidelity.UNFAITHFUL else "",
        )
        for name, item in rebuilding.items.items()
    )
    doubtful = {each.analyzer: each.doubt for each in restorable if each.fidelity is Fidelity.UNFAITHFUL}
    faithful = rebuilding.items.keys() - with_parents(doubtful, rebuilding.needs).keys()
    doubts = {name: f"{name} would be unfaithful{f': {doubt}' if doubt else ''}" for name, doubt in doubtful.items()}
    cause = rebuilding.unknown or ("" if rebuilding.snapshot else next(iter(rebuilding.lost.values()), ""))
    whys = dict.fromkeys(absent if cause else (), f"Nothing can be restored: {cause}")
    if not cause:
        # What is at the target and is left alone has a reason of its own.
        lost = {name: why for name, why in rebuilding.lost.items() if name not in _unusable(readiness)}
        whys = {name: f"{name} cannot be restored: {why}" for name, why in lost.items()}
    unusable = readiness.unusable(faithful)
    both = {name: filter(None, (why, whys.get(name))) for name, why in unusable.items()}
    return Fitness(
        state="ready" if not against else readiness.state.value,
        reasons=(*(reason.text for reason in against), *dict.fromkeys(whys.values())),
        lacking=() if whole or readiness.unusable(absent) else absent,
        restorable=restorable,
        analyzers=len(readiness.names),
        unusable={} if whole else {name: doubts.get(name) or "; ".join(causes) for name, causes in both.items()},
        needs={**rebuilding.needs, **readiness.needs},
        copies=ages_of(readiness, served_until),
    )


def ages_of(readiness: Readiness, served_until: datetime | None = None) -> tuple[CopyAge, ...]:
    """Give how old each copy is; what was never verified was current as long as its resource itself served."""
    known = ((each, each.verified_at or served_until) for each in readiness.points)
    return tuple(CopyAge(analyzer=it.analyzer, verified_at=at, source_changed=it.source_changed) for it, at in known)


SPARE_ROUNDS = 3  # Rounds beyond what the proof of an outage needs, for a target that fails for a moment
SHORTEST_PAUSE = timedelta(seconds=0.5)
OFTEN = 0.5  # Share of a probe period after which an evaluation looks again for the proof of an outage
Recall = Callable[[], Awaitable[Sequence[Observation]]]
Look = Callable[[Sequence[Observation]], Awaitable[DecisionInput]]


async def nothing_more() -> Sequence[Observation]:
    """Recall nothing: there is no other observer."""
    return ()


_PROOF = frozenset({Guard.QUORUM, Guard.MINIMUM_OUTAGE})  # Guards that further probes can satisfy


async def evaluate(
    context: RecoveryContext,
    request: FailoverRequest,
    *,
    history: Sequence[Observation] = (),
    recall: Recall = nothing_more,  # gives before every round what other observers have seen by then
    rounds: int | None = None,  # how often at most; by default as often as the policy needs, and a few times more
    limits: Limits = LIMITS,
) -> tuple[DecisionInput, Decision]:
    """Come to a decision.

    It ends with the first decision that does not wait; so it refuses as soon as the source answers again. If it
    still waits after the last round, nothing is to be done.
    """

    async def look(observations: Sequence[Observation]) -> DecisionInput:
        known = dict.fromkeys([*observations, *await recall()])
        return await gather_input(context, request, tuple(known), limits=limits)

    return await until_settled(look, context.clock, history=history, rounds=rounds)


async def until_settled(
    look: Look, clock: Clock, *, history: Sequence[Observation] = (), rounds: int | None = None
) -> tuple[DecisionInput, Decision]:
    """Decide after each look, until a decision does not wait or the rounds are over."""
    given = await look(history)
    decision = decide(given)
    for _ in range(1, rounds_of(given.policy) if rounds is None else rounds):
        if decision.outcome is not Outcome.WAIT:
            break
        await clock.sleep(pause_after(given, decision).total_seconds())
        given = await look(given.observations)
        decision = decide(given)
    return given, decision


def rounds_of(policy: FailoverPolicy) -> int:
    """Say how many rounds prove every outage that lasts."""
    return math.ceil(policy.proof / (policy.probe_every * OFTEN)) + 1 + SPARE_ROUNDS


def pause_after(given: DecisionInput, decision: Decision) -> timedelta:
    """Say how long to wait: until the next look is due, or until one can prove the minimum outage."""
    own, period = given.own_probe, given.policy.probe_every
    begun = given.asked_at if own is None else own.at
    waiting = {result.guard for result in decision.saying(GuardOutcome.WAIT)}
    due = begun + (period * OFTEN if waiting <= _PROOF else period)
    if own is not None and Guard.MINIMUM_OUTAGE in waiting <= _PROOF:
        enough = provable_at(evidence_of(given), own, given.policy)
        # No look begins before that and takes beyond it: it would only put off the one that settles it.
        if enough is not None and due + (given.asked_at - begun) > enough:
            due = enough
    seconds = (due - given.asked_at).total_seconds()
    return max(SHORTEST_PAUSE, timedelta(seconds=math.ceil(seconds * 100) / 100))
