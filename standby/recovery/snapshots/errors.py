"""Errors of snapshots and of restoring from them."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from standby.errors import GuardRefused, StandbyError, sentence
from standby.text import utc


class SnapshotError(StandbyError):
    """Base of this package's errors."""


class NoSnapshot(SnapshotError):
    def __init__(self, plan: str, asked: str = "") -> None:
        cause = f"The vault has no snapshot of plan {plan}{f' {asked}' if asked else ''}"
        super().__init__(cause, f"List them with standby snapshots {plan}, or take one with standby snapshot {plan}")


class NewestSnapshotLost(SnapshotError, GuardRefused):
    """The newest snapshot that was taken is gone; an older one is not restored as if it were the newest."""

    def __init__(self, plan: str, snapshot: str, left: datetime | None) -> None:
        older = f"the newest that is left is of {utc(left)}" if left else "and no other one is left"
        name = left.strftime("%Y-%m-%dT%H:%M:%SZ") if left else ""
        super().__init__(
            f"Snapshot {snapshot} of plan {plan} was taken, and is in no list any more: "
            f"older lists were put back, or somebody removed it; {older}",
            f"Find the vault that has it; to restore from the older one, name its time with --as-of {name}"
            if left
            else f"Find the vault that has it, or take a new one with standby snapshot {plan}",
        )


class SnapshotTampered(SnapshotError):
    def __init__(self, snapshot: str, problems: Sequence[str]) -> None:
        cause = f"Snapshot {snapshot} cannot be trusted: {' '.join(sentence(each) for each in problems)}"
        super().__init__(cause, "Restore from another one with --as-of, and find out who changed this one")


class NothingReachable(SnapshotError):
    def __init__(self, plan: str, missing: Mapping[str, str]) -> None:
        causes = " ".join(f"{name}: {sentence(reason)}" for name, reason in missing.items())
        cause = f"No snapshot of plan {plan} was taken, because no resource that serves it answers. {causes}"
        super().__init__(cause, f"See standby doctor {plan}; earlier snapshots are unchanged")


class NotOfThisPlan(SnapshotError):
    def __init__(self, plan: str, resource: str, taken_at: datetime) -> None:
        cause = f"The snapshot of plan {plan} of {utc(taken_at)} has nothing for {resource}"
        super().__init__(cause, "Name a source or a target of the plan")
