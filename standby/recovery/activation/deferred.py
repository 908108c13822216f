"""A sink that only Prefect can tell, where there is no Prefect."""

from __future__ import annotations

from dataclasses import dataclass

from standby.recovery.activation.document import Activation


@dataclass(frozen=True)
class DeferredSink:
    """Is told nothing now; the report says how it is told later."""

    name: str

    async def publish(self, activation: Activation) -> None:
        """Leave it as it is."""

    async def read(self, plan: str) -> Activation | None:  # noqa: ARG002 - it cannot say
        """Give nothing: it cannot be asked."""
        return None
