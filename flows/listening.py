"""Lets whoever starts a flow in this process hear of its progress and its report, also when it is cancelled.

A flow's parameters are stored, and its result is lost with a cancellation; a context variable is neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from pydantic import BaseModel

from standby.replication.results import Progress


@dataclass
class Listener:
    """Somebody in this process who waits for a run.

    Attributes:
        on_progress: called after every change.
        report: the run's report, once there is one; of the model that its flow has.
    """

    on_progress: Callable[[Progress], None]
    report: BaseModel | None = None


_LISTENER: ContextVar[Listener | None] = ContextVar("standby_listener", default=None)


@contextmanager
def listen(on_progress: Callable[[Progress], None] = lambda _: None) -> Iterator[Listener]:
    """Hear of the run that is started inside."""
    listener = Listener(on_progress)
    token = _LISTENER.set(listener)
    try:
        yield listener
    finally:
        _LISTENER.reset(token)


def tell_progress(progress: Progress) -> None:
    """Pass progress on to whoever listens."""
    listener = _LISTENER.get()
    if listener is not None:
        listener.on_progress(progress)


def tell_report(report: BaseModel) -> None:
    """Pass a report on to whoever listens."""
    listener = _LISTENER.get()
    if listener is not None:
        listener.report = report
