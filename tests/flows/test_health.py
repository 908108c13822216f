"""Whether schedules do their work, and the end of runs whose worker is lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import get_client
from prefect.client.schemas.objects import DeploymentSchedule, FlowRun, State
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.events.related import tags_as_related_resources
from prefect.server.events.schemas.automations import EventTrigger
from prefect.server.events.schemas.events import ReceivedEvent
from prefect.states import Cancelled, Completed, Crashed, Failed, Pending, Running, Scheduled

from standby.flows.bootstrap import TAG, pause_schedules, save_what_runs_need, save_what_starts_runs
from standby.flows.health import BEATING, end_of_the_dead, inspect_runs, judge_schedule, look_at_runs
from standby.flows.limits import ensure_limits, limit_name
from standby.flows.notifications import save_automations
from standby.flows.run import DEAD
from standby.recovery.concerns import Concerns, Kind, decide
from tests.flows.working import delete_deployments, kill_all, worker

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FLOW = uuid4()
DONE: State[Any] = Completed()
CRASH: State[Any] = Crashed(message="It lost its worker.")
REFUSED: State[Any] = Cancelled(message="Deployment concurrency limit reached.")


def deployment(*, paused: bool = False, active: bool = True) -> DeploymentResponse:
    cron = DeploymentSchedule(schedule=CronSchedule(cron="17 * * * *"), active=active)
    return DeploymentResponse(
        name="scheduled",
        labels={},
        flow_id=FLOW,
        entrypoint="flows/replicate.py:replicate",
        work_pool_name="standby",
        schedules=[cron],
        paused=paused,
    )


def runs(*states: State[Any], first: timedelta = timedelta(minutes=5)) -> list[FlowRun]:
    """Runs that were due every hour, the newest first."""
    return [
        FlowRun(
            name=f"run-{number}",
            flow_id=FLOW,
            state=state,
            auto_scheduled=True,
            expected_start_time=NOW - first - number * timedelta(hours=1),
        )
        for number, state in enumerate(states)
    ]


@pytest.mark.parametrize(
    ("found", "well", "words"),
    [
        (runs(DONE, DONE), True, "5m ago"),
        (runs(Running(), DONE, DONE), True, "1h ago"),
        (runs(Failed(name="PartiallyFailed"), DONE), True, "5m ago"),
        (runs(REFUSED, REFUSED, Running(), DONE), True, "3h ago"),
        (runs(Running(), REFUSED, REFUSED, REFUSED, DONE), True, "4h ago"),
        ([], None, "no run"),
        (runs(Scheduled(), DONE), True, "1h ago"),
        (runs(Pending(), DONE), True, "1h ago"),
        (runs(DONE, DONE, first=timedelta(hours=3)), True, "3h ago"),
        (runs(CRASH, DONE), False, "due 2026-03-01 11:55:00 UTC, crashed: It lost its worker."),
        (runs(Running(), CRASH), False, "crashed"),
        (runs(Failed(message="An exception."), DONE), False, "failed: An exception."),
        (runs(Scheduled(), DONE, first=timedelta(minutes=20)), False, "since 2026-03-01 11:40:00 UTC"),
        (runs(REFUSED, REFUSED, REFUSED, DONE), False, "the last 3 runs of replicate/scheduled were cancelled"),
        (runs(DONE, DONE, first=timedelta(hours=4)), False, "since 2026-03-01 08:00:00 UTC, and one is due every 1h"),
    ],
)
def test_a_schedule_is_judged_by_the_runs_that_were_due(found: list[FlowRun], well: bool | None, words: str) -> None:
    judged = judge_schedule(deployment(), found, NOW)
    assert judged.well is well
    assert words in judged.detail
    assert bool(judged.next_action) is (well is False)


@pytest.mark.parametrize("of", [deployment(paused=True), deployment(active=False)], ids=["deployment", "schedule"])
def test_a_pause_is_told_before_what_follows_from_it(of: DeploymentResponse) -> None:
    judged = judge_schedule(of, runs(CRASH, first=timedelta(days=2)), NOW)
    assert (judged.well, judged.detail) == (False, "replicate/scheduled is paused, so the targets fall behind")
    assert judged.next_action == "Resume the schedule of replicate/scheduled in Prefect"


def test_what_is_wrong_is_said_in_the_same_words_until_it_changes() -> None:
    """So that each look does not change what is known."""
    for found in (runs(CRASH), runs(Scheduled(), first=timedelta(hours=1)), runs(DONE, DONE, first=timedelta(hours=9))):
        first, later = (judge_schedule(deployment(), found, NOW + timedelta(minutes=m)) for m in (0, 10))
        assert (first.well, first) == (False, later)


def event(name: str, flow: str, tag: str = TAG) -> ReceivedEvent:
    return ReceivedEvent(
        id=uuid4(),
        occurred=NOW,
        event=f"prefect.flow-run.{name}",
        resource={"prefect.resource.id": f"prefect.flow-run.{uuid4()}"},
        related=[
            {"prefect.resource.id": "prefect.flow.1", "prefect.resource.role": "flow", "prefect.resource.name": flow},
            *(each.model_dump() for each in tags_as_related_resources({tag})),
        ],
    )


def test_only_runs_of_ours_that_wait_for_nobody_are_taken_for_dead() -> None:
    trigger = EventTrigger.model_validate(end_of_the_dead().trigger.model_dump())
    assert all(trigger.covers(event("heartbeat", flow)) for flow in BEATING)
    # Nor is a failover, which asks for an approval and goes on without the server; a chunk is followed by its run.
    for flow in ("failover", "failback", "commit", "replicate-chunk", "of somebody else"):
        assert not trigger.covers(event("heartbeat", flow))
    assert not trigger.covers(event("heartbeat", "replicate", "other"))
    for begins in ("Pending", "Running", "heartbeat", "Cancelling"):
        assert trigger.starts_after(event(begins, "replicate").event)
    for ends in ("Completed", "PartiallyFailed", "Refused", "Cancelled", "Crashed", "heartbeat"):
        assert trigger.expects(event(ends, "replicate").event)
    for ends in ("Completed", "PartiallyFailed", "Scheduled", "Late", "Crashed"):
        assert not trigger.starts_after(event(ends, "replicate").event)


async def test_a_killed_worker_keeps_no_later_run_from_starting(
    make_scene: Any, make_analyzer: Any, prefect_server: Any, until: Any
) -> None:
    await delete_deployments()
    async with make_scene([make_analyzer("a")], targets=("west",), service_time=600) as scene, get_client() as client:
        await save_what_runs_need(scene.configuration)
        await save_what_starts_runs(scene.configuration)
        scheduled = await client.read_deployment_by_name("replicate/scheduled")

        async def reaches(run: UUID, wanted: str) -> State[Any]:
            async def reached() -> State[Any] | None:
                state = (await client.read_flow_run(run)).state
                return state if state is not None and state.name == wanted else None

            found: State[Any] = await until(reached)
            return found

        async def copying() -> bool:
            return bool((await scene.stats("west"))["copies_accepted"])

        await save_automations([end_of_the_dead(timedelta(seconds=10))])
        try:
            async with worker(prefect_server) as lost:
                dead = await client.create_flow_run_from_deployment(scheduled.id)
                await until(copying)
                kill_all(lost.pid)
            state = await reaches(dead.id, "Crashed")
            look = await look_at_runs("p")
        finally:
            await save_automations([])
        async with worker(prefect_server):
            after = await client.create_flow_run_from_deployment(scheduled.id)
            await reaches(after.id, "Running")
            later = await look_at_runs("p")
            await pause_schedules()
            paused = (await inspect_runs(["p"]))["p"]
        # What was killed holds its slot until the lease ends, and the next test would wait for it.
        await client.delete_global_concurrency_limit_by_name(limit_name("west"))
        await ensure_limits(client, [limit_name("west")])
    assert state.message == DEAD
    known, change = decide(Concerns(), look, NOW)
    (told,) = change.began
    assert (told.kind, told.about, "crashed" in told.summary, DEAD in told.summary) == (
        Kind.RUNS,
        "replicate",
        True,
        True,
    )
    assert not decide(known, later, NOW)[1]
    assert {flow: each.well for flow, each in paused.items()} == dict.fromkeys(paused, False)


async def test_where_nothing_is_deployed_nothing_is_said(prefect_server: Any) -> None:
    await delete_deployments()
    look = await look_at_runs("p")
    assert not look.found
    assert {about for _, about in look.unsure} == {"replicate", "check", "snapshot", "drill", "compare"}
