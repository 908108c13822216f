"""A large run in chunks: sent to the workers of a work pool, done there, and put into one report at the end."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from prefect import get_client
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from pydantic import TypeAdapter

from standby.blocks.store import load_what_is_usable
from standby.config.configuration import Configuration
from standby.flows.dispatch import Dispatch, SentChunk, chunk_artifact
from standby.flows.outcome import finish_replication, flow
from standby.flows.run import ProgressArtifact, to_its_report
from standby.replication import chunks as chunking
from standby.replication.items import Progress, ReplicationPlan, Selection
from standby.replication.ledger import Ledger
from standby.replication.replicate import Replication, open_run
from standby.replication.report import Report, Via, make_report, run_to_report
from standby.replication.steps import RunContext
from standby.tasks.copy import TaskSteps

AT_ONCE = 4
"""Chunks at work at the same time. A process copies some twenty analyzers a second, a target takes ten at a
time of three seconds each: four processes keep more than twenty targets busy."""

_REQUEST = TypeAdapter(chunking.ChunkRequest)


@dataclass
class ChunkedReplication:
    """First what needs no copy (`rest`), then the chunks, a few at a time."""

    context: RunContext
    plan: ReplicationPlan
    rest: Replication
    chunks: Sequence[SentChunk]
    sharing: chunking.Sharing

    def __post_init__(self) -> None:
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._at_target = {target: asyncio.Semaphore(most) for target, most in self.sharing.at_target.items()}
        self._begun = self.context.clock.monotonic()

    async def run(self) -> None:
        """Do everything the plan says; nothing is begun where no deployment is there for chunks."""
        async with get_client() as client:
            dispatch = Dispatch(client, run=f"{flow_run.id}-{flow_run.run_count}")
            await dispatch.must_be_deployed()
            await self.rest.run()
            async with asyncio.TaskGroup() as group:
                for chunk in self.chunks:
                    group.create_task(self._in_turn(chunk, dispatch))

    def report(self, *, run_id: str, via: Via) -> Report:
        """Put the results of all parts so far into one report, in the plan's order."""
        parts = (self.rest.results(), *(chunk.results() for chunk in self.chunks))
        results = {result.key: result for part in parts for result in part}
        ordered = [results[item.key] for item in self.plan.items]
        clock = self.context.clock
        seconds = clock.monotonic() - self._begun
        return make_report(self.plan, ordered, run_id=run_id, via=via, seconds=seconds, now=clock.now())

    async def _in_turn(self, chunk: SentChunk, dispatch: Dispatch) -> None:
        async with self._at_target[chunk.chunk.target], self._at_once:
            await chunk.run(dispatch)


def on_workers(
    context: RunContext,
    configuration: Configuration,
    selection: Selection,
    replication: Replication,
    approved: bool,
    on_progress: Callable[[Progress], None],
) -> ChunkedReplication:
    """Cut a run, which is not run itself, into chunks for the workers; `approved` if it does what a saved plan says."""
    items = {item.key: item for item in replication.plan.items}
    chunks = chunking.cut(replication.plan.items)
    sharing = chunking.spread(chunks, AT_ONCE, configuration)
    tally = chunking.Tally(len(items), on_progress)
    in_chunk = {key for chunk in chunks for key in chunk.keys}
    rest = replication.part([key for key in items if key not in in_chunk], tally.part())
    sent = [
        SentChunk(
            number,
            f"chunk-{number}-of-{len(chunks)}-{chunk.source}-to-{chunk.target}",
            chunk,
            tuple(items[key] for key in chunk.keys),
            # They are kept in clear, and hold no secrets.
            {
                "plan": replication.plan.recovery_plan.name,
                "request": _REQUEST.dump_python(_request(replication, selection, chunk, approved), mode="json"),
                "shares": sharing.shares(chunk),
                "known_epoch": context.known_epoch,
            },
            replication.ledgers[chunk.source, chunk.target],
            tally.part(),
        )
        for number, chunk in enumerate(chunks, 1)
    ]
    return ChunkedReplication(context, replication.plan, rest, sent, sharing)


def _request(
    replication: Replication, selection: Selection, chunk: chunking.Chunk, approved: bool
) -> chunking.ChunkRequest:
    plan, own = replication.plan, set(chunk.keys)
    return chunking.ChunkRequest(
        chunk,
        selection.on_existing,
        force=tuple(name for name in selection.force if name in chunk.analyzers),
        expected={it.analyzer: it.expected.fingerprint for it in plan.items if it.key in own} if approved else {},
        records=chunking.records_for(chunk, plan.items, replication.ledgers[chunk.source, chunk.target].records),
    )


@flow(name="replicate-chunk", persist_result=False)
async def replicate_chunk(
    plan: str, request: chunking.ChunkRequest, shares: Mapping[str, int] = {}, known_epoch: int = 0
) -> State[Any]:
    """Copy some analyzers from one source to one target, as a part of a replicate run. Do not start it by hand.

    It makes a plan of its own, so a chunk that is sent again does not copy twice. The run that sent it holds the
    target's concurrency limit, reads the report of this flow and writes the ledger.

    Args:
        plan: Name of a saved recovery-plan block.
        request: What to copy, with what the ledger has about it, and how to treat an analyzer that is there already.
        shares: By resource, how many chunks may use it at once; its limits are divided by that number.
        known_epoch: The highest epoch of the plan that is known; where the fence here is older, nothing is copied.
    """
    configuration = chunking.with_shares(await load_what_is_usable(plan), shares)
    ledger = Ledger("", dict(request.records), held=True)
    async with open_run(configuration, plan) as opened, ProgressArtifact(f"Replicating {request.chunk}") as bar:
        context = replace(opened, known_epoch=known_epoch)
        replication = await chunking.begin_chunk(context, request, TaskSteps(context), ledger, bar.show)
        ended = await to_its_report(run_to_report(replication, run_id=str(flow_run.id), via="prefect"))
    added = {name: record for name, record in ledger.records.items() if record != request.records.get(name)}
    for_parent = chunking.ChunkReport(items=ended.report.items, records=added, took=ledger.took)
    return await finish_replication(ended, chunk_artifact(for_parent))
