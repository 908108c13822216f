"""The probe: does a resource's data plane do its work, seen from here."""

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
from standby.service.retries import HttpRetries


@dataclass(frozen=True)
class Meaning:
    """What an answer, or a missing one, says about the service.

    Attributes:
        ok: whether the service did its work; `None` where that is unknown.
        code: the service's innermost error code, or else the kind of failure.
    """

    ok: bool | None
    detail: str
    code: str


def meaning_of(error: ServiceError) -> Meaning:
    """Say what a failed call says about the service.

    No answer and 5xx are an outage. A refusal is not: the service answers, and may have good reasons. A
    missing token, an untrusted certificate or the answer of a proxy say nothing about the service.
    """
    code = error.inner_code or error.code or type(error).__name__
    match error:
        case DefaultsNotSet():
            return Meaning(True, "answers; no defaults are set", code)
        case Throttled():
            return Meaning(True, "answers; too many requests (HTTP 429)", code)
        case TokenUnavailable():
            return Meaning(None, error.cause, code)
        case Unreachable():
            return Meaning(False, error.cause, code)
        case ServiceUnavailable():
            return Meaning(False, f"HTTP {error.status} ({code})", code)
        case _:
            return Meaning(None, error.cause, code)


class Check(Document):
    """One question to the data plane.

    Attributes:
        ok: whether the service did its work; `None` where that is unknown, because it refuses us or
            something on the way to it is wrong.
        seconds: of all tries together.
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
    """One probe of a resource, by one observer.

    Attributes:
        at: when the probe began, UTC.
        healthy: `None` where it is unknown: nothing follows from it.
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
        """When the result was known."""
        return self.at + timedelta(seconds=self.seconds)

    @property
    def health(self) -> str:
        """The result as a word."""
        return {True: "healthy", False: "unhealthy", None: "unknown"}[self.healthy]


class WatchReport(Document):
    """One probe of every resource of a plan."""

    plan: str
    observations: Mapping[str, Observation]

    @property
    def complete(self) -> bool:
        """Whether every resource is healthy."""
        return all(observation.healthy for observation in self.observations.values())

    @property
    def states(self) -> str:
        """The result for each resource, without evidence, which changes with every probe."""
        return ", ".join(f"{name} {found.health}" for name, found in sorted(self.observations.items()))

    @property
    def summary(self) -> str:
        """The result for each resource, and the evidence where it is not healthy."""
        found = sorted(self.observations.items())
        return ". ".join([self.states, *(f"{name}: {each.summary}" for name, each in found if not each.healthy)])


def observed(resource: str, observer: str, at: datetime, seconds: float, checks: Sequence[Check]) -> Observation:
    """Make one observation of several checks.

    One that fails is enough: applications need everything that is asked for. Where none fails and one is
    unknown, the result is unknown.
    """
    answers = [check.ok for check in checks]
    healthy = False if False in answers else None if None in answers else True
    evidence = [check for check in checks if healthy or check.ok is healthy]
    return Observation(
        resource=resource,
        observer=observer,
        at=at,
        healthy=healthy,
        checks=tuple(checks),
        seconds=seconds,
        summary="; ".join(f"{check.name}: {check.detail} ({check.seconds:.1f} s)" for check in evidence),
    )


Question = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Limits:
    """How long and how often a probe tries.

    Attributes:
        seconds: for each check, all its tries together.
        pause: seconds between a failure and the next try.
    """

    seconds: float = 6.0
    tries: int = 2
    pause: float = 0.5


async def check(name: str, question: Question, limits: Limits, clock: Clock) -> Check:
    """Ask until the service answers, even with a refusal, or the time or the tries are used up."""
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
        """Give the first meaning that is not a failure, or the last failure."""
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
        """Cancel the tries that are still under way."""
        for task in self._pending:
            task.cancel()
        if self._pending:
            await asyncio.wait(self._pending)


ONCE = HttpRetries(attempts=1, total=0.0)
"""A probe counts its tries itself: the retries of a copy would hide an outage for minutes."""

LIMITS = Limits()

SIGN_IN_SECONDS = 20.0
"""How long getting a token may take."""


def observer_here(part: str) -> str:
    """Name an observer on this machine, the same in every run, by the part of Standby that probes."""
    return f"{part}@{socket.gethostname()}"


def probe_client(
    resource: Resource, tls: Tls, clock: Clock, transport: httpx.AsyncBaseTransport | None = None
) -> ContentUnderstandingClient:
    """Make a client for probes, with its own connections and request limit, which no copy uses up."""
    return ContentUnderstandingClient(resource, tls=tls, retries=ONCE, clock=clock, transport=transport)


async def probe(
    client: ContentUnderstandingClient, observer: str, clock: Clock, limits: Limits = LIMITS
) -> Observation:
    """Probe a resource once: its defaults, and the first page of its analyzers.

    Signing in comes before, with a time limit of its own: a slow Entra is not an outage of the resource.
    """
    refused = await _sign_in(client, clock)
    at, begun = clock.now(), clock.monotonic()
    checks = [refused] if refused is not None else await _checks(client, limits, clock)
    seconds = max(0.0, clock.monotonic() - begun)
    return observed(client.resource.name, observer, at, seconds, checks)


async def _sign_in(client: ContentUnderstandingClient, clock: Clock) -> Check | None:
    """Get a token; give a check only where there is none."""
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
    resources: Iterable[Resource], observer: str, clock: Clock, *, tls: Tls | None = None, limits: Limits = LIMITS
) -> dict[str, Observation]:
    """Probe several resources at the same time; give the observations by resource."""
    trusted = tls or trusted_certificates()

    async def probe_one(resource: Resource) -> Observation:
        async with probe_client(resource, trusted, clock) as client:
            return await probe(client, observer, clock, limits)

    async with side_by_side() as group:
        tasks = {resource.name: group.create_task(probe_one(resource)) for resource in resources}
    return {name: task.result() for name, task in tasks.items()}
