"""The copies as one would write them without Standby: asyncio, httpx and nothing else.

It makes the same calls with the same pace and as many connections, and does nothing about failures.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import httpx

from benchmarks.stage import INTERVAL, PLAN, SLOTS, SOURCE, TARGETS, Stage
from standby.service.client import BASE, MOST_CONNECTIONS
from standby.service.resource import KeyCredentials, Resource


async def copy_by_hand(stage: Stage) -> None:
    """Copy every analyzer to every target."""
    resources = {name: stage.configuration.resource(name) for name in (SOURCE, *TARGETS)}
    async with AsyncExitStack() as stack:
        clients = {
            name: await stack.enter_async_context(_client(resource)) for name, resource in resources.items()
        }
        slots = {target: asyncio.Semaphore(SLOTS) for target in TARGETS}

        async def copy(analyzer: str, target: str) -> None:
            async with slots[target]:
                await _copy(clients[SOURCE], clients[target], resources[SOURCE], resources[target], analyzer)

        async with asyncio.TaskGroup() as group:
            for target in stage.configuration.plan(PLAN).targets:
                for analyzer in stage.analyzers:
                    group.create_task(copy(analyzer, target))


async def _copy(
    from_client: httpx.AsyncClient,
    to_client: httpx.AsyncClient,
    source: Resource,
    target: Resource,
    analyzer: str,
) -> None:
    path = f"{BASE}/analyzers/{analyzer}"
    grant = {"targetAzureResourceId": target.resource_id, "targetRegion": target.region}
    answer = await from_client.post(f"{path}:grantCopyAuthorization", json=grant)
    answer.raise_for_status()
    origin = {
        "sourceAnalyzerId": analyzer,
        "sourceAzureResourceId": source.resource_id,
        "sourceRegion": source.region,
    }
    answer = (await to_client.post(f"{path}:copy", json=origin)).raise_for_status()
    place = httpx.URL(answer.headers["operation-location"]).copy_remove_param("api-version")
    while True:
        operation = (await to_client.get(place)).raise_for_status().json()
        if operation["status"] != "Running":
            break
        await asyncio.sleep(INTERVAL)
    found = (await to_client.get(path)).raise_for_status().json()
    if found["status"] != "ready":
        raise RuntimeError(f"{analyzer} is {found['status']} at {target.name}")


def _client(resource: Resource) -> httpx.AsyncClient:
    if not isinstance(resource.credentials, KeyCredentials):
        raise TypeError("the emulated resources have keys")
    return httpx.AsyncClient(
        base_url=resource.endpoint,
        params={"api-version": resource.api_version},
        headers={"Ocp-Apim-Subscription-Key": resource.credentials.key.get_secret_value()},
        limits=httpx.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=MOST_CONNECTIONS),
        trust_env=False,
    )
