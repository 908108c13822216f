"""When a failed call is made again, and how long that waits."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import TypeVar

import stamina
from aiolimiter import AsyncLimiter

from standby.config.durations import roughly
from standby.service.errors import NotConnected, ServiceError, Throttled

WINDOW = 60.0  # Seconds over which the service counts operations (REFERENCE: a minute)
TRAVEL = 1.0  # Seconds by which calls may bunch up on their way: the service may see more in a window than was sent


def quota(operations_per_minute: int) -> AsyncLimiter:
    """Make the bucket that every HTTP attempt waits for."""
    # A bucket that holds `b` and fills at `r` a second lets `b + 60 r` through in the worst minute. A small `b` keeps
    # nearly the whole quota usable without ever exceeding it.
    burst = max(1, operations_per_minute // 60)
    refilled = max(operations_per_minute - burst, 1)
    return AsyncLimiter(max_rate=burst, time_period=burst * (WINDOW + TRAVEL) / refilled)


T = TypeVar("T")


class Repeat(Enum):
    """Which failures a call may be repeated after."""

    ALWAYS = "always"  # Twice is the same as once: reading, merging, deleting, asking for a grant, replacing

    IF_NOT_TAKEN = "if not taken"
    """Only when the service certainly did not act: no connection, or 429. Starting a copy; creating."""


SILENCE_SECONDS = 45.0
"""What the tries of a step take where each fails: so long a resource may answer no call of one kind."""


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
        """Begin to count anew: what a request waited for its turn does not count."""
        self._since, self._sent = now, True
        if self.silence is not None:
            self.silence.sent(now)

    def end(self, now: float, *, answered: bool) -> None:
        """Count what an attempt took."""
        took = now - self._since
        self.in_all += took
        self._unanswered = 0.0 if answered else self._unanswered + took
        if self.silence is not None and self._sent:
            self.silence.ended(now, answered=answered)


WORTH_AN_ATTEMPT = 1.0  # Seconds without which no other attempt is made


async def send_again(
    retries: HttpRetries, repeat: Repeat, send: Callable[[], Awaitable[T]], patience: Patience | None = None
) -> T:
    """Send, and send again after failures that pass, as long as there is patience."""
    loop = asyncio.get_running_loop()
    started = loop.time()

    def hook(error: Exception) -> bool | float:
        if not isinstance(error, ServiceError) or not error.transient:
            return False
        if patience is not None and patience.is_lost(loop.time()):
            return False
        if repeat is not Repeat.ALWAYS and not isinstance(error, NotConnected | Throttled):
            return False
        wait = None if error.retry_after is None else min(error.retry_after, retries.retry_after_cap)
        if loop.time() - started + (wait or 0.0) > retries.total:
            return False
        silence = patience.silence if patience is not None else None
        if wait and silence is not None and not isinstance(error, Throttled) and wait > silence.left(loop.time()):
            return False
        return True if wait is None else wait

    async for attempt in stamina.retry_context(
        on=hook,
        attempts=retries.attempts,
        timeout=None,
        wait_initial=retries.wait_initial,
        wait_max=retries.wait_max,
        wait_jitter=retries.wait_jitter,
    ):
        with attempt:
            return await send()
    raise AssertionError("stamina ends with a result or an error")


def parse_retry_after(value: str | None, *, date: str | None, now: datetime) -> float | None:
    """Read a Retry-After header: seconds, or an HTTP date by the clock of the answer (`date`); else `None`."""
    text = (value or "").strip()
    if not text or not text.isascii():
        return None
    if text.replace(".", "", 1).isdigit():
        return float(text)
    until = _http_date(text)
    return None if until is None else max(0.0, (until - (_http_date(date or "") or now)).total_seconds())


TOLERATED_SKEW = timedelta(minutes=5)  # Entra refuses tokens on clocks that differ by more


def clock_skew(date: str | None, now: datetime) -> str:
    """Say by how much this machine's clock differs from the date of an answer; empty where it is right or unknown."""
    there = _http_date(date or "")
    if there is None or abs(now - there) <= TOLERATED_SKEW:
        return ""
    return f"{roughly(abs(now - there))} {'ahead of' if now > there else 'behind'}"


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, IndexError, TypeError, OverflowError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
