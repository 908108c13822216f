"""What every place that is told of an activation has in common."""

from __future__ import annotations

from typing import Protocol

from standby.errors import GuardRefused
from standby.recovery.activation.document import Activation
from standby.recovery.errors import RecoveryError


class SinkFailed(RecoveryError):
    """A sink could not be told."""

    def __init__(self, sink: str, reason: str, next_action: str = "Mend it and run again") -> None:
        super().__init__(f"{sink} could not be told which side is active: {reason}", next_action)
        self.args = (sink, reason, next_action)


class SinkAhead(GuardRefused):
    """A sink has already been told a higher epoch: this run decided from an old state."""

    def __init__(self, sink: str, there: int | None, ours: int) -> None:
        told = "a higher epoch" if there is None else f"epoch {there}"
        super().__init__(
            f"{sink} was told {told} already, and this run has epoch {ours}",
            "Another vault or an older copy of it was used; find out which, before anything is switched",
        )
        self.args = (sink, there, ours)


class ActivationSink(Protocol):
    """One place that applications look at, or are called from."""

    @property
    def name(self) -> str:
        """What reports call it; it holds no secret."""
        ...

    async def publish(self, activation: Activation) -> None:
        """Tell it; telling it the same again changes nothing.

        Raises:
            SinkAhead: it was told a higher epoch before.
            SinkFailed: it does not take it.
        """
        ...

    async def read(self, plan: str) -> Activation | None:
        """Give what it was told of a plan last; `None` where it was told nothing, or cannot say.

        Raises:
            SinkFailed: it could say, and does not answer.
        """
        ...
