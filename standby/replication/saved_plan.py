"""A plan as a file: shown, approved, and later done exactly as it says or not at all.

The file holds all that was shown, the digest of it, and its signature where the vault has a key. The digest alone
finds what was edited by mistake; that nobody edited the file and its digest together, only a key can prove.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Literal

from standby.config.plan import OnExisting
from standby.document import canonical, digest_of, from_home, json_text, write_whole
from standby.errors import FileUnwritable
from standby.replication.errors import PlanMoved, PlanNotTrusted, PlanUnreadable
from standby.replication.fingerprint import same_meaning
from standby.replication.items import PlanItem, ReplicationPlan, Selection
from standby.replication.verdict import Action
from standby.vault.documents import Stored, Upgrade, parse_stored
from standby.vault.signing import Seal, Signer, seal_of, wrong_with

MOST_NAMED = 20  # How many changes are named one by one
_PROOF = ("digest", "seal")  # Keys of a file that everything else in it is held against


class SavedPlan(Stored, extra="forbid"):
    """A plan that was written to a file: what would be done, and what it was decided from."""

    # The first format had neither a digest nor all that was shown.
    upgrades: ClassVar[Mapping[int, Upgrade]] = {1: lambda file: {**file, "in_full": False}}

    format: Literal[2] = 2
    plan: str
    made_at: datetime
    analyzers: tuple[str, ...]
    targets: tuple[str, ...]
    on_existing: OnExisting
    force: tuple[str, ...] = ()
    added_defaults: dict[str, dict[str, str]]
    items: tuple[PlanItem, ...]
    in_full: bool = True  # whether it has the items' models, differences and warnings, too
    digest: str = ""  # of everything but itself and the seal
    seal: Seal | None = None  # of the same; none where the vault had no key

    @property
    def selection(self) -> Selection:
        return Selection(self.analyzers, self.targets, self.on_existing, self.force)


def save_plan(path: Path, plan: ReplicationPlan, selection: Selection, signer: Signer | None = None) -> None:
    """Write a plan to a file, whole or not at all, and signed: `CannotSign` where only the public key is."""
    shown = SavedPlan(
        plan=plan.recovery_plan.name,
        made_at=plan.made_at,
        analyzers=selection.analyzers,
        targets=selection.targets,
        on_existing=selection.on_existing or plan.recovery_plan.on_existing,
        force=selection.force,
        added_defaults={target: dict(added) for target, added in plan.added_defaults.items()},
        items=plan.items,
    )
    # The last copy is a ground of the verdict, and a run finds it out again.
    left_out: dict[str, Any] = {"items": {"__all__": {"last"}}, **dict.fromkeys(_PROOF, True)}
    held: dict[str, Any] = shown.model_dump(mode="json", exclude=left_out)
    content = canonical(held)
    held["digest"] = digest_of(content)
    held["seal"] = None if signer is None else seal_of(content, signer).model_dump(mode="json")
    try:
        write_whole(path, json_text(held) + "\n")
    except OSError as error:
        raise FileUnwritable(path, error) from None


def load_plan(path: Path, plan_name: str, signer: Signer | None = None) -> SavedPlan:
    """Read a plan file; `PlanUnreadable`, `NewerFormat` or `PlanNotTrusted` where it is not what was saved."""
    try:
        path = from_home(path)
    except ValueError as error:
        raise PlanUnreadable(str(path), str(error)) from None
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanUnreadable(str(path), f"cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        held = None
    try:
        # What is used is read from the very bytes that are held against digest and signature.
        saved = parse_stored(str(path), canonical(held), SavedPlan)
        content = canonical({key: value for key, value in held.items() if key not in _PROOF})
    except (ValueError, AttributeError, RecursionError):
        raise PlanUnreadable(str(path), "is not a saved plan of this version") from None
    if problem := _mistrust(saved, content, signer):
        raise PlanNotTrusted(str(path), problem)
    if saved.plan != plan_name:
        raise PlanUnreadable(str(path), f"is a plan of {saved.plan}, not of {plan_name}")
    return saved


def _mistrust(saved: SavedPlan, content: bytes, signer: Signer | None) -> str:
    if (saved.in_full or saved.digest) and saved.digest != digest_of(content):
        return "was edited after it was saved"
    if signer is not None and saved.seal is None:
        return "has no signature, though vault.signing has a key"
    wrong = wrong_with(content, saved.seal, signer)
    return f"has a signature that {wrong}" if wrong else ""


def refuse_if_moved(approved: SavedPlan, now: ReplicationPlan) -> None:
    """Compare what was approved with what would be done now; `PlanMoved` names what changed."""
    then, present = ({item.key: item for item in plan.items} for plan in (approved, now))
    moved = [
        f"{key[2]} ({key[0]} → {key[1]}) {change}"
        for key in sorted(then.keys() | present.keys())
        if (change := _change(then.get(key), present.get(key), shown=approved.in_full))
    ]
    before, added = approved.added_defaults, now.added_defaults
    # What was added since, by what was applied already, is not to be added now.
    begun = {key[1] for key in then.keys() & present.keys() if _is_applied(then[key], present[key])}
    other = [
        name
        for name in before.keys() | added.keys()
        if (had := before.get(name, {})) != (adds := dict(added.get(name, {})))
        and not (name in begun and adds.items() <= had.items())
    ]
    moved += [f"other defaults would be added at {target} now" for target in sorted(other)]
    if moved:
        more = [f"and {len(moved) - MOST_NAMED} more"] if len(moved) > MOST_NAMED else []
        raise PlanMoved(approved.made_at, [*moved[:MOST_NAMED], *more])


def _change(then: PlanItem | None, now: PlanItem | None, *, shown: bool) -> str:
    if then is None:
        return "is new"
    if now is None:
        return "is gone"
    unseen = sorted(set(now.warnings) - set(then.warnings))
    if _is_applied(then, now):
        return ""
    changes = (
        *_at_source(then, now),
        (not (now.found.is_same(then.found) if now.found else then.found is None), "changed at the target"),
        (_action(then) != _action(now), f"would be {now.action} now, not {then.action}: {now.reason}"),
        (then.verdict != now.verdict, f"is {now.verdict.words} now, not {then.verdict.words}: {now.reason}"),
        (shown and then.reason != now.reason, f"has another reason now: {now.reason}"),
        (shown and then.models != now.models, "uses other models now"),
        (shown and then.differences != now.differences, "differs from its source in other places now"),
        (shown and bool(unseen), f"has a warning that was not shown: {' '.join(unseen)}"),
    )
    return next((words for changed, words in changes if changed), "")


def _at_source(then: PlanItem, now: PlanItem) -> Sequence[tuple[bool, str]]:
    return (
        (not same_meaning(then.expected.fingerprint, now.expected.fingerprint), "was edited at the source"),
        (then.expected.created_at != now.expected.created_at, "was deleted and created again at the source"),
        (then.expected.changed_at != now.expected.changed_at, "was changed at the source, with the same definition"),
    )


def _is_applied(then: PlanItem, now: PlanItem) -> bool:
    """Whether what was to be done is done already, by a run of ours: what others did there was not approved."""
    is_done = now.is_in_sync and now.last is not None and then.action not in {Action.SKIP, Action.REFUSE}
    return is_done and not any(changed for changed, _ in _at_source(then, now))


def _action(item: PlanItem) -> tuple[Action, str, tuple[str, ...]]:
    return (item.action, item.target_analyzer, item.needs)
