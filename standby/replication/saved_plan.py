"""A plan as a file: shown, approved, and later done exactly as it says or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from standby.config.plan import OnExisting
from standby.document import Document
from standby.replication.errors import PlanMoved, PlanUnreadable
from standby.replication.items import PlanItem, ReplicationPlan, Selection
from standby.replication.verdict import Action

MOST_NAMED = 20
"""How many changes are named one by one."""

_NOT_SAVED = {"items": {"__all__": {"models", "last", "differences", "warnings"}}}
"""What a run finds out again."""


class SavedPlan(Document, extra="forbid"):
    """A plan that was written to a file: what would be done, and what it was decided from."""

    format: Literal[1] = 1
    plan: str
    made_at: datetime
    analyzers: tuple[str, ...]
    targets: tuple[str, ...]
    on_existing: OnExisting
    force: tuple[str, ...] = ()
    added_defaults: dict[str, dict[str, str]]
    items: tuple[PlanItem, ...]

    @property
    def selection(self) -> Selection:
        """What was asked for when it was made."""
        return Selection(self.analyzers, self.targets, self.on_existing, self.force)


def save_plan(path: Path, plan: ReplicationPlan, selection: Selection) -> None:
    """Write a plan to a file, whole or not at all."""
    saved = SavedPlan(
        plan=plan.recovery_plan.name,
        made_at=plan.made_at,
        analyzers=selection.analyzers,
        targets=selection.targets,
        on_existing=selection.on_existing or plan.recovery_plan.on_existing,
        force=selection.force,
        added_defaults={target: dict(added) for target, added in plan.added_defaults.items()},
        items=plan.items,
    )
    text = json.dumps(saved.model_dump(mode="json", exclude=_NOT_SAVED), indent=1, ensure_ascii=False) + "\n"
    fresh = path.with_name(f".{path.name}.new")
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        raise PlanUnreadable(str(path), f"cannot be written: {error.strerror}") from None


def load_plan(path: Path, plan_name: str) -> SavedPlan:
    """Read a plan file; `PlanUnreadable` where it is missing, damaged, or of another plan."""
    try:
        saved = SavedPlan.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanUnreadable(str(path), f"cannot be read: {error.strerror}") from None
    except (ValidationError, UnicodeDecodeError):
        raise PlanUnreadable(str(path), "is not a saved plan of this version") from None
    if saved.plan != plan_name:
        raise PlanUnreadable(str(path), f"is a plan of {saved.plan}, not of {plan_name}")
    return saved


def refuse_if_moved(approved: SavedPlan, now: ReplicationPlan) -> None:
    """Compare what was approved with what would be done now; `PlanMoved` names what changed."""
    moved = [*_moved_items(approved, now), *_moved_defaults(approved, now)]
    if moved:
        more = [f"and {len(moved) - MOST_NAMED} more"] if len(moved) > MOST_NAMED else []
        raise PlanMoved(approved.made_at, [*moved[:MOST_NAMED], *more])


def _moved_items(approved: SavedPlan, now: ReplicationPlan) -> list[str]:
    then = {item.key: item for item in approved.items}
    present = {item.key: item for item in now.items}
    return [
        f"{key[2]} ({key[0]} → {key[1]}) {change}"
        for key in sorted(then.keys() | present.keys())
        if (change := _change(then.get(key), present.get(key)))
    ]


def _change(then: PlanItem | None, now: PlanItem | None) -> str:
    if then is None:
        return "is new"
    if now is None:
        return "is gone"
    changes = (
        (then.expected.fingerprint != now.expected.fingerprint, "was edited at the source"),
        (then.expected.created_at != now.expected.created_at, "was deleted and created again at the source"),
        (then.expected.changed_at != now.expected.changed_at, "was changed at the source, with the same definition"),
        (then.found != now.found, "changed at the target"),
        (_action(then) != _action(now), f"would be {now.action} now, not {then.action}: {now.reason}"),
    )
    return next((words for changed, words in changes if changed), "")


def _action(item: PlanItem) -> tuple[Action, str, tuple[str, ...]]:
    return (item.action, item.target_analyzer, item.needs)


def _moved_defaults(approved: SavedPlan, now: ReplicationPlan) -> list[str]:
    present: Mapping[str, Mapping[str, str]] = now.added_defaults
    return [
        f"other defaults would be added at {target} now"
        for target in sorted(approved.added_defaults.keys() | present.keys())
        if approved.added_defaults.get(target, {}) != dict(present.get(target, {}))
    ]
