"""One run at a time per target, whichever machine it runs on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager

from prefect.concurrency.asyncio import concurrency

LEASE = 60.0
"""Seconds after which the slot of a run that was killed is free again."""

WAIT = 3600.0
"""Seconds a run waits for another one to leave its target."""


def limit_name(target: str) -> str:
    """Name the global concurrency limit of a target."""
    return f"content-understanding-{target}"


@asynccontextmanager
async def hold_targets(targets: Iterable[str]) -> AsyncIterator[None]:
    """Hold the slot of every target of a run, in one order for all, so that no two runs block each other."""
    async with AsyncExitStack() as stack:
        for target in sorted(set(targets)):
            # One name a call: strict with several names passes when only one of them exists.
            slot = concurrency(
                limit_name(target),
                occupy=1,
                timeout_seconds=WAIT,
                lease_duration=LEASE,
                strict=True,
                raise_on_lease_renewal_failure=False,
            )
            await stack.enter_async_context(slot)
        yield
