"""The verdict: how an analyzer at a target relates to the one it should be a copy of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import AwareDatetime

from standby.config.plan import OnExisting
from standby.config.resource import PREVIEW_2025, DeploymentOverrides, Resource
from standby.document import JsonValue
from standby.replication.fingerprint import Definition, fingerprint, is_by_first_rules, same_meaning
from standby.service.models import Analyzer


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

    @property
    def words(self) -> str:
        return self.value.replace("_", " ")


STUCK = "stuck"  # The status of an analyzer that is `creating` for so long that nothing builds it any more
UNFINISHED = "unfinished"  # The status of a copy that a run began and never found good, and that nobody changed since
HOLDS_NOTHING = frozenset({"failed", STUCK, UNFINISHED})  # Statuses of what is overwritten unasked: nothing is lost
STUCK_AFTER = timedelta(hours=1)
"""How much longer than a copy may take an analyzer is `creating` before it is given up: a training takes minutes."""


def status_of(analyzer: Analyzer, now: datetime, longest: float) -> str:
    """Give the status that counts: `STUCK` for one that is `creating` for much longer than a copy may take."""
    moments = [moment for moment in (analyzer.created_at, analyzer.last_modified_at) if moment is not None]
    if analyzer.status != "creating" or not moments:
        return analyzer.status
    return STUCK if now - max(moments) > timedelta(seconds=longest) + STUCK_AFTER else "creating"


@dataclass(frozen=True, slots=True)
class Sighting:
    """One analyzer as seen at one resource."""

    fingerprint: str  # of its definition; at a source, of the definition a copy of it would have
    status: str
    created_at: AwareDatetime | None  # which incarnation it is: an analyzer deleted and made again has a new one
    changed_at: AwareDatetime | None
    trained: bool  # whether labelled data shaped it, so that one definition can mean two behaviours
    rebuilt: bool = False  # whether a restore built it from a definition, or it is a copy of one that was

    @property
    def has_training(self) -> bool:
        """Whether it may have a training of its own, which nothing can put back: unless it is known better, it has."""
        return self.trained and not self.rebuilt and self.status not in {"creating", "deleting"} | HOLDS_NOTHING

    def is_same(self, other: Sighting | None) -> bool:
        """Say whether it was seen as it is in another sighting, which an earlier version may have stored."""
        if other is None or not same_meaning(self.fingerprint, other.fingerprint):
            return False
        return replace(self, fingerprint=other.fingerprint) == other


@dataclass(frozen=True, slots=True)
class CopyRecord:
    """The ledger's last verified copy: both analyzers as they were. `analyzer` is missing in older ledgers."""

    source: Sighting
    target: Sighting
    copied_at: AwareDatetime
    analyzer: str | None = None

    @property
    def is_by_first_rules(self) -> bool:
        """Whether an earlier version wrote it, whose fingerprints followed other rules."""
        return is_by_first_rules(self.source.fingerprint) or is_by_first_rules(self.target.fingerprint)


def judge(source: Sighting, target: Sighting | None, last: CopyRecord | None, *, is_filled_in: bool = False) -> Verdict:
    """Decide the verdict; never `BLOCKED`, which follows from other analyzers and from models.

    The record is only about the incarnation it saw: a target that was deleted and made again is judged by
    what it holds, and is `FOREIGN` where that differs. What is being deleted is as good as gone, and so is what
    failed or is stuck: it holds nothing. What `is_filled_in` has all that the source has, and settings that the target
    added by itself.
    """
    if target is None or target.status == "deleting" or target.status in HOLDS_NOTHING:
        return Verdict.MISSING
    if target.status == "creating":
        return Verdict.CREATING
    ours = last if last is not None and last.target.created_at == target.created_at else None
    if is_filled_in or same_meaning(target.fingerprint, source.fingerprint):
        return _of_equals(source, target, last, ours)
    if ours is None:
        return Verdict.FOREIGN
    source_changed = (
        is_trained_again(source, ours.source)
        or not same_meaning(source.fingerprint, ours.source.fingerprint)
        or source.created_at != ours.source.created_at
    )
    is_edited = not same_meaning(target.fingerprint, ours.target.fingerprint)
    target_changed = is_edited or is_trained_again(target, ours.target)
    if source_changed:
        return Verdict.DIVERGED if target_changed else Verdict.SOURCE_AHEAD
    # What did not change was found good, with what the target filled in.
    return Verdict.TARGET_AHEAD if target_changed else _of_equals(source, target, last, ours)


