"""What lessens the protection of a plan now, and what of it people are told: at its start, at its end, and in between.

A look at a plan finds concerns. What it changes in those that are known is decided by a pure function, and becomes one
message. A look that cannot tell neither begins nor ends a concern.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from pydantic import AwareDatetime

from standby.document import Document, JsonObject
from standby.text import sentence, some_of, some_sentences, utc
from standby.vault.documents import Remembered
from standby.vault.storage import Storage

Severity = Literal["info", "warning", "critical"]
_RANKS: Sequence[Severity] = ("info", "warning", "critical")

QUIET = timedelta(hours=1)  # What comes and goes is told once in it
AGAIN = timedelta(hours=4)  # After which people are told again of what is critical still


class Kind(StrEnum):
    """What kind of concern it is."""

    REPLICATION = "replication"  # the last run to a target failed, or copied only a part
    RUNS = "runs"  # a schedule makes none, or they crash or hang
    RPO = "rpo"
    DRIFT = "drift"  # of a kind that the policy leaves alone
    READINESS = "readiness"
    SNAPSHOT = "snapshot"  # the last one failed, or is not whole
    SNAPSHOT_AGE = "snapshot_age"
    ACCESS = "access"  # a key or a grant is refused, or what is on the way to a resource fails
    RESOURCE = "resource"  # it is degraded, or a standby does not answer; the outage of what serves is no concern
    MODELS = "models"  # one ends soon
    PROOF = "proof"  # a copy answers differently than its source, or was not compared in time
    SINK = "sink"
    REPLICA = "replica"
    VAULT = "vault"
    FENCE = "fence"  # it cannot be read, so that it is unknown what serves


Subject = tuple[Kind, str]


class Concern(Document):
    """One thing that lessens the protection of a plan: never one for each analyzer."""

    kind: Kind
    about: str  # the target, resource or flow; empty for the plan
    severity: Severity
    summary: str  # what is wrong, and what that means
    next_action: str
    lasting: timedelta = timedelta()  # how long it has to be so before people are told

    @property
    def subject(self) -> Subject:
        return (self.kind, self.about)

    @property
    def title(self) -> str:
        return f"{self.kind.value.replace('_', ' ')} {self.about}".strip()

    @property
    def words(self) -> str:
        return f"{sentence(self.summary)} {sentence(self.next_action)}"


@dataclass(frozen=True)
class Look:
    kinds: frozenset[Kind] = frozenset()  # that it looked at: what it did not find of them is over
    found: tuple[Concern, ...] = ()
    unsure: frozenset[Subject] = frozenset()  # what of these kinds it could not tell: neither begun nor over

    def __or__(self, other: "Look") -> "Look":
        """Give the two as one look, each at other kinds."""
        return Look(self.kinds | other.kinds, (*self.found, *other.found), self.unsure | other.unsure)

    def settles(self, subject: Subject) -> bool:
        """Say whether it would have found that concern."""
        return subject[0] in self.kinds and subject not in self.unsure


class Tracked(Document):
    """A concern, and what people were told of it."""

    concern: Concern
    since: AwareDatetime | None  # `None` where it is over, and is kept because people were told recently
    told_at: AwareDatetime | None = None  # when people were told last that it is so
    loudest: Severity = "info"  # how severe it was when they were
    is_told: bool = False  # whether people believe that it is so

    @property
    def words(self) -> str:
        return f"Since {utc(self.since)}: {self.concern.words}" if self.since else self.concern.words

    def after(self, present: Concern, now: datetime) -> tuple["Tracked", bool]:
        """Say how it is after a look that found it, and whether people are to be told."""
        after = self.model_copy(update={"concern": present, "since": self.since or now})
        if self.told_at is None:
            is_news = abs(now - (self.since or now)) >= present.lasting
        else:
            silent = abs(now - self.told_at)
            is_louder = _RANKS.index(present.severity) > _RANKS.index(self.loudest)
            is_other = not self.is_told or _rank(present) > _rank(self.concern)
            goes_on = present.severity == "critical" and silent >= AGAIN
            is_news = is_louder or goes_on or (is_other and silent >= QUIET)
        if not is_news:
            return after, False
        return after.model_copy(update={"told_at": now, "loudest": present.severity, "is_told": True}), True

    def matters(self, now: datetime) -> bool:
        """Say whether it is to be kept: it is so, or people were told of it recently."""
        return self.since is not None or (self.told_at is not None and abs(now - self.told_at) < QUIET)


class Concerns(Remembered):
    """Every concern of a plan, and those that ended recently. What cannot be understood is found again."""

    place = "recovery/{plan}/concerns.json"

    tracked: tuple[Tracked, ...] = ()

    @property
    def open(self) -> tuple[Tracked, ...]:
        """The concerns that are so now, the worst first."""
        now = (each for each in self.tracked if each.since is not None)
        return tuple(sorted(now, key=lambda each: -_RANKS.index(each.concern.severity)))


@dataclass(frozen=True)
class Change:
    """What people are to be told after one look."""

    began: tuple[Concern, ...] = ()  # or became worse
    continues: tuple[Tracked, ...] = ()  # critical still
    ended: tuple[Concern, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.began or self.continues or self.ended)

    @property
    def severity(self) -> Severity:
        return max((each.severity for each in self._now), key=_RANKS.index, default="info")

    @property
    def headline(self) -> str:
        over = ", ".join(each.title for each in self.ended)
        return "; ".join(filter(None, [some_of(each.title for each in self._now), over and f"over: {over}"]))

    @property
    def next_action(self) -> str:
        return " ".join(dict.fromkeys(sentence(each.next_action) for each in self._now))

    @property
    def summary(self) -> str:
        going_on = (each.words for each in self.continues)
        over = some_sentences([f"Resolved: {each.summary}" for each in self.ended])
        return " ".join(filter(None, [*(each.words for each in self.began), *going_on, over]))

    def facts(self) -> JsonObject:
        went_on = (each.concern for each in self.continues)
        named = {"began": self.began, "continues": went_on, "ended": self.ended}
        lists: JsonObject = {name: [each.model_dump(mode="json") for each in of] for name, of in named.items()}
        return {**lists, "headline": self.headline, "next_action": self.next_action}

    @property
    def _now(self) -> list[Concern]:
        return [*self.began, *(each.concern for each in self.continues)]


def decide(before: Concerns, look: Look, now: datetime) -> tuple[Concerns, Change]:
    """Say what is known after a look, and what of it people are to be told."""
    found = {each.subject: each for each in sorted(look.found, key=_rank)}  # of two about the same, the worse
    kept: list[Tracked] = []
    began: list[Concern] = []
    continues: list[Tracked] = []
    ended: list[Concern] = []
    known = {each.concern.subject for each in before.tracked}
    new = [Tracked(concern=each, since=now) for subject, each in found.items() if subject not in known]
    for each in [*before.tracked, *new]:
        if (present := found.pop(each.concern.subject, None)) is not None:
            after, is_told = each.after(present, now)
            kept.append(after)
            goes_on = each.is_told and present.severity == each.loudest
            began += [present] * (is_told and not goes_on)
            continues += [after] * (is_told and goes_on)
        elif look.settles(each.concern.subject):
            ended += [each.concern] * each.is_told
            over = each.model_copy(update={"since": None, "is_told": False})
            kept += [over] * over.matters(now)
        else:
            kept += [each] * each.matters(now)
    worst_first = tuple(sorted(began, key=_rank, reverse=True))
    return Concerns(tracked=tuple(kept)), Change(worst_first, tuple(continues), tuple(ended))


async def report_concerns(
    storage: Storage, plan: str, look: Look, now: datetime, instead: Concerns | None = None
) -> tuple[Concerns, Change]:
    """Keep what a look found, and give what of it people are to be told; nothing is written where nothing changed.

    What is known comes from elsewhere `instead` where the vault could not be written recently.
    """
    known = instead or await Concerns.read(storage, plan)
    if instead is None and (after := decide(known, look, now))[0] == known:
        return after
    change = Change()

    def changed(there: Concerns) -> Concerns:
        nonlocal change
        new, change = decide(instead or there, look, now)
        return new

    return await Concerns.change(storage, plan, changed), change


def grouped(
    kind: Kind, about: str, severity: Severity, reasons: Iterable[tuple[str, str]], prefix: str = ""
) -> Concern:
    """Make one concern of its reasons, each with what to do; what several of them say is said once."""
    texts, actions = (list(dict.fromkeys(each)) for each in zip(*reasons, strict=True))
    summary, action = f"{prefix}{some_sentences(texts)}", some_sentences(actions)
    return Concern(kind=kind, about=about, severity=severity, summary=summary, next_action=action)


def _rank(concern: Concern) -> int:
    return _RANKS.index(concern.severity)
