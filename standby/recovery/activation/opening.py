"""Makes the sinks of a configuration, as far as this library can."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import assert_never

from standby.config.sinks import FileSink, Sink, VariableSink, WebhookSink
from standby.recovery.activation.file import FileActivation
from standby.recovery.activation.sinks import ActivationSink, DeferredSink
from standby.recovery.activation.webhook import WebhookActivation, webhook_name


def deferred(settings: VariableSink) -> ActivationSink:
    """Stand in for a Prefect variable where there is no Prefect."""
    return DeferredSink(f"variable {settings.name}")


def open_sinks(
    sinks: Sequence[Sink], *, variable: Callable[[VariableSink], ActivationSink] = deferred
) -> Sequence[ActivationSink]:
    """Make the sinks of a configuration; no two have the same name. `variable` makes the Prefect variables."""
    return tuple(_opened(sinks, variable))


def _opened(sinks: Sequence[Sink], variable: Callable[[VariableSink], ActivationSink]) -> Iterator[ActivationSink]:
    seen: Counter[str] = Counter()
    for sink in sinks:
        match sink:
            case FileSink():
                yield FileActivation(sink.path, sink.mode)
            case WebhookSink():
                name = webhook_name(sink)
                seen[name] += 1
                # Their paths distinguish them, and are often part of their secret.
                yield WebhookActivation(sink, name if seen[name] == 1 else f"{name} ({seen[name]})")
            case VariableSink():
                yield variable(sink)
            case _:
                assert_never(sink)