def _of_equals(source: Sighting, target: Sighting, last: CopyRecord | None, ours: CopyRecord | None) -> Verdict:
    """Decide about one definition, of which labelled data can have made two behaviours."""
    # Inferred from dates, and only from those that are there: the service says nothing of a training itself. It dates
    # an analyzer anew as it becomes ready, and not later (recording: grant copy).
    if target.has_training and source.trained and source.rebuilt:
        return Verdict.TARGET_AHEAD
    is_ready = target.status == "ready"
    if ours is not None:
        at_source = is_trained_again(source, ours.source)
        at_target = is_ready and is_trained_again(target, ours.target)
    elif last and is_ready and target.has_training and target.created_at and last.target.created_at:
        # Nobody noted that we began a copy: somebody trained it there, under the same definition.
        at_source, at_target = is_trained_again(source, last.source), True
    else:
        # Never copied, or the record is lost: what was made after the source's last change can be its copy.
        at_source, at_target = source.trained and is_later(source.changed_at, target.created_at), False
    if at_target:
        return Verdict.DIVERGED if at_source else Verdict.TARGET_AHEAD
    return Verdict.SOURCE_AHEAD if at_source or not is_ready else Verdict.IN_SYNC


def is_trained_again(now: Sighting, then: Sighting) -> bool:
    """Say whether labelled data built an analyzer again, whatever became of its definition."""
    return now.trained and (now.created_at != then.created_at or is_later(now.changed_at, then.changed_at))


def is_unfinished(begun: CopyRecord, found: Sighting, expected: Sighting) -> bool:
    """Say whether the target has a copy that was never found good, and can be made again: it has nothing else."""
    if begun.target.status != UNFINISHED or begun.target.created_at != found.created_at:
        return False
    if found.status not in {"ready", "creating", "deleting"} | HOLDS_NOTHING:
        return True
    is_as_begun = same_meaning(found.fingerprint, begun.target.fingerprint)
    is_older = is_as_begun and not same_meaning(found.fingerprint, expected.fingerprint)
    return is_older and found.status == "ready" and not found.trained


def is_later(moment: datetime | None, than: datetime | None) -> bool:
    return moment is not None and than is not None and moment > than


def expected_definition(
    definition: Definition, target: Resource, overrides: DeploymentOverrides, there: Definition | None = None
) -> dict[str, JsonValue]:
    """Give the definition that a copy of an analyzer has at a target."""
    # Inferred: in the `2025-05-01-preview` protocol an overridden deployment stands in the copy's `models`. That is not
    # established: where what is `there` shows the analyzer's own name, or none, that is what a copy has.
    models = definition.get("models")
    if target.api_version != PREVIEW_2025 or not isinstance(models, dict):
        return dict(definition)
    expected = with_overrides(definition, overrides, models)
    if there is not None and with_overrides(there, overrides, models).get("models") == expected["models"]:
        expected["models"] = there.get("models")
    return expected


def with_overrides(there: Definition, overrides: DeploymentOverrides, own: Definition) -> dict[str, JsonValue]:
    """Put overridden deployments into the models of a copy where it shows the `own` ones of its analyzer, or none."""
    shown = there.get("models")
    models = dict(shown) if isinstance(shown, dict) else {}
    models |= {role: to for role in own if (to := overrides.of(role)) and models.get(role, own[role]) == own[role]}
    return {**there, "models": models}


def sight(analyzer: Analyzer, definition: Definition, ignore: Sequence[str] = ()) -> Sighting:
    """Reduce an analyzer, described by a definition of it, to what is compared."""
    hashed, trained = fingerprint(definition, ignore), bool(definition.get("knowledgeSources"))
    return Sighting(hashed, analyzer.status, analyzer.created_at, analyzer.last_modified_at, trained)


class Action(StrEnum):
    """What a run does about one analyzer at one target."""

    COPY = "copy"
    REPLACE = "replace"
    COPY_AS_VERSION = "copy_as_version"
    ADOPT = "adopt"
    SKIP = "skip"
    REFUSE = "refuse"


