"""What the resources that serve a plan hold just now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from standby.concurrency import side_by_side
from standby.fencing import Fence
from standby.recovery.context import RecoveryContext
from standby.recovery.snapshots.definition_objects import to_object, without_access
from standby.recovery.snapshots.labelled import see_labelled
from standby.recovery.snapshots.manifest import (
    AnalyzerEntry,
    KeptDeployment,
    LabelledData,
    ResourceSnapshot,
    digest_of,
)
from standby.recovery.snapshots.places import home_id
from standby.replication.dependencies import resolve
from standby.replication.filters import is_protected
from standby.replication.fingerprint import fingerprint
from standby.replication.inventory import Inventory, take_inventory
from standby.replication.naming import referenced_anywhere
from standby.service.errors import ServiceError
from standby.service.models import Analyzer, Deployment, JsonValue


@dataclass(frozen=True)
class Seen:
    """One resource, just now.

    Attributes:
        objects: the definitions' bytes, by digest.
    """

    part: ResourceSnapshot
    objects: Mapping[str, bytes]


@dataclass(frozen=True)
class Gathered:
    """All resources that serve the plan.

    Attributes:
        seen: by resource.
        missing: why a resource did not answer, by its name.
        homes: the sources in whose place each resource serves, by its name.
    """

    seen: Mapping[str, Seen]
    missing: Mapping[str, str]
    homes: Mapping[str, tuple[str, ...]]


async def gather(context: RecoveryContext, fence: Fence) -> Gathered:
    """Read every resource that serves in the place of a source; one that does not answer stops no other."""
    homes: dict[str, tuple[str, ...]] = {}
    for home, side in fence.sides.items():
        homes[side.active] = (*homes.get(side.active, ()), home)
    seen: dict[str, Seen] = {}
    missing: dict[str, str] = {}

    async def look(name: str) -> None:
        if name not in context.connections.clients:
            missing[name] = f"{name} serves, and is no resource of the plan any more"
            return
        try:
            seen[name] = await _see(context, name, homes[name])
        except ServiceError as error:
            missing[name] = str(error)

    async with side_by_side() as group:
        for name in homes:
            group.create_task(look(name))
    return Gathered(seen, missing, homes)


async def _see(context: RecoveryContext, name: str, homes: tuple[str, ...]) -> Seen:
    client = context.connections[name]
    inventory = await take_inventory(client)
    seen_at = context.clock.now()
    protected = _protected(context, name, homes, inventory, seen_at)
    labelled = await see_labelled(protected, client.resource.credentials, client.tls)
    clean = {analyzer: without_access(definition) for analyzer, definition in protected.items()}
    objects = {analyzer: to_object(definition) for analyzer, definition in clean.items()}
    return Seen(
        part=ResourceSnapshot(
            homes=homes,
            region=client.resource.region,
            endpoint=client.resource.endpoint,
            api_version=client.resource.api_version,
            seen_at=seen_at,
            defaults=inventory.serving.defaults,
            deployments=_deployments(inventory.serving.deployments),
            analyzers={
                analyzer: _entry(
                    inventory.analyzers[analyzer],
                    objects[analyzer],
                    fingerprint(clean[analyzer], context.plan.ignore),
                    labelled.get(analyzer, ()),
                )
                for analyzer in sorted(clean)
            },
        ),
        objects={digest_of(content): content for content in objects.values()},
    )


def _protected(
    context: RecoveryContext, name: str, homes: tuple[str, ...], inventory: Inventory, now: datetime
) -> dict[str, Mapping[str, JsonValue]]:
    """Choose what the plan protects, by the id that an analyzer has at home, and what that refers to."""
    there = {analyzer: found for analyzer, found in inventory.analyzers.items() if found.status != "deleting"}
    definitions = {analyzer: inventory.definitions[analyzer] for analyzer in there}
    referenced = referenced_anywhere(definitions)

    def at_home(found: Analyzer, home: str) -> Analyzer:
        own = home_id(context.plan, found.analyzer_id, name, home, referenced)
        return found if own == found.analyzer_id else found.model_copy(update={"analyzer_id": own})

    selected = [
        analyzer
        for analyzer, found in there.items()
        if any(is_protected(context.plan, at_home(found, home), now) for home in homes)
    ]
    return {analyzer: definitions[analyzer] for analyzer in resolve(selected, definitions).children}


def _entry(
    analyzer: Analyzer, content: bytes, meaning: str, labelled: tuple[LabelledData, ...]
) -> AnalyzerEntry:
    return AnalyzerEntry(
        digest=digest_of(content),
        size=len(content),
        fingerprint=meaning,
        status=analyzer.status,
        created_at=analyzer.created_at,
        changed_at=analyzer.last_modified_at,
        labelled=labelled,
    )


def _deployments(found: Mapping[str, Deployment] | None) -> dict[str, KeptDeployment] | None:
    if found is None:
        return None
    return {
        name: KeptDeployment(
            name=each.name,
            model=each.model,
            version=each.version,
            capacity=each.capacity,
            state=each.state,
        )
        for name, each in found.items()
    }
