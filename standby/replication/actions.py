"""What a verdict leads to under a policy, and the sentence that explains it."""

from __future__ import annotations

from enum import StrEnum

from standby.config.plan import OnExisting
from standby.replication.verdict import Verdict


class Action(StrEnum):
    """What a run does about one analyzer at one target."""

    COPY = "copy"
    REPLACE = "replace"
    COPY_AS_VERSION = "copy_as_version"
    ADOPT = "adopt"
    SKIP = "skip"
    REFUSE = "refuse"


COPYING = frozenset({Action.COPY, Action.REPLACE, Action.COPY_AS_VERSION})
"""Actions that start a copy at the service."""

ACTING = COPYING | {Action.ADOPT}
"""Actions that make a run do anything at all."""

_ALWAYS = {
    Verdict.MISSING: Action.COPY,
    Verdict.IN_SYNC: Action.SKIP,
    Verdict.CREATING: Action.ADOPT,
    Verdict.TARGET_AHEAD: Action.REFUSE,
    Verdict.DIVERGED: Action.REFUSE,
    Verdict.BLOCKED: Action.REFUSE,
}

_BY_POLICY: dict[OnExisting, Action] = {
    "refuse": Action.REFUSE,
    "replace": Action.REPLACE,
    "version": Action.COPY_AS_VERSION,
}

_WHAT_IS_THERE = {
    Verdict.MISSING: "{target} does not have it",
    Verdict.IN_SYNC: "{target} has the same",
    Verdict.CREATING: "A copy into {target} is already under way",
    Verdict.SOURCE_AHEAD: "{target} has an older copy",
    Verdict.FOREIGN: "{target} has a different analyzer of this name that was not copied from {source}",
    Verdict.TARGET_AHEAD: "It was edited at {target} since it was copied",
    Verdict.DIVERGED: "It was edited at {source} and at {target} since it was copied",
}

_UNUSABLE = "{target} has one of this name that is {status}, not ready"
"""An equal analyzer can be behind the source by its status alone."""

_WHAT_TO_DO = {
    Verdict.SOURCE_AHEAD: "Allow it with --on-existing replace or --on-existing version",
    Verdict.FOREIGN: "Rename one of the two, or allow it with --on-existing replace or --on-existing version",
    Verdict.TARGET_AHEAD: "Take the edit back to {source} first, or overwrite it with --force {analyzer}",
    Verdict.DIVERGED: "Settle which one is right, then overwrite the other with --force {analyzer}",
}


OVERWRITABLE = frozenset({Verdict.SOURCE_AHEAD, Verdict.TARGET_AHEAD, Verdict.DIVERGED, Verdict.FOREIGN})
"""Verdicts under which the target has one that is not the source's."""


def decide(verdict: Verdict, on_existing: OnExisting, *, forced: bool = False) -> Action:
    """Choose the action: only what is missing is copied unasked, edits at a target are never overwritten.

    Args:
        verdict: how the analyzer stands at the target.
        on_existing: the policy for what is there and older or foreign.
        forced: whether the operator named this very analyzer as one to overwrite.
    """
    if forced and verdict in OVERWRITABLE:
        return Action.REPLACE
    always = _ALWAYS.get(verdict)
    return always if always is not None else _BY_POLICY[on_existing]


def explain(
    verdict: Verdict, action: Action, analyzer: str, source: str, target: str, status: str = "ready"
) -> str:
    """Say in a sentence or two why an item has its action.

    Args:
        verdict: how the analyzer stands at the target; anything but blocked, which has reasons of its own.
        action: what is to be done.
        analyzer: its id at the source.
        source: name of the source resource.
        target: name of the target resource.
        status: what the target calls the analyzer it holds.
    """
    unusable = verdict is Verdict.SOURCE_AHEAD and status != "ready"
    sentence = (_UNUSABLE if unusable else _WHAT_IS_THERE[verdict]).format(
        source=source, target=target, status=status
    )
    advice = _WHAT_TO_DO.get(verdict) if action is Action.REFUSE else None
    if advice is None:
        return f"{sentence}."
    return f"{sentence}. {advice.format(source=source, target=target, analyzer=analyzer)}."
