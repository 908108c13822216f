"""The flow with its vault in a Prefect block."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from prefect.filesystems import RemoteFileSystem

from flows.failover import failover
from flows.orchestrator import WRITTEN, Prefect
from standby.config.vault import SecondStore, VaultSettings
from standby.recovery.decision.automation import Automation
from tests.conftest import Scene

BLOCK = "remote-file-system/flow-vault"


def with_block(scene: Scene) -> Any:
    return scene.configuration.model_copy(update={"vault": VaultSettings(block=BLOCK)})


async def test_ledger_and_what_is_replaced_are_kept_in_the_block(
    make_scene: Any, make_analyzer: Any, run_replicate: Any
) -> None:
    block = RemoteFileSystem(basepath="memory://flow-vault")
    await block.asave("flow-vault", overwrite=True)
    async with make_scene([make_analyzer("invoice")], targets=("west",)) as scene:
        configuration = with_block(scene)
        state = await run_replicate(configuration)
        assert state.name == "Completed", state.message
        ledger = await block.aread_path("ledger/2025-11-01/east_west.jsonl")
        assert [json.loads(line)["analyzer"] for line in ledger.splitlines()] == ["invoice"]
        assert json.loads(await block.aread_path("ledger/2025-11-01/east_west.jsonl.lock"))["owner"] == ""

        change = {"resource": "east", "analyzer": "invoice", "changes": {"description": "edited"}}
        await scene.control("/edit", change)
        state = await run_replicate(configuration, on_existing="replace")
        report = await state.aresult()
    (item,) = report["items"]
    assert (item["verdict"], item["status"]) == ("source_ahead", "succeeded")
    (kept,) = [warning for warning in item["warnings"] if "is saved in" in warning]
    path = kept.removeprefix("The analyzer invoice that west had before is saved in ").removesuffix(
        f" in the block {BLOCK}."
    )
    assert json.loads(await block.aread_path(path))["description"] == "Reads invoice"


async def test_a_vault_block_that_is_not_there_fails_the_run_before_anything_is_done(
    make_scene: Any, make_analyzer: Any, run_replicate: Any
) -> None:
    vault = VaultSettings(block="remote-file-system/nobody-saved-it")
    async with make_scene([make_analyzer("invoice")], targets=("west",)) as scene:
        state = await run_replicate(scene.configuration.model_copy(update={"vault": vault}))
        stats = await scene.stats("west")
    assert state.is_failed()
    assert "is not on the Prefect server" in str(state.message)
    assert stats["copies_accepted"] == {}


async def test_doctor_can_have_prefect_try_a_vault_and_its_second_store(
    make_scene: Any, prefect_server: Any, tmp_path: Path
) -> None:
    block = RemoteFileSystem(basepath="memory://doctor-vault")
    await block.asave("doctor-vault", overwrite=True)
    second = SecondStore(path=tmp_path / "second")
    async with make_scene([], targets=("west",)) as scene:
        vault = VaultSettings(block="remote-file-system/doctor-vault", second=second)
        tried = await Prefect().vault(scene.configuration.model_copy(update={"vault": vault}))
        missing = VaultSettings(path=tmp_path, second=SecondStore(block="remote-file-system/not-there"))
        refused = await Prefect().vault(scene.configuration.model_copy(update={"vault": missing}))
    assert tried.well, tried
    assert await block.aread_path(WRITTEN) == (tmp_path / "second" / WRITTEN).read_bytes()
    assert not refused.well
    assert "remote-file-system/not-there is not on the Prefect server" in refused.detail
    assert refused.next_action.startswith("Save a file system block")


async def test_the_off_switch_of_flows_is_in_the_block_and_stops_what_an_outage_starts(
    make_scene: Any, make_analyzer: Any, prefect_server: Any
) -> None:
    block = RemoteFileSystem(basepath="memory://switch-vault")
    await block.asave("switch-vault", overwrite=True)
    vault = VaultSettings(block="remote-file-system/switch-vault")
    policy = {"automatic": True, "probe_every": "1s"}
    async with make_scene([make_analyzer("invoice")], targets=("west",), failover=policy) as scene:
        configuration = scene.configuration.model_copy(update={"vault": vault})

        async def switch(**parameters: Any) -> Automation:
            told = await Prefect().recover(configuration, "p", "automation", parameters)
            return Automation.model_validate(told)

        untouched = await switch()
        off = await switch(on=False, reason="maintenance")
        shown = await switch()
        await scene.control("/outages", {"resource": "east", "kind": "refuse"})
        outage = await failover(plan="p", outage_of="east", return_state=True)
        on = await switch(on=True)
    log = (await block.aread_path("audit/p.jsonl")).decode()
    assert (untouched.on, untouched.changed_at) == (True, None)
    assert (off.on, off.reason, shown) == (False, "maintenance", off)
    assert outage.name == "NotNeeded"
    assert "off-switch: automation was switched off" in str(outage.message)
    assert on.on
    assert log.count('"automation.switched"') == 2
