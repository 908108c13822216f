"""A recovery inside a flow run: everything it needs comes from blocks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar, cast

from prefect.runtime import deployment, flow_run
from prefect.utilities.annotations import opaque

from blocks import load_configuration_from_blocks, open_second, open_vault
from flows.variable_sink import open_flow_sinks
from standby.recovery.context import RecoveryContext, open_recovery
from tasks.stage import stage

T = TypeVar("T")


class TaskStages:
    """Each stage awaited as a task."""

    async def run(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do a stage and give its result; its error is the caller's to see."""
        # Prefect searches what a task is given for futures, at any depth; there are none in here.
        return cast(T, await stage(name, cast(Callable[[], Awaitable[T]], opaque(work))))


@asynccontextmanager
async def recovering(plan: str, *, scratch: str = "") -> AsyncIterator[RecoveryContext]:
    """Open everything a recovery of one plan needs; no resource is asked anything yet.

    Args:
        plan: name of a saved recovery-plan block.
        scratch: name of the block of another resource, which no plan uses.
    """
    configuration = await load_configuration_from_blocks(plan, scratch=scratch)
    async with open_recovery(
        configuration,
        plan,
        via="prefect",
        vault=await open_vault(configuration.vault),
        second=await open_second(configuration.vault),
        sinks=open_flow_sinks,
        actor=_actor(),
        run_id=str(flow_run.id),
    ) as context:
        yield context


def _actor() -> str:
    """Name the flow run, where a deployment started it; otherwise somebody at this machine did."""
    return f"flow run {flow_run.name}" if deployment.id else ""
