"""Which snapshots are kept, and what can go with those that are not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from standby.config.failover import SnapshotPolicy
from standby.recovery.snapshots.index import IndexEntry
from standby.recovery.snapshots.manifest import Manifest


def retired(entries: Sequence[IndexEntry], policy: SnapshotPolicy, now: datetime) -> tuple[IndexEntry, ...]:
    """Choose the snapshots that go: beyond the number that is always kept, and older than the age.

    Args:
        entries: oldest first.
        policy: of the plan.
        now: UTC.
    """
    return tuple(entry for entry in entries[: -policy.keep] if now - entry.taken_at > policy.keep_for)


def unneeded(going: Iterable[Manifest], staying: Iterable[Manifest | None]) -> frozenset[str]:
    """Choose the objects that only snapshots have which go.

    Args:
        going: manifests of those; one that cannot be read leaves its objects where they are.
        staying: manifests of all others; `None` for one that cannot be read: then it may need any object.
    """
    needed: set[str] = set()
    for manifest in staying:
        if manifest is None:
            return frozenset()
        needed |= manifest.digests
    return frozenset(digest for manifest in going for digest in manifest.digests if digest not in needed)
