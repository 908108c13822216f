"""Copy one chunk of a large run: sent by `replicate`, done on any worker."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Cancelled

from blocks import load_configuration_from_blocks, open_vault
from flows.dispatch import leave_report
from flows.listening import unless_stopped
from flows.outcome import ProgressArtifact, final_state
from standby.config.plan import OnExisting
from standby.replication.chunks import Chunk, ChunkReport, Notebook, Order, begin_chunk, with_shares
from standby.replication.replicate import open_run
from standby.replication.verdict import CopyRecord
from tasks.copy import TaskSteps

NONE: list[str] = []
NO_SHARES: dict[str, int] = {}
NOTHING_EXPECTED: dict[str, str] = {}
NO_RECORDS: dict[str, CopyRecord] = {}


@flow(name="replicate-chunk", persist_result=False)
async def replicate_chunk(
    plan: str,
    source: str,
    target: str,
    analyzers: list[str],
    on_existing: OnExisting | None = None,
    force: list[str] = NONE,
    shares: dict[str, int] = NO_SHARES,
    expected: dict[str, str] = NOTHING_EXPECTED,
    records: dict[str, CopyRecord] = NO_RECORDS,
) -> State[dict[str, Any]]:
    """Copy some analyzers from one source to one target, for a replicate run that holds the target.

    It plans afresh, so one that is sent again finds what was already copied. It neither takes the target's
    limit nor writes the ledger: both are its parent's, who reads its report. Not meant to be run by hand.

    Args:
        plan: Name of a saved recovery-plan block.
        source: Resource to copy from.
        target: Resource to copy to.
        analyzers: Ids of the analyzers, with all they need that is not yet at the target.
        on_existing: What to do with what the target holds that is older or different; empty means as planned.
        force: Ids of analyzers to overwrite at the target, whatever was done to them there.
        shares: By resource, how many chunks may be at it at once; its limits are divided by that.
        expected: Fingerprints that were signed off, by analyzer.
        records: What the ledger has of these analyzers.
    """
    order = Order(Chunk(source, target, tuple(analyzers)), on_existing, tuple(force), expected, records)
    configuration = with_shares(await load_configuration_from_blocks(plan), shares)
    notebook = Notebook(records)
    vault = await open_vault(configuration.vault)
    async with (
        open_run(configuration, plan, vault) as context,
        ProgressArtifact(f"Replicating {order.chunk}") as bar,
    ):
        replication = await begin_chunk(context, order, TaskSteps(context), notebook, bar.show)
        try:
            stopped = await unless_stopped(replication.run(), UUID(str(flow_run.id)))
        finally:
            # Also when the run is cancelled: what was copied must be known.
            report = replication.report(run_id=str(flow_run.id), via="prefect")
            await leave_report(ChunkReport(items=report.items, records=notebook.added))
    if stopped:
        return Cancelled(message="It was told to stop; its report says how far it got.")
    return final_state(report)
