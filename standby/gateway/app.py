"""The routes: each delivery is admitted, read, posted to Prefect, and answered; nothing is decided here."""

import hashlib
import hmac
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import cast
from uuid import UUID

from cachetools import TTLCache
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from standby.clock import Clock, SystemClock
from standby.config.configuration import Configuration
from standby.errors import sentence
from standby.gateway.alerts import Validation, allowed_origin, read_alert, read_delivery, read_json
from standby.gateway.errors import NoGatewayToken, NotAllowed, NotPosted, Refused, TooMany
from standby.gateway.metrics import Scrapes
from standby.gateway.notice import Event, Ignored, Notice, concerned, event_of, read_serving
from standby.service.redaction import one_line
from standby.vault.storage import Storage

SCHEME = "bearer"


def may_pass(request: Request, token: SecretStr, *, by_query: bool = True) -> bool:
    """Say whether a request has the token: as a bearer token, or as the parameter `token` of its URL.

    Tokens are compared by their digests, so that the time it takes reveals nothing, not even the length.
    """
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    given = [bearer.strip()] if scheme.lower() == SCHEME else []
    given += request.query_params.getlist("token") if by_query else []
    # Not `any`, which would stop at the first that is right.
    right = [hmac.compare_digest(_digest(each), _digest(token.get_secret_value())) for each in given[:2]]
    return True in right


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


REMEMBERED = 24 * 3600.0  # Seconds for which an event is known again; Event Grid tries no longer than that
MOST = 10_000  # Events that are remembered; beyond that the oldest are forgotten


class Pace:
    """A bucket that holds a minute's worth and fills steadily."""

    def __init__(self, per_minute: int, clock: Clock) -> None:
        self.per_minute = per_minute
        self._clock = clock
        self._left = float(per_minute)
        self._filled = clock.monotonic()

    def take(self) -> bool:
        now = self._clock.monotonic()
        self._left = min(self.per_minute, self._left + (now - self._filled) * self.per_minute / 60)
        self._filled = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


log = logging.getLogger("standby.gateway")

Post = Callable[[Sequence[Event]], Awaitable[None]]
PER_MINUTE = 600  # Deliveries that are accepted

STRANGERS_PER_MINUTE = 60
"""Requests that are answered 401, 404 or 405 with a line in the log; more get 429, and no line."""

RETRY_AFTER = "30"  # Seconds after which a sender should try again


def make_app(
    configuration: Configuration, post: Post, vault: Storage | None = None, clock: Clock | None = None
) -> Starlette:
    """Make the application; `post` posts all events or none (`NotPosted`), and `vault` has the fences of the plans."""
    gateway = _Gateway(configuration, post, vault, clock or SystemClock())
    app = Starlette(
        routes=[
            Route("/azure-monitor", gateway.azure_monitor, methods=["POST"]),
            Route("/event-grid", gateway.event_grid, methods=["POST", "OPTIONS"]),
            Route("/metrics", gateway.metrics, methods=["GET"]),
            Route("/healthz", lambda _: JSONResponse({"status": "ok"}), methods=["GET"]),
        ],
        exception_handlers={Refused: gateway.refused, HTTPException: gateway.not_served},
    )
    # A redirection would carry the token of the URL to whoever asked for it.
    app.router.redirect_slashes = False
    return app


