"""Gathers a case: looks at both sides itself, and reads what the vault knows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from standby.concurrency import side_by_side
from standby.fencing import read_fence
from standby.recovery.context import RecoveryContext
from standby.recovery.decision.automation import read_automation
from standby.recovery.decision.case import Candidate, Case, CopyAge, Fitness
from standby.recovery.decision.request import Request, candidates
from standby.recovery.decision.restorable import Rebuilding, lacked, what_can_be_rebuilt
from standby.recovery.failover.errors import NotASide
from standby.recovery.readiness.document import Bucket, Readiness, Severity
from standby.recovery.readiness.gathering import assess
from standby.recovery.watch.observation import Observation
from standby.recovery.watch.probe import LIMITS, look_at, observer_here
from standby.recovery.watch.tries import Limits
from standby.service.errors import ServiceError

OF_ABSENCE = frozenset({Bucket.MISSING, Bucket.BLOCKED, Bucket.RPO_MISSED})
"""Reasons that are gone once the analyzers they are about are restored."""

ASSESSMENT_SECONDS = 45.0
"""After which a target that answers probes and not much else counts as not known to be ready."""


async def gather_case(
    context: RecoveryContext,
    request: Request,
    observations: Sequence[Observation] = (),
    *,
    limits: Limits = LIMITS,
) -> Case:
    """Gather everything that a decision looks at; nothing is changed.

    Args:
        context: the plan, its resources and its vault.
        request: what is asked.
        observations: what was seen before, by anybody; what is seen now is added.
        limits: of every check of a probe.

    Raises:
        FenceUnreadable: it is not known which side serves.
        AutomationUnreadable: it is not known whether outages may start anything.
        NotASide: the target that is asked for is none of this source.
        VaultUnavailable: the vault does not answer.
    """
    fence = await read_fence(context.vault, context.plan)
    automation = await read_automation(context.vault)
    active = fence.sides[request.home].active
    names = candidates(context.plan, request, active)
    _must_be_sides(context, request, names)
    clients = [context.connections[name] for name in dict.fromkeys([active, *names])]
    observer = observer_here("evaluation")
    seen = await look_at(
        (client.resource for client in clients),
        observer,
        context.clock,
        tls=clients[0].tls,
        limits=limits,
    )
    async with side_by_side() as group:
        tasks = [
            group.create_task(_candidate(context, request, name, seen[name], seen[active])) for name in names
        ]
    return Case(
        plan=context.plan.name,
        home=request.home,
        run_id=context.run_id,
        observer=observer,
        asked_at=context.clock.now(),
        requested_by=request.requested_by,
        planned=request.planned,
        reason=request.reason,
        forced=request.guards,
        outage_of=request.outage_of,
        policy=context.plan.failover,
        automation=automation,
        epoch=fence.epoch,
        sides=dict(fence.sides),
        candidates=tuple(task.result() for task in tasks),
        observations=(*(past for past in observations if past.resource == active), seen[active]),
    )


def _must_be_sides(context: RecoveryContext, request: Request, names: Sequence[str]) -> None:
    """Let only what the plan pairs be judged: somebody may have typed the name."""
    known = {name for pair in context.plan.pairs if pair.source == request.home for name in pair.targets}
    for name in names:
        if name not in known | {request.home}:
            raise NotASide(context.plan.name, request.home, name, known)


async def _candidate(
    context: RecoveryContext, request: Request, name: str, seen: Observation, source: Observation
) -> Candidate:
    """Judge a candidate as far as that matters: not where it is dark, nor where there is no outage."""
    nothing_to_do = request.requested_by == "outage" and source.healthy is True
    if not seen.healthy or nothing_to_do:
        return Candidate(resource=name, observation=seen, fitness=None)
    try:
        async with asyncio.timeout(ASSESSMENT_SECONDS):
            found = await assess(context, request.home, name, ask_source=source.healthy is True)
    except ServiceError as error:
        fitness = Fitness(state="unknown", reasons=(error.cause,))
    except TimeoutError:
        told = f"{name} did not tell what it holds within {ASSESSMENT_SECONDS:.0f} s"
        fitness = Fitness(state="unknown", reasons=(told,))
    else:
        fitness = fitness_of(found, await what_can_be_rebuilt(context, found))
    return Candidate(resource=name, observation=seen, fitness=fitness)


def fitness_of(readiness: Readiness, rebuilding: Rebuilding) -> Fitness:
    """Take from readiness, and from what a snapshot has, what a decision looks at."""
    against = [reason for reason in readiness.reasons if reason.severity is not Severity.WARNING]
    absent = lacked(readiness)
    only_absent = all(
        reason.bucket in OF_ABSENCE and set(reason.analyzers) <= set(absent) for reason in against
    )
    return Fitness(
        state=readiness.state.value,
        reasons=(*(reason.text for reason in against), *rebuilding.reasons),
        lacking=absent if only_absent else (),
        restorable=rebuilding.restorable,
        copies=tuple(
            CopyAge(
                analyzer=point.analyzer,
                verified_at=point.verified_at,
                source_changed=point.source_changed,
            )
            for point in readiness.points
        ),
    )
