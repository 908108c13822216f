"""Errors of a replication, beside failed calls to the service."""

from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar

from standby.errors import GuardRefused, StandbyError
from standby.text import nearest, utc


class ReplicationError(StandbyError):
    """Base of the errors of replication."""


class LedgerBusy(ReplicationError, GuardRefused):
    def __init__(self, path: str) -> None:
        super().__init__(
            f"Another run is replicating this pair (it has locked {path})", "Wait for it to end, then run again"
        )


class NothingSelected(ReplicationError):
    def __init__(self, kind: str, pattern: str, known: list[str], option: str = "") -> None:
        cause = f"No {kind} of the plan matches {pattern}: {nearest(pattern, known)}"
        super().__init__(cause, f"Correct the name, or leave out --{option or kind}")


class ModelsNotServed(ReplicationError):
    """The target cannot serve models that the analyzer names; each problem says how it is fixed."""

    def __init__(self, problems: Iterable[str]) -> None:
        super().__init__(" ".join(problems), "Then run again")


class CopyFailed(ReplicationError):
    """One copy went wrong; each leaf has its sentence, with what to do about it."""

    _cause: ClassVar[str]
    _advice: ClassVar[str]

    def __init__(self, analyzer: str, target: str, status: str = "") -> None:
        super().__init__(self._cause.format(analyzer=analyzer, target=target, status=status), self._advice)


class TargetAnalyzerFailed(CopyFailed):
    _cause = "{analyzer} at {target} became {status!r} instead of ready"
    _advice = "Run again: it is overwritten if it failed; its warnings at the target may say why"


class TargetUnreadable(CopyFailed):
    _cause = "{analyzer} at {target} cannot be read: {status}"
    _advice = "Run again to make it again; if the error stays, exclude it from the plan"


class TargetAnalyzerGone(CopyFailed):
    _cause = "{analyzer} disappeared from {target} while it was being copied"
    _advice = "Find out who deletes analyzers there, then run again"


class CopyDiffers(CopyFailed):
    _cause = (
        "{analyzer} at {target} differs from what was sent in {status}: {target} did not keep it, or somebody made or "
        "edited it meanwhile"
    )
    _advice = "Run again to plan from the present state"


class TargetMoved(CopyFailed):
    _cause = "{analyzer} at {target} was changed after the plan was made, so it is not replaced"
    _advice = "Run again to plan from the present state"


class TrainedNotKept(ReplicationError):
    """What is trained could not be copied beside itself, so nothing takes its place."""

    def __init__(self, analyzer: str, target: str, kept_as: str, reason: str) -> None:
        super().__init__(
            f"The trained {analyzer} of {target} could not be kept as {kept_as}, so it is not replaced: "
            f"{reason.removesuffix('.')}",
            "Fix that, then run again",
        )


class TargetAnalyzerNotReady(CopyFailed):
    _cause = "{analyzer} at {target} is still being created although its copy is over"
    _advice = "Run again in a few minutes"


class CopyNotStarted(CopyFailed):
    _cause = "The answer to the request to make {analyzer} at {target} was lost, and {target} does not show it"
    _advice = "Run again: a copy that shows by then is not started a second time"


class MayBeUnderWay(CopyFailed):
    _cause = "The answer to the request to make {analyzer} at {target} was lost; it may still be under way"
    _advice = "Wait some minutes, then run again: an analyzer that exists by then is not made a second time"


class PlanUnreadable(ReplicationError):
    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path} {problem}", "Make one with standby plan PLAN --out FILE")


class PlanNotTrusted(ReplicationError, GuardRefused):
    """What a saved plan says may not be what somebody was shown and approved; nothing was done."""

    def __init__(self, path: str, problem: str) -> None:
        cause = f"{path} {problem}, so nothing was done"
        super().__init__(cause, "Make a new plan with standby plan PLAN --out FILE, check it, and apply it")


class PlanMoved(ReplicationError, GuardRefused):
    """A saved plan no longer follows from what the resources hold; nothing was done, and `moved` names the changes."""

    def __init__(self, made_at: datetime, moved: list[str]) -> None:
        super().__init__(
            [f"The resources changed after the plan was made at {utc(made_at)}:", *(f"  {change}" for change in moved)],
            "Make a new plan, check it, and apply it",
        )
        self.moved = tuple(moved)
