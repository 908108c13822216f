"""The flow with its vault in a Prefect block."""

from __future__ import annotations

import json
from typing import Any

from prefect.filesystems import RemoteFileSystem

from standby.config.vault import VaultSettings
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
    (kept,) = [warning for warning in item["warnings"] if "is kept in" in warning]
    path = kept.removeprefix("What west had as invoice is kept in ").removesuffix(f" in the block {BLOCK}.")
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
