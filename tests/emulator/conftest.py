"""A running emulator of two resources, and clients of it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from standby.emulator.config import EmulatorConfig
from standby.emulator.serve import Emulator, running
from standby.emulator.world import Place
from tests.patience import PATIENCE

Finish = Callable[[httpx.AsyncClient, httpx.Response], Awaitable[Any]]
Client = Callable[..., httpx.AsyncClient]

TRUST = ssl.create_default_context()
"""Made once: to make one takes longer than most tests."""

DEPLOYMENTS = [
    {"name": "chat", "model": "gpt-4.1", "version": "2025-04-14"},
    {"name": "chat-mini", "model": "gpt-4.1-mini", "version": "2025-04-14"},
    {"name": "embed", "model": "text-embedding-3-large", "version": "1"},
    {"name": "embed-small", "model": "text-embedding-3-small", "version": "1"},
]


@pytest.fixture
def config() -> EmulatorConfig:
    """East with two analyzers, and an empty west; operations take no time."""
    return EmulatorConfig.model_validate(
        {
            "service_time": 0,
            "resources": {
                "east": {
                    "region": "eastus",
                    "defaults": {"gpt-4.1": "chat", "text-embedding-3-large": "embed"},
                    "deployments": DEPLOYMENTS,
                    "analyzers": [
                        {
                            "analyzerId": "invoice",
                            "description": "Invoices",
                            "baseAnalyzerId": "prebuilt-document",
                            "models": {"completion": "gpt-4.1", "embedding": "text-embedding-3-large"},
                            "tags": {"team": "billing"},
                            "fieldSchema": {"name": "invoice", "fields": {"Total": {"type": "number"}}},
                            "knowledgeSources": [
                                {
                                    "kind": "labeledData",
                                    "containerUrl": "https://east.blob.core.windows.net/labels",
                                    "fileListPath": "",
                                }
                            ],
                        },
                        {"analyzerId": "a-classifier", "config": {"contentCategories": {"Bill": {}}}},
                    ],
                },
                "west": {"region": "westus3", "deployments": DEPLOYMENTS},
            },
        }
    )


@pytest.fixture
async def emulator(config: EmulatorConfig) -> AsyncIterator[Emulator]:
    """The emulator of this test."""
    async with running(config) as emulator:
        yield emulator


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """Makes a client of a resource, with its key and an api-version."""
    made: list[httpx.AsyncClient] = []

    def make(served: Place, api_version: str = "2025-11-01", **options: Any) -> httpx.AsyncClient:
        def with_version(request: httpx.Request) -> httpx.Request:
            # As `params` of the client it would take the place of a link's whole query.
            if "api-version" not in request.url.params:
                request.url = request.url.copy_add_param("api-version", api_version)
            return request

        made.append(
            httpx.AsyncClient(
                base_url=f"{served.endpoint}/contentunderstanding",
                auth=with_version,
                **{
                    "headers": {"Ocp-Apim-Subscription-Key": served.key},
                    "timeout": 10,
                    "verify": TRUST,
                    **options,
                },
            )
        )
        return made[-1]

    yield make
    for each in made:
        await each.aclose()


@pytest.fixture
def east(emulator: Emulator, client: Client) -> httpx.AsyncClient:
    """East, with its key, under the released api-version."""
    return client(emulator.resources["east"])


@pytest.fixture
def west(emulator: Emulator, client: Client) -> httpx.AsyncClient:
    """West, with its key, under the released api-version."""
    return client(emulator.resources["west"])


@pytest.fixture
async def control(emulator: Emulator) -> AsyncIterator[httpx.AsyncClient]:
    """The control."""
    async with httpx.AsyncClient(base_url=emulator.control, timeout=PATIENCE, verify=TRUST) as client:
        yield client


@pytest.fixture
def finish() -> Finish:
    """Polls the operation that an answer began until it is over, and gives the last answer's body."""

    async def finished(client: httpx.AsyncClient, started: httpx.Response) -> Any:
        assert started.is_success, started.text
        while True:
            polled = await client.get(started.headers["operation-location"])
            assert polled.status_code == 200, polled.text
            if polled.json()["status"] != "Running":
                return polled.json()

    return finished
