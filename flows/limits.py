"""Prefect's global concurrency limits: one run at a time per target, on whichever machine it runs."""

import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.asyncio import AcquireConcurrencySlotTimeoutError, ConcurrencySlotAcquisitionError, concurrency
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectException

from standby.flows.errors import SlotTaken
from standby.tasks.stage import tried

log = logging.getLogger("standby.flows")

NO_SLOT = (httpx.HTTPError, PrefectException, ConcurrencySlotAcquisitionError)
"""With these Prefect does not give a slot, for another reason than that it is taken."""

LEASE = 60.0  # Seconds after which the slot of a killed run is free again
WAIT = 3600.0  # Seconds a replication waits while another run is at its target
SHORT_WAIT = 120.0  # Seconds that a restore, a failback or a drill waits for that: somebody may wait for it


def limit_name(target: str) -> str:
    return f"content-understanding-{target}"


@asynccontextmanager
async def hold_targets(targets: Iterable[str], patience: float = WAIT) -> AsyncIterator[None]:
    """Take the concurrency limit of every target of a run, in the same order in all runs, so that none deadlock.

    It only spares runs from being refused by the ledger that another one holds in the vault: a slot that Prefect
    does not give, or that a killed run left taken, is done without. A failover does not ask for one.
    """
    async with AsyncExitStack() as stack:
        for target in sorted(set(targets)):
            try:
                await stack.enter_async_context(hold(limit_name(target), patience))
            except SlotTaken as error:
                log.warning("%s. This continues without its slot, and the vault says who may write", error.cause)
            except NO_SLOT as error:
                log.warning("Prefect failed (%s); this continues without: the slot of %s", type(error).__name__, target)
        yield


@asynccontextmanager
async def hold(name: str, patience: float) -> AsyncIterator[None]:
    """Hold a slot that one run on any machine can have; `SlotTaken` where it is not free after so many seconds."""
    async with get_client() as client:
        await ensure_limits(client, [name])
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
        await slot.__aenter__()
    except AcquireConcurrencySlotTimeoutError:
        raise SlotTaken(name, patience) from None
    try:
        yield
    finally:
        # What was done with it stays done, whether or not the server takes it back.
        await tried(f"giving back the slot {name}", lambda: slot.__aexit__(None, None, None))


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
