"""Makes the sinks of a configuration, as far as this library can."""

from __future__ import annotations

from collections.abc import Sequence

from standby.config.sinks import Sink
from standby.recovery.activation.sink import ActivationSink


def open_sinks(sinks: Sequence[Sink]) -> Sequence[ActivationSink]:
    """Make the sinks of a configuration."""
    raise NotImplementedError(sinks)
