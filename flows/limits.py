"""Prefect's global concurrency limits: one run at a time per target, on whichever machine it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.asyncio import AcquireConcurrencySlotTimeoutError, concurrency
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from flows.errors import SlotTaken, TargetBusy

LEASE = 60.0
"""Seconds after which the slot of a killed run is free again."""

WAIT = 3600.0
"""Seconds a run waits while another run is at its target."""


def limit_name(target: str) -> str:
    """Give the name of a target's global concurrency limit."""
    return f"content-understanding-{target}"


@asynccontextmanager
async def hold_targets(targets: Iterable[str]) -> AsyncIterator[None]:
    """Take the concurrency limit of every target of a run, in the same order in all runs, so that none deadlock."""
    async with AsyncExitStack() as stack:
        for target in sorted(set(targets)):
            try:
                await stack.enter_async_context(hold(limit_name(target), WAIT))
            except SlotTaken:
                raise TargetBusy(target, WAIT) from None
        yield


@asynccontextmanager
async def hold(name: str, patience: float) -> AsyncIterator[None]:
    """Hold a slot that one run on any machine can have.

    Args:
        name: of the global concurrency limit; it is created where it is missing.
        patience: seconds that another run is waited for.

    Raises:
        SlotTaken: it did not leave it in that time.
    """
    async with get_client() as client:
        await ensure_limits(client, [name])
    async with AsyncExitStack() as stack:
        # One name a call: strict with several names passes when only one of them exists.
        slot = concurrency(
            name,
            occupy=1,
            timeout_seconds=patience,
            lease_duration=LEASE,
            strict=True,
            # What is under way must not die with the Prefect server.
            raise_on_lease_renewal_failure=False,
        )
        try:
            await stack.enter_async_context(slot)
        except AcquireConcurrencySlotTimeoutError:
            raise SlotTaken(name, patience) from None
        yield


async def ensure_limits(client: PrefectClient, names: Iterable[str]) -> list[str]:
    """Create the limits that are missing, and name them; one that was changed by hand is left so."""
    created = []
    for name in names:
        try:
            await client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            # One run at a time: what it does at once is limited inside the run.
            wanted = GlobalConcurrencyLimitCreate(name=name, limit=1)
            try:
                await client.create_global_concurrency_limit(wanted)
            except ObjectAlreadyExists:
                continue  # Another run was faster.
            created.append(name)
    return created
