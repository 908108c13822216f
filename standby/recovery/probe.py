"""The probe: one functional look at a resource's data plane, from wherever it runs."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx
from pydantic import AwareDatetime, Field

from standby.clock import Clock
from standby.concurrency import side_by_side
from standby.config.resource import Resource
from standby.document import Document
from standby.service.calls import Tls, trusted_certificates
from standby.service.client import ContentUnderstandingClient
from standby.service.errors import (
    DefaultsNotSet,
    ServiceError,
    ServiceUnavailable,
    Throttled,
    TokenUnavailable,
    Unreachable,
)
from standby.service.retrying import HttpRetries


@dataclass(frozen=True)
class Meaning:
    """What one answer, or the lack of one, says.

    Attributes:
        ok: whether the service did its work; `None` where that cannot be told.
        detail: as a sentence without its full stop.
        code: the service's innermost error code, or else the kind of failure.
    """

    ok: bool | None
    detail: str
    code: str


def meaning_of(error: ServiceError) -> Meaning:
    """Say what a failed call says about the service.

    No answer and 5xx are an outage. To be refused is none: the service answers, and may have good reasons. A
    missing token, an untrusted certificate or an answer of something else in between say nothing about it.
    """
    code = error.inner_code or error.code or type(error).__name__
    match error:
        case DefaultsNotSet():
            return Meaning(True, "answers; no defaults are set", code)
        case Throttled():
            return Meaning(True, "answers; it is asked too often (HTTP 429)", code)
        case TokenUnavailable():
            return Meaning(None, error.cause, code)
        case Unreachable():
            return Meaning(False, error.cause, code)
        case ServiceUnavailable():
            return Meaning(False, f"HTTP {error.status} ({code})", code)
        case _:
            return Meaning(None, error.cause, code)


class Check(Document):
    """One question that was put to the data plane.

    Attributes:
        name: defaults, listing or analysis.
        ok: whether the service did its work; `None` where that cannot be told, because it refuses us or
            because something on the way to it is wrong.
        detail: what was found, as a sentence without its full stop.
        seconds: what it took, all tries together.
        tries: how often it was asked.
        code: the service's innermost error code, or else the kind of failure; empty where all is well.
    """

    name: str
    ok: bool | None
    detail: str
    seconds: float = Field(ge=0)
    tries: int = Field(1, ge=0)
    code: str = ""


class Observation(Document):
    """One look at a resource, by one observer.

    Attributes:
        resource: name of the resource.
        observer: who looked; the same one has the same name every time.
        at: when it began, UTC.
        healthy: `None` where it cannot be told: nothing follows from it either way.
        seconds: how long it took.
        summary: the evidence in one line.
    """

    resource: str
    observer: str
    at: AwareDatetime
    healthy: bool | None
    checks: tuple[Check, ...]
    seconds: float = Field(0.0, ge=0)
    summary: str = ""

    @property
    def ended(self) -> datetime:
        """When it was known."""
        return self.at + timedelta(seconds=self.seconds)


class WatchReport(Document):
    """One look at every resource of a plan."""

    plan: str
    observations: Mapping[str, Observation]

    @property
    def complete(self) -> bool:
        """Whether every resource is healthy."""
        return all(observation.healthy for observation in self.observations.values())


def observed(resource: str, observer: str, at: datetime, seconds: float, checks: Sequence[Check]) -> Observation:
    """Make one observation of several checks.

    One that fails is enough: applications need all of what is asked. Where none fails and one cannot be told,
    nothing is said.

    Args:
        resource: name of the resource.
        observer: who looked.
        at: when it began, UTC.
        seconds: how long it took.
        checks: at least one.
    """
    answers = [check.ok for check in checks]
    healthy = False if False in answers else None if None in answers else True
    telling = [check for check in checks if check.ok is healthy] if not healthy else list(checks)
    return Observation(
        resource=resource,
        observer=observer,
        at=at,
        healthy=healthy,
        checks=tuple(checks),
        seconds=seconds,
        summary="; ".join(f"{check.name}: {check.detail} ({check.seconds:.1f} s)" for check in telling),
    )


Question = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Limits:
    """How patient a probe is.

    Attributes:
        seconds: for each check, all its tries together.
        tries: how often it is asked at most.
        pause: seconds between a failure and the next try.
    """

    seconds: float = 6.0
    tries: int = 2
    pause: float = 0.5


async def check(name: str, question: Question, limits: Limits, clock: Clock) -> Check:
    """Ask until the service answers, also with a refusal, or its time or the tries are over.

    Args:
        name: of the check.
        question: asks once; its errors are the service's.
        limits: how long and how often.
        clock: measures.
    """
    begun = clock.monotonic()
    asking = _Asking(question, limits)
    try:
        async with asyncio.timeout(limits.seconds):
            meaning = await asking.settle()
    except TimeoutError:
        meaning = asking.failure or Meaning(False, f"no answer within {limits.seconds:g} s", "Timeout")
    finally:
        await asking.end()
    return Check(
        name=name,
        ok=meaning.ok,
        detail=meaning.detail,
        seconds=max(0.0, clock.monotonic() - begun),
        tries=asking.tried,
        code=meaning.code,
    )


class _Asking:
    def __init__(self, question: Question, limits: Limits) -> None:
        self.tried = 0
        self.failure: Meaning | None = None
        self._question = question
        self._limits = limits
        self._pending: set[asyncio.Task[Meaning]] = set()

    async def settle(self) -> Meaning:
        """Give the first meaning that is no failure, or the last failure."""
        patience = self._limits.seconds / self._limits.tries
        while True:
            if self.tried < self._limits.tries:
                self.tried += 1
                self._pending.add(asyncio.create_task(self._ask()))
            may_ask_again = self.tried < self._limits.tries
            found = await self._next(patience if may_ask_again else None)
            if found is None:
                continue
            if found.ok is not False:
                return found
            self.failure = found
            if may_ask_again:
                await asyncio.sleep(self._limits.pause)
            elif not self._pending:
                return found

    async def _next(self, patience: float | None) -> Meaning | None:
        done, self._pending = await asyncio.wait(self._pending, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        meanings = [task.result() for task in done]
        return next((found for found in meanings if found.ok is not False), next(iter(meanings), None))

    async def _ask(self) -> Meaning:
        try:
            await self._question()
        except ServiceError as error:
            return meaning_of(error)
        return Meaning(True, "answers", "")

    async def end(self) -> None:
        """Leave no try behind."""
        for task in self._pending:
            task.cancel()
        if self._pending:
            await asyncio.wait(self._pending)


ONCE = HttpRetries(attempts=1, total=0.0)
"""A probe counts its tries itself: the retries of a copy would hide an outage for minutes."""

LIMITS = Limits()

SIGN_IN_SECONDS = 20.0
"""What a token may take."""


def observer_here(part: str) -> str:
    """Name an observer of this machine, the same in every run.

    Args:
        part: what of us looks, such as `watch`.
    """
    return f"{part}@{socket.gethostname()}"


def probe_client(
    resource: Resource, tls: Tls, clock: Clock, transport: httpx.AsyncBaseTransport | None = None
) -> ContentUnderstandingClient:
    """Make a client for probes: with a connection of its own, and a quota that no copy uses up."""
    return ContentUnderstandingClient(resource, tls=tls, retries=ONCE, clock=clock, transport=transport)


async def probe(
    client: ContentUnderstandingClient, observer: str, clock: Clock, limits: Limits = LIMITS
) -> Observation:
    """Look at a resource once: its defaults, and the first page of its analyzers.

    Signing in comes before, with a time limit of its own: a slow Entra is no outage of the resource.

    Args:
        client: made by `probe_client`.
        observer: who looks.
        clock: dates and measures.
        limits: how long each check may take, and how often it is tried.
    """
    refused = await _sign_in(client, clock)
    at, begun = clock.now(), clock.monotonic()
    checks = [refused] if refused is not None else await _checks(client, limits, clock)
    seconds = max(0.0, clock.monotonic() - begun)
    return observed(client.resource.name, observer, at, seconds, checks)


async def _sign_in(client: ContentUnderstandingClient, clock: Clock) -> Check | None:
    """Have a token ready; give a check only where none can be had."""
    begun = clock.monotonic()
    try:
        async with asyncio.timeout(SIGN_IN_SECONDS):
            await client.sign_in()
    except ServiceError as error:
        detail, code = error.cause, type(error).__name__
    except TimeoutError:
        detail, code = f"Entra gave no token within {SIGN_IN_SECONDS:g} s", "Timeout"
    else:
        return None
    seconds = max(0.0, clock.monotonic() - begun)
    return Check(name="sign-in", ok=None, detail=detail, seconds=seconds, code=code)


async def _checks(client: ContentUnderstandingClient, limits: Limits, clock: Clock) -> list[Check]:
    async with side_by_side() as group:
        tasks = [
            group.create_task(check("defaults", client.get_defaults, limits, clock)),
            group.create_task(check("listing", client.list_first_page, limits, clock)),
        ]
    return [task.result() for task in tasks]


async def probe_resources(
    resources: Iterable[Resource],
    observer: str,
    clock: Clock,
    *,
    tls: Tls | None = None,
    limits: Limits = LIMITS,
) -> dict[str, Observation]:
    """Look at several resources side by side.

    Args:
        resources: each with its own name.
        observer: who looks.
        clock: dates and measures.
        tls: which certificates are trusted; the machine's own, if left out.
        limits: of every check.

    Returns:
        Observations by the name of the resource.
    """
    trusted = tls or trusted_certificates()

    async def look(resource: Resource) -> Observation:
        async with probe_client(resource, trusted, clock) as client:
            return await probe(client, observer, clock, limits)

    async with side_by_side() as group:
        tasks = {resource.name: group.create_task(look(resource)) for resource in resources}
    return {name: task.result() for name, task in tasks.items()}
