"""Cuts a large plan into parts that can be done apart: of one source and one target, with all they need."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from itertools import zip_longest
from typing import TypeVar, assert_never

from pydantic import Field

from standby.config.configuration import Configuration
from standby.config.plan import OnExisting
from standby.config.resource import Resource
from standby.document import Document
from standby.fencing import read_fence
from standby.replication.fingerprint import same_meaning
from standby.replication.items import Key, PlanItem, Progress, Records, ReplicationPlan, Selection, Status, part
from standby.replication.ledger import Ledger, read_took
from standby.replication.pacing import Took
from standby.replication.replicate import Replication, Steps, make_plan_now
from standby.replication.report import ReportItem
from standby.replication.steps import RunContext
from standby.replication.verdict import ACTING, Action, CopyRecord

T = TypeVar("T")
MOST = 250  # Copies in a chunk. With five task runs a copy, that is as many as the graph of a flow run still shows.


@dataclass(frozen=True)
class Chunk:
    """A part of a plan. What its analyzers need is in it too, or there is nothing to be done about it."""

    source: str
    target: str
    analyzers: tuple[str, ...]

    @property
    def keys(self) -> tuple[Key, ...]:
        return tuple((self.source, self.target, analyzer) for analyzer in self.analyzers)

    def __str__(self) -> str:
        return f"{len(self.analyzers)} from {self.source} to {self.target}"


def cut(items: Iterable[PlanItem], most: int = MOST) -> tuple[Chunk, ...]:
    """Cut what is to be done into chunks of at most so many copies, or more that hang together; pairs take turns."""
    pairs: dict[tuple[str, str], dict[str, PlanItem]] = {}
    for item in items:
        if item.action in ACTING:
            pairs.setdefault((item.source, item.target), {})[item.analyzer] = item
    packed = {pair: _pack(_components(acting), most) for pair, acting in pairs.items()}
    by_pair = [[Chunk(*pair, analyzers) for analyzers in parts] for pair, parts in packed.items()]
    # In turns, so that the first chunks to run already keep every target busy.
    return tuple(chunk for turn in zip_longest(*by_pair) for chunk in turn if chunk is not None)


def records_for(chunk: Chunk, items: Iterable[PlanItem], records: Records) -> dict[str, CopyRecord]:
    """Choose from a pair's ledger what it takes to judge a chunk's analyzers, and all that those need."""
    pair = (chunk.source, chunk.target)
    own = {item.analyzer: item for item in items if (item.source, item.target) == pair}
    needed = _closure(chunk.analyzers, lambda name: own[name].needs)
    names = needed | {own[name].target_analyzer for name in needed}
    return {name: records[name] for name in sorted(names) if name in records}


def _closure(start: Iterable[T], following: Callable[[T], Iterable[T]]) -> set[T]:
    reached: set[T] = set()
    waiting = list(start)
    while waiting:
        one = waiting.pop()
        if one not in reached:
            reached.add(one)
            waiting.extend(following(one))
    return reached


def _components(acting: Mapping[str, PlanItem]) -> Iterator[tuple[str, ...]]:
    """Yield what hangs together, whichever way the references go, each in the plan's order."""
    neighbours: dict[str, set[str]] = {name: set() for name in acting}
    for name, item in acting.items():
        for child in item.needs:
            if child in acting:
                neighbours[name].add(child)
                neighbours[child].add(name)
    order = {name: position for position, name in enumerate(acting)}
    seen: set[str] = set()
    for name in acting:
        if name in seen:
            continue
        together = _closure([name], neighbours.__getitem__)
        seen |= together
        yield tuple(sorted(together, key=order.__getitem__))


def _pack(components: Iterable[tuple[str, ...]], most: int) -> Iterator[tuple[str, ...]]:
    packed: tuple[str, ...] = ()
    for component in components:
        if packed and len(packed) + len(component) > most:
            yield packed
            packed = ()
        packed += component
    if packed:
        yield packed


class ChunkReport(Document):
    """The end of a chunk run, as JSON has it; there are no secrets in it."""

    items: tuple[ReportItem, ...]
    records: dict[str, CopyRecord]
    took: dict[str, list[Took]] = Field(default_factory=dict)  # as the ledger has it


@dataclass(frozen=True)
class ChunkRequest:
    """What a chunk run is asked to do; `expected` has the approved fingerprints, where a saved plan is applied."""

    chunk: Chunk
    on_existing: OnExisting | None = None
    force: tuple[str, ...] = ()
    expected: Mapping[str, str] = field(default_factory=dict)
    records: Mapping[str, CopyRecord] = field(default_factory=dict)


async def begin_chunk(
    context: RunContext, request: ChunkRequest, steps: Steps, ledger: Ledger, on_progress: Callable[[Progress], None]
) -> Replication:
    """Plan a chunk from what both resources hold now, so that copies of an earlier, lost run count; give its run."""
    chunk = request.chunk
    pair = (chunk.source, chunk.target)
    # It may have waited for a worker for hours, and outlived the run that sent it.
    fence = await read_fence(context.vault, context.recovery_plan, known=context.known_epoch)
    fence.must_allow_copy(*pair, context.failover_run)
    ledger.took = await read_took(context.vault, *pair, context.api_version(chunk.source))
    context.experience.take_up(*pair, ledger.took)
    # Everything is selected, so that the plan's filters pull in what they pulled in for the parent.
    selection = Selection(
        targets=(chunk.target,), on_existing=request.on_existing, force=request.force, sources=(chunk.source,)
    )
    plan = await make_plan_now(context, selection, {pair: request.records})
    held = hold_to(part(plan, _with_children(plan, chunk.keys)), request.expected)
    slots = {chunk.target: context.connections.slots(chunk.target)}
    return Replication(held, steps, ledgers={pair: ledger}, slots=slots, clock=context.clock, on_progress=on_progress)


