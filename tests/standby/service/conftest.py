"""A service that answers as it is told, clients of it, and time that passes by itself."""

from __future__ import annotations

import asyncio
import json
import selectors
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import httpx
import pytest

from standby.config.plan import Encryption, FreshKey
from standby.config.resource import DeploymentOverrides
from standby.service.calls import trusted_certificates
from standby.service.client import ContentUnderstandingClient
from standby.service.models import StartedOperation
from standby.service.protocols import CopyAuthorization, CopyProtocol, protocol_for
from standby.service.retries import HttpRetries
from tests.standby.conftest import MakeResource

T = TypeVar("T")

Answering: TypeAlias = Callable[[httpx.Request], httpx.Response | Awaitable[httpx.Response]]
Connect: TypeAlias = Callable[..., ContentUnderstandingClient]
Failure: TypeAlias = Callable[..., httpx.Response]
FastTime: TypeAlias = Callable[..., Any]

SEED = "2025-05-01-preview"
RELEASED = "2025-11-01"
EAST = "https://east.services.ai.azure.com/contentunderstanding/analyzers"
WEST = "https://west.services.ai.azure.com/contentunderstanding/analyzers"

AT_ONCE = HttpRetries(wait_initial=0.0, wait_jitter=0.0)
"""As many attempts as usual, with no wait between them."""


