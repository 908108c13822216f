"""Ctrl-C and SIGTERM: the first asks a command to come to its end, the second ends it."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from standby.cli.exits import Exit

SIGNALS = (signal.SIGINT, signal.SIGTERM)

STDERR = 2
SHOW_CURSOR = b"\x1b[?25h"
"""A live line hides it."""

GRACE = 1.0
"""Seconds that a second Ctrl-C leaves for closing files and stopping processes of ours."""


@contextmanager
def stopped_by_signals(task: asyncio.Task[Exit], on_first: Callable[[], None]) -> Iterator[None]:
    """Let signals cancel a task of the running loop while inside.

    Args:
        task: what is cancelled.
        on_first: called in the loop when the first signal has come.
    """
    loop = asyncio.get_running_loop()
    asked = 0

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked += 1
        if asked > 1:
            _end_soon()
        elif not task.done():
            # Not from here: what is being printed just now must not be printed into.
            loop.call_soon_threadsafe(on_first)
        loop.call_soon_threadsafe(task.cancel)

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_soon() -> None:
    if os.isatty(STDERR):
        os.write(STDERR, SHOW_CURSOR)
    # A thread, because the loop may be what hangs.
    timer = threading.Timer(GRACE, os._exit, [int(Exit.INTERRUPTED)])
    timer.daemon = True
    timer.start()
