"""Posts events to a Prefect server over its API, without importing Prefect, which would take seconds."""

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import stamina
from pydantic import SecretStr, TypeAdapter

from standby.gateway.errors import NoPrefectServer, NotPosted
from standby.gateway.notice import Event
from standby.service.calls import Tls, route_to

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