class Service:
    """Stands for the network: gives the answers it was told, in order, and keeps what it was asked."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self._answers: list[httpx.Response | Exception | Answering] = []
        self._always: Answering | None = None

    def will(self, *answers: httpx.Response | Exception | Answering) -> None:
        """Give these answers next, each once."""
        self._answers += answers

    def always(self, answering: Answering) -> None:
        """Answer so when nothing else is left to say."""
        self._always = answering

    async def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        # A copy: what is signed anew after a refusal is the same object.
        kept = httpx.Request(request.method, request.url, headers=request.headers, content=request.content)
        kept.extensions = dict(request.extensions)
        self.requests.append(kept)
        answer = self._answers.pop(0) if self._answers else self._always
        assert answer is not None, f"not expected: {request.method} {request.url}"
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return answer
        given = answer(request)
        return given if isinstance(given, httpx.Response) else await given


class _Selector(selectors.DefaultSelector):
    """Where there is nothing to wait for but time, time is taken to have passed."""

    def __init__(self, grace: float) -> None:
        super().__init__()
        self.grace = grace
        self.ahead = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(None if timeout is None else min(timeout, self.grace))
        if not events and timeout is not None:
            self.ahead += timeout
        return events


class _FastLoop(asyncio.SelectorEventLoop):
    def __init__(self, grace: float) -> None:
        self._clock = _Selector(grace)
        super().__init__(self._clock)

    def time(self) -> float:
        return time.monotonic() + self._clock.ahead


@pytest.fixture(scope="session")
def fast_time() -> FastTime:
    """Runs a coroutine on a loop whose waits take no time, though its clock says they did.

    Where sockets take part, `grace` is how many real seconds they get before a wait is skipped.
    """

    def run(coroutine: Coroutine[Any, Any, T], *, grace: float = 0.0) -> T:
        with asyncio.Runner(loop_factory=lambda: _FastLoop(grace)) as runner:
            return runner.run(coroutine)

    return run


@pytest.fixture(scope="session")
def tls() -> ssl.SSLContext:
    """One TLS context for all tests: each takes a while to make."""
    return trusted_certificates()


@pytest.fixture
def service() -> Service:
    """The service of this test."""
    return Service()


@pytest.fixture
async def connect(make_resource: MakeResource, tls: ssl.SSLContext) -> AsyncIterator[Connect]:
    """Makes clients, of a service or of the network, and closes them."""
    made: list[ContentUnderstandingClient] = []

    def make(
        service: Service | None = None,
        name: str = "west",
        retries: HttpRetries = AT_ONCE,
        trusted: ssl.SSLContext | None = None,
        **changes: Any,
    ) -> ContentUnderstandingClient:
        transport = None if service is None else httpx.MockTransport(service.handle)
        client = ContentUnderstandingClient(
            make_resource(name, **changes), tls=trusted or tls, retries=retries, transport=transport
        )
        made.append(client)
        return client

    yield make
    for client in made:
        await client.__aexit__()


@pytest.fixture(scope="session")
def failure() -> Failure:
    """Makes an answer that refuses, as the service words them."""

    def make(
        status: int,
        code: str = "InvalidRequest",
        message: str = "No.",
        *,
        inner: tuple[str, str] | None = None,
        **headers: str,
    ) -> httpx.Response:
        error: dict[str, Any] = {"code": code, "message": message}
        if inner is not None:
            error["innererror"] = {"code": inner[0], "message": inner[1]}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.Response(status, json={"error": error}, headers={"apim-request-id": "r-1", **named})

    return make


class Pair:
    """A source and a target that speak one protocol, and one analyzer on its way."""

    def __init__(self, connect: Connect, service: Service, version: str) -> None:
        self.service = service
        self.source: ContentUnderstandingClient = connect(service, "east", api_version=version)
        self.target: ContentUnderstandingClient = connect(service, "west", api_version=version)
        self.protocol: CopyProtocol = protocol_for(self.source.resource, self.target.resource)

    async def authorize(self, encryption: Encryption | None = None) -> CopyAuthorization:
        """Ask the source."""
        return await self.protocol.authorize(
            self.source,
            "invoice",
            self.target.resource,
            "invoice-copy",
            encryption=FreshKey() if encryption is None else encryption,
        )

    async def granted(self, encryption: Encryption | None = None) -> CopyAuthorization:
        """The source's leave, got without a fuss."""
        is_seed = self.source.resource.api_version == SEED
        self.service.will(self.grant() if is_seed else self.released_grant(self.target.resource.resource_id))
        return await self.authorize(encryption)

    async def copy(
        self, leave: CopyAuthorization, *, replace: bool = False, overrides: Mapping[str, str] | None = None
    ) -> StartedOperation:
        """Ask the target."""
        return await self.protocol.copy(
            self.target,
            leave,
            overrides=DeploymentOverrides.model_validate(overrides or {}),
            allow_replace=replace,
        )

    def sent(self) -> dict[str, Any]:
        """The body that was sent last."""
        body: dict[str, Any] = json.loads(self.service.requests[-1].content)
        return body

    @staticmethod
    def grant(**changes: Any) -> httpx.Response:
        """What the `2025-05-01-preview` protocol answers to a request for a grant."""
        body = {
            "source": f"{EAST}/invoice",
            "authorizationToken": "canary-token",
            "expiresAt": "2026-01-02T03:04:05.1234567+00:00",
            "target": f"{WEST}/invoice-copy",
            **changes,
        }
        return httpx.Response(200, json={key: value for key, value in body.items() if value is not None})

    @staticmethod
    def released_grant(target: str | None) -> httpx.Response:
        """What the released protocol answers to it."""
        body = {"targetRegion": "westus", "expiresAt": "2026-01-02T03:04:05.12345+00:00"}
        return httpx.Response(200, json=body if target is None else {**body, "targetAzureResourceId": target})

    @staticmethod
    def taken(status: int = 200, **more: Any) -> httpx.Response:
        """What a target answers to a copy."""
        return httpx.Response(
            status,
            json={"analyzerId": "invoice-copy", "status": "creating", **more},
            headers={"Operation-Location": f"{WEST}/invoice-copy/operations/op-1?api-version=1"},
        )


@pytest.fixture
def seed(connect: Connect, service: Service) -> Pair:
    """A pair that speaks the `2025-05-01-preview` protocol."""
    return Pair(connect, service, SEED)


@pytest.fixture
def released(connect: Connect, service: Service) -> Pair:
    """A pair that speaks the released protocol."""
    return Pair(connect, service, RELEASED)


