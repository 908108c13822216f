"""Gathers what readiness is judged by: the fence, the records, and what the resources say in time.

It never needs the source: what it does not say is taken from what was recorded while it did.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

from standby.fencing import Fence, read_fence
from standby.recovery.context import RecoveryContext
from standby.recovery.drill.summary import read_latest
from standby.recovery.errors import RecoveryError
from standby.recovery.readiness.assembling import Known, Pair, copied, facts_of
from standby.recovery.readiness.document import Readiness
from standby.recovery.readiness.durations import read_durations
from standby.recovery.readiness.facts import Facts
from standby.recovery.readiness.judging import judge_readiness
from standby.recovery.readiness.last_runs import read_last_runs
from standby.recovery.readiness.looking import LOOK_SECONDS, Look, Looks, look_at
from standby.recovery.readiness.standing import Kept
from standby.recovery.snapshots.errors import NoSnapshot
from standby.recovery.snapshots.manifest import ResourceSnapshot
from standby.recovery.snapshots.opening import open_snapshot
from standby.replication.ledger import read_ledger
from standby.replication.naming import PLACE_OF_ID
from standby.replication.planned import Records
from standby.replication.rebuilt import read_rebuilt
from standby.vault.errors import VaultError

log = logging.getLogger("standby.recovery")


async def assess(
    context: RecoveryContext,
    home: str,
    target: str,
    *,
    ask_source: bool = True,
    seconds: float = LOOK_SECONDS,
) -> Readiness:
    """Say whether a target could take over from a source now.

    Args:
        context: the plan, its connections and its vault.
        home: the source that serves in ordinary times.
        target: what would serve in its place. Where it serves already, or is home itself, the way back is
            told.
        ask_source: whether the source is worth asking; it need not answer.
        seconds: that every resource has to answer.

    Raises:
        FenceUnreadable: what says which side is active cannot be understood.
        VaultUnavailable: what was recorded cannot be read.
    """
    (only,) = await _assess(context, [(home, target)], ask_source=ask_source, seconds=seconds)
    return only


async def assess_plan(context: RecoveryContext, *, seconds: float = LOOK_SECONDS) -> tuple[Readiness, ...]:
    """Say it of every pair of a plan; each resource is looked at once.

    Raises:
        FenceUnreadable: what says which side is active cannot be understood.
        VaultUnavailable: what was recorded cannot be read.
    """
    pairs = [(pair.source, target) for pair in context.plan.pairs for target in pair.targets]
    return await _assess(context, pairs, ask_source=True, seconds=seconds)


async def _assess(
    context: RecoveryContext, pairs: Collection[Pair], *, ask_source: bool, seconds: float
) -> tuple[Readiness, ...]:
    plan, vault = context.plan, context.vault
    fence = await read_fence(vault, plan)
    frames = [_frame(context, fence, pair, ask_source=ask_source) for pair in pairs]
    wanted = {name for frame in frames for name in _asked(frame, ask_source=ask_source)}
    looks = await look_at(context.connections, wanted, {frame.destination for frame in frames}, seconds)
    known = Known(
        resources=context.configuration.resources,
        looks=looks,
        ledgers={pair: await _records(context, pair) for pair in {copied(frame) for frame in frames}},
        last_runs=await read_last_runs(vault, plan.name),
        drills=await read_latest(vault, plan.name),
        durations=await read_durations(vault, plan.name),
        kept=await _kept(context) if any(_needs_records(frame, looks) for frame in frames) else {},
        rebuilt={name: await read_rebuilt(vault, name) for name in {frame.target for frame in frames}},
    )
    return tuple(judge_readiness(facts_of(known, frame)) for frame in frames)


def _frame(context: RecoveryContext, fence: Fence, pair: Pair, *, ask_source: bool) -> Facts:
    home, target = pair
    side = fence.sides[home]
    return Facts(
        plan=context.plan,
        home=home,
        target=target,
        side=side,
        epoch=fence.epoch,
        run_id=context.run_id,
        now=context.clock.now(),
        source_asked=ask_source and side.active == home and target != home,
    )


def _asked(frame: Facts, *, ask_source: bool) -> set[str]:
    asked = {frame.destination}
    if frame.source_asked:
        asked.add(frame.home)
    if frame.is_way_back and ask_source:
        asked.add(frame.side.active)
    return asked


def _needs_records(frame: Facts, looks: Looks) -> bool:
    return not frame.is_way_back and not isinstance(looks.get(frame.home), Look)


async def _records(context: RecoveryContext, pair: Pair) -> Records:
    source, target = pair
    if source == target:
        return {}
    version = context.connections[source].resource.api_version
    return (await read_ledger(context.vault, source, target, version)).records


async def _kept(context: RecoveryContext) -> Mapping[str, Kept]:
    """Give what the newest snapshot has of each source under the source's own ids."""
    try:
        snapshot = await open_snapshot(context)
    except NoSnapshot:
        return {}
    except (RecoveryError, VaultError) as error:
        log.warning("The newest snapshot is of no help: %s", error)
        return {}
    own_ids = context.plan.target_id == PLACE_OF_ID
    return {
        home: _kept_of(part)
        for name, part in snapshot.resources.items()
        for home in part.homes
        if name == home or own_ids
    }


def _kept_of(part: ResourceSnapshot) -> Kept:
    # A signature to labelled data is cut out of what is kept.
    cut = (name for name, entry in part.analyzers.items() if any(data.access_cut for data in entry.labelled))
    return Kept(
        part.seen_at,
        {name: entry.fingerprint for name, entry in part.analyzers.items()},
        frozenset(cut),
    )
