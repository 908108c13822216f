"""Copy one chunk of a large run: `replicate` sends it, any worker does it."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from blocks import load_configuration_from_blocks, open_vault
from flows.dispatch import chunk_artifact
from flows.outcome import finish_replication
from flows.run import ProgressArtifact, to_its_report
from standby.config.plan import OnExisting
from standby.replication.chunks import Chunk, ChunkCopyLog, ChunkReport, ChunkRequest, begin_chunk, with_shares
from standby.replication.replicate import open_run, run_to_report
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
) -> State[Any]:
    """Copy some analyzers from one source to one target, as a part of a replicate run. Do not start it by hand.

    It makes a plan of its own, so a chunk that is sent again does not copy twice. The run that sent it holds the
    target's concurrency limit, reads the report of this flow and writes the ledger.

    Args:
        plan: Name of a saved recovery-plan block.
        source: Resource to copy from.
        target: Resource to copy to.
        analyzers: Ids of the analyzers, with all that they depend on and the target does not have yet.
        on_existing: What to do when the target has an older or a different analyzer; empty means as the plan says.
        force: Ids of analyzers to overwrite at the target, even if they were edited there.
        shares: By resource, how many chunks may use it at once; its limits are divided by that number.
        expected: Fingerprints that were approved, by analyzer.
        records: What the ledger has about these analyzers.
    """
    request = ChunkRequest(Chunk(source, target, tuple(analyzers)), on_existing, tuple(force), expected, records)
    configuration = with_shares(await load_configuration_from_blocks(plan), shares)
    copy_log = ChunkCopyLog(records)
    vault = await open_vault(configuration.vault)
    async with (
        open_run(configuration, plan, vault) as context,
        ProgressArtifact(f"Replicating {request.chunk}") as bar,
    ):
        replication = await begin_chunk(context, request, TaskSteps(context), copy_log, bar.show)
        ended = await to_its_report(run_to_report(replication, run_id=str(flow_run.id), via="prefect"))
    for_parent = ChunkReport(items=ended.report.items, records=copy_log.added)
    return await finish_replication(ended, chunk_artifact(for_parent))