@pytest.fixture(params=[SEED, RELEASED])
def pair(connect: Connect, service: Service, request: pytest.FixtureRequest) -> Pair:
    """A pair of either protocol, one after the other."""
    return Pair(connect, service, request.param)


@dataclass(frozen=True)
class Heard:
    """A request as it came over a socket, header names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


Speaking: TypeAlias = Callable[[Heard], Awaitable[httpx.Response]]
Listen: TypeAlias = Callable[..., Awaitable[str]]


class Loopback:
    """A server of HTTP/1.1 on this machine, for what a mock cannot show."""

    def __init__(self, speaking: Speaking) -> None:
        self._speaking = speaking
        self._writers: set[asyncio.StreamWriter] = set()
        self.most_connections = 0
        self._changed = asyncio.Condition()

    @property
    def open_connections(self) -> int:
        """Connections that neither side has closed."""
        return len(self._writers)

    async def all_closed(self) -> None:
        """Wait until there is none."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._writers)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection until its other side closes it."""
        self._writers.add(writer)
        self.most_connections = max(self.most_connections, len(self._writers))
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode("latin-1"):
                first, *lines = head.strip().split("\r\n")
                method, target, _ = first.split(" ")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                answer = await self._speaking(Heard(method, target, headers, body))
                told = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
                writer.write(f"HTTP/1.1 {answer.status_code} X\r\n{told}\r\n".encode() + answer.content)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()
            async with self._changed:
                self._changed.notify_all()

    def hang_up(self) -> None:
        """Close what is still open."""
        for writer in self._writers:
            writer.close()


@pytest.fixture
def loopback() -> type[Loopback]:
    """The server itself, for tests that count its connections."""
    return Loopback


@pytest.fixture
async def listen() -> AsyncIterator[Listen]:
    """Starts servers and gives their URL; a TLS context makes it https."""
    started: list[tuple[asyncio.Server, Loopback]] = []

    async def start(speaking: Speaking | Loopback, context: ssl.SSLContext | None = None) -> str:
        loopback = speaking if isinstance(speaking, Loopback) else Loopback(speaking)
        # From Python 3.12 on closing a server waits for its connections, and TLS for a client's goodbye.
        goodbye = None if context is None else 0.1
        server = await asyncio.start_server(loopback.serve, "127.0.0.1", 0, ssl=context, ssl_shutdown_timeout=goodbye)
        started.append((server, loopback))
        scheme = "http" if context is None else "https"
        return f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    yield start
    for server, loopback in started:
        server.close()
        loopback.hang_up()
        await server.wait_closed()


class Identity:
    """Gives tokens as Azure's App Service does; each is numbered."""

    def __init__(self) -> None:
        self.asked: list[Heard] = []
        self.lifetime = 3600.0
        self.refusal: httpx.Response | None = None

    async def speak(self, heard: Heard) -> httpx.Response:
        """Answer a request for a token."""
        self.asked.append(heard)
        if self.refusal is not None:
            return self.refusal
        resource = dict(httpx.URL(f"http://x{heard.target}").params).get("resource", "")
        return httpx.Response(
            200,
            json={
                "access_token": f"canary-token-{len(self.asked)}",
                "expires_on": str(int(time.time() + self.lifetime)),
                "resource": resource,
                "token_type": "Bearer",
            },
        )


@pytest.fixture
async def identity(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> Identity:
    """The managed identity of this machine, as azure-identity finds it."""
    identity = Identity()
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{await listen(identity.speak)}/token")
    monkeypatch.setenv("IDENTITY_HEADER", "canary-identity-header")
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
    return identity


@pytest.fixture(autouse=True)
def _no_identity_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hide what this machine is signed in with, and the proxies it may have."""
    for name in (
        *("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET", "AZURE_TOKEN_CREDENTIALS"),
        *("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "AZURE_AUTHORITY_HOST"),
        *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"),
    ):
        monkeypatch.delenv(name, raising=False)
    yield
