"""The report of a failback, and the sentences about it."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Literal, assert_never

from pydantic import Field

from standby.document import Document
from standby.errors import sentence
from standby.recovery.activation.seen import SinkView, told_words
from standby.recovery.context import RunReport
from standby.recovery.failover.report import CommitReport, FailoverReport
from standby.replication.items import Status, count
from standby.replication.report import Report
from standby.text import lasting

Choice = Literal["home", "standby"]
"""Whose analyzer is kept, as it is stored: that of the primary or that of the standby."""

ChoiceWord = Literal["primary", "standby", "home"]  # The same as people write it; home is an earlier word for primary
CHOICES: Mapping[str, Choice] = {"primary": "home", "home": "home", "standby": "standby"}
Ending = Literal["failed_back", "at_home", "refused", "incomplete", "unfinished", "interrupted"]
"""How a failback ended.

The primary serves; it did already; it cannot take an analyzer; something failed, and the standby still
serves; the failback is neither done nor undone; somebody stopped it.
"""


class Divergence(StrEnum):
    """How primary and standby differ from what they had in common."""

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
    UNUSABLE_AT_STANDBY = "unusable_at_standby"
    UNDER_WAY = "under_way"
    REBUILT_AT_PRIMARY = "rebuilt_at_home"
    REBUILT_AND_EDITED_AT_PRIMARY = "rebuilt_and_edited_at_home"


CONFLICTS = frozenset({Divergence.EDITED_AT_BOTH, Divergence.DIFFERENT, Divergence.REBUILT_AND_EDITED_AT_PRIMARY})
"""Each has something that the other lacks: only people know which one is right."""

COPIED_TO_PRIMARY = frozenset(
    {
        Divergence.EDITED_AT_STANDBY,
        Divergence.NEW_AT_STANDBY,
        Divergence.DELETED_AT_PRIMARY,
        Divergence.UNUSABLE_AT_PRIMARY,
        Divergence.UNDER_WAY,
        Divergence.REBUILT_AT_PRIMARY,
    }
)
"""What the standby has is kept, without being asked."""

WORDS = {
    Divergence.EDITED_AT_BOTH: "edited at {primary} and at {standby}",
    Divergence.DIFFERENT: "different, and no copy of one to the other is known",
    Divergence.REBUILT_AND_EDITED_AT_PRIMARY: "rebuilt and edited at {primary}, trained at {standby}",
    Divergence.EDITED_AT_STANDBY: "edited at {standby}",
    Divergence.NEW_AT_STANDBY: "new at {standby}",
    Divergence.DELETED_AT_PRIMARY: "deleted at {primary}",
    Divergence.UNUSABLE_AT_PRIMARY: "not ready at {primary}",
    Divergence.UNUSABLE_AT_STANDBY: "not usable at {standby}, so the version at {primary} is kept",
    Divergence.UNDER_WAY: "being copied to {primary}",
    Divergence.REBUILT_AT_PRIMARY: "rebuilt at {primary}, trained at {standby}",
    Divergence.EDITED_AT_PRIMARY: "edited at {primary}",
    Divergence.NEW_AT_PRIMARY: "new at {primary}",
    Divergence.DELETED_AT_STANDBY: "deleted at {standby}",
    Divergence.IN_SYNC: "in sync",
}
"""The words for each; conflicts come first, then what is copied to the primary."""


class DivergenceItem(Document):
    """One analyzer at primary and standby."""

    analyzer: str  # its id at the primary
    standby_analyzer: str | None
    divergence: Divergence
    keep: Choice | None  # whose is kept; `None` where nobody has decided yet
    differences: tuple[str, ...] = ()  # JSON paths at which the two differ
    # That of the standby was built from a definition that has labelled data, and not copied there.
    rebuilt: bool = False
    # That of the primary was trained, and that of the standby was not as it was.
    costs_training: bool = Field(False, exclude_if=lambda costs: not costs)
    # Somebody ordered that a training may be overwritten.
    forced: bool = Field(False, exclude_if=lambda forced: not forced)

    @property
    def name(self) -> str:
        """Its id at the primary, and that at the standby where it is another one."""
        renamed = self.standby_analyzer not in (None, self.analyzer)
        return f"{self.analyzer} ({self.standby_analyzer})" if renamed else self.analyzer


class DivergenceReport(Document):
    """How the analyzers of primary and standby changed while the standby served."""

    plan: str
    primary: str = Field(alias="home")
    standby: str
    epoch: int
    compared_at: datetime
    items: tuple[DivergenceItem, ...]
    superseded: tuple[str, ...] = ()  # ids at the standby of older copies beside a newer one; they stay there
    outside: tuple[str, ...] = ()  # ids at the standby that are not in the plan; they stay there

    @property
    def totals(self) -> dict[Divergence, int]:
        """Items of each kind, every kind named."""
        counts = Counter(item.divergence for item in self.items)
        return {kind: counts[kind] for kind in Divergence}

    @property
    def undecided(self) -> tuple[str, ...]:
        return tuple(item.analyzer for item in self.items if item.keep is None)

    @property
    def unforced(self) -> tuple[str, ...]:
        """Ids at the primary of what was trained there, and would be replaced by what was not, which nobody ordered."""
        costly = (item for item in self.items if item.costs_training and not item.forced)
        return tuple(item.analyzer for item in costly if item.keep != "home")

    @property
    def is_settled(self) -> bool:
        return not self.undecided and not self.unforced

    @property
    def untrained(self) -> tuple[str, ...]:
        """Ids of what is copied to the primary, and was not trained as its original was."""
        rebuilt = (item for item in self.items if item.rebuilt and item.keep == "standby")
        return tuple(item.analyzer for item in rebuilt if item.divergence is not Divergence.IN_SYNC)

    def what_became(self, kind: Divergence) -> str:
        return WORDS[kind].format(primary=self.primary, standby=self.standby)

    def what_is_kept(self, kind: Divergence, keep: Choice | None) -> str:
        if keep is None:
            return "not decided"
        if keep == "home" and kind in {Divergence.DELETED_AT_PRIMARY, Divergence.NEW_AT_STANDBY}:
            return f"stays at {self.standby} only"
        return f"the version at {self.primary if keep == 'home' else self.standby} is kept"


class FailbackReport(RunReport):
    epoch: int
    primary: str = Field(alias="home")
    standby: str  # what served for the primary; empty where nothing did
    divergence: DivergenceReport | None  # as it was before anything was copied
    sync: Report | None  # what was copied to the primary
    failover: FailoverReport | None  # to the primary; `None` where an earlier run had made it, or it was not reached
    commit: CommitReport | None
    forward: Report | None  # what was copied to the standby once the primary served again
    seen: tuple[SinkView, ...] = ()
    state: Ending
    seconds: float
    problems: tuple[str, ...] = ()
    next_action: str = ""

    @property
    def complete(self) -> bool:
        return self.state in {"failed_back", "at_home"} and not self.problems

    @property
    def ending(self) -> str:
        about = f"plan {self.plan}, epoch {self.epoch}"
        match self.state:
            case "failed_back":
                return f"{self.primary} serves again, and that is committed ({about}), after {lasting(self.seconds)}."
            case "at_home":
                return f"{self.primary} serves already; there is nothing to fail back ({about})."
            case "refused" | "incomplete":
                return f"Not failed back to {self.primary}: {self.standby} still serves ({about})."
            case "unfinished":
                return f"The failback to {self.primary} has not ended ({about}).{self._told}"
            case "interrupted":
                return f"The failback to {self.primary} was interrupted ({about}).{self._told}"
            case _:
                assert_never(self.state)

    @property
    def _told(self) -> str:
        told = told_words(self.seen, self.primary, self.epoch)
        return f" {sentence(told)}" if told else ""

    @property
    def message(self) -> str:
        """How it ended, what went wrong and what to do, in a few sentences."""
        return " ".join(sentence(part) for part in (self.ending, *self.problems, self.next_action) if part)


def joined(first: Report, then: Report) -> Report:
    """Put two runs of the same pair into one report; what the first did and the second skipped stays done."""
    done = {item.key: item for item in first.items if item.status is Status.SUCCEEDED}
    items = {item.key: item for item in (*first.items, *then.items)}
    items |= {item.key: done.get(item.key, item) for item in then.items if item.status is Status.SKIPPED}
    seconds = round(first.seconds + then.seconds, 3)
    changed = {"seconds": seconds, "totals": count(items.values()), "items": tuple(items.values())}
    return then.model_copy(update=changed)
