"""How long an outage lasts at default settings, from the loss of the region until every application has the new map."""

from __future__ import annotations

import asyncio
import random
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from standby.config.plan import FailoverPolicy
from tests.conftest import NewDatabase
from tests.flows.receiver import receiving
from tests.flows.test_outage import activation, configured, served_by, set_up

KINDS = ("refuse", "hang", "unavailable")
"""How a region is lost, in turn: the connection is refused, nothing answers, 503."""

ONE_OF_EACH = range(len(KINDS))
TWENTY = range(20)
WORST = 100.0
"""Seconds from the loss to the last sink that no outage may take on a quiet machine with two cores."""


@pytest.mark.cluster
@pytest.mark.parametrize("number", TWENTY)
async def test_an_outage_at_default_settings_is_over_within_a_hundred_seconds(
    make_scene: Any,
    make_analyzer: Any,
    new_database: NewDatabase,
    tmp_path: Path,
    chaos: bool,
    capsys: pytest.CaptureFixture[str],
    number: int,
) -> None:
    if number not in ONE_OF_EACH and not chaos:
        pytest.skip("all twenty of them take fifty minutes")
    kind = KINDS[number % len(KINDS)]
    # Lost at any moment between two probes of the watch.
    wait = random.Random(number).uniform(0.0, FailoverPolicy().probe_every.total_seconds())
    analyzers = [make_analyzer(f"analyzer-{place}") for place in range(10)]
    with receiving() as application:
        async with (
            make_scene(analyzers, targets=("west", "north"), failover={"automatic": True}) as scene,
            set_up(scene, configured(scene, application, tmp_path), tmp_path, new_database),
        ):
            await asyncio.sleep(wait)
            lost_at = datetime.now(UTC)
            await scene.control("/outages", {"resource": "east", "kind": kind})
            await served_by("west", tmp_path / "active.json")
            lasted = (datetime.now(UTC) - lost_at).total_seconds()
            measured = await activation()
    with capsys.disabled():
        sys.stdout.write(f"{kind}: served again after {lasted:.0f} s; {measured}\n")
    assert lasted <= WORST
