"""One chunk of a large run, in a process of its own: it plans afresh and leaves the ledgers to its parent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from standby.config.plan import OnExisting
from standby.fencing import read_fence
from standby.replication.actions import ACTING, Action
from standby.replication.chunks import Chunk, Key, part
from standby.replication.context import RunContext
from standby.replication.engine import Replication, Steps
from standby.replication.planned import PlanItem, ReplicationPlan, Selection
from standby.replication.replicate import make_plan_now
from standby.replication.results import Progress
from standby.replication.verdict import CopyRecord


@dataclass(frozen=True)
class Order:
    """What a chunk run is told to do.

    Attributes:
        force: ids of analyzers that may be overwritten, whatever was done to them at the target.
        expected: fingerprints that were signed off, by analyzer; none where no saved plan is applied.
        records: the ledger, as far as the chunk's analyzers go.
    """

    chunk: Chunk
    on_existing: OnExisting | None = None
    force: tuple[str, ...] = ()
    expected: Mapping[str, str] = field(default_factory=dict)
    records: Mapping[str, CopyRecord] = field(default_factory=dict)


@dataclass
class Notebook:
    """Stands for the ledger, which the parent writes alone."""

    known: Mapping[str, CopyRecord]
    added: dict[str, CopyRecord] = field(default_factory=dict)

    @property
    def records(self) -> Mapping[str, CopyRecord]:
        """What the parent knew and what was added since."""
        return {**self.known, **self.added}

    def record(self, records: Mapping[str, CopyRecord]) -> None:
        """Note verified copies for the parent."""
        self.added.update(records)


async def begin_chunk(
    context: RunContext,
    order: Order,
    steps: Steps,
    notebook: Notebook,
    on_progress: Callable[[Progress], None],
) -> Replication:
    """Plan a chunk from what both resources hold now, and give the run that is ready to start.

    A chunk that was begun before, and lost, so finds what it copied, and copies only the rest.

    Args:
        context: the plan and its connections, with the chunk's share of the limits.
        order: what to do.
        steps: how each step is done.
        notebook: where verified copies are noted.
        on_progress: called after every change.

    Raises:
        Fenced: the plan was switched over since the chunk was sent, and it would copy the wrong way.
    """
    chunk = order.chunk
    pair = (chunk.source, chunk.target)
    # It may have waited for a worker for hours, and outlived whoever sent it.
    (await read_fence(context.vault, context.recovery_plan)).must_let_copy(*pair, context.switch)
    # Everything is selected, so that the plan's filters pull in what they pulled in for the parent.
    selection = Selection(
        targets=(chunk.target,), on_existing=order.on_existing, force=order.force, sources=(chunk.source,)
    )
    plan = await make_plan_now(context, selection, {pair: order.records})
    limit = context.connections[chunk.target].resource.max_concurrent_copies
    return Replication(
        hold_to(part(plan, _with_children(plan, chunk.keys)), order.expected),
        steps,
        ledgers={pair: notebook},
        slots={chunk.target: asyncio.Semaphore(limit)},
        clock=context.clock,
        on_progress=on_progress,
    )


def hold_to(plan: ReplicationPlan, expected: Mapping[str, str]) -> ReplicationPlan:
    """Refuse what was edited since it was signed off.

    Args:
        plan: made afresh.
        expected: the fingerprints that were signed off, by analyzer; the others are not judged.
    """
    return replace(plan, items=tuple(_held(item, expected.get(item.analyzer)) for item in plan.items))


def _held(item: PlanItem, fingerprint: str | None) -> PlanItem:
    if item.action not in ACTING or fingerprint in (None, item.expected.fingerprint):
        return item
    reason = (
        f"It was edited at {item.source} since the plan was approved. "
        "Make a new plan, look at it, and apply that."
    )
    return replace(item, action=Action.REFUSE, reason=reason)


def _with_children(plan: ReplicationPlan, keys: Iterable[Key]) -> set[Key]:
    """Add what went missing at the target since the parent planned, and is needed."""
    acting = {item.key: item for item in plan.items if item.action in ACTING}
    wanted: set[Key] = set()
    waiting = list(keys)
    while waiting:
        key = waiting.pop()
        wanted.add(key)
        if key in acting:
            children = {(key[0], key[1], child) for child in acting[key].needs}
            waiting.extend((children & acting.keys()) - wanted)
    return wanted
