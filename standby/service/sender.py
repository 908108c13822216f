"""Sends calls to one origin: signed, counted, bounded in time, tried again, and never led elsewhere."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from typing import TypeVar
from urllib.parse import urlencode
from uuid import uuid4

import httpx

from standby import __version__, telemetry
from standby.clock import Clock
from standby.errors import must_not_be_read_only
from standby.service import calls, errors
from standby.service.auth import EntraAuth, KeyAuth
from standby.service.calls import ANSWER_SECONDS, Answer, Call, M
from standby.service.failures import clock_skew, error_of_answer, error_of_transport, retry_after_of
from standby.service.redaction import code_of, hidden
from standby.service.retries import HttpRetries, Patience, Quota, Silence, send_again

log = logging.getLogger("standby.service")
TIMEOUT = {"connect": 10.0, "read": 30.0, "write": 30.0, "pool": 60.0}  # In seconds
SIGN_IN_SECONDS = 20.0  # How long Entra may take to give a token
MOST_PAGES = 2_000
MOST_LIST_BYTES = 512 * 2**20  # A hundred thousand analyzers have half of that
UPLOAD_BYTES_A_SECOND = 2**20  # By which a document adds to the time of its call
PAGE_SECONDS = 2.0  # By which each page adds to the time of a list: one that trickles in does not end either
P = TypeVar("P", bound=calls.Page)
USER_AGENT = f"standby/{__version__}"


def _path(request: httpx.Request) -> str:
    """Give the path for the log; what the service put into the query of its own links is not for it."""
    return hidden(request.url.raw_path.partition(b"?")[0].decode("ascii"))


@dataclass(eq=False, kw_only=True)
class Sender:
    """One HTTP client for one origin; nothing is opened before it is used."""

    name: str  # of what it calls, for people
    endpoint: str  # which may have a path
    auth: KeyAuth | EntraAuth
    tls: calls.Tls
    connections: int
    quota: Quota | None  # counts every attempt
    retries: HttpRetries
    clock: Clock
    transport: httpx.AsyncBaseTransport | None = None

    def __post_init__(self) -> None:
        self._base = self.endpoint.rstrip("/")
        self._origin = calls.origin_of(httpx.URL(self.endpoint))
        # Waited for here and not in httpx's pool, where the time limit of an attempt would run.
        self._places = asyncio.Semaphore(self.connections)
        self._silences: dict[str, Silence] = {}
        self._route = calls.Route() if self.transport is not None else calls.route_to(self.endpoint, self.tls)
        self._clock_seen = self._closed = False
        # Importing aiohttp takes a sixth of a second, which what calls nothing is spared.
        from standby.service.transport import Transport  # noqa: PLC0415

        self._transport = self.transport or Transport(self.tls, self._route.proxy)

    async def aclose(self) -> None:
        self._closed = True
        await self._transport.aclose()
        if isinstance(self.auth, EntraAuth):
            await self.auth.aclose()

    async def sign_in(self) -> None:
        """Have a token ready, where one is needed; nothing is asked of the origin."""
        if not isinstance(self.auth, EntraAuth):
            return
        silence, now = self._silences.setdefault("a token", Silence(SIGN_IN_SECONDS)), asyncio.get_running_loop().time
        try:
            async with asyncio.timeout(silence.left(now())):
                silence.sent(now())
                await self.auth.token()
        except TimeoutError:
            raise errors.TokenUnavailable(f"Entra gave no token within {SIGN_IN_SECONDS:.0f} s") from None
        silence.ended(now(), answered=True)

    async def send(self, call: Call) -> Answer:
        """Send a call, again where its `repeat` and the failure allow it; `ForeignOrigin` where nothing was sent."""
        patience = self._patience(call)
        return await send_again(self.retries, call.repeat, lambda: self._attempt(call, patience), patience)

    async def read(self, call: Call, model: type[M], patience: Patience | None = None) -> tuple[Answer, M]:
        """Send a call that may be repeated, and read its answer: one that cannot be read is asked for again."""
        patient = patience or self._patience(call)

        async def attempt() -> tuple[Answer, M]:
            answer = await self._attempt(call, patient)
            return answer, answer.read(model)

        return await send_again(self.retries, call.repeat, attempt, patient)

    async def pages(self, call: Call, model: type[P], most: int = MOST_PAGES) -> AsyncIterator[tuple[Answer, P]]:
        """Read a list; `ProtocolError` or `Unreachable` where it does not end, `ForeignOrigin` where it leads away."""
        links: set[str] = set()
        spent, size = 0.0, 0
        while True:
            patience = self._patience(call)
            answer, page = await self.read(call, model, patience)
            yield answer, page
            if page.next_link is None or page.next_link == "":
                return
            if not isinstance(page.next_link, str):
                cause = f"An answer of {self.name} lacks a nextLink that is text"
                raise answer.protocol_error(cause, errors.AnswerUnreadable)
            link = self.absolute(page.next_link)
            spent, size = spent + patience.in_all, size + len(answer.content)
            if link in links:
                raise answer.protocol_error(f"The pages of {call.kind} of {self.name} repeat")
            links.add(link)
            if len(links) >= most or size > MOST_LIST_BYTES:
                cause = f"There is no end to {call.kind} of {self.name} after {len(links)} pages"
                raise answer.protocol_error(cause)
            if spent > ANSWER_SECONDS + PAGE_SECONDS * len(links):
                cause = f"{self.name} gave only {len(links)} pages of {call.kind} in {spent:.0f} s"
                raise errors.Unreachable(cause, resource=self.name)
            call = replace(call, url=link, params={})

    def _patience(self, call: Call) -> Patience:
        upload = len(call.content or b"") / UPLOAD_BYTES_A_SECOND
        # What takes long to send says nothing about a resource that others find silent.
        if self.retries.silence is None or upload > ANSWER_SECONDS:
            return Patience(ANSWER_SECONDS + upload)
        most = ANSWER_SECONDS if call.first else self.retries.silence
        return Patience(ANSWER_SECONDS + upload, self._silences.setdefault(call.kind, Silence(most)))

    def absolute(self, url: str, analyzer: str | None = None) -> str:
        """Give in full a URL that the service named; `ForeignOrigin`, with both, where it leads to another origin."""
        return str(self._place(url, analyzer))

    def _place(self, url: str, analyzer: str | None) -> httpx.URL:
        place: httpx.URL | None
        try:
            place = httpx.URL(url)
            if not place.is_absolute_url:
                place = httpx.URL(f"{self._base}/").join(url)
        except (httpx.InvalidURL, ValueError):
            place = None
        # Nobody has a reason to send us a user and a password, and they would end up in logs.
        if place is None or place.userinfo:
            cause = f"{self.name} names a URL that cannot be followed"
            raise errors.ForeignOrigin(cause, resource=self.name, analyzer=analyzer)
        if (origin := calls.origin_of(place)) != self._origin:
            cause = f"{self.name} is at {calls.spelled(self._origin)} but points to {hidden(calls.spelled(origin))}"
            raise errors.ForeignOrigin(cause, resource=self.name, analyzer=analyzer)
        return place

    async def _attempt(self, call: Call, patience: Patience) -> Answer:
        if call.method != "GET":
            must_not_be_read_only(f"{call.method} to {self.name}")
        loop, answered = asyncio.get_running_loop(), False
        async with self._places:
            patience.begin(loop.time())
            try:
                response = await self._measured(call, patience)
                answered = response.status_code < 500 and response.status_code != 408
            except errors.AnswerUnreadable:
                answered = True
                raise
            finally:
                patience.end(loop.time(), answered=answered)
        # Say once if the clock of this machine is wrong, by the date of an answer.
        skew = "" if self._clock_seen else clock_skew(response.headers.get("date"), self.clock.now())
        self._clock_seen = True
        if skew:
            log.warning("The clock of this machine is %s that of %s: set it by NTP", skew, self.name)
        if response.is_redirect:
            self.absolute(response.headers.get("location", ""), call.analyzer)
        if not response.is_success:
            raise error_of_answer(response, call.analyzer, self.name, self.clock.now())
        wait = retry_after_of(response, self.clock.now())
        told = (response.status_code, response.headers, response.content)
        return Answer(*told, self.name, calls.spelled(self._origin), call.analyzer, wait)

    async def _measured(self, call: Call, patience: Patience) -> httpx.Response:
        """Exchange as a span that says nothing of what was sent or answered, and count it."""
        if not telemetry.is_on():
            return await self._exchange(call, patience)
        started, address, status, failure = self.clock.monotonic(), self._origin[1], 0, ""
        about: dict[str, str | int] = {
            telemetry.METHOD: call.method,
            telemetry.ADDRESS: address,
            "server.port": self._origin[2],
        }
        about |= {telemetry.RESOURCE: self.name, "standby.analyzer": call.analyzer or "", telemetry.KIND: call.kind}
        with telemetry.span(call.method, about, "CLIENT") as note:
            try:
                response = await self._exchange(call, patience)
                status = response.status_code
                failure = str(status) if response.is_error else ""
                note(telemetry.STATUS, status)
                note("azure.service.request.id", code_of(response.headers.get("apim-request-id")) or "")
            except BaseException as error:
                failure = type(error).__name__
                raise
            finally:
                seconds, about_it = self.clock.monotonic() - started, (call.method, address, status or "", failure)
                telemetry.record(telemetry.CALL_DURATION, seconds, self.name, *about_it)
                if status == 429:
                    telemetry.record(telemetry.THROTTLES, 1, self.name)
        return response

    async def _exchange(self, call: Call, patience: Patience) -> httpx.Response:
        ours = str(uuid4())
        request = self._request(call, ours)
        started = self.clock.monotonic()
        failure: errors.ServiceError
        if patience.silence is not None and patience.is_lost(asyncio.get_running_loop().time()):
            cause = f"For {patience.silence.most:.0f} s each call to {self.name} for {call.kind} has failed"
            raise errors.StillSilent(f"{cause}, so it was not called again", resource=self.name, analyzer=call.analyzer)
        if self._route.problem:
            cause = f"{self.name} ({self.endpoint}) cannot be called: {self._route.problem}"
            raise errors.NotFromHere(cause, resource=self.name, analyzer=call.analyzer)
        try:
            await self.sign_in()
            response = await self._signed(request, patience)
        except errors.ServiceError as error:
            # No token could be had; what signs knows nothing of resources.
            cause = f"{self.name}: {error.cause}"
            failure = type(error)(cause, error.next_action, resource=self.name, analyzer=call.analyzer)
        except httpx.HTTPError as error:
            log.debug("%s %s %s: %s (%s)", self.name, call.method, _path(request), type(error).__name__, ours)
            way = (self.endpoint, self.clock.now(), self._route.words)
            failure = error_of_transport(error, call.analyzer, self.name, *way)
        except TimeoutError:
            cause = f"No complete answer from {self.name} within {patience.seconds:.0f} s"
            failure = errors.Unreachable(cause, resource=self.name, analyzer=call.analyzer)
        else:
            if log.isEnabledFor(logging.DEBUG):
                log.debug(
                    "%s %s %s: %d in %.0f ms (%s, %s)",
                    *(self.name, call.method, _path(request), response.status_code),
                    (self.clock.monotonic() - started) * 1000,
                    *(ours, code_of(response.headers.get("apim-request-id")) or "-"),
                )
            return response
        # Raised here and not above: httpx's error holds the request, and with it the key, even as a context.
        raise failure

    def _request(self, call: Call, ours: str) -> httpx.Request:
        headers = {
            "Accept": "*/*",
            "Accept-Encoding": calls.CODINGS,
            "User-Agent": USER_AGENT,
            "x-ms-client-request-id": ours,
        }
        telemetry.pass_on(headers)
        content = call.content
        if content is not None:
            headers["Content-Type"] = call.media_type
        elif call.body is not None:
            content = json.dumps(call.body).encode()
            # The service takes merge patches only under their own type (recordings).
            headers["Content-Type"] = "application/merge-patch+json" if call.merge_patch else "application/json"
        # A path is below the endpoint, which may have one itself. Whatever it is, this very URL is sent.
        url = self._base + call.url if call.url.startswith("/") else call.url
        url = f"{url}?{urlencode(call.params)}" if call.params else url
        place, limits = self._place(url, call.analyzer), {"timeout": TIMEOUT}
        return httpx.Request(call.method, place, content=content, headers=headers, extensions=limits)

    async def _signed(self, request: httpx.Request, patience: Patience) -> httpx.Response:
        """Send a request as it is signed, and once more if it is signed again."""
        signing = self.auth.async_auth_flow(request)
        try:
            response = await self._in_turn(await anext(signing), patience)
            with suppress(StopAsyncIteration):
                response = await self._in_turn(await signing.asend(response), patience)
        finally:
            await signing.aclose()
        return response

    async def _in_turn(self, request: httpx.Request, patience: Patience) -> httpx.Response:
        """Wait for a request's turn, when it is signed and about to leave, then send it.

        If they were counted earlier, those that waited for a token would be sent together. The attempt's time
        limit does not run while it waits.
        """
        async with self.quota or nullcontext():
            if self._closed:
                raise RuntimeError(f"the client of {self.name} is closed")
            now = asyncio.get_running_loop().time()
            patience.sent(now)
            async with asyncio.timeout_at(now + patience.left(now)):
                response = await self._transport.handle_async_request(request)
                response.request = request
                await calls.take_in(response)
        if self.quota and response.status_code == 429:
            asked = retry_after_of(response, self.clock.now())
            self.quota.refused(None if asked is None else min(asked, self.retries.retry_after_cap))
        elif self.quota:
            self.quota.let_through()
        return response
