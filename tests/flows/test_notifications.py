"""Automations that tell people, on the tests' Prefect server, with a block that really posts."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect import get_client
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.blocks.system import Secret
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from pydantic import SecretStr

from standby.config.configuration import Configuration
from standby.flows.bootstrap import OUTAGE
from standby.flows.errors import NotificationBlockUnusable
from standby.flows.events import (
    ACTIVATED,
    COMMITTED,
    DEGRADED,
    HEALTHY,
    PROPOSED,
    PROTECTION_CHANGED,
    READINESS_CHANGED,
    REFUSED,
    UNHEALTHY,
    PlanEvent,
    emit_observation,
)
from standby.flows.health import end_of_the_dead
from standby.flows.notifications import PREFIX, save_automations, wanted_automations
from standby.flows.orchestrator import Prefect
from standby.recovery.probe import Observation
from tests.flows.receiver import Receiver, receiving

BLOCK = "custom-webhook/pager"

SILENCE = f"{PREFIX} of silence of p"
UNTOLD = f"{SILENCE}, with no block"
AGAIN = f"{PREFIX} again of silence of p"


@pytest.fixture
def pager() -> Iterator[Receiver]:
    """Where the notifications go."""
    with receiving() as receiver:
        yield receiver


@pytest.fixture
async def block(prefect_server: Any, pager: Receiver) -> str:
    """A saved notification block that posts there."""
    await CustomWebhookNotificationBlock(
        name="pager", url=pager.url, json_data={"subject": "{{subject}}", "body": "{{body}}"}
    ).asave("pager", overwrite=True)
    return BLOCK


@pytest.fixture(autouse=True)
async def no_automations(prefect_server: Any) -> AsyncIterator[None]:
    """Begin with no automation, and leave none behind."""
    await save_automations([])
    yield
    await save_automations([])


def telling(configuration: Configuration, *blocks: str) -> Configuration:
    return configuration.model_copy(update={"notifications": blocks})


async def ours() -> dict[str, Any]:
    async with get_client() as client:
        found = await client.read_automations()
    return {each.name: each for each in found if each.name.startswith(PREFIX)}


async def test_automations_are_created_once_changed_when_needed_and_removed(make_scene: Any, block: str) -> None:
    async with make_scene([], targets=("west",)) as scene:
        wanted = await wanted_automations(telling(scene.configuration, block))
        told = ("failovers", "failing automations", "broken failovers", "protection")
        of_block = [f"{PREFIX} {BLOCK} of {what}" for what in told]
        names = [*of_block, SILENCE, AGAIN]
        assert await save_automations(wanted) == [f"automation {name} created" for name in names]
        assert await save_automations(wanted) == []
        slower = telling(scene.configuration, block).model_copy(
            update={"plans": {"p": with_probes(scene.configuration, timedelta(minutes=5))}}
        )
        changed = await save_automations(await wanted_automations(slower))
        assert changed == [f"automation {SILENCE} changed"]
        removed = await save_automations(await wanted_automations(scene.configuration))
    changed = [f"automation {name} changed" for name in (SILENCE, AGAIN)]
    assert sorted(removed) == sorted([*changed, *(f"automation {name} removed" for name in of_block)])


async def test_the_words_of_every_automation_can_change(make_scene: Any, block: str) -> None:
    async with make_scene([], targets=("west",)) as scene:
        wanted = [*await wanted_automations(telling(scene.configuration, block)), end_of_the_dead()]
        await save_automations([each.model_copy(update={"description": "of an earlier version"}) for each in wanted])
        changed = await save_automations(wanted)
        again = await save_automations(wanted)
    assert changed == [f"automation {each.name} changed" for each in wanted]
    assert again == []


def with_probes(configuration: Configuration, period: timedelta) -> Any:
    plan = configuration.plan("p")
    return plan.model_copy(update={"failover": plan.failover.model_copy(update={"probe_every": period})})


async def test_what_was_switched_off_by_hand_stays_off(make_scene: Any, block: str) -> None:
    async with make_scene([], targets=("west",)) as scene:
        await save_automations(await wanted_automations(telling(scene.configuration, block)))
        silence = (await ours())[SILENCE]
        async with get_client() as client:
            await client.pause_automation(silence.id)
        slower = telling(scene.configuration, block).model_copy(
            update={"plans": {"p": with_probes(scene.configuration, timedelta(minutes=5))}}
        )
        await save_automations(await wanted_automations(slower))
    assert (await ours())[SILENCE].enabled is False


async def test_they_listen_to_what_concerns_people_and_never_start_anything(make_scene: Any, block: str) -> None:
    async with make_scene([], targets=("west",)) as scene:
        made = {each.name: each for each in await wanted_automations(telling(scene.configuration, block))}
    assert {action.type for each in made.values() for action in each.actions} == {"send-notification"}
    failovers = made[f"{PREFIX} {BLOCK} of failovers"].trigger
    assert isinstance(failovers, EventTrigger)
    assert failovers.expect >= {PROPOSED, ACTIVATED, REFUSED, COMMITTED}
    silence = made[SILENCE].trigger
    assert isinstance(silence, EventTrigger)
    assert (silence.posture, silence.expect) == (Posture.Proactive, {HEALTHY, DEGRADED, UNHEALTHY})
    assert silence.within == timedelta(seconds=90), "three probe periods"
    again = made[AGAIN].trigger
    assert isinstance(again, EventTrigger)
    # Without a beginning, and not for each resource: Prefect then fires as long as nothing is reported.
    assert (again.posture, again.after, again.for_each) == (Posture.Proactive, set(), set())
    assert (again.expect, again.within) == (silence.expect, timedelta(minutes=15))
    protection = made[f"{PREFIX} {BLOCK} of protection"].trigger
    assert isinstance(protection, EventTrigger)
    assert protection.expect == {PROTECTION_CHANGED}
    failing = made[f"{PREFIX} {BLOCK} of failing automations"].trigger
    assert isinstance(failing, EventTrigger)
    assert failing.match == ResourceSpecification({"prefect.resource.name": f"{OUTAGE} *"})


async def test_the_block_really_gets_the_message(make_scene: Any, block: str, pager: Receiver, until: Any) -> None:
    async with make_scene([], targets=("west",)) as scene:
        await save_automations(await wanted_automations(telling(scene.configuration, block)))
        PlanEvent(READINESS_CHANGED, "p", {}).emit("nobody is told of this by these")
        PlanEvent(PROPOSED, "p", {}).emit("east has been unhealthy for 2m")

        async def told() -> list[str]:
            return [body for body in pager.bodies if "unhealthy for 2m" in body]

        (body,) = await until(told)
    assert "Standby: info, plan p: failover proposed" in body
    assert len(pager.bodies) == 1


async def test_a_test_message_goes_through_every_block_and_what_keeps_people_from_being_told_is_said(
    make_scene: Any, block: str, pager: Receiver
) -> None:
    await CustomWebhookNotificationBlock(name="gone", url="http://127.0.0.1:1/secret").asave("gone", overwrite=True)
    missing, gone = "slack-webhook/nobody-saved-it", "custom-webhook/gone"
    unsaved = await Prefect().notify([block])
    async with make_scene([], targets=("west",)) as scene:
        await save_automations(await wanted_automations(telling(scene.configuration, block)))
    sent = await Prefect().notify([block, missing, gone])
    assert (unsaved[block].well, unsaved[block].next_action.startswith("Run standby bootstrap")) == (False, True)
    assert [sent[name].well for name in (block, missing, gone)] == [True, False, False]
    assert sent[missing].detail == f"The block {missing} under notifications is not on the Prefect server"
    assert "(ConnectError)" in sent[gone].detail
    assert "secret" not in str(sent)
    assert len(pager.bodies) == 2
    assert all("Nothing is wrong; you do not need to act" in body for body in pager.bodies)


async def test_a_replication_that_fails_leads_to_one_message_and_its_end_to_another(
    make_scene: Any, make_analyzer: Any, block: str, pager: Receiver, until: Any, run_replicate: Any
) -> None:
    fault = {"kind": "status", "status": 400, "code": "InvalidRequest"}
    async with make_scene([make_analyzer("invoice"), make_analyzer("receipt")], targets=("west",)) as scene:
        await save_automations(await wanted_automations(telling(scene.configuration, block)))
        await scene.control("/faults", {"resource": "west", "call": "copy", "times": None, "fault": fault})
        states = [await run_replicate(scene.configuration) for _ in range(2)]
        await scene.control("/reset", {})
        states.append(await run_replicate(scene.configuration))

        async def told() -> list[str]:
            return [body for body in pager.bodies if "over: replication west" in body]

        await until(told)
    assert [state.is_completed() for state in states] == [False, False, True]
    began, ended = pager.bodies
    assert "Standby: warning, plan p: replication west" in began
    assert "2 analyzers of plan p (invoice and receipt) could not be copied to west" in began
    assert "standby replicate p" in began
    assert "Standby: info, plan p: over: replication west" in ended


async def test_a_watch_that_falls_silent_is_told(
    make_scene: Any, block: str, pager: Receiver, until: Any, events: Any
) -> None:
    async with make_scene([], targets=("west",)) as scene:
        automations = []
        for name, blocks in ((SILENCE, [block]), (UNTOLD, [])):
            wanted = await wanted_automations(telling(scene.configuration, *blocks))
            (silence,) = (each for each in wanted if each.name == SILENCE)
            # The shortest that Prefect knows, so that the test need not wait for three probe periods.
            sooner = silence.trigger.model_copy(update={"within": timedelta(seconds=10)})
            automations.append(silence.model_copy(update={"name": name, "trigger": sooner}))
        await save_automations(automations)
        last = -math.inf

        async def triggered() -> bool:
            nonlocal last
            # Again now and then: after a look from before the server took in the automation it waits for none.
            if time.monotonic() - last > 20:
                last = time.monotonic()
                looked = Observation(resource="east", observer="o", at=datetime.now(UTC), healthy=True, checks=())
                emit_observation(looked, "other", None)
                emit_observation(looked, "p", None)
            found = await events("prefect.automation.triggered")
            # Other tests of this server have left automations of this name, about resources of theirs.
            ours = [each["resource"] for each in found if "content-understanding.resource.east" in str(each)]
            return {SILENCE, UNTOLD} <= {each.get("prefect.resource.name") for each in ours}

        # It is told again as long as it lasts, which on a slow machine is longer than once.
        await until(triggered)

        async def told() -> list[str]:
            return pager.bodies

        bodies = await until(told)
        # Once for each time that the first of the two came about: the other one has nobody to tell.
        found = await events("prefect.automation.triggered")
    names = [each["resource"].get("prefect.resource.name") for each in found]
    assert 0 < len(bodies) <= names.count(SILENCE)
    assert all("has not reported for 90 s whether content-understanding.resource.east" in body for body in bodies)


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("slack-webhook/nobody-saved-it", "is not on the Prefect server"),
        ("secret/no-pager", "is not a notification block"),
    ],
)
async def test_a_block_that_cannot_be_told_ends_bootstrap_before_anything_is_saved(
    make_scene: Any, prefect_server: Any, reference: str, reason: str
) -> None:
    await Secret(value=SecretStr("x")).asave("no-pager", overwrite=True)
    async with make_scene([], targets=("west",)) as scene:
        configuration = telling(scene.configuration, reference)
        with pytest.raises(NotificationBlockUnusable, match=f"{reference} under notifications {reason}"):
            await Prefect().bootstrap(configuration)
