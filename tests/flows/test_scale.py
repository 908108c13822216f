"""Many analyzers and two targets in one flow run: three hundred in `make chaos`, else sixty."""

from __future__ import annotations

import random
from typing import Any

from standby.replication.items import Selection
from standby.replication.replicate import begin, open_run
from standby.replication.report import Report
from standby.replication.steps import DirectSteps

STEPS = 5
LIMIT = 10


def family(make_analyzer: Any, size: int) -> list[dict[str, Any]]:
    """Analyzers of which every fifth routes to some that come before it."""
    chance = random.Random(300)
    names = [f"analyzer-{number:03}" for number in range(size)]
    return [
        make_analyzer(name, *(chance.sample(names[:number], 3) if number and number % 5 == 0 else ()))
        for number, name in enumerate(names)
    ]


def told(report: Report) -> list[tuple[Any, ...]]:
    """What two runs of the same work must have in common."""
    return [tuple(item.model_dump(exclude={"seconds", "operation_id"}).values()) for item in report.items]


async def run_directly(scene: Any) -> Report:
    async with (
        open_run(scene.configuration, "p") as context,
        begin(context, Selection(), DirectSteps(context)) as replication,
    ):
        await replication.run()
        return replication.report(run_id="direct", via="direct")


async def test_every_task_run_is_recorded_and_no_limit_is_exceeded(
    make_scene: Any, make_analyzer: Any, run_replicate: Any, task_runs: Any, tmp_path: Any, chaos: bool
) -> None:
    size = 300 if chaos else 60
    analyzers = family(make_analyzer, size)
    async with make_scene(analyzers) as scene:
        state = await run_replicate(scene.configuration)
        report = Report.model_validate(await state.aresult(raise_on_failure=False))
        for target in ("west", "north"):
            stats = await scene.stats(target)
            assert stats["copies_accepted"] == {entry["analyzerId"]: 1 for entry in analyzers}
            assert 1 < stats["max_copies_in_flight"] <= LIMIT
            assert stats["most_operations_in_a_minute"] <= 3000
            assert "429" not in stats["statuses"]
    runs = await task_runs(state.state_details.flow_run_id, 2 * size * STEPS)
    assert len(runs) == 2 * size * STEPS
    assert {run.state_name for run in runs} == {"Completed"}
    async with make_scene(analyzers) as scene:
        vault = scene.configuration.vault.model_copy(update={"path": tmp_path / "another"})
        directly = await run_directly(
            type(scene)(scene.emulator, scene.configuration.model_copy(update={"vault": vault}))
        )
    assert told(directly) == told(report)
