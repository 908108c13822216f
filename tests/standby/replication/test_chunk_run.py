"""A chunk that was sent before a switch, and is begun after it."""

from __future__ import annotations

import pytest

from standby.fencing import Fenced
from standby.replication.chunks import Chunk, ChunkCopyLog, ChunkRequest, begin_chunk
from standby.replication.steps import DirectSteps
from tests.standby.recovery.failback.world import World


async def test_a_chunk_that_outlived_its_sender_writes_nothing_over_the_side_that_serves() -> None:
    world = World()
    world.create("east", "invoice")
    request = ChunkRequest(Chunk("east", "west", ("invoice",)), on_existing="replace", force=("invoice",))
    async with world.context() as context:
        await begin_chunk(context.run, request, DirectSteps(context.run), ChunkCopyLog({}), lambda _: None)
        await world.serve_at("west")
        with pytest.raises(Fenced, match="failed over to west"):
            await begin_chunk(context.run, request, DirectSteps(context.run), ChunkCopyLog({}), lambda _: None)
