"""A gateway in this process, before a Prefect server that remembers what it was told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from standby.config.configuration import Configuration
from standby.gateway.app import make_app
from standby.gateway.notice import PrefectApi, open_poster
from standby.service.calls import trusted_certificates
from standby.vault.folder import LocalFolder
from tests.standby.gateway.samples import resource_id

TOKEN = "canary-token-0123456789"

NOW = datetime(2026, 3, 22, 14, 1, tzinfo=UTC)

TLS = trusted_certificates()


class StillClock:
    """Time that passes only when it is told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@dataclass
class Prefect:
    """A Prefect server; what it answers next may be told, and it takes everything afterwards.

    Attributes:
        answers: statuses, or errors of the connection.
        posted: the events of every request that was taken, in their order.
        requests: all of them.
    """

    answers: list[int | Exception] = field(default_factory=list)
    posted: list[dict[str, Any]] = field(default_factory=list)
    requests: list[httpx.Request] = field(default_factory=list)

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if self.answers else 204
        if isinstance(answer, Exception):
            raise answer
        if answer == 204:
            self.posted += json.loads(request.content)
        return httpx.Response(answer)


@dataclass
class Gateway:
    """A gateway, who delivers to it, and what came of it."""

    app: Starlette
    http: httpx.AsyncClient
    prefect: Prefect
    clock: StillClock
    vault: LocalFolder
    configuration: Configuration

    async def tell(self, path: str, body: Any, **more: Any) -> httpx.Response:
        """Deliver JSON with the token."""
        return await self.http.post(path, json=body, params={"token": TOKEN}, **more)

    async def alert(self, body: Any) -> httpx.Response:
        """Deliver an alert of an action group."""
        return await self.tell("/azure-monitor", body)

    def told(self) -> list[tuple[str, str]]:
        """The events that were posted: what, of which resource."""
        return [(each["event"], each["resource"]["prefect.resource.name"]) for each in self.prefect.posted]


UNHEALTHY = "content-understanding.resource.unhealthy"
HEALTHY = "content-understanding.resource.healthy"


def configuration_of(vault: Path, prefix: str = "") -> Configuration:
    """Three resources and two plans; a prefix keeps them apart from other tests' on one server."""
    regions = {"east": "eastus", "west": "westus3", "north": "northeurope"}
    return Configuration.model_validate(
        {
            "resources": {
                f"{prefix}{name}": {
                    "endpoint": f"https://{name}.services.ai.azure.com",
                    "region": region,
                    "resource_id": resource_id(name),
                    "credentials": {"kind": "key", "key": "canary-key-of-a-resource"},
                }
                for name, region in regions.items()
            },
            "plans": {
                f"{prefix}{name}": {"pairs": [{"source": f"{prefix}{source}", "targets": [f"{prefix}{target}"]}]}
                for name, source, target in (("invoices", "east", "west"), ("claims", "west", "north"))
            },
            "vault": {"path": str(vault)},
            "gateway": {"token": TOKEN},
        }
    )


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway for east, west and north."""
    prefect, clock, vault = Prefect(), StillClock(), LocalFolder(tmp_path / "vault")
    configuration = configuration_of(tmp_path / "vault")
    async with AsyncExitStack() as stack:
        poster = await stack.enter_async_context(
            open_poster(PrefectApi("http://prefect/api"), TLS, httpx.MockTransport(prefect.handle))
        )
        app = make_app(configuration, poster.post, vault, clock)
        http = await stack.enter_async_context(
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")
        )
        yield Gateway(app, http, prefect, clock, vault, configuration)
