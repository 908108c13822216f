"""What keeps a drill from beginning."""

from __future__ import annotations

from collections.abc import Sequence

from standby.errors import GuardRefused
from standby.recovery.errors import RecoveryError
from standby.text import some_of


class DrillUnderWay(GuardRefused):
    """Another drill of the plan runs, or its clean-up."""

    def __init__(self, plan: str, where: str) -> None:
        super().__init__(
            f"Another drill of plan {plan} is under way (it holds {where})",
            "Wait for its end, then run again",
        )
        self.args = (plan, where)


class ServesAlready(GuardRefused):
    """What is to be rehearsed is how things are."""

    def __init__(self, plan: str, primary: str, resource: str) -> None:
        super().__init__(
            f"{resource} serves in the place of {primary} in plan {plan}, so there is no failover to rehearse",
            f"Choose another target, or bring {primary} back first with standby failback {plan}",
        )
        self.args = (plan, primary, resource)


class ReallySwitching(GuardRefused):
    """A real switch is under way, and a rehearsal would be in its way."""

    def __init__(self, plan: str, primary: str) -> None:
        super().__init__(
            f"Plan {plan} is being switched in the place of {primary}, so nothing is rehearsed now",
            f"See standby status {plan}, and run again when that has ended",
        )
        self.args = (plan, primary)


class ScratchUnfit(GuardRefused):
    """A resource cannot be used for a rehearsal under the real ids."""

    def __init__(self, resource: str, reason: str) -> None:
        super().__init__(
            f"{resource} cannot be the scratch resource: {reason}",
            "Name a resource that is in no plan's way, or leave --scratch out: then other ids are used",
        )
        self.args = (resource, reason)


class NothingToRehearse(RecoveryError):
    """The newest snapshot has nothing that a failover would restore."""

    def __init__(self, plan: str, primary: str) -> None:
        super().__init__(
            f"The newest snapshot of plan {plan} has no analyzer of {primary}, so a drill would prove nothing",
            f"Take one with standby snapshot {plan} while {primary} answers",
        )
        self.args = (plan, primary)


class LeftBehind(RecoveryError):
    """What an earlier drill left at the same target cannot be removed, so another one would prove nothing."""

    def __init__(self, plan: str, run_id: str, resource: str, left: Sequence[str], problem: str) -> None:
        told = f": {problem}" if problem else f": {some_of(left, 5)} cannot be deleted"
        super().__init__(
            f"What drill {run_id} left at {resource} is not removed{told}",
            f"Mend that, then run standby drill {plan} --clean-up",
        )
        self.args = (plan, run_id, resource, list(left), problem)


class IntentUnreadable(RecoveryError):
    """What says which drills have not ended cannot be understood; what they left cannot be found."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(
            f"{where}, which says what unfinished drills left behind, cannot be read: {reason}",
            "Bring back an older version of it; or delete all analyzers with the tag standby-drill, then the file",
        )
        self.args = (where, reason)


class NoEvidence(RecoveryError):
    """There is no evidence of a drill where it should be."""

    def __init__(self, where: str) -> None:
        super().__init__(f"{where} is not there", "Name a run id of standby audit show, or an evidence.json")
        self.args = (where,)
