"""The log of a command: ours to stderr, other people's only when something is looked for."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

OURS = "standby"
SILENT = ("azure", "stamina")
"""Loggers whose words come back as errors of ours, without what must not be shown."""


class _Handler(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self._console.print(
            f"{record.levelname.lower()}: {self.format(record)}", markup=False, soft_wrap=True
        )


@contextmanager
def logging_to(console: Console, *, verbose: bool, quiet: bool) -> Iterator[None]:
    """Send the log to a console for a while, as much of it as was asked for."""
    ours, others = logging.getLogger(OURS), logging.getLogger()
    handler = _Handler(console)
    changed = [ours, others, *(logging.getLogger(name) for name in SILENT)]
    before = [(log, log.level, log.propagate) for log in changed]
    ours.setLevel(logging.DEBUG if verbose else logging.ERROR if quiet else logging.WARNING)
    # Prefect takes the root's handlers away when it is imported, so ours has its own.
    ours.propagate = False
    others.setLevel(logging.WARNING if verbose else logging.CRITICAL)
    for name in SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    ours.addHandler(handler)
    others.addHandler(handler)
    try:
        yield
    finally:
        ours.removeHandler(handler)
        others.removeHandler(handler)
        for log, level, propagate in before:
            log.setLevel(level)
            log.propagate = propagate
