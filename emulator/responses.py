"""Answers on their way out: the headers that every answer has, and the ends of a connection without one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from email.utils import formatdate

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from emulator.answers import Answer, Header

ALWAYS: tuple[Header, ...] = (
    ("Strict-Transport-Security", "max-age=31536000; includeSubDomains; preload"),
    ("X-Content-Type-Options", "nosniff"),
    ("x-envoy-upstream-service-time", "1"),
)
"""On every answer of the data plane (recordings)."""


class SpelledResponse(Response):
    """A response whose header names keep their case, which Starlette's own lower."""

    def __init__(self, status: int, body: bytes, headers: Iterable[Header]) -> None:
        super().__init__(body, status)
        self.raw_headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


class Silence(Response):
    """No answer: waits until the caller has gone."""

    async def __call__(self, _scope: Scope, receive: Receive, _send: Send) -> None:
        """Wait."""
        await until_gone(receive)


class Hangup(Response):
    """No answer: closes the connection."""

    async def __call__(self, scope: Scope, receive: Receive, _send: Send) -> None:
        """Close, and see it closed."""
        transport = scope["state"]["transport"]
        transport.abort()
        await until_gone(receive)


def data_plane_response(answer: Answer, headers: Iterable[Header]) -> Response:
    """Make the response of a data-plane call, spelled and framed like the recorded ones.

    Args:
        answer: what to say.
        headers: those that depend on the resource and the call.
    """
    failed = answer.status >= 400
    framing: tuple[Header, ...] = ()
    if answer.status == 204 or failed:
        # Other bodies are sent in chunks (recordings).
        framing = (("Content-Length", str(len(answer.body))),)
    if answer.body:
        framing += (("Content-Type", "application/json" + ("; charset=utf-8" if failed else "")),)
    return SpelledResponse(
        answer.status,
        answer.body,
        (*headers, ("Date", formatdate(usegmt=True)), *ALWAYS, *framing, *answer.headers),
    )


async def pause(seconds: float, receive: Receive) -> None:
    """Wait, but no longer than the caller does; call it only after the body was read."""
    if seconds <= 0:
        return
    try:
        async with asyncio.timeout(seconds):
            await until_gone(receive)
    except TimeoutError:
        return


async def until_gone(receive: Receive) -> None:
    """Wait until the caller has closed the connection, or we have."""
    while (await receive())["type"] != "http.disconnect":
        continue
