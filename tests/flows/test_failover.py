"""The failover flow on a real Prefect server: orders, outages, approvals."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect import get_client
from prefect.client.base import PrefectHttpxAsyncClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.variables import Variable

from standby.config.plan import RecoveryPlan
from standby.config.sinks import FileSink, VariableSink
from standby.errors import GuardRefused
from standby.flows.bootstrap import save_what_runs_need
from standby.flows.commit import commit
from standby.flows.drill import drill
from standby.flows.events import ACTIVATED, COMMITTED, DRILLED, FAILED_BACK, PROPOSED, REFUSED, ROLLED_BACK, WAITING
from standby.flows.failback import failback
from standby.flows.failover import failover
from standby.flows.orchestrator import Prefect
from standby.flows.watch import watch
from standby.recovery.context import Stage as RecoveryStage
from standby.recovery.context import open_recovery
from standby.recovery.decision.input import FailoverRequest
from standby.recovery.drill.findings import DrillReport
from standby.recovery.failback.report import FailbackReport
from standby.recovery.failover.failover import decide_request, fail_over
from standby.recovery.failover.report import FailoverReport
from standby.recovery.witnesses import settle
from standby.replication.inventory import connect
from standby.replication.items import Status
from tests.conftest import Scene

QUICK = {
    "probe_every": "1s",
    "quorum": 2,
    "minimum_outage": "1s",
    "cool_down": "1s",
    "approval_timeout": "60s",
}

Stage = Callable[..., Any]

NOBODY = httpx.Request("GET", "http://127.0.0.1/api")


@pytest.fixture
def stage(
    make_scene: Any, make_analyzer: Any, run_replicate: Any, tmp_path: Any, request: pytest.FixtureRequest
) -> Stage:
    """Make a plan whose copies are in sync, with a file and a variable that are told which side is active."""

    @asynccontextmanager
    async def make(**policy: Any) -> AsyncIterator[Scene]:
        async with make_scene([make_analyzer("invoice")], targets=("west",), failover={**QUICK, **policy}) as scene:
            sinks = (FileSink(path=tmp_path / "active.json"), VariableSink(name=variable(request.node.name)))
            told = scene.configuration.model_copy(update={"activation": sinks})
            await run_replicate(told)
            yield Scene(scene.emulator, told)

    return make


def variable(test: str) -> str:
    return "".join(char if char.isalnum() else "-" for char in test.lower())


async def active(scene: Scene) -> dict[str, Any]:
    """What both sinks say of the source's side; they say the same."""
    file, name = scene.configuration.activation
    assert isinstance(file, FileSink)
    assert isinstance(name, VariableSink)
    book = json.loads(await asyncio.to_thread(file.path.read_text))
    variable: Any = await Variable.aget(name.name)
    ours, theirs = (found["plans"]["p"]["sources"]["east"] for found in (book, variable))
    assert ours["resource"] == theirs["resource"]
    assert book["plans"]["p"]["epoch"] == variable["plans"]["p"]["epoch"]
    return dict(ours)


async def page_of(flow_run_id: Any, key: str) -> str:
    async with get_client() as client:
        found = await client.read_artifacts(
            artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(str(flow_run_id))]))
        )
    return "".join(str(artifact.data) for artifact in found if artifact.key == key)


@pytest.fixture
def told(events: Any, until: Any) -> Callable[[str, Any], Awaitable[Any]]:
    """Give the event of a name that a flow run emitted."""

    async def read(name: str, run_id: Any) -> Any:
        async def some() -> list[Any]:
            return [event for event in await events(name) if event["payload"]["run_id"] == str(run_id)]

        (event,) = await until(some)
        return event

    return read


async def dark(scene: Scene, resource: str = "east") -> None:
    await scene.control("/outages", {"resource": resource, "kind": "refuse"})


async def outage(scene: Scene) -> Any:
    await save_what_runs_need(scene.configuration)
    return await failover(plan="p", outage_of="east", return_state=True)


