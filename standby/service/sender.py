"""Sends calls to one origin: signed, counted, bounded in time, tried again, and never led elsewhere."""

from __future__ import annotations

import asyncio
import logging
from typing import Self
from uuid import uuid4

import httpx
from aiolimiter import AsyncLimiter

from standby import __version__
from standby.clock import Clock
from standby.service.auth import EntraAuth, KeyAuth
from standby.service.calls import Answer, Call
from standby.service.errors import ForeignOrigin, ServiceError, Unreachable
from standby.service.failures import error_of_answer, error_of_transport
from standby.service.origin import origin_of, spelled
from standby.service.retrying import HttpRetries, parse_retry_after, send_again
from standby.service.tls import Tls

log = logging.getLogger("standby.service")

TIMEOUT = httpx.Timeout(30.0, connect=10.0, pool=60.0)
"""Seconds for a connection, for each read and write, and for a free place in the pool."""

ATTEMPT_SECONDS = 120.0
"""What one attempt may take in all, however slowly an answer trickles in."""

USER_AGENT = f"standby/{__version__}"


class Sender:
    """One HTTP client for one origin. It is its own context manager."""

    def __init__(
        self,
        *,
        name: str,
        endpoint: str,
        auth: KeyAuth | EntraAuth,
        tls: Tls,
        connections: int,
        limiter: AsyncLimiter | None,
        retries: HttpRetries,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            name: of the resource, for errors.
            endpoint: scheme, host and port that every call must lead to, perhaps with a path.
            auth: signs the calls.
            tls: which certificates are trusted.
            connections: how many may be open at once.
            limiter: counts every attempt, where there is a quota.
            retries: how hard to try.
            clock: dates what is dated.
            transport: instead of the network, in tests.
        """
        self._name = name
        self._endpoint = endpoint
        self._origin = origin_of(httpx.URL(endpoint))
        self._auth = auth
        self._limiter = limiter
        self._retries = retries
        self._clock = clock
        self._http = httpx.AsyncClient(
            base_url=endpoint,
            auth=auth,
            timeout=TIMEOUT,
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            headers={"User-Agent": USER_AGENT},
            follow_redirects=False,
            verify=tls,
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()
        if isinstance(self._auth, EntraAuth):
            await self._auth.aclose()

    async def send(self, call: Call) -> Answer:
        """Send a call, again where its `repeat` and the failure allow it.

        Raises:
            ForeignOrigin: it leads to another origin; nothing was sent.
            ServiceError: it failed, in the way its class says.
        """
        self.refuse_foreign(call.url, call.analyzer)
        return await send_again(self._retries, call.repeat, lambda: self._attempt(call))

    def absolute(self, url: str) -> str:
        """Give a URL that the service named, which may be relative, in full."""
        return str(self._http.base_url.join(url))

    def refuse_foreign(self, url: str, analyzer: str | None = None) -> None:
        """Refuse a URL that leads to another origin than ours.

        Raises:
            ForeignOrigin: it does; both are named.
        """
        try:
            origin = origin_of(self._http.base_url.join(url))
        except httpx.InvalidURL:
            raise ForeignOrigin(
                f"{self._name} names a place that is no URL", resource=self._name, analyzer=analyzer
            ) from None
        if origin != self._origin:
            raise ForeignOrigin(
                f"{self._name} is at {spelled(self._origin)} and names a place at {spelled(origin)}",
                resource=self._name,
                analyzer=analyzer,
            )

    async def _attempt(self, call: Call) -> Answer:
        if self._limiter is not None:
            await self._limiter.acquire()
        response = await self._exchange(call)
        if response.is_redirect:
            raise self._redirected(response, call)
        if not response.is_success:
            raise error_of_answer(response, call, self._name, self._clock.now())
        return Answer(
            status=response.status_code,
            headers=response.headers,
            content=response.content,
            resource=self._name,
            analyzer=call.analyzer,
            retry_after=parse_retry_after(
                response.headers.get("retry-after"),
                date=response.headers.get("date"),
                now=self._clock.now(),
            ),
        )

    async def _exchange(self, call: Call) -> httpx.Response:
        ours = str(uuid4())
        headers = {"x-ms-client-request-id": ours}
        if call.body is not None:
            headers["Content-Type"] = call.content_type
        started = self._clock.monotonic()
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                response = await self._http.request(
                    call.method,
                    call.url,
                    params=dict(call.params) or None,
                    content=call.content,
                    headers=headers,
                )
        except ServiceError as error:
            # No token could be had; what signs knows nothing of resources.
            cause = f"{self._name}: {error.cause}"
            raise type(error)(cause, error.next_action, resource=self._name, analyzer=call.analyzer) from None
        except httpx.HTTPError as error:
            log.debug("%s %s %s: %s (%s)", self._name, call.method, call.url, type(error).__name__, ours)
            # httpx's error holds the request, and with it the key: it is not chained.
            raise error_of_transport(error, call, self._name, self._endpoint) from None
        except TimeoutError:
            raise Unreachable(
                f"No whole answer from {self._name} within {ATTEMPT_SECONDS:.0f} s",
                resource=self._name,
                analyzer=call.analyzer,
            ) from None
        log.debug(
            "%s %s %s: %d in %.0f ms (%s, %s)",
            *(self._name, call.method, call.url, response.status_code),
            (self._clock.monotonic() - started) * 1000,
            *(ours, response.headers.get("apim-request-id", "-")),
        )
        return response

    def _redirected(self, response: httpx.Response, call: Call) -> ServiceError:
        try:
            self.refuse_foreign(response.headers.get("location", ""), call.analyzer)
        except ForeignOrigin as error:
            return error
        return error_of_answer(response, call, self._name, self._clock.now())
