"""One call to a service as a value, and what it answered."""

from __future__ import annotations

import os
import ssl
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import TypeAlias, TypeVar, cast
from urllib.request import proxy_bypass

import httpx
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from standby.config.resource import address_of, is_loopback
from standby.document import read_json
from standby.service.errors import AnswerUnreadable, ProtocolError
from standby.service.redaction import code_of, one_line
from standby.service.retries import Repeat

ANSWER_SECONDS = 15.0  # How long a resource may take to say what it holds: much longer than it needs, short for people
Origin: TypeAlias = tuple[str, str, int]
_DEFAULT_PORTS = {"http": 80, "https": 443}


def origin_of(url: httpx.URL) -> Origin:
    """Give scheme, host and port, without regard to case and to a port that is the scheme's own.

    httpx reads the URL here as it does for the request, so that both always mean the same host.
    """
    scheme = url.scheme.lower()
    return scheme, url.raw_host.decode("ascii").lower(), url.port or _DEFAULT_PORTS.get(scheme, 0)


def spelled(origin: Origin) -> str:
    """Write an origin for people, without the port that its scheme has anyway."""
    scheme, host, port = origin
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}" if port == _DEFAULT_PORTS.get(scheme) else f"{scheme}://{host}:{port}"


Tls: TypeAlias = ssl.SSLContext


def trusted_certificates() -> Tls:
    """Make the TLS context of a run; it takes some 25 ms, so all clients of a run share one.

    The environment's `SSL_CERT_FILE` and `SSL_CERT_DIR` replace the usual authorities. Where they cannot be read
    nobody is trusted, and what needs no certificate goes on.
    """
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        variable = "SSL_CERT_FILE" if os.environ.get("SSL_CERT_FILE") else "SSL_CERT_DIR"
        nobody = _TrustsNobody(ssl.PROTOCOL_TLS_CLIENT)
        number = 0 if isinstance(error, ssl.SSLError) else error.errno
        words = os.strerror(number) if number else type(error).__name__
        nobody.problem = f"the trusted certificates that {variable} names cannot be read: {words}"
        return nobody


class _TrustsNobody(ssl.SSLContext):
    problem = ""


@dataclass(frozen=True)
class Route:
    """How a host is reached from here: straight, or through a proxy that the environment names."""

    proxy: str | None = field(default=None, repr=False)
    words: str = ""  # which proxy, named by which variable, without what signs in to it
    problem: str = ""  # why nothing can be sent that way


def route_to(address: str, tls: Tls | None = None) -> Route:
    """Find out by which proxy of the environment an address is called: httpx itself stumbles over some settings.

    This machine is always reached straight: a proxy would carry what must stay here, in plain text, elsewhere.
    """
    url = httpx.URL(address)
    if url.scheme == "https" and isinstance(tls, _TrustsNobody):
        return Route(problem=tls.problem)
    if is_loopback(url.host) or _is_excepted(url):
        return Route()
    for name in (f"{url.scheme}_proxy", "all_proxy"):
        variable = name if name in os.environ else name.upper()
        if value := os.environ.get(variable):
            return _through(value, variable)
    return Route()


def _is_excepted(url: httpx.URL) -> bool:
    if proxy_bypass(f"{url.host}:{url.port or _DEFAULT_PORTS.get(url.scheme)}"):
        return True
    address, excepted = address_of(url.host), os.environ.get("no_proxy") or os.environ.get("NO_PROXY", "")
    for entry in excepted.split(",") if address is not None else ():
        with suppress(ValueError):  # Most are names.
            if address in ip_network(entry.strip().replace("[", "").replace("]", ""), strict=False):
                return True
    return False


def _through(value: str, variable: str) -> Route:
    try:
        url = httpx.URL(value if "://" in value else f"http://{value}")
    except httpx.InvalidURL:
        return Route(problem=f"{variable} is not the URL of a proxy")
    if url.scheme not in _DEFAULT_PORTS:
        return Route(problem=f"{variable} names a {url.scheme}:// proxy; only http:// and https:// can be used")
    if not url.host or not 0 < (url.port or 80) < 2**16:
        return Route(problem=f"{variable} is not the URL of a proxy")
    return Route(str(url), f"the proxy {spelled(origin_of(url))} that {variable} names")


