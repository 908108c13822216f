"""The last drill of each target: found without a search, and never in the way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from standby.recovery.runs import DrillSummary, LatestDrills
from tests.standby.vault.world import Memory

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def drill(target: str, ended_at: datetime = NOON, **more: object) -> DrillSummary:
    known = {"run_id": "r", "passed": True, "seconds": 30.0, "recovery_seconds": 9.0, "reason": ""}
    return DrillSummary.model_validate({**known, "target": target, "ended_at": ended_at, **more})


async def test_before_the_first_drill_there_is_none() -> None:
    latest = await LatestDrills.read(Memory(), "p")
    assert (latest, latest.newest, latest.at("west")) == (LatestDrills(), None, None)


async def test_the_last_one_of_each_target_is_kept() -> None:
    vault = Memory()
    first, second = drill("west"), drill("west", NOON + timedelta(days=1), passed=False, reason="no")
    other = drill("north", NOON - timedelta(days=1), primary="east")
    for each in (first, second, other):
        await LatestDrills.change(vault, "p", partial(LatestDrills.after, drill=each))
    latest = await LatestDrills.read(vault, "p")
    assert (latest.at("west"), latest.at("north"), latest.newest) == (second, other, second)
    assert set(vault.files) == {"drills/p/latest.json"}


async def test_a_damaged_file_is_warned_of_and_counts_as_none(caplog: pytest.LogCaptureFixture) -> None:
    vault = Memory(files={"drills/p/latest.json": b'{"drills": {"west": {}}}'})
    assert await LatestDrills.read(vault, "p") == LatestDrills()
    assert "drills/p/latest.json cannot be read and counts as missing" in caplog.text
    await LatestDrills.change(vault, "p", lambda known: known.after(drill("west")))
    assert (await LatestDrills.read(vault, "p")).at("west") == drill("west")
