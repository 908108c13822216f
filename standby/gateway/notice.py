"""An alert about configured resources, the Prefect event made of it, like those of the watch, and how that is posted.

It is posted over the server's API, without importing Prefect, which would take seconds.
"""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID, uuid5

import httpx
import stamina
from pydantic import AwareDatetime, SecretStr, TypeAdapter

from standby.config.plan import RecoveryPlan
from standby.config.resource import Resource, plain_region
from standby.document import Document, JsonValue
from standby.errors import StandbyError
from standby.fencing import read_fence
from standby.gateway.errors import NoPrefectServer, NotPosted
from standby.recovery.probe import Check, Observation
from standby.service.calls import Tls, route_to
from standby.service.redaction import one_line
from standby.vault.storage import Storage


class Source(StrEnum):
    """The way by which an alert came here."""

    AZURE_MONITOR = "azure-monitor"
    SERVICE_HEALTH = "service-health"
    EVENT_GRID = "event-grid"


class Observer(StrEnum):
    """Who saw what an alert says.

    Resource Health reports by action groups and by Event Grid; that makes it no second observer.
    """

    ALERT_RULE = "azure-monitor"
    RESOURCE_HEALTH = "resource-health"
    SERVICE_HEALTH = "service-health"


@dataclass(frozen=True)
class Notice:
    """That some resources are healthy, or are not."""

    source: Source
    observer: Observer
    id: str  # of the alert or event, as its sender gave it
    state: str  # what it says, in the sender's word
    healthy: bool
    at: datetime
    summary: str  # for people; not yet fit to be shown
    resources: tuple[str, ...] = ()  # the Azure resource ids that it is about
    regions: tuple[str, ...] = ()  # regions of which it is about every resource, as Azure writes them

    @property
    def key(self) -> str:
        """The same for each delivery of it, and for nothing else: an alert may fire again under its id."""
        at = self.at.astimezone(UTC).isoformat()
        return "|".join((self.source, self.id.lower(), self.state.lower(), at))


@dataclass(frozen=True)
class Ignored:
    """A valid delivery that says nothing about the health of a resource."""

    reason: str


AVAILABLE = {"available": True, "unavailable": False}  # Degraded and unknown are neither


def resource_health(source: Source, id: str, state: str, at: datetime, resources: tuple[str, ...]) -> Notice | Ignored:
    """Make the notice of what Resource Health says, by whichever way it came."""
    healthy = AVAILABLE.get(state.lower())
    if healthy is None:
        return Ignored(f"Resource Health reports the resource as {state}, which is neither Available nor Unavailable")
    return Notice(
        source=source,
        observer=Observer.RESOURCE_HEALTH,
        id=id,
        state=state,
        healthy=healthy,
        at=at,
        summary=f"Resource Health reports it as {state}",
        resources=resources,
    )


log = logging.getLogger("standby.gateway")

FENCES_SECONDS = 2.0
"""Seconds in which all fences must have been read: an alert is passed on without them rather than late."""

Serving = Mapping[str, frozenset[str]]  # The resources that serve, by the name of the plan


async def read_serving(plans: Iterable[RecoveryPlan], vault: Storage | None) -> Serving:
    """Read which resources serve in each plan; where the fence cannot be read, the sources are assumed to."""
    # The evaluation reads the fence again: this only decides which automation receives an event.
    found = {plan.name: frozenset(pair.source for pair in plan.pairs) for plan in plans}
    if vault is None:
        return found
    try:
        async with asyncio.timeout(FENCES_SECONDS):
            for plan in plans:
                try:
                    fence = await read_fence(vault, plan)
                except StandbyError as error:
                    log.warning("The sources of %s are assumed to serve: %s", plan.name, error)
                else:
                    found[plan.name] = frozenset(assignment.active for assignment in fence.assignments.values())
    except TimeoutError:
        log.warning("The vault does not answer, so the sources of all plans are assumed to serve")
    return found


NAMESPACE = UUID("5d0c8f6e-6f0b-4d0f-9a51-7b3f4a1f5a86")
"""Of the ids of events, so that an alert has the same one after a restart too."""

OLDEST = timedelta(days=1)
"""Age from which an alert says nothing about the present, and duplicates of it are no longer known."""


class Event(Document):
    """An event as `POST /events` of Prefect 3 takes it."""

    id: UUID
    occurred: AwareDatetime
    event: str
    resource: Mapping[str, str]
    related: tuple[Mapping[str, str], ...]
    payload: Mapping[str, JsonValue]


def concerned(notice: Notice, resources: Iterable[Resource], now: datetime) -> tuple[Resource, ...] | Ignored:
    if now - notice.at > OLDEST:
        return Ignored(f"It is from {notice.at:%Y-%m-%d %H:%M} UTC, more than a day ago")
    ids = {each.rstrip("/").lower() for each in notice.resources}
    regions = set(map(plain_region, notice.regions))
    found = tuple(each for each in resources if each.resource_id.lower() in ids or each.region in regions)
    if found:
        return found
    about = ", ".join((*notice.resources, *notice.regions)) or "no resource"
    return Ignored(f"It is about {about}, and about none of the configuration")


