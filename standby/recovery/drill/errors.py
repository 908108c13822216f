"""The reasons for which a drill does not begin."""

from collections.abc import Sequence

from standby.errors import GuardRefused, StandbyError
from standby.text import some_of


class DrillUnderWay(GuardRefused):
    def __init__(self, plan: str, where: str) -> None:
        cause = f"Another drill of plan {plan} is running (it has locked {where})"
        super().__init__(cause, "Wait until it has ended, then run again")


class ServesAlready(GuardRefused):
    def __init__(self, plan: str, primary: str, resource: str) -> None:
        cause = f"{resource} already serves for {primary} in plan {plan}, so there is no failover to drill"
        super().__init__(cause, f"Choose another target, or run standby failback {plan} first")


class ScratchUnfit(GuardRefused):
    def __init__(self, resource: str, reason: str) -> None:
        super().__init__(
            f"{resource} cannot be the scratch resource: {reason}",
            "Name a resource that no plan uses and that has none of these ids; or leave out --scratch, "
            "then the drill uses temporary ids at the target",
        )


class NothingToDrill(StandbyError):
    def __init__(self, plan: str, primary: str) -> None:
        cause = f"The newest snapshot of plan {plan} has no analyzer of {primary}, so a drill would prove nothing"
        super().__init__(cause, f"Take one with standby snapshot {plan} while {primary} answers")


class LeftBehind(StandbyError):
    """Leftovers of an earlier drill at the same target cannot be removed, so another drill would prove nothing."""

    def __init__(self, plan: str, run_id: str, resource: str, left: Sequence[str], problem: str) -> None:
        super().__init__(
            f"The leftovers of drill {run_id} at {resource} are not removed: "
            f"{problem or f'{some_of(left, 5)} cannot be deleted'}",
            clean_up_again(plan),
        )


class ManifestUnreadable(StandbyError):
    def __init__(self, where: str, reason: str) -> None:
        action = "Put back an older version of it; or delete every analyzer with the tag standby-drill, then the file"
        super().__init__(f"{where}, which lists what unfinished drills have made, cannot be read: {reason}", action)


class NoEvidence(StandbyError):
    def __init__(self, where: str) -> None:
        super().__init__(
            f"{where} does not exist", "Name a run id that standby audit show PLAN lists, or an evidence.json file"
        )


def clean_up_again(plan: str) -> str:
    """Say what to do where something of a drill is left."""
    return f"Fix that, then run standby drill {plan} --clean-up"
