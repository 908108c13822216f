"""The flow, on a real Prefect server, against emulated resources."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prefect import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import Artifact
from pydantic import SecretStr

from standby.config.globs import scope_of
from standby.config.vault import HmacSigning
from standby.fencing import Assignment, hold_fence
from standby.recovery.audit import AuditAction, record_action
from standby.recovery.context import open_recovery
from standby.replication.items import Selection
from standby.replication.ledger import Rebuilt, add_rebuilt
from standby.replication.replicate import open_run, survey
from standby.replication.saved_plan import save_plan
from standby.vault.signing import signer_for
from standby.vault.vault import open_vault

STEPS = ("authorize", "validate-deployments", "copy", "poll", "verify")


async def artifacts_of(flow_run_id: Any) -> dict[str, Artifact]:
    async with get_client() as client:
        found = await client.read_artifacts(
            artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
        )
    return {str(artifact.key): artifact for artifact in found}


async def test_what_is_trained_is_kept_by_tasks_before_what_was_rebuilt_replaces_it(
    make_scene: Any, make_analyzer: Any, run_replicate: Any, task_runs: Any
) -> None:
    labels = {"kind": "labeledData", "containerUrl": "https://x.blob.core.windows.net/l", "fileListPath": "f"}
    async with make_scene([make_analyzer("taught", knowledgeSources=[labels])], targets=("west",)) as scene:
        await run_replicate(scene.configuration)
        async with open_run(scene.configuration, "p") as context:
            there = await context.connections["east"].get_analyzer("taught")
            entry = Rebuilt(
                analyzer="taught",
                created_at=there.created_at,
                fingerprint="",
                fidelity="unfaithful",
                trained=True,
                origin="east",
                original="taught",
                plan="p",
            )
            await add_rebuilt(context.vault, "east", [entry])
        await scene.control("/edit", {"resource": "east", "analyzer": "taught", "changes": {"description": "new"}})
        refused = await run_replicate(scene.configuration, on_existing="replace")
        forced = await run_replicate(scene.configuration, on_existing="replace", force=["taught"])
        runs = await task_runs(forced.state_details.flow_run_id, 2 * len(STEPS))
        async with get_client() as client:
            tags = (await client.read_flow_run(forced.state_details.flow_run_id)).tags
        assert tags == ["plan:p"]
        copies = (await scene.stats("west"))["copies_accepted"]
    assert refused.name == "PartiallyFailed", refused.message
    assert forced.name == "Completed", forced.message
    [kept] = copies.keys() - {"taught"}
    assert copies == {"taught": 2, kept: 1}
    assert kept.startswith("taught_kept_")
    assert [run.name for run in runs if run.name.endswith("copy")] == ["taught → west: copy"] * 2


@pytest.mark.parametrize("api_version", ["2025-11-01", "2025-05-01-preview"])
async def test_analyzers_are_copied_by_tasks_children_first(
    make_scene: Any, make_analyzer: Any, run_replicate: Any, task_runs: Any, api_version: str
) -> None:
    analyzers = [make_analyzer("mailroom", "invoice"), make_analyzer("invoice"), make_analyzer("alone")]
    async with make_scene(analyzers, api_version=api_version) as scene:
        state = await run_replicate(scene.configuration)
        assert state.name == "Completed", state.message
        runs = await task_runs(state.state_details.flow_run_id, 6 * len(STEPS))
        for target in ("west", "north"):
            stats = await scene.stats(target)
            assert stats["copies_accepted"] == {"alone": 1, "invoice": 1, "mailroom": 1}
    names = {run.name: run for run in runs}
    assert len(names) == 6 * len(STEPS)
    for target in ("west", "north"):
        expected = {
            f"invoice → {target}: authorize",
            f"invoice → {target}: validate-deployments",
            f"invoice → {target}: copy",
            f"invoice → {target}: poll",
            f"invoice → {target}: verify",
        }
        assert expected <= names.keys()
        verified = names[f"invoice → {target}: verify"].end_time
        parent = names[f"mailroom → {target}: authorize"].start_time
        assert verified is not None
        assert parent is not None
        assert verified <= parent


async def test_a_run_leaves_a_table_a_progress_bar_and_an_event(
    make_scene: Any, make_analyzer: Any, run_replicate: Any, events: Any, until: Any
) -> None:
    async with make_scene([make_analyzer("invoice")], targets=("west",)) as scene:
        state = await run_replicate(scene.configuration)
    found = await artifacts_of(state.state_details.flow_run_id)
    assert found["replication-report"].type == "table"
    assert '"invoice"' in str(found["replication-report"].data)
    assert found["replication"].data == 100.0
    run_id = str(state.state_details.flow_run_id)

    async def recorded() -> list[Any]:
        found = await events("standby.replication.completed")
        return [event for event in found if event["payload"]["run_id"] == run_id]

    (event,) = await until(recorded)
    assert event["resource"]["prefect.resource.id"] == "standby.plan.p"
    assert event["payload"]["totals"]["succeeded"] == 1


async def test_a_second_run_skips_everything_and_says_so_in_its_state(
    make_scene: Any, make_analyzer: Any, run_replicate: Any
) -> None:
    async with make_scene([make_analyzer("invoice")], targets=("west",)) as scene:
        await run_replicate(scene.configuration)
        state = await run_replicate(scene.configuration)
        stats = await scene.stats("west")
    assert (state.name, state.is_completed()) == ("CompletedWithSkips", True)
    assert stats["copies_accepted"] == {"invoice": 1}


async def test_one_failing_analyzer_stops_only_its_parents(
    make_scene: Any, make_analyzer: Any, run_replicate: Any
) -> None:
    analyzers = [make_analyzer("router", "bad"), make_analyzer("bad"), make_analyzer("good")]
    fault = {
        "resource": "west",
        "call": "copy",
        "analyzer": "bad",
        "fault": {"kind": "operation_fails", "code": "InternalServerError", "message": "It broke."},
    }
    async with make_scene(analyzers, targets=("west",), faults=(fault,)) as scene:
        state = await run_replicate(scene.configuration)
        report = await state.aresult(raise_on_failure=False)
    assert (state.name, state.is_failed()) == ("PartiallyFailed", True)
    ends = {item["analyzer"]: (item["status"], item["reason"]) for item in report["items"]}
    assert ends["good"] == ("succeeded", "")
    assert ends["bad"][0] == "failed"
    assert "It broke" in ends["bad"][1]
    assert ends["router"][0] == "blocked"
    assert "bad" in ends["router"][1]


async def test_a_dry_run_shows_the_plan_and_changes_nothing(
    make_scene: Any, make_analyzer: Any, run_replicate: Any
) -> None:
    async with make_scene([make_analyzer("invoice")], targets=("west",)) as scene:
        state = await run_replicate(scene.configuration, dry_run=True)
        stats = await scene.stats("west")
    assert state.is_completed()
    assert stats["copies_accepted"] == {}
    found = await artifacts_of(state.state_details.flow_run_id)
    assert '"copy"' in str(found["replication-plan"].data)


async def test_only_the_selected_analyzers_and_targets_are_copied(
    make_scene: Any, make_analyzer: Any, run_replicate: Any
) -> None:
    async with make_scene([make_analyzer("invoice"), make_analyzer("receipt")]) as scene:
        state = await run_replicate(scene.configuration, analyzers=["inv*"], targets=["north"])
        assert (await scene.stats("north"))["copies_accepted"] == {"invoice": 1}
        assert (await scene.stats("west"))["copies_accepted"] == {}
    assert state.name == "Completed"


async def test_a_step_is_retried_as_the_plan_says(
    make_scene: Any, make_analyzer: Any, run_replicate: Any, task_runs: Any
) -> None:
    # Four answers use up the client's own attempts; the fifth comes from the task's retry.
    fault = {"resource": "east", "call": "authorize", "times": 5, "fault": {"kind": "status", "status": 503}}
    retries = {"authorize": {"attempts": 3, "delays": [0.05], "jitter": 0}}
    async with make_scene([make_analyzer("invoice")], targets=("west",), faults=(fault,), retries=retries) as scene:
        state = await run_replicate(scene.configuration)
    assert state.name == "Completed", state.message
    runs = await task_runs(state.state_details.flow_run_id, len(STEPS))
    counts = {run.name.rpartition(" ")[2]: run.run_count for run in runs}
    assert counts == {"authorize": 2, "validate-deployments": 1, "copy": 1, "poll": 1, "verify": 1}


async def test_a_lost_answer_to_a_copy_is_settled_by_looking_at_the_target(
    make_scene: Any, make_analyzer: Any, run_replicate: Any
) -> None:
    fault = {"resource": "west", "call": "copy", "fault": {"kind": "drop", "process": True}}
    async with make_scene([make_analyzer("invoice")], targets=("west",), faults=(fault,)) as scene:
        state = await run_replicate(scene.configuration)
        assert (await scene.stats("west"))["copies_accepted"] == {"invoice": 1}
    assert state.name == "Completed", state.message


async def test_a_source_that_does_not_answer_fails_the_run_in_one_sentence(
    make_scene: Any, make_analyzer: Any, run_replicate: Any
) -> None:
    async with make_scene([make_analyzer("invoice")], targets=("west",)) as scene:
        await scene.control("/outages", {"resource": "east", "kind": "refuse"})
        state = await run_replicate(scene.configuration)
    assert state.is_failed()
    assert "NotConnected: No connection to east" in str(state.message)
    assert "fail over" in str(state.message)


async def test_a_saved_plan_is_applied_as_it_was_signed_or_refused(
    make_scene: Any, make_analyzer: Any, run_replicate: Any, tmp_path: Path
) -> None:
    file = tmp_path / "plan.json"
    signing = HmacSigning(key=SecretStr("a shared secret of many letters"))
    async with make_scene([make_analyzer("invoice")], targets=("west",)) as scene:
        vault = scene.configuration.vault.model_copy(update={"signing": signing})
        configuration = scene.configuration.model_copy(update={"vault": vault})
        async with open_run(configuration, "p") as context:
            save_plan(file, await survey(context, Selection()), Selection(), signer_for(signing))
        whole = file.read_text(encoding="utf-8")

        file.write_text(whole.replace('"on_existing": "refuse"', '"on_existing": "replace"'), encoding="utf-8")
        state = await run_replicate(configuration, apply=str(file))
        assert (state.name, state.is_failed()) == ("Refused", True)
        assert "was edited after it was saved" in str(state.message)
        assert (await scene.stats("west"))["copies_accepted"] == {}

        file.write_text(whole, encoding="utf-8")
        state = await run_replicate(configuration, apply=str(file))
        assert state.name == "Completed", state.message
        assert (await scene.stats("west"))["copies_accepted"] == {"invoice": 1}


async def test_while_the_other_side_serves_the_run_is_refused_and_says_so_in_its_state(
    make_scene: Any, make_analyzer: Any, run_replicate: Any
) -> None:
    async with make_scene([make_analyzer("invoice")], targets=("west",)) as scene:
        async with open_recovery(scene.configuration, "p") as context, hold_fence(context.vault, context.plan) as held:
            switched = Assignment(active="west", since=datetime.now(UTC))
            await held.write(held.fence.model_copy(update={"epoch": 1, "assignments": {"east": switched}}))
            await record_action(context, AuditAction.ACTIVATED, {"home": "east", "to": "west"}, epoch=1)
        state = await run_replicate(scene.configuration)
        assert (state.name, state.is_failed()) == ("Refused", True)
        assert "has failed over to west (epoch 1)" in str(state.message)
        assert (await scene.stats("west"))["copies_accepted"] == {}


async def test_the_flow_knows_what_serves_for_a_plan_that_it_was_not_given(
    make_scene: Any, make_analyzer: Any, run_replicate: Any
) -> None:
    async with make_scene([make_analyzer("invoice"), make_analyzer("receipt")], targets=("west",)) as scene:
        other = scene.configuration.plan("p").model_copy(update={"name": "other"})
        async with open_vault(scene.configuration.vault) as vault, hold_fence(vault, other) as held:
            scope = scope_of(other, {"west": {"invoice": "invoice"}}).model_copy(update={"open": False})
            switched = Assignment(active="west", since=datetime.now(UTC), scope=scope)
            await held.write(held.fence.model_copy(update={"epoch": 1, "assignments": {"east": switched}}))
        state = await run_replicate(scene.configuration)
        assert state.is_failed()
        assert (await scene.stats("west"))["copies_accepted"] == {"receipt": 1}
        state = await run_replicate(scene.configuration, analyzers=["invoice"])
        assert (state.name, state.is_failed()) == ("Refused", True)
        assert "west serves for east in plan other (epoch 1)" in str(state.message)