def event_of(notice: Notice, resource: str, plans: Iterable[RecoveryPlan], serving: Serving, now: datetime) -> Event:
    summary = one_line(notice.summary)
    observation = Observation(
        resource=resource,
        observer=notice.observer.value,
        # When it was received: what it says of its own time may be wrong, and is minutes ago.
        at=now,
        healthy=notice.healthy,
        checks=(Check(name=notice.observer.value, ok=notice.healthy, detail=summary, seconds=0.0),),
        summary=summary,
        alert=True,
    )
    return Event(
        id=uuid5(NAMESPACE, f"{notice.key}|{resource}"),
        # Triggers count what comes within a time, and alerts come minutes late: this is when it arrived.
        occurred=now,
        event=f"content-understanding.resource.{observation.health}",
        resource={
            "prefect.resource.id": f"content-understanding.resource.{resource}",
            "prefect.resource.name": resource,
        },
        related=tuple(
            {
                "prefect.resource.id": f"standby.plan.{plan.name}",
                "prefect.resource.role": "served-by" if resource in serving[plan.name] else "standby-of",
            }
            for plan in plans
            if resource in plan.resources
        ),
        payload={
            **observation.model_dump(mode="json"),
            "source": notice.source.value,
            "claimed_at": notice.at.isoformat(),
            "severity": "info" if notice.healthy else "warning",
        },
    )


ATTEMPTS = 3
ATTEMPT_SECONDS = 2.5
POSTING_SECONDS = 8.0  # Seconds after which the answer asks the sender to try again; an action group waits for ten
PASSING = frozenset({408, 429, 500, 502, 503, 504})  # Answers of a server that may accept the events a moment later
_EVENTS = TypeAdapter(tuple[Event, ...])


@dataclass(frozen=True)
class PrefectApi:
    """Where the Prefect server is and how to sign in, by the settings of Prefect's own client."""

    url: str
    authorization: SecretStr | None = None


def prefect_api(environ: Mapping[str, str]) -> PrefectApi:
    """Read where the server is from PREFECT_API_URL, and PREFECT_API_AUTH_STRING or PREFECT_API_KEY."""
    url = environ.get("PREFECT_API_URL", "").strip().rstrip("/")
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        raise NoPrefectServer from None
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise NoPrefectServer
    # Prefect's client takes the first of the two that is set.
    user_and_password = environ.get("PREFECT_API_AUTH_STRING")
    if user_and_password:
        encoded = base64.b64encode(user_and_password.encode()).decode()
        return PrefectApi(url, SecretStr(f"Basic {encoded}"))
    key = environ.get("PREFECT_API_KEY")
    return PrefectApi(url, SecretStr(f"Bearer {key}") if key else None)


class _Passing(Exception):
    """The next attempt may succeed."""


@dataclass(frozen=True)
class PrefectPoster:
    """Posts to one server, with retries."""

    http: httpx.AsyncClient

    async def post(self, events: Sequence[Event]) -> None:
        """Post events, all of them or none; after `NotPosted` they may yet be on the server."""
        body = _EVENTS.dump_json(tuple(events))
        try:
            async with asyncio.timeout(POSTING_SECONDS):
                async for attempt in stamina.retry_context(
                    on=_Passing, attempts=ATTEMPTS, timeout=None, wait_initial=0.1, wait_max=1, wait_jitter=0.1
                ):
                    with attempt:
                        await self._send(body)
        except (TimeoutError, _Passing) as error:
            reason = str(error) or f"it did not answer within {POSTING_SECONDS:.0f} s"
            raise NotPosted(reason, "Check that it is up and that PREFECT_API_URL leads to it") from None

    async def _send(self, body: bytes) -> None:
        try:
            answer = await self.http.post("events", content=body)
        except httpx.RequestError as error:
            raise _Passing(type(error).__name__) from None
        if answer.status_code in PASSING:
            raise _Passing(f"HTTP {answer.status_code}")
        if answer.status_code in {401, 403}:
            raise NotPosted(f"HTTP {answer.status_code}", "Correct PREFECT_API_KEY, or PREFECT_API_AUTH_STRING")
        if not answer.is_success:
            raise NotPosted(f"HTTP {answer.status_code}", "Check that PREFECT_API_URL is the URL of a Prefect 3 API")


@asynccontextmanager
async def open_poster(
    api: PrefectApi, tls: Tls, transport: httpx.AsyncBaseTransport | None = None
) -> AsyncIterator[PrefectPoster]:
    headers = {"content-type": "application/json"}
    if api.authorization is not None:
        headers["authorization"] = api.authorization.get_secret_value()
    async with httpx.AsyncClient(
        base_url=f"{api.url}/",
        headers=headers,
        verify=tls,
        timeout=ATTEMPT_SECONDS,
        proxy=None if transport else route_to(api.url).proxy,
        trust_env=False,
        transport=transport,
    ) as http:
        yield PrefectPoster(http)
