"""What can be wrong with what the operator wrote."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from standby.config.names import nearest
from standby.errors import StandbyError


class ConfigurationError(StandbyError):
    """The configuration cannot be used.

    Attributes:
        problems: everything that is wrong, one line each, without any value of a secret.
    """

    def __init__(self, problems: Sequence[str], next_action: str = "") -> None:
        super().__init__("\n".join(problems), next_action)
        self.args = (tuple(problems), next_action)
        self.problems = tuple(problems)


class UnknownName(ConfigurationError):
    """Somebody asked for a plan or a resource that the configuration does not have."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = tuple(sorted(known))
        super().__init__([f"There is no {kind} named {name}: {nearest(name, names)}"])
        self.args = (kind, name, names)
