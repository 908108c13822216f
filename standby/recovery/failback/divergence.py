"""What became of an analyzer at home and at its standby since the last verified copy: a pure function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from standby.document import JsonValue
from standby.recovery.snapshots.store import without_access
from standby.replication.fingerprint import fingerprint
from standby.replication.ledger import Rebuilt
from standby.replication.verdict import CopyRecord, Sighting


class Divergence(StrEnum):
    """How the two sides stand to what they had in common."""

    IN_SYNC = "in_sync"
    EDITED_AT_PRIMARY = "edited_at_home"
    EDITED_AT_STANDBY = "edited_at_standby"
    EDITED_AT_BOTH = "edited_at_both"
    DIFFERENT = "different"
    NEW_AT_PRIMARY = "new_at_home"
    NEW_AT_STANDBY = "new_at_standby"
    DELETED_AT_PRIMARY = "deleted_at_home"
    DELETED_AT_STANDBY = "deleted_at_standby"
    UNUSABLE_AT_PRIMARY = "unusable_at_home"
    UNDER_WAY = "under_way"


CONFLICTS = frozenset({Divergence.EDITED_AT_BOTH, Divergence.DIFFERENT})
"""Both sides have something that the other lacks: which one is right, only people know."""

COMES_TO_PRIMARY = frozenset(
    {
        Divergence.EDITED_AT_STANDBY,
        Divergence.NEW_AT_STANDBY,
        Divergence.DELETED_AT_PRIMARY,
        Divergence.UNUSABLE_AT_PRIMARY,
        Divergence.UNDER_WAY,
    }
)
"""What the standby has goes on, without being asked."""


def diverge(
    primary: Sighting | None,
    standby: Sighting | None,
    last: CopyRecord | None,
    begun_at: datetime | None = None,
) -> Divergence:
    """Compare the two sides with what they were at the last verified copy.

    Args:
        home: as home has it, reduced to what a copy of it at the standby would be; one side at least has it.
        standby: as the standby has it.
        last: the last verified copy, from home to the standby, or told as if it had gone that way.
        begun_at: when an unfinished failback began; what came to home since, and is equal, came by it.
    """
    primary, standby = _there(primary), _there(standby)
    if primary is None:
        return Divergence.DELETED_AT_PRIMARY if last else Divergence.NEW_AT_STANDBY
    if standby is None:
        return Divergence.DELETED_AT_STANDBY if last else Divergence.NEW_AT_PRIMARY
    if primary.status == "creating":
        return Divergence.UNDER_WAY
    found = _between(primary, standby, last, begun_at)
    if primary.status != "ready" and found in {Divergence.IN_SYNC, Divergence.EDITED_AT_STANDBY}:
        return Divergence.UNUSABLE_AT_PRIMARY
    return found


def _there(sighting: Sighting | None) -> Sighting | None:
    return None if sighting is None or sighting.status == "deleting" else sighting


def _between(primary: Sighting, standby: Sighting, last: CopyRecord | None, begun_at: datetime | None) -> Divergence:
    equal = primary.fingerprint == standby.fingerprint
    if equal and (not (primary.trained or standby.trained) or _is_our_copy(primary, standby, begun_at)):
        return Divergence.IN_SYNC
    if last is None:
        # Labelled data is no part of a definition: only dates tell whether one was made of the other.
        made_of_it = _is_made_after(primary, standby) or _is_made_after(standby, primary)
        return Divergence.IN_SYNC if equal and made_of_it else Divergence.DIFFERENT
    at_home, at_standby = _changed(primary, last.source), _changed(standby, last.target)
    if at_home and at_standby:
        return Divergence.EDITED_AT_BOTH
    if at_home:
        return Divergence.EDITED_AT_PRIMARY
    if at_standby:
        return Divergence.EDITED_AT_STANDBY
    return Divergence.IN_SYNC if equal else Divergence.DIFFERENT


def _changed(now: Sighting, then: Sighting) -> bool:
    if now.fingerprint != then.fingerprint:
        return True
    if not now.trained:
        return False
    later = now.changed_at is not None and then.changed_at is not None and now.changed_at > then.changed_at
    return now.created_at != then.created_at or later


def _is_made_after(one: Sighting, other: Sighting) -> bool:
    return one.created_at is not None and other.changed_at is not None and one.created_at >= other.changed_at


def _is_our_copy(primary: Sighting, standby: Sighting, begun_at: datetime | None) -> bool:
    """Say whether an equal one came home by a failback that was killed before it could record that."""
    return (
        begun_at is not None
        and primary.created_at is not None
        and primary.created_at >= begun_at.replace(microsecond=0)
        and _is_made_after(primary, standby)
    )


_BOTH_HAVE_IT = frozenset(
    {
        Divergence.IN_SYNC,
        Divergence.EDITED_AT_PRIMARY,
        Divergence.EDITED_AT_STANDBY,
        Divergence.EDITED_AT_BOTH,
        Divergence.DIFFERENT,
    }
)


@dataclass(frozen=True)
class Against:
    """A rebuilt analyzer of the standby, and its original.

    Attributes:
        rebuilt: as it was built.
        home: as home has it.
        last: the last verified copy, likely of an earlier incarnation.
        home_meaning: fingerprint of what a copy from home would be, without access.
        standby_meaning: fingerprint of what the standby has now, without access.
        equal: whether the two definitions are equal, access included.
    """

    rebuilt: Rebuilt
    primary: Sighting
    last: CopyRecord | None
    primary_meaning: str
    standby_meaning: str
    equal: bool

    @property
    def is_edited(self) -> bool:
        """Whether somebody has edited what was built."""
        return self.standby_meaning != self.rebuilt.fingerprint

    @property
    def primary_is_what_was_built(self) -> bool:
        """Whether home still has what the standby's was built from, and trained it no more since."""
        return self.primary_meaning == self.rebuilt.fingerprint and not self._primary_went_on

    @property
    def _primary_went_on(self) -> bool:
        built, changed = self.rebuilt.created_at, self.primary.changed_at
        if built is not None and changed is not None and changed > built:
            return True
        if self.last is None:
            return False
        then = self.last.source
        later = changed is not None and then.changed_at is not None and changed > then.changed_at
        return later or (self.primary.fingerprint, self.primary.created_at) != (
            then.fingerprint,
            then.created_at,
        )


