"""Carries httpx's requests by aiohttp: a fifth of the CPU, and as many connections as are wanted at no cost each.

`httpx-aiohttp` does the same, but calls an answer that got lost a connection that was never made (0.2.0), and leaves
it to aiohttp to send a request again: what began a copy must not count as unsent.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator

import aiohttp
import httpx
from yarl import URL

from standby.service.failures import DeadProxy

IDLE_SECONDS = 5.0  # After which a connection is not used again: the other side may be about to close it
PROXY_SECONDS = 2.0  # In which a proxy takes a connection that does take any
MOST_OF_A_HEADER = 2**16  # Bytes of one line of an answer's head


class Transport(httpx.AsyncBaseTransport):
    """Connections to one origin, straight or through a proxy; how many is for the caller to bound."""

    def __init__(self, tls: ssl.SSLContext, proxy: str | None) -> None:
        self._tls = tls
        self._proxy = proxy
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request once; httpx's own errors where no answer comes.

        Its time limits for a connection and between two reads are those of httpx's extension `timeout`.
        """
        limits = request.extensions["timeout"]
        url = request.url
        host, (path, _, query) = url.raw_host.decode("ascii"), url.raw_path.decode("ascii").partition("?")
        try:
            answer = await self._open().request(
                request.method,
                # Of the parts as httpx has read them, so that both mean the same host.
                URL.build(scheme=url.scheme, host=host, port=url.port, path=path, query_string=query, encoded=True),
                headers=[(name.decode(), value.decode()) for name, value in request.headers.raw],
                data=request.content or None,
                allow_redirects=False,
                proxy=self._proxy,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=limits["connect"], sock_read=limits["read"]),
            )
        except ValueError as error:
            # Such as a key with a line end in it; whatever else goes wrong, `_once` has told.
            raise httpx.LocalProtocolError("") from error
        return httpx.Response(answer.status, headers=answer.raw_headers, stream=_Body(answer), request=request)

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=0, ssl=self._tls, keepalive_timeout=IDLE_SECONDS, resolver=aiohttp.ThreadedResolver()
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # `take_in` does, within bounds.
                max_line_size=MOST_OF_A_HEADER,
                max_field_size=MOST_OF_A_HEADER,
                middlewares=[_once],
            )
        return self._session


async def _once(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending a request again by itself: it does so after errors of its own only."""
    try:
        return await send(request)
    except (aiohttp.ClientError, OSError) as error:
        found = _as_of_httpx(error)
        if request.proxy is not None and isinstance(found, httpx.ConnectError | httpx.ConnectTimeout):
            found = DeadProxy("") if await _takes_nobody(request.proxy) else found
        raise found from error


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._answer.content.iter_any():
                yield part
        except (aiohttp.ClientError, OSError) as error:
            raise _as_of_httpx(error) from error

    async def aclose(self) -> None:
        # A connection whose answer was read to its end is no longer the answer's.
        self._answer.close()


_ERRORS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], type[httpx.TransportError]], ...] = (
    (aiohttp.ClientProxyConnectionError, DeadProxy),
    (aiohttp.ClientConnectorError, httpx.ConnectError),
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
    (TimeoutError, httpx.ReadTimeout),
    (
        (aiohttp.ServerDisconnectedError, aiohttp.ClientPayloadError, aiohttp.ClientResponseError),
        httpx.RemoteProtocolError,
    ),
)
"""Which error of httpx stands for one of aiohttp; the first that fits, else one of reading."""


def _as_of_httpx(error: Exception) -> httpx.TransportError:
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return httpx.ProxyError(str(error.status))
    return next((kind for kinds, kind in _ERRORS if isinstance(error, kinds)), httpx.ReadError)("")


async def _takes_nobody(proxy: URL) -> bool:
    """Find out whether it is the proxy to which there is no connection, or one through it."""
    try:
        async with asyncio.timeout(PROXY_SECONDS):
            _, writer = await asyncio.open_connection(proxy.host, proxy.port)
    except OSError:
        return True
    writer.close()
    return False
