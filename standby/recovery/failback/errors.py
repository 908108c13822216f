"""The reasons for which a failback does not begin, or stops."""

from collections.abc import Iterable

from standby.errors import GuardRefused, StandbyError
from standby.text import some_of


class NothingThere(StandbyError):
    def __init__(self, analyzer: str, standby: str) -> None:
        super().__init__(f"{standby} has no {analyzer} that could be kept", f"Leave out --keep {analyzer}=standby")


class NotCompared(StandbyError):
    def __init__(self, plan: str, analyzer: str, primary: str, standby: str) -> None:
        action = f"Use its id at {primary}; standby failback {plan} --dry-run lists the analyzers that differ"
        super().__init__(f"Neither {primary} nor {standby} has an analyzer {analyzer} of plan {plan}", action)


class UnsettledEdits(GuardRefused):
    def __init__(self, plan: str, primary: str, standby: str, analyzers: Iterable[str]) -> None:
        names = sorted(analyzers)
        super().__init__(
            f"{primary} and {standby} have different versions of {some_of(names, 5)}, "
            "and nobody has decided which to keep",
            f"Decide for each, with --keep {names[0]}=primary or --keep {names[0]}=standby; "
            "of the other version the vault keeps the definition, not a training. "
            f"See standby failback {plan} --dry-run",
        )


class TrainingWouldBeLost(GuardRefused):
    """What labelled data trained at the primary would be replaced by what a restore rebuilt at the standby."""

    def __init__(self, plan: str, primary: str, standby: str, analyzers: Iterable[str]) -> None:
        names = sorted(analyzers)
        super().__init__(
            f"{some_of(names, 5)} at {primary} {'is' if len(names) == 1 else 'are'} trained, and what {standby} has "
            f"instead was rebuilt from a definition or has no labelled data: no training can be put back",
            f"Keep the trained one with --keep {names[0]}=primary, or replace it with --keep {names[0]}=standby "
            f"--force {names[0]}, which keeps it at {primary} under another id first. "
            f"See standby failback {plan} --dry-run",
        )


class PrimaryDoesNotAnswer(GuardRefused):
    def __init__(self, plan: str, primary: str, reason: str) -> None:
        cause = f"The analyzers of {primary} cannot be read: {reason.removesuffix('.')}"
        super().__init__(cause, f"Fix that (standby doctor {plan} helps), then run again")


class FailbackUnderWay(GuardRefused):
    def __init__(self, plan: str, primary: str, where: str) -> None:
        cause = f"Another run is failing plan {plan} back to {primary} (it has locked {where})"
        super().__init__(cause, f"Wait until it has ended, then see standby status {plan}")
