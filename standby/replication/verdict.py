"""How an analyzer at a target stands to the one it should be a copy of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Verdict(StrEnum):
    """What a source, a target and the record of the last copy say together."""

    MISSING = "missing"
    IN_SYNC = "in_sync"
    SOURCE_AHEAD = "source_ahead"
    TARGET_AHEAD = "target_ahead"
    DIVERGED = "diverged"
    FOREIGN = "foreign"
    CREATING = "creating"
    BLOCKED = "blocked"


@dataclass(frozen=True)
class Sighting:
    """One analyzer as seen at one resource.

    Attributes:
        fingerprint: of its definition; at a source, of the definition a copy of it would have.
        status: as the service says, in lower case.
        created_at: which incarnation it is: an analyzer deleted and made again has a new one.
        changed_at: when it was last changed.
        trained: whether labelled data shaped it, so that one definition can mean two behaviours.
    """

    fingerprint: str
    status: str
    created_at: datetime | None
    changed_at: datetime | None
    trained: bool


@dataclass(frozen=True)
class CopyRecord:
    """What the ledger holds of the last verified copy: the two analyzers as they were then.

    Attributes:
        analyzer: its id at the source; `None` in ledgers of earlier versions.
    """

    source: Sighting
    target: Sighting
    copied_at: datetime
    analyzer: str | None = None


def judge(source: Sighting, target: Sighting | None, last: CopyRecord | None) -> Verdict:
    """Decide the verdict; never `BLOCKED`, which follows from other analyzers and from models.

    The record speaks only of the incarnation it saw: a target that was deleted and made again is judged by
    what it holds, and is `FOREIGN` where that differs. What is being deleted is as good as gone.
    """
    if target is None or target.status == "deleting":
        return Verdict.MISSING
    if target.status == "creating":
        return Verdict.CREATING
    if target.created_at != (last.target.created_at if last else None):
        last = None
    retrained = _retrained(source, target, last)
    if target.fingerprint == source.fingerprint:
        return Verdict.SOURCE_AHEAD if retrained or target.status != "ready" else Verdict.IN_SYNC
    if last is None:
        return Verdict.FOREIGN
    source_changed = (
        retrained
        or source.fingerprint != last.source.fingerprint
        or source.created_at != last.source.created_at
    )
    target_changed = target.fingerprint != last.target.fingerprint
    if source_changed and target_changed:
        return Verdict.DIVERGED
    return Verdict.TARGET_AHEAD if target_changed else Verdict.SOURCE_AHEAD


def _retrained(source: Sighting, target: Sighting, last: CopyRecord | None) -> bool:
    """Say whether a labelled-data source was built again, under the same definition, since it was copied."""
    if not source.trained:
        return False
    if last is not None and source.created_at != last.source.created_at:
        return True
    since = last.source.changed_at if last is not None else target.created_at
    return since is not None and source.changed_at is not None and source.changed_at > since
