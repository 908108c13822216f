"""Killed between any two steps and started again, a run ends as if nothing had happened."""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
from itertools import count
from typing import Any

from standby.config.configuration import Configuration
from standby.replication.items import Selection
from standby.replication.replicate import open_run, survey
from standby.replication.verdict import Verdict
from tests.standby.replication import crashing

NEVER = 1_000_000

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload([crashing.__name__])


async def run_killed_at(configuration: Configuration, boundary: int) -> int | None:
    """Run in a process of its own; its exit code comes back."""
    process = processes.Process(target=crashing.replicate, args=(configuration, boundary))
    process.start()
    await asyncio.to_thread(process.join, 60)
    return process.exitcode


async def verdicts(configuration: Configuration) -> set[Verdict]:
    async with open_run(configuration, "p") as context:
        return {item.verdict for item in (await survey(context, Selection())).items}


async def test_a_run_that_is_killed_at_any_boundary_between_steps_is_made_good_by_the_next(
    make_scene: Any, make_analyzer: Any, tmp_path: Any, chaos: bool
) -> None:
    # Before and after each of five steps, of three copies. Seven apart, no two deaths come at the same step.
    boundaries = 2 * 5 * 3
    apart = 1 if chaos else 7
    for boundary in count(step=apart):
        analyzers = [make_analyzer("router", "invoice"), make_analyzer("invoice"), make_analyzer("edited")]
        async with make_scene(analyzers, targets=("west",), service_time=0.02) as scene:
            vault = scene.configuration.vault.model_copy(update={"path": tmp_path / str(boundary)})
            configuration = scene.configuration.model_copy(update={"vault": vault})
            only_edited = configuration.plan("p").model_copy(update={"include": ("edited",)})
            first = configuration.model_copy(update={"plans": {"p": only_edited}})
            assert await run_killed_at(first, NEVER) == 0
            await scene.control("/edit", {"resource": "east", "analyzer": "edited", "changes": {"description": "new"}})
            ended = await run_killed_at(configuration, boundary)
            assert await run_killed_at(configuration, NEVER) == 0
            assert await verdicts(configuration) == {Verdict.IN_SYNC}
            # The edited one was copied once before; everything else is copied exactly once.
            assert (await scene.stats("west"))["copies_accepted"] == {"edited": 2, "invoice": 1, "router": 1}
            if ended == 0:
                break
            assert ended == -signal.SIGKILL
    assert boundaries <= boundary < boundaries + apart
