"""What a sink may be told after what: epochs only grow, and within one a side is named only after nobody."""

from __future__ import annotations

from standby.recovery.activation.document import Activation
from standby.recovery.activation.sink import SinkAhead


def must_follow(sink: str, found: Activation | None, told: Activation) -> None:
    """Let only what is newer, or the same again, take the place of what a sink holds.

    Args:
        sink: its name.
        found: what it holds of the plan.
        told: what it is to hold.

    Raises:
        SinkAhead: it was told a higher epoch; or another side under the same one, from another vault.
    """
    if found is None or found.epoch < told.epoch:
        return
    if found.epoch > told.epoch or any(
        endpoint is not None
        and home in told.sources
        and endpoint.resource != getattr(told.sources[home], "resource", None)
        for home, endpoint in found.sources.items()
    ):
        raise SinkAhead(sink, found.epoch, told.epoch)
