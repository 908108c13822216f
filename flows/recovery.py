"""A recovery inside a flow run: everything it needs comes from blocks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prefect.runtime import deployment, flow_run

from blocks import load_configuration_from_blocks, open_second, open_vault
from flows.variable_sink import open_flow_sinks
from standby.recovery.context import RecoveryContext, open_recovery


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
