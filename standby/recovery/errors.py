"""The base of a recovery's errors."""

from __future__ import annotations

from collections.abc import Iterable

from standby.errors import StandbyError


class RecoveryError(StandbyError):
    """Base of this package's errors."""


class NotASide(RecoveryError):
    """The plan does not let a resource serve in the place of a source."""

    def __init__(self, plan: str, primary: str, resource: str, known: Iterable[str]) -> None:
        names = sorted(known)
        super().__init__(f"{resource} is no target of {primary} in plan {plan}", f"Choose one of {', '.join(names)}")
        self.args = (plan, primary, resource, names)


class NoPrimary(RecoveryError):
    """The plan has no source that a resource could serve for."""

    def __init__(self, plan: str, resource: str, known: Iterable[str]) -> None:
        names = sorted(known)
        super().__init__(f"{resource} is no target of plan {plan}", f"Choose one of {', '.join(names)}")
        self.args = (plan, resource, names)


class SeveralPrimaries(RecoveryError):
    """A resource could serve in the place of more than one source."""

    def __init__(self, plan: str, resource: str, primaries: Iterable[str]) -> None:
        names = sorted(primaries)
        super().__init__(
            f"{resource} can serve in the place of {' and of '.join(names)} in plan {plan}",
            f"Say which with --from, such as --from {names[0]}",
        )
        self.args = (plan, resource, names)