COPYING = frozenset({Action.COPY, Action.REPLACE, Action.COPY_AS_VERSION})  # Actions that start a copy at the service
ACTING = COPYING | {Action.ADOPT}  # Actions that make a run do anything at all

_ALWAYS = {Verdict.MISSING: Action.COPY, Verdict.IN_SYNC: Action.SKIP, Verdict.CREATING: Action.ADOPT} | dict.fromkeys(
    (Verdict.TARGET_AHEAD, Verdict.DIVERGED, Verdict.BLOCKED), Action.REFUSE
)

_BY_POLICY = {"refuse": Action.REFUSE, "replace": Action.REPLACE, "version": Action.COPY_AS_VERSION}

_WHAT_IS_THERE = {
    Verdict.MISSING: "{target} does not have it",
    Verdict.IN_SYNC: "{target} has the same",
    Verdict.CREATING: "A copy into {target} is already under way",
    Verdict.SOURCE_AHEAD: "{target} has an older copy",
    Verdict.FOREIGN: "{target} has a different analyzer of this name that was not copied from {source}",
    Verdict.TARGET_AHEAD: "It was edited at {target} since it was copied",
    Verdict.DIVERGED: "It was edited at {source} and at {target} since it was copied",
}

_TRAINED_AGAIN = {  # What is there under the same definition
    Verdict.TARGET_AHEAD: "By its dates, it was trained again at {target} since it was copied",
    Verdict.DIVERGED: "By their dates, it was trained again at {source} and at {target} since it was copied",
}

_WHAT_TO_DO = {
    Verdict.SOURCE_AHEAD: "Allow it with --on-existing replace or --on-existing version",
    Verdict.FOREIGN: "Rename one of the two, or allow it with --on-existing replace or --on-existing version",
    Verdict.TARGET_AHEAD: "Copy the edit to {source} first, or overwrite it with --force {analyzer}",
    Verdict.DIVERGED: "Decide which one is right; overwrite the one at {target} with --force {analyzer}",
}

_NOT_IN_PLACE = {  # What to do where the protocol cannot replace
    **dict.fromkeys(
        (Verdict.SOURCE_AHEAD, Verdict.FOREIGN),
        "Allow a copy beside it with --on-existing version, or delete it at {target} and run again",
    ),
    Verdict.TARGET_AHEAD: "Copy the edit to {source} first, or delete it at {target} and run again",
    Verdict.DIVERGED: "Decide which one is right; to copy the one at {source}, delete it at {target} and run again",
}

OVERWRITABLE = frozenset({Verdict.SOURCE_AHEAD, Verdict.TARGET_AHEAD, Verdict.DIVERGED, Verdict.FOREIGN})
"""Verdicts under which the target has one that is not the source's."""


def decide(verdict: Verdict, on_existing: OnExisting, *, forced: bool = False) -> Action:
    """Choose the action: unless allowed, only what is missing is copied; edits at a target are never overwritten."""
    if forced and verdict in OVERWRITABLE:
        return Action.REPLACE
    return _ALWAYS.get(verdict) or _BY_POLICY[on_existing]


def explain(
    verdict: Verdict,
    action: Action,
    analyzer: str,
    source: str,
    target: str,
    status: str = "ready",
    *,
    equal: bool = False,
    in_place: bool = True,
) -> str:
    """Say in a sentence or two why an item has its action; a blocked one has reasons of its own."""
    words = (_TRAINED_AGAIN if equal else {}).get(verdict, _WHAT_IS_THERE[verdict])
    if verdict is Verdict.MISSING and status in HOLDS_NOTHING:
        words = "{target} has one of this name that is {status} and holds nothing; it is overwritten"
        if status == UNFINISHED:
            words = "{target} has a copy that an earlier run began and never verified; it is overwritten"
    elif verdict is Verdict.SOURCE_AHEAD and status != "ready":
        # An equal one can be behind the source by its status alone.
        words = "{target} has one of this name that is {status}, not ready"
    sentence = words.format(source=source, target=target, status=status)
    advice = (_WHAT_TO_DO if in_place else _NOT_IN_PLACE).get(verdict) if action is Action.REFUSE else None
    if advice is None:
        return f"{sentence}."
    return f"{sentence}. {advice.format(source=source, target=target, analyzer=analyzer)}."
