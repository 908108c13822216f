"""Cuts a large plan into parts that can be done apart: of one source and one target, with all they need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import zip_longest

from standby.replication.actions import ACTING
from standby.replication.planned import PlanItem, Records, ReplicationPlan
from standby.replication.verdict import CopyRecord

MOST = 250
"""Copies in a chunk. With five task runs a copy, that is as many as the graph of a flow run still shows."""

Key = tuple[str, str, str]


@dataclass(frozen=True)
class Chunk:
    """A part of a plan. What its analyzers need is in it too, or there is nothing to be done about it.

    Attributes:
        analyzers: ids at the source, in the plan's order.
    """

    source: str
    target: str
    analyzers: tuple[str, ...]

    @property
    def keys(self) -> tuple[Key, ...]:
        """Keys of its items in the plan."""
        return tuple((self.source, self.target, analyzer) for analyzer in self.analyzers)

    def __str__(self) -> str:
        return f"{len(self.analyzers)} from {self.source} to {self.target}"


def cut(items: Iterable[PlanItem], most: int = MOST) -> tuple[Chunk, ...]:
    """Cut what is to be done into chunks, those of different pairs in turns.

    Args:
        items: of a plan; those with nothing to do belong to no chunk.
        most: copies in a chunk; analyzers that hang together stay together even where they are more.
    """
    pairs: dict[tuple[str, str], dict[str, PlanItem]] = {}
    for item in items:
        if item.action in ACTING:
            pairs.setdefault((item.source, item.target), {})[item.analyzer] = item
    by_pair = [
        [Chunk(*pair, analyzers) for analyzers in _pack(_components(acting), most)]
        for pair, acting in pairs.items()
    ]
    # In turns, so that the first chunks to run already keep every target busy.
    return tuple(chunk for turn in zip_longest(*by_pair) for chunk in turn if chunk is not None)


def part(plan: ReplicationPlan, keys: Iterable[Key]) -> ReplicationPlan:
    """Give the part of a plan that has some items.

    What they need outside of it was found good by the plan: else they would be blocked in it.
    """
    wanted = set(keys)
    return replace(
        plan,
        items=tuple(
            replace(
                item,
                needs=tuple(child for child in item.needs if (item.source, item.target, child) in wanted),
            )
            for item in plan.items
            if item.key in wanted
        ),
    )


def records_for(chunk: Chunk, items: Iterable[PlanItem], records: Records) -> dict[str, CopyRecord]:
    """Choose from a pair's ledger what it takes to judge a chunk's analyzers, and all that those need."""
    pair = (chunk.source, chunk.target)
    own = {item.analyzer: item for item in items if (item.source, item.target) == pair}
    waiting = list(chunk.analyzers)
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(own[name].needs)
    names = seen | {own[name].target_analyzer for name in seen}
    return {name: records[name] for name in sorted(names) if name in records}


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
        together = {name}
        waiting = [name]
        while waiting:
            found = neighbours[waiting.pop()] - together
            together |= found
            waiting.extend(found)
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
