"""Looks at resources within a time that is known beforehand: at night nobody waits for a dark region."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from standby.concurrency import side_by_side
from standby.replication.context import Connections
from standby.replication.dependencies import PREBUILT
from standby.replication.inventory import Inventory, read_defaults, read_deployments
from standby.replication.serving import Serving
from standby.service.client import ContentUnderstandingClient
from standby.service.errors import ServiceError, Unreachable
from standby.service.models import CatalogModel, Deployment

LOOK_SECONDS = 15.0
"""What a resource has to say what it holds: dozens of times what it needs, and little to one who waits."""

MANAGEMENT_SECONDS = 5.0
"""What Azure's management plane has: without it something less is known, and that is all."""


@dataclass(frozen=True)
class Look:
    """What a resource said.

    Attributes:
        models: those that Azure offers to it; none where that was not asked or not told.
    """

    inventory: Inventory
    models: tuple[CatalogModel, ...] = ()


Looks = Mapping[str, Look | ServiceError]
"""By name of the resource: what it said, or why it did not."""


async def look_at(
    connections: Connections, resources: Collection[str], with_models: Collection[str], seconds: float
) -> Looks:
    """Look at several resources at once; it takes no longer than the given time.

    Args:
        connections: a client for each.
        resources: which.
        with_models: those of them whose models' dates matter.
        seconds: that each has.
    """
    async with side_by_side() as group:
        tasks = {
            name: group.create_task(_look(connections[name], seconds, ask_models=name in with_models))
            for name in sorted(resources)
        }
    return {name: task.result() for name, task in tasks.items()}


async def _look(
    client: ContentUnderstandingClient, seconds: float, *, ask_models: bool
) -> Look | ServiceError:
    # Less than the resource itself has: what is a detail must not make the rest unknown.
    shorter = min(seconds / 2, MANAGEMENT_SECONDS)
    try:
        async with asyncio.timeout(seconds), side_by_side() as group:
            listing = group.create_task(client.list_analyzers())
            defaults = group.create_task(read_defaults(client))
            deployments = group.create_task(_deployments(client, shorter))
            models = group.create_task(_models(client, shorter)) if ask_models else None
    except ServiceError as error:
        return error
    except TimeoutError:
        return Unreachable(
            f"No whole answer from {client.resource.name} within {seconds:g} s", resource=client.resource.name
        )
    analyzers = {
        analyzer.analyzer_id: analyzer
        for analyzer in listing.result()
        if not analyzer.analyzer_id.startswith(PREBUILT)
    }
    inventory = Inventory(
        serving=Serving(client.resource, defaults.result(), deployments.result()),
        analyzers=analyzers,
        definitions={name: analyzer.to_json() for name, analyzer in analyzers.items()},
    )
    return Look(inventory, models.result() if models else ())


async def _deployments(client: ContentUnderstandingClient, seconds: float) -> Mapping[str, Deployment] | None:
    try:
        async with asyncio.timeout(seconds):
            return await read_deployments(client)
    except TimeoutError:
        return None


async def _models(client: ContentUnderstandingClient, seconds: float) -> tuple[CatalogModel, ...]:
    try:
        async with asyncio.timeout(seconds):
            return await client.list_models()
    except (TimeoutError, ServiceError):
        # The dates are a warning of what comes; whether the models serve now is told by the deployments.
        return ()