M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Call:
    """A request that has not been sent yet."""

    method: str
    url: str  # absolute, or a path below the endpoint
    # Query parameters; none for a URL that the service gave us, which has its own.
    params: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, JsonValue] | None = field(default=None, repr=False)
    # A document that is sent instead of JSON, as `media_type`
    content: bytes | None = field(default=None, repr=False)
    media_type: str = "application/octet-stream"
    merge_patch: bool = False
    analyzer: str | None = None  # id of the analyzer it is about, for errors
    repeat: Repeat = Repeat.ALWAYS
    kind: str = "an analyzer"  # what is asked for, whichever analyzer it is about
    # Whether long work begins with it: then a resource that hangs is given up as soon as one call has failed.
    first: bool = False


MOST_BYTES = 64 * 2**20  # Bytes of one answer when decompressed; the largest page that was recorded has one million
MOST_VALUES = 2_500_000  # Values in one answer: those that are nearly empty need many times their bytes in memory
CODINGS = "gzip, deflate"  # How an answer may be compressed; what zlib decompresses can be stopped at any byte


async def take_in(response: httpx.Response) -> None:
    """Read and decompress a body within bounds; `AnswerUnreadable` where that cannot be, unless it is a refusal."""
    stream = cast(httpx.AsyncByteStream, response.stream)
    coding = response.headers.pop("content-encoding", "identity").strip().lower()
    try:
        body = await _decompressed(stream, coding)
    except AnswerUnreadable as error:
        if response.is_success:
            raise AnswerUnreadable(f"{error.cause} (from {spelled(origin_of(response.request.url))})") from None
        body = b""
    finally:
        await stream.aclose()
    response.stream = httpx.ByteStream(body)
    response.read()


async def _decompressed(stream: httpx.AsyncByteStream, coding: str) -> bytes:
    if coding not in {"identity", "gzip", "x-gzip", "deflate"}:
        raise AnswerUnreadable("its answer is compressed in a way that was not requested")
    decoder = None if coding == "identity" else zlib.decompressobj(zlib.MAX_WBITS | 32)
    body = bytearray()
    try:
        async for part in stream:
            if decoder is None:
                body += part
            elif not decoder.eof:
                body += decoder.decompress(part, MOST_BYTES + 1 - len(body))
            if len(body) > MOST_BYTES:
                raise AnswerUnreadable(f"its answer has more than {MOST_BYTES >> 20} MiB")
    except zlib.error:
        raise AnswerUnreadable("its answer cannot be decompressed") from None
    if decoder and body and not decoder.eof:
        raise AnswerUnreadable("its answer is cut off")
    if sum(map(body.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise AnswerUnreadable(f"its answer has more than {MOST_VALUES} values")
    return bytes(body)


class Page(BaseModel):
    """One page of a list; a `next_link` leads to the next."""

    model_config = ConfigDict(hide_input_in_errors=True)

    next_link: object = Field(None, alias="nextLink")  # whatever it is: the page itself can be read all the same


@dataclass(frozen=True)
class Answer:
    """An answer that says the call was done."""

    status: int
    headers: httpx.Headers = field(repr=False)
    content: bytes = field(repr=False)
    resource: str
    origin: str
    analyzer: str | None
    retry_after: float | None = None

    def read(self, model: type[M]) -> M:
        """Read the body; `AnswerUnreadable`, without a value of it, where it is not what this call answers."""
        try:
            return model.model_validate(read_json(self.content))
        except ValidationError as error:
            where = one_line("; ".join(".".join(map(str, found["loc"])) for found in error.errors()))
            cause = f"An answer of {self.resource} lacks {where or 'an object'} (from {self.origin})"
        except ValueError:
            start = self.content[:1000].strip()
            looks = "a web page" if start.startswith(b"<") else "cut off, or in a form of its own"
            found = looks if start else "nothing at all"
            cause = f"{self.resource} answered something that is not JSON ({found}, from {self.origin})"
        # Raised here and not above: those errors hold the body, even as a context.
        raise self.protocol_error(cause, AnswerUnreadable)

    def protocol_error(self, cause: str, kind: type[ProtocolError] = ProtocolError) -> ProtocolError:
        request = code_of(self.headers.get("apim-request-id"))
        return kind(cause, status=self.status, request_id=request, resource=self.resource, analyzer=self.analyzer)
