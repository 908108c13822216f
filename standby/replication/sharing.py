"""How several runs at one resource share what it allows, so that together they stay within it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from standby.config.configuration import Configuration
from standby.replication.chunks import Chunk


@dataclass(frozen=True)
class Sharing:
    """How chunks are spread over resources.

    Attributes:
        at_target: how many chunks may be at a target at once.
        at_resource: how many may be at a resource at once, as source or as target.
    """

    at_target: Mapping[str, int]
    at_resource: Mapping[str, int]

    def shares(self, chunk: Chunk) -> dict[str, int]:
        """Tell into how many parts the limits of a chunk's two resources are divided."""
        return {name: self.at_resource[name] for name in (chunk.source, chunk.target)}


def spread(chunks: Iterable[Chunk], at_once: int, configuration: Configuration) -> Sharing:
    """Spread chunks evenly over their targets.

    Args:
        chunks: all of a run.
        at_once: how many may run at the same time.
        configuration: has the limits; a target that allows one copy at a time has one chunk at a time.
    """
    pairs = [(chunk.source, chunk.target) for chunk in chunks]
    targets = {target for _, target in pairs}
    even = -(-at_once // max(len(targets), 1))
    at_target = {
        target: min(even, sum(1 for _, other in pairs if other == target), _most(configuration, target))
        for target in sorted(targets)
    }
    at_resource = {
        name: min(at_once, sum(at_target[target] for target in targets if _touch(pairs, name, target)))
        for name in sorted({name for pair in pairs for name in pair})
    }
    return Sharing(at_target, at_resource)


def with_shares(configuration: Configuration, shares: Mapping[str, int]) -> Configuration:
    """Divide the limits of resources, rounding down; at least one copy and one call a minute are left."""
    resources = {
        name: resource.model_copy(
            update={
                "max_concurrent_copies": max(1, resource.max_concurrent_copies // shares.get(name, 1)),
                "operations_per_minute": max(1, resource.operations_per_minute // shares.get(name, 1)),
            }
        )
        for name, resource in configuration.resources.items()
    }
    return configuration.model_copy(update={"resources": resources})


def _most(configuration: Configuration, target: str) -> int:
    resource = configuration.resource(target)
    return min(resource.max_concurrent_copies, resource.operations_per_minute)


def _touch(pairs: Iterable[tuple[str, str]], name: str, target: str) -> bool:
    """Say whether a chunk at a target may also be at a resource."""
    return name == target or (name, target) in pairs