class _Gateway:
    def __init__(self, configuration: Configuration, post: Post, vault: Storage | None, clock: Clock) -> None:
        if configuration.gateway is None:
            raise NoGatewayToken
        self.configuration, self.post, self.vault, self.clock = configuration, post, vault, clock
        self.tokens = configuration.gateway
        self.known: TTLCache[UUID, Event] = TTLCache(MOST, REMEMBERED, clock.monotonic)  # posted, or being posted
        self.pace, self.strangers = Pace(PER_MINUTE, clock), Pace(STRANGERS_PER_MINUTE, clock)
        self.scrapes = None if vault is None else Scrapes(configuration, vault, clock)

    async def metrics(self, request: Request) -> Response:
        # Of its own: whoever scrapes need not be able to report an outage.
        token = self.tokens.metrics_token
        if token is None or self.scrapes is None:
            raise HTTPException(404)
        if not may_pass(request, token, by_query=False):
            raise NotAllowed
        return Response(await self.scrapes.page(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    async def azure_monitor(self, request: Request) -> Response:
        self._admit(request)
        return await self._take((read_alert(await read_json(request)),))

    async def event_grid(self, request: Request) -> Response:
        self._admit(request)
        if request.method == "OPTIONS":  # Whether CloudEvents may be delivered here.
            origin = allowed_origin(request.headers.get("webhook-request-origin"))
            log.info("%s requested permission to deliver here, and has it", origin)
            permission = {"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": str(self.pace.per_minute)}
            return Response(headers={"Allow": "POST, OPTIONS", **permission})
        found = read_delivery(await read_json(request))
        if isinstance(found, Validation):
            log.info("Event Grid requested permission to deliver here, and has it")
            return JSONResponse({"validationResponse": found.code})
        return await self._take(found)

    def _admit(self, request: Request) -> None:
        # Senders without the token do not use up the rate of those who have it.
        if not may_pass(request, self.tokens.token):
            raise NotAllowed
        if not self.pace.take():
            raise TooMany(self.pace.per_minute)

    async def _take(self, notices: Sequence[Notice | Ignored]) -> Response:
        now = self.clock.now()
        meant: list[tuple[Notice, str]] = []
        ignored: list[str] = []
        for notice in notices:
            if isinstance(notice, Ignored):
                ignored.append(one_line(notice.reason))
                continue
            found = concerned(notice, self.configuration.resources.values(), now)
            if isinstance(found, Ignored):
                ignored.append(one_line(found.reason))
            else:
                meant += [(notice, resource.name) for resource in found]
        for reason in ignored:
            log.warning("An alert is ignored: %s", sentence(reason))
        plans = self.configuration.plans.values()
        serving = await read_serving(plans, self.vault) if meant else {}
        events = [event_of(notice, resource, plans, serving, now) for notice, resource in meant]
        fresh = {event.id: event for event in events if event.id not in self.known}
        self.known.update(fresh)
        try:
            if fresh:
                await self.post([*fresh.values()])
        except BaseException:
            # Also when the sender closed the connection: what was not posted is no duplicate when it arrives again.
            for known in fresh:
                self.known.pop(known, None)
            raise
        for event in fresh.values():
            log.info("posted %s of %s", event.event, event.resource["prefect.resource.name"])
        return JSONResponse({"posted": len(fresh), "duplicates": len(events) - len(fresh), "ignored": ignored}, 202)

    async def refused(self, request: Request, error: Exception) -> Response:
        refusal = cast(Refused, error)
        if isinstance(refusal, NotAllowed) and not self.strangers.take():
            return _answer(TooMany.status, "Too many requests without the token")
        text = one_line(str(refusal))
        level = logging.ERROR if isinstance(refusal, NotPosted) else logging.WARNING
        log.log(level, "A delivery to %s is refused (%d): %s", request.url.path, refusal.status, text)
        return _answer(refusal.status, one_line(refusal.cause))

    async def not_served(self, request: Request, error: Exception) -> Response:
        answer = cast(HTTPException, error)
        if not self.strangers.take():
            return _answer(TooMany.status, "Too many requests for paths that are not served")
        path = one_line(request.url.path)
        log.warning("A request %s %s is refused (%d)", one_line(request.method), path, answer.status_code)
        return _answer(answer.status_code, answer.detail, dict(answer.headers or {}))


def _answer(status: int, cause: str, headers: dict[str, str] | None = None) -> Response:
    more = {
        NotAllowed.status: {"WWW-Authenticate": "Bearer"},
        TooMany.status: {"Retry-After": RETRY_AFTER},
        NotPosted.status: {"Retry-After": RETRY_AFTER},
    }.get(status, {})
    return JSONResponse({"error": sentence(cause)}, status, {**more, **(headers or {})})
