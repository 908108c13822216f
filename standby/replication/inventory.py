"""What one resource holds: its own analyzers, and the models it can serve."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from standby.concurrency import side_by_side
from standby.replication.dependencies import PREBUILT
from standby.replication.serving import Serving
from standby.service.client import ContentUnderstandingClient
from standby.service.errors import ArmUnavailable, DefaultsNotSet, ServiceError
from standby.service.models import Analyzer, Deployment, JsonValue
from standby.service.resource import SEED_PAGE_API_VERSION

log = logging.getLogger("standby.replication")


@dataclass(frozen=True)
class Inventory:
    """One listing of a resource, taken in one pass.

    Attributes:
        analyzers: custom analyzers by id; prebuilt ones are everywhere and never copied.
        definitions: the same, as JSON.
    """

    serving: Serving
    analyzers: Mapping[str, Analyzer]
    definitions: Mapping[str, Mapping[str, JsonValue]]


async def take_inventory(client: ContentUnderstandingClient) -> Inventory:
    """List a resource's custom analyzers, its defaults and its deployments."""
    async with side_by_side() as group:
        listing = group.create_task(client.list_analyzers())
        serving = group.create_task(read_serving(client))
    analyzers = {
        analyzer.analyzer_id: analyzer
        for analyzer in listing.result()
        if not analyzer.analyzer_id.startswith(PREBUILT)
    }
    return Inventory(
        serving=serving.result(),
        analyzers=analyzers,
        definitions={name: analyzer.to_json() for name, analyzer in analyzers.items()},
    )


async def take_inventories(clients: Iterable[ContentUnderstandingClient]) -> dict[str, Inventory]:
    """Take the inventory of several resources at once, by resource name."""
    async with side_by_side() as group:
        taken = {client.resource.name: group.create_task(take_inventory(client)) for client in clients}
    return {name: task.result() for name, task in taken.items()}


async def read_serving(client: ContentUnderstandingClient) -> Serving:
    """Read the defaults and the deployments of a resource."""
    async with side_by_side() as group:
        defaults = group.create_task(read_defaults(client))
        deployments = group.create_task(read_deployments(client))
    return Serving(resource=client.resource, defaults=defaults.result(), deployments=deployments.result())


async def read_defaults(client: ContentUnderstandingClient) -> Mapping[str, str] | None:
    """Read which deployment serves which model name; `None` where that was never set."""
    if client.resource.api_version == SEED_PAGE_API_VERSION:
        return None  # It has no such call: its analyzers name deployments themselves (recording: defaults).
    try:
        return (await client.get_defaults()).model_deployments
    except DefaultsNotSet:
        return None


async def read_deployments(client: ContentUnderstandingClient) -> Mapping[str, Deployment] | None:
    """Read the deployments by name; `None` where Azure's management plane cannot or will not tell."""
    try:
        listed = await client.list_deployments()
    except ArmUnavailable:
        return None
    except ServiceError as error:
        # The management plane may be down or closed to us while the service works: not a reason to stop.
        log.warning("deployments of %s are unknown: %s", client.resource.name, error)
        return None
    return {deployment.name: deployment for deployment in listed}
