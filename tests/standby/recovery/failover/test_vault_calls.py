"""What a failover costs the vault: recovery time is no place for many calls to a storage in another region."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from standby.config.sinks import FileSink
from standby.recovery.context import open_recovery
from standby.recovery.decision.input import FailoverRequest
from standby.recovery.failover.failover import commit, decide_request, fail_over
from standby.recovery.witnesses import settle
from standby.replication.items import Selection
from standby.replication.replicate import begin
from standby.replication.steps import DirectSteps
from standby.vault.storage import Listed
from tests.conftest import SceneMaker, analyzer
from tests.standby.recovery.stages import DirectStages
from tests.standby.vault.world import HandClock, Memory

CALL_SECONDS = 0.02
"""What a call to object storage in the same continent takes."""


class Counting(Memory):
    """Object storage, with leases, that counts its calls by path."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(HandClock(short=0), files=files)
        self.by_path: Counter[str] = Counter()

    async def get(self, path: str) -> bytes | None:
        self.by_path[path] += 1
        return await super().get(path)

    async def put(self, path: str, content: bytes) -> None:
        self.by_path[path] += 1
        await super().put(path, content)

    async def list(self, prefix: str = "") -> tuple[Listed, ...]:
        self.by_path[prefix] += 1
        return await super().list(prefix)

    async def swap(self, path: str, content: bytes, tag: str | None) -> str:
        self.by_path[path] += 1
        return await super().swap(path, content, tag)


@pytest.mark.parametrize(
    ("planned", "at_most"),
    [
        (False, 1.0),
        (True, 1.5),  # It copies twice, and nothing is out of service meanwhile.
    ],
)
async def test_the_vault_takes_little_of_a_failover_at_20_ms_a_call(
    make_scene: SceneMaker, tmp_path: Path, planned: bool, at_most: float
) -> None:
    vault = Counting({})
    async with make_scene([analyzer("invoice"), analyzer("router", "invoice")]) as scene:
        sinks = (FileSink(path=tmp_path / "active.json"),)
        configuration = scene.configuration.model_copy(update={"activation": sinks})
        async with open_recovery(configuration, "p") as opened:
            context = replace(opened, run=replace(opened.run, vault=vault))
            async with begin(context.run, Selection(), DirectSteps(context.run)) as replication:
                await replication.run()
            await commit(context)
            if not planned:
                await scene.control("/outages", {"resource": "east", "kind": "refuse"})
            vault.by_path.clear()
            context = await settle(context)
            request = FailoverRequest(primary="east", to="west", planned=planned)
            decided, _ = await decide_request(context, request)
            report = await fail_over(context, decided, DirectStages())

    assert report.state == "activated", report.problems
    calls = sum(vault.by_path.values())
    assert calls * CALL_SECONDS < at_most, (calls, sorted(vault.by_path.items()))