def with_rebuilt(found: Divergence, against: Against, primary: str) -> Divergence:
    """Say what became of an analyzer of which the standby has a rebuilt one.

    Args:
        found: what both sides and the ledger say by themselves.
        against: the rebuilt one.
        home: the source of ordinary times.
    """
    if found not in _BOTH_HAVE_IT:
        return found
    if against.is_edited:
        return Divergence.EDITED_AT_STANDBY if against.primary_is_what_was_built else found
    if not against.rebuilt.trained:
        return found
    if against.primary_meaning == against.rebuilt.fingerprint:
        # A signature that a restore could not send makes them differ: the standby gets that of home.
        is_same = against.primary_is_what_was_built and against.equal
        return Divergence.IN_SYNC if is_same else Divergence.EDITED_AT_PRIMARY
    if against.rebuilt.origin != primary:
        return found  # It has what was edited where it served, which home never had.
    # An earlier version of home's was restored: was that meant, or has home gone on since?
    at_home = found in {Divergence.EDITED_AT_BOTH, Divergence.EDITED_AT_PRIMARY}
    return Divergence.EDITED_AT_PRIMARY if at_home else Divergence.DIFFERENT


def meaning(definition: Mapping[str, JsonValue], ignore: Sequence[str]) -> str:
    """Give the fingerprint of a definition without what would give access."""
    return fingerprint(without_access(definition), ignore)
