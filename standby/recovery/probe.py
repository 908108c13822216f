"""The probe: does a resource's data plane do its work, seen from here."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

import httpx
from pydantic import AwareDatetime, Field, model_validator

from standby import telemetry
from standby.clock import Clock
from standby.concurrency import all_of
from standby.config.plan import FreshKey
from standby.config.resource import PREVIEW_2025, Resource
from standby.document import Document
from standby.service import errors
from standby.service.calls import Tls, trusted_certificates
from standby.service.client import ContentUnderstandingClient
from standby.service.models import PREBUILT, Analyzer
from standby.service.protocols import protocol_for
from standby.service.retries import HttpRetries


@dataclass(frozen=True)
class Meaning:
    """What an answer, or a missing one, says about the service."""

    ok: bool | None  # whether the service did its work; `None` where that is unknown
    detail: str
    code: str  # the service's innermost error code, or else the kind of failure
    slow: bool = False  # it did, and that took long


def meaning_of(error: errors.ServiceError) -> Meaning:
    # No answer and 5xx are an outage. A refusal is not: the service answers, and may have good reasons. A missing
    # token, an untrusted certificate or a proxy that fails say nothing about the service.
    code = error.inner_code or error.code or type(error).__name__
    match error:
        case errors.DefaultsNotSet():
            return Meaning(True, "answers; no defaults are set", code)
        case errors.Throttled():
            return Meaning(True, "answers; too many requests (HTTP 429)", code)
        case errors.TokenUnavailable() | errors.NotFromHere():
            return Meaning(None, error.cause, code)
        case errors.Unreachable():
            return Meaning(False, error.cause, code)
        case errors.ServiceUnavailable():
            return Meaning(False, f"HTTP {error.status} ({code})", code)
        case _:
            return Meaning(None, error.cause, code)


class Check(Document):
    """One question to the data plane."""

    name: str
    # Whether the service did its work; `None` where that is unknown, because it refuses us or something on the way to
    # it is wrong.
    ok: bool | None
    detail: str
    seconds: float = Field(ge=0)
    tries: int = Field(1, ge=0)
    code: str = ""  # the service's innermost error code, or else the kind of failure; empty where all is well
    slow: bool = False  # it did its work, and took longer for it than where all is well
    last_try: float = Field(0.0, ge=0)  # seconds from its beginning to that of its last try


EARLIER_ALERTS = frozenset({"azure-monitor", "resource-health", "service-health"})
"""The observers of alerts; earlier versions wrote down nothing else that tells an alert from a probe."""


class Observation(Document):
    """One probe of a resource, by one observer; or what an alert says of it."""

    resource: str
    observer: str
    at: AwareDatetime  # when the probe began, or the alert was received, UTC
    healthy: bool | None  # whether the data plane does its work; `None` where it is unknown: nothing follows from it
    checks: tuple[Check, ...]
    seconds: float = Field(0.0, ge=0)
    summary: str = ""
    degraded: bool = False  # it does, but slowly or not all of it. That is told, and is no outage.
    alert: bool = False  # somebody else reported it; no probe of ours

    @model_validator(mode="before")
    @classmethod
    def _know_earlier_alerts(cls, given: object) -> object:
        if isinstance(given, dict) and "alert" not in given and given.get("observer") in EARLIER_ALERTS:
            return {**given, "alert": True}
        return given

    @property
    def ended(self) -> datetime:
        return self.at + timedelta(seconds=self.seconds)

    @property
    def health(self) -> str:
        if self.healthy and self.degraded:
            return "degraded"
        return {True: "healthy", False: "unhealthy", None: "unknown"}[self.healthy]

    @property
    def is_well(self) -> bool:
        """Whether there is nothing to be told about it."""
        return self.health == "healthy"


class WatchReport(Document):
    """One probe of every resource of a plan."""

    plan: str
    observations: Mapping[str, Observation]

    @property
    def complete(self) -> bool:
        return all(observation.is_well for observation in self.observations.values())

    @property
    def states(self) -> str:
        """The result for each resource, without evidence, which changes with every probe."""
        return ", ".join(f"{name} {found.health}" for name, found in sorted(self.observations.items()))

    @property
    def summary(self) -> str:
        found = sorted(self.observations.items())
        return ". ".join([self.states, *(f"{name}: {each.summary}" for name, each in found if not each.is_well)])


GRANT = "grant"  # The check whether a copy could start here; analyzers are served without it


def observed(resource: str, observer: str, at: datetime, seconds: float, checks: Sequence[Check]) -> Observation:
    # An outage is only where nothing that was asked for works. Where some of it does, or where the answers are slow,
    # the resource is degraded. Where nothing is known to work, and one check cannot tell, the result is unknown.
    serving = [check.ok for check in checks if check.name != GRANT]
    healthy = None if None in serving or not serving else any(serving)
    wrong = [check for check in checks if check.ok is False or check.slow]
    degraded = healthy is True and bool(wrong)
    evidence = wrong if degraded else [check for check in checks if healthy or not check.ok]
    return Observation(
        resource=resource,
        observer=observer,
        at=at,
        healthy=healthy,
        checks=tuple(checks),
        seconds=seconds,
        summary="; ".join(f"{check.name}: {check.detail} ({check.seconds:.1f} s)" for check in evidence),
        degraded=degraded,
    )


Question = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Limits:
    seconds: float = 10.0  # for each check, all its tries together
    tries: int = 2
    pause: float = 0.5  # seconds between a failure and the next try
    # Seconds that an answer takes at most where all is well. Then the next try begins beside it, and an answer that
    # comes later is slow.
    patience: float = 3.0


async def check(name: str, question: Question, limits: Limits, clock: Clock) -> Check:
    """Ask until the service answers, even with a refusal, or the time or the tries are used up."""
    begun = last_try = clock.monotonic()
    tried = 0
    failure: Meaning | None = None
    pending: set[asyncio.Task[Meaning]] = set()
    patience = min(limits.patience, limits.seconds / limits.tries)

    async def settle() -> Meaning:
        """Give the first meaning that is not a failure, or the last failure."""
        nonlocal tried, last_try, failure, pending
        while True:
            if tried < limits.tries:
                tried += 1
                last_try = clock.monotonic()
                pending.add(asyncio.create_task(_ask(question, limits, clock)))
            may_ask_again = tried < limits.tries
            timeout = patience if may_ask_again else None
            done, pending = await asyncio.wait(pending, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            meanings = [task.result() for task in done]
            for found in meanings:
                if found.ok is not False:
                    return found
            if not meanings:
                continue
            failure = meanings[0]
            if may_ask_again:
                await clock.sleep(limits.pause)
            elif not pending:
                return failure

    try:
        async with asyncio.timeout(limits.seconds):
            meaning = await settle()
    except TimeoutError:
        meaning = failure or Meaning(False, f"no answer within {limits.seconds:g} s", "Timeout")
    finally:
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending)
    seconds, last = max(0.0, clock.monotonic() - begun), max(0.0, last_try - begun)
    return Check(name=name, **vars(meaning), seconds=seconds, tries=tried, last_try=last)


async def _ask(question: Question, limits: Limits, clock: Clock) -> Meaning:
    begun, found = clock.monotonic(), Meaning(True, "answers", "")
    try:
        await question()
    except errors.ServiceError as error:
        found = meaning_of(error)
    seconds = clock.monotonic() - begun
    if found.ok and seconds > limits.patience:
        return replace(found, detail=f"{found.detail}, but only after {seconds:.1f} s", slow=True)
    return found


ONCE = HttpRetries(attempts=1, total=0.0, silence=None)
"""A probe counts its tries itself, and each is sent: what failed before tells it nothing."""

LIMITS = Limits()
ALWAYS_THERE = "prebuilt-documentAnalyzer"
"""An analyzer that is asked for where there are no defaults: in `2025-05-01-preview`."""


def observer_here(part: str) -> str:
    """Name an observer on this machine, the same in every run, by the part of Standby that probes."""
    return f"{part}@{socket.gethostname()}"


def probe_client(
    resource: Resource, tls: Tls, clock: Clock, transport: httpx.AsyncBaseTransport | None = None
) -> ContentUnderstandingClient:
    """Make a client for probes, with its own connections and request limit, which no copy uses up."""
    return ContentUnderstandingClient(resource, tls=tls, retries=ONCE, clock=clock, transport=transport)


async def probe(
    client: ContentUnderstandingClient,
    observer: str,
    clock: Clock,
    limits: Limits = LIMITS,
    grant_to: Resource | None = None,  # that a copy of its first analyzer would go to; the grant is not used
) -> Observation:
    """Probe a resource once: its defaults, or an analyzer; the first page of its list; and perhaps a grant for a copy.

    Signing in comes before, with a time limit of its own: a slow Entra is not an outage of the resource.
    """
    refused = await _sign_in(client, clock)
    at, begun = clock.now(), clock.monotonic()
    checks = [refused] if refused is not None else await _checks(client, limits, clock, grant_to)
    seconds = max(0.0, clock.monotonic() - begun)
    found = observed(client.resource.name, observer, at, seconds, checks)
    telemetry.record(telemetry.PROBE_DURATION, seconds, found.resource, found.health)
    return found


async def _sign_in(client: ContentUnderstandingClient, clock: Clock) -> Check | None:
    """Get a token; give a check only where there is none."""
    begun = clock.monotonic()
    try:
        await client.sign_in()
    except errors.ServiceError as error:
        seconds = max(0.0, clock.monotonic() - begun)
        return Check(name="sign-in", ok=None, detail=error.cause, seconds=seconds, code=type(error).__name__)
    return None


async def _checks(
    client: ContentUnderstandingClient, limits: Limits, clock: Clock, grant_to: Resource | None
) -> list[Check]:
    page: list[Analyzer] = []

    async def listing() -> None:
        page[:] = await client.list_first_page()

    async def analyzer() -> None:
        # That there is none of this id is an answer as well.
        with suppress(errors.AnalyzerNotFound):
            await client.get_analyzer(ALWAYS_THERE)

    # One question alone could not tell a part that fails from an outage.
    has_defaults = client.resource.api_version != PREVIEW_2025
    first = ("defaults", client.get_defaults) if has_defaults else ("analyzer", analyzer)
    questions: list[tuple[str, Question]] = [first, ("listing", listing)]
    checks = await all_of(check(name, question, limits, clock) for name, question in questions)
    usable = (each.analyzer_id for each in page if each.status == "ready")
    own = next((name for name in usable if not name.startswith(PREBUILT)), None)
    # What fails or is slow already says enough: the look takes no longer then.
    if grant_to is None or own is None or not all(each.ok and not each.slow for each in checks):
        return checks
    return [*checks, await check(GRANT, partial(_ask_for_grant, client, own, grant_to), limits, clock)]


async def _ask_for_grant(client: ContentUnderstandingClient, analyzer: str, target: Resource) -> None:
    """Ask as a copy does; the answer is not kept, since it may hold a token."""
    protocol = protocol_for(client.resource, target)
    await protocol.authorize(client, analyzer, target, analyzer, encryption=FreshKey())


async def probe_resources(
    resources: Iterable[Resource],
    observer: str,
    clock: Clock,
    *,
    tls: Tls | None = None,
    limits: Limits = LIMITS,
    # A target by the name of a source: whether the source grants it a copy is checked as well.
    grants: Mapping[str, Resource] | None = None,
) -> dict[str, Observation]:
    """Probe several resources at the same time; give the observations by resource."""
    trusted = tls or trusted_certificates()
    targets = grants or {}

    async def probe_one(resource: Resource) -> Observation:
        async with probe_client(resource, trusted, clock) as client:
            return await probe(client, observer, clock, limits, targets.get(resource.name))

    return {found.resource: found for found in await all_of(probe_one(resource) for resource in resources)}
