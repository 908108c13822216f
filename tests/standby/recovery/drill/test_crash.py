"""Killed anywhere, a drill leaves nothing that the next clean-up does not find and remove."""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
from itertools import count
from typing import Any

from standby.config.configuration import Configuration
from standby.fencing import read_fence
from standby.recovery.audit import AuditAction, verify_audit
from standby.recovery.context import RecoveryContext, open_recovery
from standby.recovery.drill.cleanup import clean_up
from standby.recovery.snapshots.take import take_snapshot
from tests.standby.recovery.drill import dying
from tests.standby.recovery.stages import DirectStages

NEVER = 1_000_000

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload([dying.__name__])


def started(configuration: Configuration, run_id: str, boundary: int) -> Any:
    process = processes.Process(target=dying.run_drill, args=(configuration, run_id, boundary))
    process.start()
    return process


async def ended(process: Any) -> int | None:
    await asyncio.to_thread(process.join, 60)
    code: int | None = process.exitcode
    return code


async def ids(context: RecoveryContext) -> set[str]:
    listed = await context.connections["west"].list_analyzers()
    return {found.analyzer_id for found in listed if not found.analyzer_id.startswith("prebuilt-")}


async def test_killed_at_any_boundary_between_phases_the_next_clean_up_proves_it_empty(
    make_scene: Any, make_analyzer: Any, chaos: bool
) -> None:
    apart = 1 if chaos else 4
    analyzers = [make_analyzer("router", "invoice"), make_analyzer("invoice")]
    async with (
        make_scene(analyzers, targets=("west",), service_time=0.01) as scene,
        open_recovery(scene.configuration, "p") as context,
    ):
        await take_snapshot(context)
        await scene.control("/outages", {"resource": "east", "kind": "refuse"})
        left = 0
        for boundary in count(step=apart):
            code = await ended(started(scene.configuration, f"run{boundary}", boundary))
            left += bool(await ids(context))
            told = await clean_up(context, DirectStages())
            assert told.complete
            assert await ids(context) == set()
            if code == 0:
                assert told.drills == ()
                break
            assert code == -signal.SIGKILL
            (drill,) = told.drills
            assert drill.run_id == f"run{boundary}"
        # It died often enough while its analyzers were there.
        assert boundary > 10
        assert left > 5 // apart
        check = await verify_audit(context.vault, "p", None)
        assert check.problems == ()
        deeds = [line.action for line in check.lines]
        assert deeds.count(AuditAction.DRILL_BEGUN) == deeds.count(AuditAction.DRILL_ENDED) == boundary // apart + 1
        assert (await read_fence(context.vault, context.plan)).epoch == 0


async def test_killed_in_the_middle_of_its_builds_the_next_clean_up_removes_them(
    make_scene: Any, make_analyzer: Any
) -> None:
    analyzers = [make_analyzer("router", "invoice"), make_analyzer("invoice"), make_analyzer("contract")]
    async with (
        make_scene(analyzers, targets=("west",), service_time=2.0) as scene,
        open_recovery(scene.configuration, "p", run_id="second") as context,
    ):
        await take_snapshot(context)
        process = started(scene.configuration, "first", NEVER)
        while not (await scene.stats("west"))["calls"].get("put", 0):
            await asyncio.sleep(0.02)
        process.kill()
        assert await ended(process) == -signal.SIGKILL
        await scene.control("/settings", {"service_time": 0.01})

        told = await clean_up(context, DirectStages())

        (drill,) = told.drills
        assert drill.cleanup.proven
        assert {"drill-first-invoice", "drill-first-contract"} >= set(drill.cleanup.deleted) > set()
        assert await ids(context) == set()
