"""What keeps a failback from beginning, and what stops one."""

from __future__ import annotations

from collections.abc import Iterable

from standby.errors import GuardRefused
from standby.recovery.errors import RecoveryError
from standby.text import some_of


class NothingThere(RecoveryError):
    """An analyzer is to be kept as a side has it that does not have it."""

    def __init__(self, analyzer: str, standby: str) -> None:
        super().__init__(f"{standby} has no {analyzer} that could be kept", f"Leave out --keep {analyzer}=standby")
        self.args = (analyzer, standby)


class NotCompared(RecoveryError):
    """An analyzer that is to be kept is on neither side."""

    def __init__(self, plan: str, analyzer: str, primary: str, standby: str) -> None:
        super().__init__(
            f"Neither {primary} nor {standby} has an analyzer {analyzer} of plan {plan}",
            f"Name it as it is called at home; standby failback {plan} --dry-run lists those that differ",
        )
        self.args = (plan, analyzer, primary, standby)


class UnsettledEdits(GuardRefused):
    """Both sides have something of their own, and nobody said which is right."""

    def __init__(self, plan: str, primary: str, standby: str, analyzers: Iterable[str]) -> None:
        names = sorted(analyzers)
        super().__init__(
            f"{primary} and {standby} each have something of their own under {some_of(names, 5)}",
            f"Say for each which goes on, as in --keep {names[0]}=home or --keep {names[0]}=standby; "
            f"the other one is kept in the vault. See standby failback {plan} --dry-run",
        )
        self.args = (plan, primary, standby, names)


class PrimaryDoesNotAnswer(GuardRefused):
    """Nothing can go back to a resource that does not answer."""

    def __init__(self, plan: str, primary: str, reason: str) -> None:
        super().__init__(
            f"{primary} does not answer as it must: {reason.removesuffix('.')}",
            f"Mend that, see standby doctor {plan}, then run again",
        )
        self.args = (plan, primary, reason)


class FailbackUnderWay(GuardRefused):
    """Another run brings the same source back."""

    def __init__(self, plan: str, primary: str, where: str) -> None:
        super().__init__(
            f"Another run is bringing plan {plan} back to {primary} (it holds {where})",
            f"Wait for its end, then see standby status {plan}",
        )
        self.args = (plan, primary, where)
