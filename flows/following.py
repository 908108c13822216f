"""What to do about a chunk's flow run, from how it looks and how long it has looked so: pure decisions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from prefect.client.schemas.objects import TERMINAL_STATES, StateType

LOST_AFTER = 90.0
"""Seconds without a sign of life after which a flow run is lost; it gives one every five, once it is up."""

WARN_AFTER = 60.0
"""Seconds without any chunk being taken by a worker after which an operator is told."""

UNTAKEN_AFTER = 900.0
"""Seconds without anything happening after which the chunks that no worker took are given up."""

UNSEEN_AFTER = 900.0
"""Seconds without an answer from the Prefect server after which a chunk's end is unknown."""


class Step(Enum):
    """What to do next."""

    WAIT = auto()
    READ = auto()
    SEND_AGAIN = auto()
    GIVE_UP = auto()


@dataclass(frozen=True)
class Look:
    """How a flow run looked at one moment.

    Attributes:
        beat: another value each time it has given a sign of life.
    """

    state: StateType
    beat: object


def decide(look: Look, *, quiet: float, idle: float) -> Step:
    """Decide what to do about a flow run.

    Args:
        look: how it looks now.
        quiet: seconds for which it has looked just so.
        idle: seconds in which nothing happened to any flow run of the same parent.
    """
    if look.state is StateType.CRASHED:
        return Step.SEND_AGAIN
    if look.state in TERMINAL_STATES:
        return Step.READ
    if look.state is StateType.SCHEDULED:
        # It waits for a worker that is free: as long as others are at work, one will be.
        return Step.GIVE_UP if idle >= UNTAKEN_AFTER else Step.WAIT
    if quiet < LOST_AFTER:
        return Step.WAIT
    # Somebody cancelled it and its worker is gone: nobody wants it sent again.
    return Step.READ if look.state is StateType.CANCELLING else Step.SEND_AGAIN
