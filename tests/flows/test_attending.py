"""What a watch does after its looks: each thing by itself, and nothing that is wrong is left untold."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from standby.config.configuration import Configuration
from standby.config.sinks import FileSink
from standby.flows import events, failover, outage, recovery
from standby.flows.events import PlanEvent
from standby.flows.outage import Attended, attend
from standby.recovery.concerns import Kind, Look
from standby.recovery.failover import outage as answering
from standby.recovery.probe import Observation
from standby.recovery.watch import Watched
from standby.vault.errors import VaultUnavailable
from tests.conftest import Scene, SceneMaker

MakeAnalyzer = Callable[..., dict[str, Any]]


@dataclass
class Prefect:
    """What is used of it: events that were emitted, and what others have reported."""

    told: list[tuple[str, str, str]] = field(default_factory=list)
    reported: list[Observation] = field(default_factory=list)
    what: set[object] = field(default_factory=set)

    async def read(self, resource: str, now: datetime, within: timedelta) -> tuple[Observation, ...]:
        return tuple(each for each in self.reported if each.resource == resource)

    async def told_lately(self, plan: str, what: str, within: timedelta) -> bool:
        return what in self.what


@pytest.fixture
def prefect(monkeypatch: pytest.MonkeyPatch) -> Prefect:
    made = Prefect()

    def emit(event: PlanEvent, summary: str) -> None:
        made.told.append((event.name, event.severity, summary))
        made.what.add(event.facts.get("what"))

    monkeypatch.setattr(PlanEvent, "emit", emit)
    monkeypatch.setattr(events, "read_observations", made.read)
    monkeypatch.setattr(events, "told_lately", made.told_lately)
    return made


@pytest.fixture
async def scene(make_scene: SceneMaker, make_analyzer: MakeAnalyzer) -> AsyncIterator[Scene]:
    async with make_scene([make_analyzer("invoice")]) as made:
        yield made


def with_a_file(scene: Scene, tmp_path: Path) -> Configuration:
    return scene.configuration.model_copy(update={"activation": (FileSink(path=tmp_path / "active.json"),)})


def look(resource: str, healthy: bool | None) -> Observation:
    return Observation(
        resource=resource,
        observer="watch@desk",
        at=datetime.now(UTC),
        healthy=healthy,
        checks=(),
        summary="listing: HTTP 401 (0.1 s)",
    )


async def watched(configuration: Configuration, **healthy: bool | None) -> Attended:
    looks = {name: look(name, healthy.get(name, True)) for name in configuration.resources}
    down = frozenset(name for name, each in healthy.items() if each is False)
    return await attend(configuration, "p", Watched(looks, down, ()))


def no_vault(*_: object, **__: object) -> AbstractAsyncContextManager[Any]:
    raise VaultUnavailable("az://vault", "read", "it is away")


async def test_an_outage_is_told_once_where_the_vault_does_not_say_what_serves(
    scene: Scene, prefect: Prefect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outage, "open_in_flow", no_vault)

    for _ in range(3):
        attended = await watched(scene.configuration, east=False)

    assert "it is away" in attended.problems[0]
    [(name, severity, summary)] = prefect.told
    assert (name, severity) == ("standby.failover.waiting", "critical")
    assert "east was reported to be down" in summary
    assert "it is away" in summary


async def test_an_evaluation_that_cannot_open_the_vault_is_told_once_and_is_not_green(
    prefect: Prefect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "recovering", no_vault)

    states = [await failover.on_outage("p", "east", "") for _ in range(3)]

    assert {(state.name, state.is_failed()) for state in states} == {("Waiting", True)}
    [(name, severity, summary)] = prefect.told
    assert (name, severity) == ("standby.failover.waiting", "critical")
    assert "it is away" in summary


async def test_what_goes_wrong_with_one_thing_keeps_no_sink_from_its_map(
    scene: Scene, prefect: Prefect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = with_a_file(scene, tmp_path)
    published = 0

    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret")

    async def publish(_: object) -> tuple[()]:
        nonlocal published
        published += 1
        return ()

    monkeypatch.setattr(answering, "answer_outage", fail)
    monkeypatch.setattr(outage, "complete", fail)
    monkeypatch.setattr(outage, "publish_behind", publish)

    attended = await watched(configuration, east=False)

    assert attended.look == Look(frozenset({Kind.SINK})), "it could be asked, and is not behind"
    assert attended.problems == ["RuntimeError", "RuntimeError"]
    assert published == 1
    assert [severity for _, severity, _ in prefect.told] == ["critical"], "the outage is not answered"