def hold_to(plan: ReplicationPlan, expected: Mapping[str, str]) -> ReplicationPlan:
    """Refuse what was edited since its fingerprint was approved; analyzers without one are not judged."""

    def held(item: PlanItem) -> PlanItem:
        approved = expected.get(item.analyzer)
        if item.action not in ACTING or approved is None or same_meaning(approved, item.expected.fingerprint):
            return item
        reason = f"It was edited at {item.source} since the plan was approved. Make a new plan, check it, and apply it."
        return replace(item, action=Action.REFUSE, reason=reason)

    return replace(plan, items=tuple(map(held, plan.items)))


def _with_children(plan: ReplicationPlan, keys: Iterable[Key]) -> set[Key]:
    """Add what went missing at the target since the parent planned, and is needed."""
    acting = {item.key: item for item in plan.items if item.action in ACTING}

    def children(key: Key) -> set[Key]:
        return {(*key[:2], child) for child in acting[key].needs} & acting.keys() if key in acting else set()

    return _closure(keys, children)


@dataclass(frozen=True)
class Sharing:
    """How chunks are spread: how many may be at a target at once, and at a resource as source or target."""

    at_target: Mapping[str, int]
    at_resource: Mapping[str, int]

    def shares(self, chunk: Chunk) -> dict[str, int]:
        return {name: self.at_resource[name] for name in (chunk.source, chunk.target)}


def spread(chunks: Iterable[Chunk], at_once: int, configuration: Configuration) -> Sharing:
    """Spread chunks evenly over their targets; one that allows one copy at a time has one chunk at a time."""
    pairs = [(chunk.source, chunk.target) for chunk in chunks]
    targets = {target for _, target in pairs}
    even = -(-at_once // max(len(targets), 1))
    counts = Counter(target for _, target in pairs)
    limits = {target: configuration.resource(target) for target in sorted(targets)}
    at_target = {
        target: min(even, counts[target], there.max_concurrent_copies, there.operations_per_minute)
        for target, there in limits.items()
    }
    at_resource = {
        name: min(at_once, sum(at_target[target] for target in targets if name == target or (name, target) in pairs))
        for name in sorted({name for pair in pairs for name in pair})
    }
    return Sharing(at_target, at_resource)


def with_shares(configuration: Configuration, shares: Mapping[str, int]) -> Configuration:
    """Divide the limits of resources, rounding down; at least one copy and one call a minute are left."""

    def share(resource: Resource) -> Resource:
        parts, keys = shares.get(resource.name, 1), ("max_concurrent_copies", "operations_per_minute")
        return resource.model_copy(update={key: max(1, getattr(resource, key) // parts) for key in keys})

    resources = {name: share(resource) for name, resource in configuration.resources.items()}
    return configuration.model_copy(update={"resources": resources})


@dataclass
class Tally:
    total: int
    on_progress: Callable[[Progress], None]
    _parts: list[Progress] = field(default_factory=list)

    def part(self) -> Callable[[Progress], None]:
        position = len(self._parts)
        self._parts.append(Progress(0, 0, ()))

        def show(progress: Progress) -> None:
            self._parts[position] = progress
            ended: Counter[Status] = Counter(dict.fromkeys(Status, 0))
            for one in self._parts:
                ended.update(dict(one.ended))
            self.on_progress(Progress(self.total, sum(one.in_flight for one in self._parts), tuple(ended.items())))

        return show


LOST_AFTER = 90.0  # Seconds without a sign of life after which a chunk's run is lost; it gives one every five
UNTAKEN_AFTER = 900.0  # Seconds without anything happening after which the chunks that no worker took are given up


class ChunkState(Enum):
    """How a chunk's run looks to the run that sent it."""

    QUEUED = auto()
    RUNNING = auto()
    CANCELLING = auto()
    CRASHED = auto()
    ENDED = auto()


class NextStep(Enum):
    """What to do about a chunk's run."""

    WAIT = auto()
    READ = auto()
    SEND_AGAIN = auto()
    GIVE_UP = auto()


def next_step(state: ChunkState, *, quiet: float, idle: float) -> NextStep:
    """Decide what to do about a chunk's run that is `quiet` for so many seconds, in a run that is so long `idle`."""
    match state:
        case ChunkState.ENDED:
            return NextStep.READ
        case ChunkState.CRASHED:
            return NextStep.SEND_AGAIN
        case ChunkState.QUEUED:
            # It waits for a worker that is free: as long as others are at work, one will be.
            return NextStep.GIVE_UP if idle >= UNTAKEN_AFTER else NextStep.WAIT
        case ChunkState.RUNNING:
            return NextStep.SEND_AGAIN if quiet >= LOST_AFTER else NextStep.WAIT
        case ChunkState.CANCELLING:
            # Somebody cancelled it and its worker is gone: nobody wants it sent again.
            return NextStep.READ if quiet >= LOST_AFTER else NextStep.WAIT
        case _:
            assert_never(state)
