"""Saves a configuration as blocks, and reads one plan of it back."""

import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TypeVar

from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient, get_client
from prefect.exceptions import ObjectNotFound
from pydantic import ValidationError

from standby.blocks.recovery_plan import RecoveryPlan
from standby.blocks.resource import ContentUnderstandingResource, credentials_block
from standby.config import plan as model
from standby.config.configuration import Configuration, disagreements
from standby.config.errors import ConfigurationError, summary
from standby.config.resource import NoCredentials, Resource
from standby.config.secrets import as_written, resolved
from standby.config.sinks import Sink
from standby.config.vault import VaultSettings

log = logging.getLogger("standby.blocks")

B = TypeVar("B", bound=Block)
R = TypeVar("R")


class BlockMissing(ConfigurationError):
    def __init__(self, slugs: tuple[str, ...]) -> None:
        action = "Save it in the Prefect UI, or run standby bootstrap to save what the configuration file says"
        super().__init__([f"The Prefect server has no block {slug}" for slug in slugs], action)


class BlockUnusable(ConfigurationError):
    def __init__(self, slug: str, reason: str) -> None:
        cause = [f"The block {slug} cannot be used: {reason}"]
        super().__init__(cause, "Correct it in the Prefect UI, or run standby bootstrap to save it again")


async def load_what_is_usable(plan_name: str, *, scratch: str = "") -> Configuration:
    """Read one recovery plan and the resources it uses from the Prefect server.

    A resource whose block is missing or unusable is listed nevertheless, and each call of it gives the reason. Without
    any that is usable, or without the scratch resource, that is an error. With a scratch resource, which is another
    one, every other plan is read as well, to see what they use.
    """
    found = await read_blocks(plan_name, scratch)
    if not found.resources or scratch in found.problems:
        found.must_be_whole()
    return found.configuration()


@dataclass(frozen=True)
class BlocksRead:
    vault: VaultSettings
    sinks: tuple[Sink, ...]
    plans: dict[str, model.RecoveryPlan]
    resources: dict[str, Resource]
    problems: dict[str, BlockMissing | BlockUnusable]  # by resource: why there is none

    def must_be_whole(self) -> None:
        """Raise `BlockMissing` with all that are missing, or the first `BlockUnusable`."""
        missing = [name for name, problem in self.problems.items() if isinstance(problem, BlockMissing)]
        if missing:
            raise BlockMissing(tuple(_slug(ContentUnderstandingResource, name) for name in missing))
        for problem in self.problems.values():
            raise problem

    def configuration(self) -> Configuration:
        """Put the parts together, with a substitute for each resource that cannot be used."""
        alone = Configuration(resources=self.resources, vault=self.vault, activation=self.sinks)
        version = next(each.api_version for each in self.resources.values())
        missing = {name: NoCredentials(each.cause, each.next_action) for name, each in self.problems.items()}
        unusable = {name: Resource.unusable(name, version, error) for name, error in missing.items()}
        # Of other plans only the resources matter: where they disagree, this plan can be run anyway.
        return alone.model_copy(update={"plans": self.plans, "resources": {**self.resources, **unusable}})


async def read_blocks(plan_name: str, scratch: str) -> BlocksRead:
    resources: dict[str, Resource] = {}
    problems: dict[str, BlockMissing | BlockUnusable] = {}
    async with get_client() as client:
        plan_block = await _load(client, RecoveryPlan, plan_name)
        if plan_block is None:
            raise BlockMissing((_slug(RecoveryPlan, plan_name),))
        written = (plan_block.to_plan(plan_name), plan_block.to_vault(), plan_block.to_sinks())
        plan, vault, sinks = _resolved(plan_block, plan_name, written)
        plans = {plan_name: plan}
        if scratch:
            documents = await client.read_block_documents_by_type(RecoveryPlan.get_block_type_slug())
            for other in sorted(str(each.name) for each in documents if each.name not in {None, plan_name}):
                if (other_block := await _load(client, RecoveryPlan, other)) is not None:
                    plans[other] = other_block.to_plan(other)
        for name in sorted({name for plan in plans.values() for name in plan.resources} | ({scratch} - {""})):
            try:
                block = await _load(client, ContentUnderstandingResource, name)
                if block is None:
                    problems[name] = BlockMissing((_slug(ContentUnderstandingResource, name),))
                else:
                    resources[name] = _resolved(block, name, block.to_resource(name))
            except BlockUnusable as error:
                problems[name] = error
    disagreeing = [
        problem for _, problem in disagreements(resources, {plan_name: plans[plan_name]}, frozenset(problems))
    ]
    if disagreeing:
        raise ConfigurationError(disagreeing, "Correct the blocks in the Prefect UI")
    return BlocksRead(vault, sinks, plans, resources, problems)


def _resolved(block: Block, name: str, value: R) -> R:
    """Give what a block holds with the values of its references to key vaults."""
    try:
        return resolved(value)
    except ValueError as error:
        raise BlockUnusable(_slug(type(block), name), str(error)) from None


async def register_types() -> None:
    """Let the Prefect UI offer every block type of Standby, also those of which nothing was saved yet."""
    async with get_client() as client:
        for block_type in (ContentUnderstandingResource, RecoveryPlan):
            # The credentials are nested in the resource, and registered with it.
            await block_type.aregister_type_and_schema(client=client)


async def saving_blocks(configuration: Configuration) -> AsyncIterator[tuple[str, str]]:
    """Save what the server lacks or has differently; tell each change as soon as it is made, by type-slug/name.

    What was read from a key vault is saved as its reference, which each run reads again.
    """
    configuration = as_written(configuration)
    # Before the first is saved: what cannot be made as a block is an error.
    plans = {
        name: RecoveryPlan.of(plan, configuration.vault, configuration.activation)
        for name, plan in configuration.plans.items()
    }
    made = {name: credentials_block(resource.credentials) for name, resource in configuration.resources.items()}
    async with get_client() as client:
        for name, resource in configuration.resources.items():
            credentials, outcome = await _save(client, made[name], name, lambda block: block.to_credentials())
            if outcome:
                yield _slug(type(credentials), name), outcome
            whole = ContentUnderstandingResource.of(resource, credentials)
            _, outcome = await _save(client, whole, name, lambda block: block.to_resource("same"))
            if outcome:
                yield _slug(ContentUnderstandingResource, name), outcome
        for name, plan in plans.items():
            _, outcome = await _save(client, plan, name, lambda it: (it.to_plan("same"), it.to_vault(), it.to_sinks()))
            if outcome:
                yield _slug(RecoveryPlan, name), outcome


async def _save(client: PrefectClient, block: B, name: str, meaning: Callable[[B], object]) -> tuple[B, str]:
    """Save a block unless the server has one that means the same; give the one that is there, and what was done."""
    outcome = "changed"
    try:
        there = await _load(client, type(block), name)
        if there is None:
            outcome = "created"
        elif meaning(there) == meaning(block):
            return there, ""
    except BlockUnusable as error:
        log.warning("%s", error)
    await block.asave(name, overwrite=True, client=client)
    return block, outcome


async def _load(client: PrefectClient, block_type: type[B], name: str) -> B | None:
    try:
        return await block_type.aload(name, client=client)
    except ValueError as error:
        if isinstance(error.__cause__, ObjectNotFound):
            return None
        raise
    except RuntimeError as error:
        if isinstance(error.__cause__, ValidationError):
            raise BlockUnusable(_slug(block_type, name), summary(error.__cause__)) from None
        raise


def _slug(block_type: type[Block], name: str) -> str:
    return f"{block_type.get_block_type_slug()}/{name}"
