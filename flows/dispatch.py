"""Sends chunks to the workers of a work pool, and follows each until its end is known."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
from prefect.artifacts import Artifact
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas import filters, sorting
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, StateType
from prefect.client.schemas.objects import Artifact as Kept
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Cancelling, Crashed
from pydantic import ValidationError

from standby.config.errors import summary
from standby.flows.errors import NoChunkDeployment
from standby.flows.run import PROGRESS
from standby.replication.chunks import Chunk, ChunkReport, ChunkState, NextStep, next_step
from standby.replication.items import PlanItem, Progress, Status, count
from standby.replication.ledger import Ledger
from standby.replication.report import ReportItem, end_of

WARN_AFTER = 60.0  # Seconds in which no worker took a chunk, after which the run warns
UNSEEN_AFTER = 900.0  # Seconds without an answer from the Prefect server after which a chunk's end is unknown

STATES = {
    **dict.fromkeys(TERMINAL_STATES, ChunkState.ENDED),
    StateType.SCHEDULED: ChunkState.QUEUED,
    StateType.CANCELLING: ChunkState.CANCELLING,
    StateType.CRASHED: ChunkState.CRASHED,
}


def chunk_state(state: StateType) -> ChunkState:
    """Say how a flow run in some state looks to the run that sent it."""
    return STATES.get(state, ChunkState.RUNNING)


log = logging.getLogger("standby.flows")

KEY = "replication-chunk"


def chunk_artifact(report: ChunkReport) -> Artifact:
    # Prefect writes the data as JSON text.
    data = report.model_dump(mode="json")
    return Artifact(type="json", key=KEY, description="For the run that sent this chunk.", data=data)


async def _newest(client: PrefectClient, flow_run_id: UUID, key: str) -> Kept | None:
    wanted = filters.ArtifactFilter.model_validate({"flow_run_id": {"any_": [flow_run_id]}, "key": {"any_": [key]}})
    kept = await client.read_artifacts(artifact_filter=wanted, sort=sorting.ArtifactSort.CREATED_DESC, limit=1)
    return kept[0] if kept else None


DEPLOYMENT = "replicate-chunk/worker"
NOT_TWICE = "no analyzer is copied twice."
ATTEMPTS = 3  # How often a chunk is sent, when its flow run crashes or is lost with its worker

# Seconds between two checks of a flow run: they grow while nothing happens.
FIRST_WAIT = 1.0
LONGEST_WAIT = 5.0
GROWTH = 1.3
STOPPING = 20.0  # Seconds in which a cancelled chunk should end: a worker kills a cancelled parent after 30


@dataclass
class Dispatch:
    """What the chunks of one run have in common; `run` names this try of the parent, so that sending is idempotent."""

    client: PrefectClient
    run: str
    deployment: str = DEPLOYMENT
    _moved: float = field(default_factory=time.monotonic)
    _warned: bool = False

    async def must_be_deployed(self) -> None:
        try:
            await self.client.read_deployment_by_name(self.deployment)
        except ObjectNotFound:
            raise NoChunkDeployment(self.deployment) from None

    @property
    def idle(self) -> float:
        return time.monotonic() - self._moved

    def note_move(self) -> None:
        self._moved = time.monotonic()
        self._warned = False

    def warn_if_untaken(self) -> None:
        if self.idle >= WARN_AFTER and not self._warned:
            self._warned = True
            get_run_logger().warning(
                "No worker has taken a chunk for %.0f s. Start one with: prefect worker start --pool standby", self.idle
            )


@dataclass
class SentChunk:
    """One chunk, done by a flow run of its own and sent again when that is lost; only the parent writes the ledger."""

    number: int
    name: str
    chunk: Chunk
    items: tuple[PlanItem, ...]
    parameters: Mapping[str, Any]
    ledger: Ledger
    on_progress: Callable[[Progress], None]
    _dispatch: Dispatch = field(init=False)
    _report: ChunkReport | None = None
    _otherwise: str = "Interrupted before it was sent to a worker. Run again."

    def results(self) -> tuple[ReportItem, ...]:
        """Give the end of each item; true at any moment. What the chunk's run decided counts."""
        reported = {item.analyzer: item for item in self._report.items} if self._report else {}
        ends = ((item, reported.get(item.analyzer)) for item in self.items)
        return tuple(end or end_of(item, Status.FAILED, self._otherwise) for item, end in ends)

    async def run(self, dispatch: Dispatch) -> None:
        """Send the chunk and wait for its end; only a cancellation raises."""
        self._dispatch = dispatch
        self.on_progress(Progress(len(self.items), len(self.items), ()))
        try:
            await self._send_until_it_ends()
        finally:
            ended = tuple(count(self.results()).items())
            self.on_progress(Progress(len(self.items), 0, ended))

    async def _send_until_it_ends(self) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                sent = await self._send(attempt)
                step = await self._follow(sent)
            except (httpx.HTTPError, PrefectException) as error:
                failed = f"The Prefect server did not respond while chunk {self.number} was under way"
                self._otherwise = f"{failed} ({type(error).__name__}). Run again: {NOT_TWICE}"
                return
            if step is not NextStep.SEND_AGAIN:
                return
            get_run_logger().warning(
                "Chunk %d (%s) was lost: flow run %s crashed or its worker is gone (%d of %d tries)",
                *(self.number, self.chunk, sent.name, attempt, ATTEMPTS),
            )
        lost = f"Chunk {self.number} was lost {ATTEMPTS} times, last with flow run {_named(sent)}"
        self._otherwise = f"{lost}. See why in the Prefect UI, then run again: {NOT_TWICE}"

    async def _send(self, attempt: int) -> FlowRun:
        again = f"-try-{attempt}" if attempt > 1 else ""
        sending = asyncio.create_task(
            arun_deployment(
                self._dispatch.deployment,
                parameters=dict(self.parameters),
                flow_run_name=f"{self.name}{again}",
                timeout=0,
                as_subflow=True,
                idempotency_key=f"{self._dispatch.run}-{self.number}-{attempt}",
            )
        )
        try:
            return await asyncio.shield(sending)
        except asyncio.CancelledError:
            # The server may have the flow run already: it must not stay there.
            await self._stop(await sending)
            raise

    async def _follow(self, sent: FlowRun) -> NextStep:
        self._otherwise = f"Interrupted while flow run {_named(sent)} was copying it. Run again: {NOT_TWICE}"
        try:
            step = await self._until_its_end(sent.id)
        except asyncio.CancelledError:
            await self._stop(sent)
            raise
        client = self._dispatch.client
        if step is NextStep.SEND_AGAIN:
            # If it is still alive, it sees this state and stops.
            message = "It gave no heartbeat. The run that sent it sends its chunk again."
            await client.set_flow_run_state(sent.id, Crashed(message=message), force=True)
        elif step is NextStep.GIVE_UP:
            start = "Start one with prefect worker start --pool standby, then run again."
            self._otherwise = f"No worker took flow run {_named(sent)}. {start}"
            await client.set_flow_run_state(sent.id, Cancelled(message="No worker took it."), force=True)
        else:
            await self._read(sent)
        return step

    async def _until_its_end(self, flow_run_id: UUID) -> NextStep:
        last: tuple[ChunkState, object] | None = None
        since = seen = time.monotonic()
        wait = FIRST_WAIT
        while True:
            try:
                state, beat = await self._look(flow_run_id)
            except httpx.HTTPError:
                # While the server is away no heartbeat can arrive either.
                since = time.monotonic()
                if since - seen >= UNSEEN_AFTER:
                    return NextStep.GIVE_UP
            else:
                seen = time.monotonic()
                if (state, beat) != last:
                    last, since = (state, beat), seen
                    if state is not ChunkState.QUEUED:
                        self._dispatch.note_move()
                        wait = FIRST_WAIT
                if state is ChunkState.QUEUED:
                    self._dispatch.warn_if_untaken()
                step = next_step(state, quiet=seen - since, idle=self._dispatch.idle)
                if step is not NextStep.WAIT:
                    return step
            await asyncio.sleep(wait)
            wait = min(wait * GROWTH, LONGEST_WAIT)

    async def _look(self, flow_run_id: UUID) -> tuple[ChunkState, object]:
        """Say how a flow run looks now, with another value each time it has given a sign of life."""
        client = self._dispatch.client
        try:
            state = (await client.read_flow_run(flow_run_id)).state
        except ObjectNotFound:
            return ChunkState.ENDED, None  # Somebody deleted it.
        progress = await _newest(client, flow_run_id, PROGRESS)
        return chunk_state(state.type if state else StateType.PENDING), progress and progress.updated

    async def _read(self, sent: FlowRun) -> None:
        """Read the report of a flow run, and record its copies in the ledger."""
        found = await _newest(self._dispatch.client, sent.id, KEY)
        try:
            report = ChunkReport.model_validate_json(str(found.data)) if found else None
        except ValidationError as error:
            log.warning("the report of flow run %s is not of this version: %s", sent.id, summary(error))
            report = None
        if report is not None:
            self._report = report
            self.ledger.took.update(report.took)
            self.ledger.record(report.records)
        state = (await self._dispatch.client.read_flow_run(sent.id)).state
        end = f"ended as {state.name}: {state.message or 'it left no message'}" if state else "has no state"
        unsaid = f"Flow run {_named(sent)} {end} and did not report on this analyzer"
        self._otherwise = f"{unsaid}. See its log in the Prefect UI, then run again."

    async def _stop(self, sent: FlowRun) -> None:
        """Cancel a flow run and read its report, in a limited time: a run that is cancelled must end soon."""
        client = self._dispatch.client
        try:
            async with asyncio.timeout(STOPPING):
                await client.set_flow_run_state(sent.id, Cancelling(message="The run that sent it was cancelled."))
                while True:
                    state = (await client.read_flow_run(sent.id)).state
                    if state is None or state.is_final():
                        break
                    await asyncio.sleep(FIRST_WAIT)
            await self._read(sent)
        except (TimeoutError, httpx.HTTPError, PrefectException):
            late = f"Interrupted, and flow run {_named(sent)} did not end in time"
            self._otherwise = f"{late}. Check it in the Prefect UI, then run again: {NOT_TWICE}"


def _named(sent: FlowRun) -> str:
    return f"{sent.name} ({sent.id})"
