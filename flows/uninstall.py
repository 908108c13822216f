"""What `standby bootstrap` and runs made on a Prefect server, and how it goes: `standby bootstrap --remove`.

Runs and what they left stay, as the history of the server; and so do notification blocks, which people saved.
"""

from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from functools import partial
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName
from prefect.exceptions import ObjectNotFound
from pydantic import ValidationError

from standby import blocks
from standby.concurrency import do_for_each
from standby.config.configuration import Configuration
from standby.config.sinks import VariableSink
from standby.flows import bootstrap, limits, notifications
from standby.flows.recovery import variable_limit
from standby.recovery.activation.sinks import ActiveMaps

Removable = dict[str, Callable[[], Awaitable[object]]]
"""What is ours on a server, by what people call it and in the order in which it goes, with the call that deletes it."""


async def removable(configuration: Configuration) -> list[str]:
    """Name what is ours on the server, whatever configuration it was saved for; variables only of this one."""
    async with get_client() as client:
        return list(await _find(client, configuration))


async def remove(configuration: Configuration, names: Collection[str]) -> None:
    """Delete what is named; what came about since it was named stays."""
    async with get_client() as client:
        found = await _find(client, configuration)
        for name in names:
            # Somebody else may have been faster.
            with suppress(ObjectNotFound):
                if name in found:
                    await found[name]()


async def _find(client: PrefectClient, configuration: Configuration) -> Removable:
    automations: dict[str, list[UUID]] = {}  # Prefect lets several have one name
    for beginning in (None, bootstrap.OUTAGE):
        async for automation in notifications.read_automations(client, beginning):
            automations.setdefault(f"automation {automation.name}", []).append(automation.id)
    found: Removable = {
        name: partial(do_for_each, ids, client.delete_automation, 1) for name, ids in automations.items()
    }
    deployments = await bootstrap.deployed_by_us(
        client, bootstrap.wanted_deployments(list(configuration.plans.values())[:1])
    )
    found |= {f"deployment {name}": partial(client.delete_deployment, it) for name, it in deployments.items()}
    for pool in (bootstrap.WORK_POOL, bootstrap.RECOVERY_POOL):
        in_pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[pool]))
        users = await bootstrap.read_deployments(client, work_pool_filter=in_pool)
        with suppress(ObjectNotFound):
            await client.read_work_pool(pool)
            if {user.id for user in users} <= {*deployments.values()}:
                found[f"work pool {pool}"] = partial(client.delete_work_pool, pool)
    resources = {*configuration.resources}
    # What is nested in others goes after them.
    for kind in (getattr(blocks, name) for name in reversed(blocks.__all__)):
        slug = kind.get_block_type_slug()
        with suppress(ObjectNotFound):
            block_type = await client.read_block_type_by_slug(slug)
            documents = await client.read_block_documents_by_type(slug, include_secrets=False)
            names = sorted(str(document.name) for document in documents)
            resources |= {*names} if kind is blocks.ContentUnderstandingResource else set()
            what = f"block type {slug}" + (f" with its blocks {', '.join(names)}" if names else "")
            found[what] = partial(client.delete_block_type, block_type.id)
    variables = [sink.name for sink in configuration.activation if isinstance(sink, VariableSink)]
    for name in [*map(limits.limit_name, sorted(resources)), *map(variable_limit, variables)]:
        with suppress(ObjectNotFound):
            await client.read_global_concurrency_limit_by_name(name)
            found[f"concurrency limit {name}"] = partial(client.delete_global_concurrency_limit_by_name, name)
    for name in variables:
        variable = await client.read_variable_by_name(name)
        with suppress(ValidationError):  # It is no active map, and not ours.
            if variable is not None and ActiveMaps.model_validate(variable.value).plans:
                found[f"variable {name}"] = partial(client.delete_variable_by_name, name)
    return found
