"""What a rebuilt analyzer of the standby makes of a comparison: pure functions.

Built from a definition, it has a part in no edit of anybody, and labelled data need not have trained it as it
trained its original: it must not go home in the place of that. An edit of it is one, and goes home.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from standby.recovery.failback.divergence import Divergence
from standby.recovery.snapshots.definition_objects import without_access
from standby.replication.fingerprint import fingerprint
from standby.replication.rebuilt import Rebuilt
from standby.replication.verdict import CopyRecord, Sighting
from standby.service.models import JsonValue

_BOTH_HAVE_IT = frozenset(
    {
        Divergence.IN_SYNC,
        Divergence.EDITED_AT_HOME,
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
    home: Sighting
    last: CopyRecord | None
    home_meaning: str
    standby_meaning: str
    equal: bool

    @property
    def is_edited(self) -> bool:
        """Whether somebody has edited what was built."""
        return self.standby_meaning != self.rebuilt.fingerprint

    @property
    def home_is_what_was_built(self) -> bool:
        """Whether home still has what the standby's was built from, and trained it no more since."""
        return self.home_meaning == self.rebuilt.fingerprint and not self._home_went_on

    @property
    def _home_went_on(self) -> bool:
        built, changed = self.rebuilt.created_at, self.home.changed_at
        if built is not None and changed is not None and changed > built:
            return True
        if self.last is None:
            return False
        then = self.last.source
        later = changed is not None and then.changed_at is not None and changed > then.changed_at
        return later or (self.home.fingerprint, self.home.created_at) != (then.fingerprint, then.created_at)


def with_rebuilt(found: Divergence, against: Against, home: str) -> Divergence:
    """Say what became of an analyzer of which the standby has a rebuilt one.

    Args:
        found: what both sides and the ledger say by themselves.
        against: the rebuilt one.
        home: the source of ordinary times.
    """
    if found not in _BOTH_HAVE_IT:
        return found
    if against.is_edited:
        return Divergence.EDITED_AT_STANDBY if against.home_is_what_was_built else found
    if not against.rebuilt.trained:
        return found
    if against.home_meaning == against.rebuilt.fingerprint:
        # A signature that a restore could not send makes them differ: the standby gets that of home.
        is_same = against.home_is_what_was_built and against.equal
        return Divergence.IN_SYNC if is_same else Divergence.EDITED_AT_HOME
    if against.rebuilt.origin != home:
        return found  # It has what was edited where it served, which home never had.
    # An earlier version of home's was restored: was that meant, or has home gone on since?
    at_home = found in {Divergence.EDITED_AT_BOTH, Divergence.EDITED_AT_HOME}
    return Divergence.EDITED_AT_HOME if at_home else Divergence.DIFFERENT


def meaning(definition: Mapping[str, JsonValue], ignore: Sequence[str]) -> str:
    """Give the fingerprint of a definition without what would give access."""
    return fingerprint(without_access(definition), ignore)
