"""How long something takes, and how much of it is work of this process."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter, process_time


@dataclass
class Cost:
    """What one measurement found, in seconds.

    Attributes:
        wall: on the clock.
        cpu: of this process and all its threads, no other.
    """

    wall: float = 0.0
    cpu: float = 0.0


@contextmanager
def measured() -> Iterator[Cost]:
    """Measure what is done inside; the cost is there afterwards."""
    gc.collect()  # What others left behind is not ours to pay.
    cost = Cost()
    wall, cpu = perf_counter(), process_time()
    try:
        yield cost
    finally:
        cost.wall = perf_counter() - wall
        cost.cpu = process_time() - cpu