async def test_an_order_is_carried_out_by_tasks_told_to_all_sinks_and_committed(
    stage: Stage, told: Any, task_runs: Any
) -> None:
    async with stage() as scene:
        done = await Prefect().recover(
            scene.configuration, "p", "failover", {"to": "west", "mode": "planned", "reason": "rehearsal"}
        )
        report = FailoverReport.model_validate(done)
        assert (report.state, report.mode, report.via) == ("activated", "planned", "prefect"), report
        assert {sink.name.split()[0]: sink.status for sink in report.sinks} == {
            "file": "told",
            "variable": "told",
        }
        assert (await active(scene))["resource"] == "west"
        final = await commit(plan="p", return_state=True)
        again = await commit(plan="p", return_state=True)
        assert (await active(scene))["resource"] == "west"
    assert (final.name, again.name) == ("Committed", "NothingToCommit"), final.message
    event = await told(ACTIVATED, report.run_id)
    assert (event["payload"]["side"], event["resource"]["prefect.resource.id"]) == ("west", "standby.plan.p")
    assert (await told(COMMITTED, final.state_details.flow_run_id))["payload"]["committed"] == {"east": "west"}
    names = {run.name for run in await task_runs(report.run_id, 5)}
    assert {"p: fence p", "p: last sync"} <= names
    page = await page_of(report.run_id, "failover-report")
    assert "west serves now" in page
    assert "variable" in page


@pytest.mark.parametrize("order", [{}, {"to": "west"}], ids=["nothing", "target"])
@pytest.mark.parametrize("mode", ["planned", "unplanned"])
async def test_one_that_was_interrupted_is_resumed_as_it_was_begun(stage: Stage, mode: str, order: Any) -> None:
    class Interrupted:
        async def run(self, stage: RecoveryStage, _name: str, work: Callable[[], Awaitable[Any]]) -> Any:
            if stage is RecoveryStage.PUBLISH:
                raise asyncio.CancelledError
            return await work()

    async with stage() as scene:
        async with open_recovery(scene.configuration, "p") as context:
            asked = FailoverRequest(to="west", planned=mode == "planned", forced=frozenset({"sinks"}))
            decided, _ = await decide_request(context, asked)
            assert (await fail_over(context, decided, Interrupted())).state == "fenced"
        if mode == "unplanned":
            await dark(scene)
        done = await Prefect().recover(scene.configuration, "p", "failover", order)
    report = FailoverReport.model_validate(done)
    assert (report.state, report.mode, report.serving) == ("activated", mode, "west"), report


async def test_a_rollback_is_told_as_one(stage: Stage, told: Any) -> None:
    async with stage() as scene:
        await Prefect().recover(scene.configuration, "p", "failover", {"to": "west"})
        done = await Prefect().recover(scene.configuration, "p", "failover", {"to": "east"})
    report = FailoverReport.model_validate(done)
    assert (report.state, report.serving) == ("rolled_back", "east")
    assert (await told(ROLLED_BACK, report.run_id))["payload"]["severity"] == "info"


