"""What can go wrong with a replication that is not one failed call to the service."""

from __future__ import annotations

from datetime import datetime

from standby.errors import GuardRefused, StandbyError
from standby.text import nearest


class ReplicationError(StandbyError):
    """Base of this module's errors."""


class LedgerBusy(ReplicationError):
    """Another run is writing the same pair's ledger."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"Another run is replicating this pair (it holds {path})", "Wait for it to end, then run again"
        )


class NothingSelected(ReplicationError):
    """A pattern given by the operator matches no analyzer or target."""

    def __init__(self, kind: str, pattern: str, known: list[str]) -> None:
        super().__init__(f"No {kind} of the plan matches {pattern}: {nearest(pattern, known)}")
        self.args = (kind, pattern, known)


class ModelsNotServed(ReplicationError):
    """The target cannot serve a model that the analyzer names."""


class TargetAnalyzerFailed(ReplicationError):
    """The copy ended with an analyzer that the target itself calls failed."""

    def __init__(self, analyzer: str, target: str, status: str) -> None:
        super().__init__(
            f"{analyzer} at {target} became {status!r} instead of ready",
            "Look at its warnings at the target, then run again with --on-existing replace",
        )
        self.args = (analyzer, target, status)


class TargetAnalyzerGone(ReplicationError):
    """The copy was accepted, and the analyzer is not at the target."""

    def __init__(self, analyzer: str, target: str) -> None:
        super().__init__(
            f"{analyzer} disappeared from {target} while it was being copied",
            "Find out who deletes analyzers there, then run again",
        )
        self.args = (analyzer, target)


class CopyDiffers(ReplicationError):
    """The analyzer at the target is ready, and is not the one that was to be copied."""

    def __init__(self, analyzer: str, target: str) -> None:
        super().__init__(
            f"{analyzer} at {target} is not the planned copy: it was edited during the run, or somebody else made it",
            "Run again to plan from what is there now",
        )
        self.args = (analyzer, target)


class TargetMoved(ReplicationError):
    """What is to be replaced is not what was found when the plan was made."""

    def __init__(self, analyzer: str, target: str) -> None:
        super().__init__(
            f"{analyzer} at {target} was changed after the plan was made, so it is not replaced",
            "Run again to plan from what is there now",
        )
        self.args = (analyzer, target)


class TargetAnalyzerNotReady(ReplicationError):
    """The copy's operation is over, and the analyzer is still being made."""

    def __init__(self, analyzer: str, target: str) -> None:
        super().__init__(
            f"{analyzer} at {target} is still being created although its copy is over",
            "Run again in a few minutes",
        )
        self.args = (analyzer, target)


class CopyNotStarted(ReplicationError):
    """The answer to a copy was lost, and the target shows no sign of the copy."""

    def __init__(self, analyzer: str, target: str) -> None:
        super().__init__(
            f"The answer to the copy of {analyzer} was lost on the way, and {target} does not have it",
            "Run again: nothing was started",
        )
        self.args = (analyzer, target)


class PlanUnreadable(ReplicationError):
    """A plan file cannot be used."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path} {problem}", "Make one with standby plan --out")
        self.args = (path, problem)


class PlanMoved(ReplicationError, GuardRefused):
    """A saved plan no longer follows from what the resources hold; nothing was done.

    Attributes:
        moved: what changed since the plan was made, a line each.
    """

    def __init__(self, made_at: datetime, moved: list[str]) -> None:
        changes = "\n".join(f"  {change}" for change in moved)
        super().__init__(
            f"The resources changed after the plan was made at {made_at:%Y-%m-%d %H:%M:%S} UTC:\n{changes}",
            "Make a new plan, look at it, and apply that",
        )
        self.args = (made_at, moved)
        self.moved = tuple(moved)
