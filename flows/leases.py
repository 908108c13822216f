"""One run at a time per target, whichever machine it runs on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.asyncio import AcquireConcurrencySlotTimeoutError, concurrency
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from flows.errors import TargetBusy

LEASE = 60.0
"""Seconds after which the slot of a run that was killed is free again."""

WAIT = 3600.0
"""Seconds a run waits for another one to leave its target."""


def limit_name(target: str) -> str:
    """Name the global concurrency limit of a target."""
    return f"content-understanding-{target}"


@asynccontextmanager
async def hold_targets(targets: Iterable[str]) -> AsyncIterator[None]:
    """Hold the slot of every target of a run, in one order for all, so that no two runs block each other.

    Raises:
        TargetBusy: another run did not leave a target in time.
    """
    wanted = sorted(set(targets))
    async with get_client() as client:
        await ensure_limits(client, wanted)
    async with AsyncExitStack() as stack:
        for target in wanted:
            # One name a call: strict with several names passes when only one of them exists.
            slot = concurrency(
                limit_name(target),
                occupy=1,
                timeout_seconds=WAIT,
                lease_duration=LEASE,
                strict=True,
                raise_on_lease_renewal_failure=False,
            )
            try:
                await stack.enter_async_context(slot)
            except AcquireConcurrencySlotTimeoutError:
                raise TargetBusy(target, WAIT) from None
        yield


async def ensure_limits(client: PrefectClient, targets: Iterable[str]) -> list[str]:
    """Create the limits that are missing; one that was changed by hand is left so.

    Returns:
        The names of those that were created.
    """
    created = []
    for name in map(limit_name, targets):
        try:
            await client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            # One run at a time per target: copies in flight are limited inside the run.
            wanted = GlobalConcurrencyLimitCreate(name=name, limit=1)
            try:
                await client.create_global_concurrency_limit(wanted)
            except ObjectAlreadyExists:
                continue  # Another run was faster.
            created.append(name)
    return created
