"""An evaluation: probe, gather, decide, and again while there is reason to wait."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from standby.clock import Clock
from standby.concurrency import all_of
from standby.config.plan import FailoverPolicy
from standby.fencing import Fence, read_fence
from standby.recovery.assignments import candidates
from standby.recovery.context import Known, RecoveryContext
from standby.recovery.decision.automation import read_automation
from standby.recovery.decision.evidence import provable_at
from standby.recovery.decision.guards import decide, evidence_of
from standby.recovery.decision.input import (
    RULES,
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
)
from standby.recovery.probe import LIMITS, Limits, Observation, observer_here, probe_resources
from standby.recovery.readiness.assess import assess
from standby.recovery.readiness.document import Bucket, Readiness, with_parents
from standby.recovery.snapshots.fidelity import Fidelity, RestoreAction, RestoreItem, RestorePlan
from standby.recovery.snapshots.manifest import SnapshotError
from standby.recovery.snapshots.plan import plan_restore
from standby.recovery.snapshots.snapshot import Snapshot, open_snapshot
from standby.replication.needs import Severity
from standby.service.errors import ServiceError
from standby.vault.errors import VaultError

PLANNING_SECONDS = 45.0  # After which a restore that cannot be planned counts as one that cannot be done


@dataclass(frozen=True)
class Rebuilding:
    """What a restore would do about what is lacking."""

    restorable: tuple[Restorable, ...] = ()
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    why: Mapping[str, str] = field(default_factory=dict)  # why others cannot be restored, by their ids at the primary

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why something cannot be restored, each once."""
        return tuple(dict.fromkeys(self.why.values()))

    @property
    def faithful(self) -> frozenset[str]:
        """Those that a restore would make what they were, with all that they need."""
        doubtful = {each.analyzer: "" for each in self.restorable if each.fidelity is Fidelity.UNFAITHFUL}
        return frozenset(each.analyzer for each in self.restorable) - with_parents(doubtful, self.needs).keys()


def lacked(readiness: Readiness) -> tuple[str, ...]:
    """Name the analyzers, by their ids at the primary, of which the target has nothing that works."""
    buckets = {Bucket.MISSING, Bucket.BLOCKED, Bucket.BROKEN, Bucket.CREATING}
    named = {name for reason in readiness.reasons if reason.bucket in buckets for name in reason.analyzers}
    return tuple(sorted(named.intersection(readiness.missing)))


async def what_can_be_rebuilt(context: RecoveryContext, readiness: Readiness) -> Rebuilding:
    """Plan the restore that a failover would begin with; nothing is changed, and no call is made to the source."""
    absent = lacked(readiness)
    # A failover to the primary restores nothing: a failback copies what is missing there.
    if not absent or readiness.target in {readiness.primary, readiness.active}:
        return Rebuilding()
    try:
        async with asyncio.timeout(PLANNING_SECONDS):
            snapshot = await open_snapshot(context)
            plan = await plan_restore(context, snapshot, readiness.target, only_missing=True, primary=readiness.primary)
    except (SnapshotError, VaultError, ServiceError) as error:
        return Rebuilding(why=dict.fromkeys(absent, f"Nothing can be restored: {error.cause}"))
    except TimeoutError:
        reason = f"Nothing can be restored: no restore could be planned within {PLANNING_SECONDS:.0f} s"
        return Rebuilding(why=dict.fromkeys(absent, reason))
    at_primary = {there: name for name, there in readiness.names.items()}
    items = {name: item for name, item in _named(readiness.primary, at_primary, plan) if name in absent}
    return Rebuilding(
        restorable=tuple(
            _restorable(name, items[name], snapshot)
            for name in absent
            if name in items and items[name].action is RestoreAction.CREATE
        ),
        needs={name: tuple(at_primary.get(child, child) for child in item.needs) for name, item in items.items()},
        why=dict(_against(readiness, items, snapshot)),
    )


def _named(primary: str, at_primary: Mapping[str, str], plan: RestorePlan) -> Iterator[tuple[str, RestoreItem]]:
    """Give what would be done, with the id at the primary: a snapshot may be of what served for it."""
    for item in plan.items:
        if item.resource == primary:
            yield item.analyzer, item
        elif item.target_analyzer in at_primary:
            yield at_primary[item.target_analyzer], item


def _restorable(name: str, item: RestoreItem, snapshot: Snapshot) -> Restorable:
    seen_at = snapshot.resources[item.resource].seen_at
    doubt = item.reason if item.fidelity is Fidelity.UNFAITHFUL else ""
    return Restorable(analyzer=name, fidelity=item.fidelity, snapshot=snapshot.id, seen_at=seen_at, doubt=doubt)


def _against(readiness: Readiness, items: Mapping[str, RestoreItem], snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    for name, item in items.items():
        if item.action is not RestoreAction.CREATE:
            yield name, f"{name} cannot be restored: {item.reason}"
    # What is at the target and is left alone has a reason of its own.
    unusable = [each for each in readiness.reasons if each.bucket in {Bucket.BROKEN, Bucket.CREATING}]
    known = items.keys() | {name for reason in unusable for name in reason.analyzers}
    lost = (name for name in lacked(readiness) if name not in known)
    yield from ((name, f"Snapshot {snapshot.id} does not have {name}") for name in lost)


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
    name = seen.resource
    nothing_to_do = request.requested_by == "outage" and source.healthy is True
    if not seen.healthy or nothing_to_do:
        return Candidate(resource=name, observation=seen, fitness=None)
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
        fitness = fitness_of(found, await what_can_be_rebuilt(context, found), served_until)
    return Candidate(resource=name, observation=seen, fitness=fitness)


def fitness_of(readiness: Readiness, rebuilding: Rebuilding, served_until: datetime | None = None) -> Fitness:
    """Take from readiness, and from what a snapshot has, what a decision needs.

    Args:
        served_until: when the resource served itself, UTC: what it has was current then.
    """
    # That a failover of the primary has not ended does not speak against ending it: another guard asks that.
    errors = [reason for reason in readiness.reasons if reason.severity is not Severity.WARNING]
    against = [reason for reason in errors if reason.bucket is not Bucket.SWITCH_UNDER_WAY]
    absent = lacked(readiness)
    whole = any(reason in against for reason in readiness.against_the_target)
    unusable = readiness.unusable(rebuilding.faithful)
    unfaithful = [each for each in rebuilding.restorable if each.fidelity is Fidelity.UNFAITHFUL]
    words = {each.analyzer: f": {each.doubt}" if each.doubt else "" for each in unfaithful}
    doubts = {name: f"{name} would be unfaithful{doubt}" for name, doubt in words.items()}
    both = {name: filter(None, (cause, rebuilding.why.get(name))) for name, cause in unusable.items()}
    causes = {name: doubts.get(name) or "; ".join(reasons) for name, reasons in both.items()}
    return Fitness(
        state="ready" if not against else readiness.state.value,
        reasons=(*(reason.text for reason in against), *rebuilding.reasons),
        lacking=() if whole or readiness.unusable(absent) else absent,
        restorable=rebuilding.restorable,
        analyzers=len(readiness.names),
        unusable={} if whole else causes,
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