FAILURES = {
    "404": httpx.HTTPStatusError("gone", request=NOBODY, response=httpx.Response(404, request=NOBODY)),
    "refused": httpx.ConnectError("no connection"),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
async def test_a_recovery_that_has_begun_goes_on_without_prefect(
    make_scene: Any,
    make_analyzer: Any,
    run_replicate: Any,
    tmp_path: Any,
    failure: Exception,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From the first look at the plan's records on, every call to Prefect's API fails."""
    gone, asked = False, []
    send = PrefectHttpxAsyncClient.send

    async def answer(self: Any, request: Any, *args: Any, **more: Any) -> Any:
        if gone:
            asked.append(request.url.path)
            raise failure
        return await send(self, request, *args, **more)

    async def settle_and_lose_prefect(*args: Any) -> Any:
        nonlocal gone
        context = await settle(*args)
        gone = True
        return context

    monkeypatch.setattr(PrefectHttpxAsyncClient, "send", answer)
    for flow in ("snapshot", "drill", "failover", "commit", "failback", "restore"):
        monkeypatch.setattr(f"standby.flows.{flow}.settle", settle_and_lose_prefect)
    monkeypatch.setattr("standby.flows.run.EVERY", 0.01)

    async with make_scene([make_analyzer("invoice")], targets=("west",), failover=QUICK) as scene:
        file = FileSink(path=tmp_path / "active.json")
        plan = scene.configuration.model_copy(update={"activation": (file,)})
        await run_replicate(plan)

        async def run(flow: str, **parameters: Any) -> Any:
            nonlocal gone
            gone = False
            return await Prefect().recover(plan, "p", flow, parameters)

        taken = await run("snapshot")
        drilled = await run("drill", to="west")
        there = await run("failover", to="west")
        committed = await run("commit")
        await scene.control("/edit", {"resource": "west", "analyzer": "invoice", "changes": {"description": "edited"}})
        back = await run("failback")
        restored = await run("restore", to="west")
        gone = False

    assert taken["resources"] == {"east": 1}
    assert DrillReport.model_validate(drilled).passed
    assert FailoverReport.model_validate(there).complete, there
    assert committed["committed"] == {"east": "west"}
    report = FailbackReport.model_validate(back)
    assert (report.state, report.sync and report.sync.totals[Status.SUCCEEDED]) == ("failed_back", 1), report
    assert (restored["interrupted"], len(restored["items"])) == (False, 1)
    assert asked


async def test_an_order_that_a_guard_refuses_is_told_with_its_reasons(stage: Stage) -> None:
    async with stage() as scene:
        await dark(scene)
        with pytest.raises(GuardRefused, match="a planned failover needs east to answer"):
            await Prefect().recover(scene.configuration, "p", "failover", {"to": "west", "mode": "planned"})
        state = await failover(plan="p", to="west", return_state=True)
    assert (state.name, state.is_failed()) == ("Refused", True)
    assert "source-answers" in await page_of(state.state_details.flow_run_id, "failover-decision")


async def test_an_event_alone_switches_nothing(stage: Stage) -> None:
    async with stage(automatic=True) as scene:
        state = await outage(scene)
        unknown = await failover(plan="p", outage_of="west", return_state=True)
    assert (state.name, state.is_completed()) == ("NotNeeded", True)
    assert "east answers" in str(state.message)
    assert unknown.name == "NotNeeded"
    assert "west serves for no primary of plan p" in str(unknown.message)


async def test_a_real_outage_switches_an_automatic_plan_and_measures_it(stage: Stage, told: Any) -> None:
    async with stage(automatic=True) as scene:
        await dark(scene)
        state = await outage(scene)
        report = FailoverReport.model_validate(await state.aresult(raise_on_failure=False))
        again = await outage(scene)
        assert (await active(scene))["resource"] == "west"
    assert (state.name, state.is_completed()) == ("Activated", True), state.message
    assert report.detection_at_least_seconds is not None
    assert report.detection_at_least_seconds >= 1
    assert report.rto_at_least_seconds is not None
    assert report.recovery_seconds is not None
    assert report.rto_at_least_seconds >= report.recovery_seconds > 0
    assert (again.name, again.is_completed()) == ("NotNeeded", True)
    event = await told(ACTIVATED, report.run_id)
    assert event["payload"]["decision"] == report.decision_id
    page = await page_of(report.run_id, "failover-decision")
    assert "quorum" in page
    assert "outage of east" in page


async def test_an_outage_that_cannot_be_answered_is_told_once(stage: Stage, told: Any, events: Any) -> None:
    async with stage(automatic=True) as scene:
        await dark(scene)
        await dark(scene, "west")
        states = [await outage(scene) for _ in range(2)]
    assert [(state.name, state.is_failed()) for state in states] == [("Waiting", True)] * 2
    first, second = (str(state.state_details.flow_run_id) for state in states)
    event = await told(WAITING, first)
    assert "east is down, and no failover was started" in event["payload"]["summary"]
    assert event["payload"]["severity"] == "critical"
    assert second not in str(await events(WAITING))


async def test_a_watch_answers_a_proved_outage_where_no_other_run_does(stage: Stage, told: Any) -> None:
    async with stage(automatic=True) as scene:
        await save_what_runs_need(scene.configuration)
        await dark(scene)
        state = await watch(plan="p", return_state=True)
        again = await watch(plan="p", return_state=True)
        assert (await active(scene))["resource"] == "west"
    assert (state.name, state.is_completed()) == ("Activated", True), state.message
    assert (await told(ACTIVATED, state.state_details.flow_run_id))["payload"]["to"] == "west"
    assert again.name == "Unhealthy", "east is still down, and serves for nobody"


async def test_a_watch_publishes_again_what_a_sink_lost(stage: Stage) -> None:
    async with stage(automatic=True) as scene:
        await save_what_runs_need(scene.configuration)
        order = {"to": "west", "mode": "unplanned", "reason": "rehearsal"}
        await Prefect().recover(scene.configuration, "p", "failover", order)
        file = scene.configuration.activation[0]
        assert isinstance(file, FileSink)
        await asyncio.to_thread(file.path.unlink)
        state = await watch(plan="p", return_state=True)
        assert (await active(scene))["resource"] == "west"
    assert state.name == "Completed", state.message


# The way back, and the rehearsal.


async def test_a_plan_is_brought_back_with_what_was_edited_meanwhile(stage: Stage, told: Any, task_runs: Any) -> None:
    async with stage(automatic=True) as scene:
        order = {"to": "west", "mode": "unplanned", "reason": "rehearsal"}
        await Prefect().recover(scene.configuration, "p", "failover", order)
        change = {"resource": "west", "analyzer": "invoice", "changes": {"description": "edited at west"}}
        await scene.control("/edit", change)
        done = await Prefect().recover(scene.configuration, "p", "failback", {})
        report = FailbackReport.model_validate(done)
        assert (await active(scene))["resource"] == "east"
        again = await failback(plan="p", return_state=True)
        async with connect([scene.configuration.resource("east")]) as connections:
            primary = await connections["east"].get_analyzer("invoice")
    assert report.state == "failed_back", report
    assert primary.description == "edited at west"
    assert (again.name, again.is_completed()) == ("AtHome", True)
    assert (await told(FAILED_BACK, report.run_id))["payload"]["home"] == "east"
    names = [run.name for run in await task_runs(report.run_id, 3)]
    assert "invoice → east: copy" in names, names


async def test_a_drill_passes_and_leaves_nothing_behind(stage: Stage, told: Any) -> None:
    async with stage() as scene:
        await Prefect().recover(scene.configuration, "p", "snapshot", {})
        state = await drill(plan="p", return_state=True)
        async with connect([scene.configuration.resource("west")]) as connections:
            left = [each.analyzer_id for each in await connections["west"].list_analyzers()]
    report = DrillReport.model_validate(await state.aresult(raise_on_failure=False))
    assert (state.name, report.to, report.cleanup.proven) == ("Passed", "west", True), state.message
    assert not [name for name in left if name.startswith("drill-")]
    flow_run_id = state.state_details.flow_run_id
    assert (await told(DRILLED, flow_run_id))["payload"]["passed"] is True
    assert "proven" in await page_of(flow_run_id, "drill-report")


async def test_a_drill_at_a_scratch_resource_may_not_be_in_another_plans_way(stage: Stage, make_scene: Any) -> None:
    async with stage() as scene, make_scene([], targets=("north",)) as elsewhere:
        north = elsewhere.configuration.resource("north")
        other = RecoveryPlan.model_validate({"name": "other", "pairs": [{"source": "east", "targets": ["north"]}]})
        configuration = scene.configuration.model_copy(
            update={
                "resources": {**scene.configuration.resources, "north": north},
                "plans": {**scene.configuration.plans, "other": other},
            }
        )
        await save_what_runs_need(configuration)
        state = await drill(plan="p", scratch="north", return_state=True)
    assert state.is_failed()
    assert "plan other uses it" in str(state.message)


# Approval.


@asynccontextmanager
async def proposed(scene: Scene, until: Any) -> AsyncIterator[tuple[UUID, asyncio.Task[Any]]]:
    """Let an outage come to a proposal, and give the flow run that waits."""
    await dark(scene)
    running = asyncio.create_task(outage(scene))

    async def waits() -> list[UUID]:
        assert not running.done(), running.result()
        paused = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PAUSED])))
        async with get_client() as client:
            return [found.id for found in await client.read_flow_runs(flow_run_filter=paused)]

    try:
        (flow_run_id,) = await until(waits)
        yield flow_run_id, running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def answer(flow_run_id: UUID, **form: Any) -> str:
    async with get_client() as client:
        answered = await client.resume_flow_run(flow_run_id, run_input=form)
        return str(answered.status.value)


async def deeds(scene: Scene) -> list[tuple[str, Any]]:
    path = scene.configuration.vault.folder
    assert path is not None
    text = await asyncio.to_thread((path / "audit/p.jsonl").read_text)
    lines = [json.loads(line) for line in text.splitlines()]
    return [(line["deed"], line["facts"]) for line in lines]


async def test_a_plan_that_is_not_automatic_proposes_and_switches_once_it_is_approved(
    stage: Stage, told: Any, until: Any
) -> None:
    async with stage() as scene, proposed(scene, until) as (flow_run_id, running):
        event = await told(PROPOSED, flow_run_id)
        async with get_client() as client:
            waiting = (await client.read_flow_run(flow_run_id)).state
        second = await outage(scene)
        assert await answer(flow_run_id, comment="no decision in it") == "REJECT"
        assert await answer(flow_run_id, approve=True, comment="seen it myself") == "ACCEPT"
        state = await running
        assert (await active(scene))["resource"] == "west"
        done = await deeds(scene)
    assert "The proposal is that west serves instead" in event["payload"]["summary"]
    assert waiting is not None
    assert waiting.name == "WaitingForApproval"
    for words in (
        "No known edit would be lost",
        "Press Resume",
        "switch Approve on",
        "Waits for an approval until 2",
    ):
        assert words in str(waiting.message)
    assert (second.name, second.is_failed()) == ("Waiting", True)
    assert f"waits for its approval in flow run {flow_run_id}" in str(second.message)
    assert state.name == "Activated", state.message
    names = [deed for deed, _ in done]
    order = ["failover.proposed", "failover.approved", "failover.decided", "failover.activated"]
    assert [name for name in names if name in order][-4:] == order
    assert dict(done)["failover.approved"]["comment"] == "seen it myself"


async def test_where_two_persons_have_to_approve_the_form_is_shown_until_two_different_ones_did(
    stage: Stage, until: Any
) -> None:
    async with stage(approvals=2) as scene, proposed(scene, until) as (flow_run_id, running):
        file = scene.configuration.activation[0]
        assert isinstance(file, FileSink)
        for name in ("Ada", "", "ADA@desk", "bob"):
            assert not await asyncio.to_thread(file.path.exists)

            async def taken(by: str = name) -> bool:
                return await answer(flow_run_id, approve=True, by=by) == "ACCEPT"

            assert await until(taken)
        state = await running
        assert (await active(scene))["resource"] == "west"
        done = await deeds(scene)
    assert state.name == "Activated", state.message
    assert dict(done)["failover.approved"]["by"] == "Ada and bob"


async def test_a_proposal_that_is_rejected_is_not_made_again_for_a_while(stage: Stage, told: Any, until: Any) -> None:
    async with stage(cool_down="1h") as scene, proposed(scene, until) as (flow_run_id, running):
        assert await answer(flow_run_id, approve=False, comment="maintenance") == "ACCEPT"
        state = await running
        again = await outage(scene)
    assert (state.name, state.is_failed()) == ("Rejected", True)
    assert "maintenance" in (await told(REFUSED, flow_run_id))["payload"]["summary"]
    assert (again.name, again.is_failed()) == ("Waiting", True)
    assert "was rejected" in str(again.message)


async def test_a_proposal_that_nobody_answers_ends_by_itself(stage: Stage, told: Any, until: Any) -> None:
    async with stage(approval_timeout="4s") as scene, proposed(scene, until) as (flow_run_id, running):
        state = await running
        done = await deeds(scene)
        async with get_client() as client:
            recorded = (await client.read_flow_run(flow_run_id)).state
    assert (state.name, state.is_failed()) == ("NotAnswered", True)
    assert recorded is not None
    assert recorded.name == "NotAnswered"
    assert done[-1][0] == "failover.rejected"
    assert done[-1][1]["answered"] is False
    assert "Nobody approved or rejected" in (await told(REFUSED, flow_run_id))["payload"]["summary"]
