"""When a failed call is made again, and how long that waits."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from random import SystemRandom
from typing import TypeVar

from standby.service import errors

WINDOW = 60.0  # Seconds over which the service counts operations (REFERENCE: a minute)
SLACK = 0.5  # Seconds that are added to it: its clock and ours do not run alike
SPARED = 50  # One call of so many is left to what else asks the resource: the watch, a failover of another process
MOST_HELD = 120.0  # Seconds for which 429s hold calls back, where no call is let through meanwhile


class Quota:
    """Lets calls go as they come, up to the quota in each window, and all wait where the service says so.

    A call keeps its place until a window after its end: the service counts it somewhere between its sending and
    its answer, however long it travels, so no window there sees more than were sent here.
    """

    def __init__(self, operations_per_minute: int) -> None:
        """Let that many go in a window, less what is spared for others."""
        self._turn = asyncio.Lock()
        self._places = asyncio.Semaphore(operations_per_minute - operations_per_minute // SPARED)
        self._held_until = 0.0
        self._refused_since: float | None = None

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(self, *_: object) -> None:
        self.give_back()

    async def acquire(self) -> None:
        """Wait for a place, the first to come first; it has to be given back when the call has ended."""
        async with self._turn:
            await self._places.acquire()
            try:
                while (wait := self._held_until - asyncio.get_running_loop().time()) > 0:  # noqa: ASYNC110 - it may grow
                    await asyncio.sleep(wait)
            except asyncio.CancelledError:
                self._places.release()
                raise

    def give_back(self) -> None:
        """Free the place of a call that has ended, a window from now."""
        asyncio.get_running_loop().call_later(WINDOW + SLACK, self._places.release)

    def refused(self, retry_after: float | None) -> None:
        """Hold all calls back for so many seconds: others than this process have used the quota as well."""
        now = asyncio.get_running_loop().time()
        self._refused_since = now if self._refused_since is None else self._refused_since
        # Without an end each would wait for its turn to be refused, one after the other.
        if retry_after is not None and now + retry_after <= self._refused_since + MOST_HELD:
            self._held_until = max(self._held_until, now + retry_after)

    def let_through(self) -> None:
        self._refused_since = None


T = TypeVar("T")


class Repeat(Enum):
    """Which failures a call may be repeated after."""

    ALWAYS = "always"  # Twice is the same as once: reading, merging, deleting, asking for a grant, replacing

    IF_NOT_TAKEN = "if not taken"
    """Only when the service certainly did not act: no connection, or 429. Starting a copy; creating."""


SILENCE_SECONDS = 45.0  # So long a resource may answer no call of one kind: what the failing tries of a step take


@dataclass(frozen=True)
class HttpRetries:
    """How hard the client tries before a failure reaches its caller."""

    attempts: int = 4  # HTTP attempts of one call, the first included
    total: float = 120.0  # seconds after the first attempt within which another may begin
    wait_initial: float = 0.25
    wait_max: float = 5.0
    wait_jitter: float = 0.25
    retry_after_cap: float = 60.0  # a longer Retry-After than this many seconds is cut to it
    silence: float | None = SILENCE_SECONDS  # all calls of one kind may go unanswered; `None`: each by itself


@dataclass
class Silence:
    """How long a resource has done no call of one kind, whoever made it; after `most` seconds it is given up.

    Half as long after the last call it is called again.
    """

    most: float
    _since: float | None = None
    _last: float = 0.0

    def left(self, now: float) -> float:
        """How long a call that begins now may wait."""
        if self._since is None or now - self._last > self.most / 2:
            return self.most
        return max(0.0, self._since + self.most - now)

    def sent(self, now: float) -> None:
        if self._since is None or now - self._last > self.most / 2:
            self._since = now
        self._last = now

    def ended(self, now: float, *, answered: bool) -> None:
        if answered:
            self._since = None
        self._last = now


@dataclass
class Patience:
    """How long a call may go unanswered, over all its attempts; an answer, but for 408 and 5xx, renews it once."""

    seconds: float
    silence: Silence | None = None
    _unanswered: float = 0.0
    in_all: float = 0.0
    _since: float = 0.0
    _sent: bool = False

    def left(self, now: float) -> float:
        """What the next attempt may take; little where other calls failed."""
        left = min(self.seconds - self._unanswered, 2 * self.seconds - self.in_all)
        return max(0.0, left if self.silence is None else min(left, self.silence.left(now)))

    def is_lost(self, now: float) -> bool:
        """Whether another attempt would have no time in which an answer could come."""
        return self.left(now) < WORTH_AN_ATTEMPT

    def begin(self, now: float) -> None:
        self._since, self._sent = now, False

    def sent(self, now: float) -> None:
        """Begin to count again: the time that a request waited for its turn does not count."""
        self._since, self._sent = now, True
        if self.silence is not None:
            self.silence.sent(now)

    def end(self, now: float, *, answered: bool) -> None:
        took = now - self._since
        self.in_all += took
        self._unanswered = 0.0 if answered else self._unanswered + took
        if self.silence is not None and self._sent:
            self.silence.ended(now, answered=answered)


_CHANCE = SystemRandom()
WORTH_AN_ATTEMPT = 1.0  # Seconds without which no other attempt is made


async def send_again(
    retries: HttpRetries, repeat: Repeat, send: Callable[[], Awaitable[T]], patience: Patience | None = None
) -> T:
    """Send, and send again after failures that pass, as long as there is patience."""
    # Not by stamina: what it prepares for other attempts costs half as much as the first call does.
    now, until, number = asyncio.get_running_loop().time, math.inf, 0
    while True:
        number += 1
        try:
            return await send()
        except errors.ServiceError as error:
            until = min(until, now() + retries.total)  # The first attempt may have waited long for its turn.
            asked = None if error.retry_after is None else min(error.retry_after, retries.retry_after_cap)
            is_late = number >= retries.attempts or now() + (asked or 0.0) > until
            if is_late or not _may_pass(error, repeat, patience, now(), asked or 0.0):
                raise
        usual = retries.wait_initial * 2.0 ** (number - 1) + _CHANCE.uniform(0, retries.wait_jitter)
        await asyncio.sleep(min(usual, retries.wait_max) if asked is None else asked)


def _may_pass(error: errors.ServiceError, repeat: Repeat, patience: Patience | None, now: float, wait: float) -> bool:
    is_throttled = isinstance(error, errors.Throttled)
    is_taken = repeat is not Repeat.ALWAYS and not (is_throttled or isinstance(error, errors.NotConnected))
    if is_taken or patience is None:
        return error.transient and not is_taken
    silence = None if is_throttled else patience.silence
    is_too_long = wait and silence is not None and wait > silence.left(now)
    return error.transient and not patience.is_lost(now) and not is_too_long
