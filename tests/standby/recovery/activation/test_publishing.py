"""Sinks are told side by side, each with a result of its own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from standby.config.sinks import FileSink, VariableSink, WebhookSink
from standby.recovery.activation.sinks import Activation, SinkFailed, publish_to_sinks, read_back
from standby.recovery.context import open_sinks
from tests.patience import PATIENCE
from tests.standby.recovery.activation.test_file import activation


@dataclass
class Meeting:
    """A sink that answers only when another one was asked, too."""

    name: str
    barrier: asyncio.Barrier
    held: list[Activation] = field(default_factory=list)
    id: str = "meeting"
    required: bool = True
    readable: bool = True

    async def publish(self, activation: Activation) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.barrier.wait()
        self.held.append(activation)

    async def read(self, plan: str) -> Activation | None:
        raise SinkFailed(self.name, "it is out")


async def test_two_sinks_are_told_at_once() -> None:
    barrier = asyncio.Barrier(2)
    sinks = [Meeting("one", barrier), Meeting("two", barrier)]
    results = await publish_to_sinks(sinks, activation(1, "west"), "east")
    assert [(result.name, result.status, result.published) for result in results] == [
        ("one", "told", "west"),
        ("two", "told", "west"),
    ]


async def test_one_that_fails_keeps_no_other_from_being_told(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("no map")
    sinks = open_sinks([FileSink(path=tmp_path / "broken.json"), FileSink(path=tmp_path / "good.json")])
    broken, good = await publish_to_sinks(sinks, activation(1, None), "east")
    assert (broken.status, broken.published) == ("failed", "")
    assert "broken.json" in broken.reason
    assert (good.status, good.published) == ("told", "nobody")
    assert await sinks[1].read("p") == activation(1, None)


async def test_a_variable_without_prefect_is_deferred_and_says_how_it_is_told(tmp_path: Path) -> None:
    sinks = open_sinks([VariableSink(name="active_side")])
    (result,) = await publish_to_sinks(sinks, activation(1, "west"), "east")
    assert (result.name, result.status) == ("variable active_side", "deferred")
    assert "standby commit p --via prefect" in result.reason
    assert await read_back(sinks, "p") == (None,)


async def test_what_a_sink_cannot_say_is_told_in_its_place() -> None:
    found = await read_back([Meeting("one", asyncio.Barrier(1))], "p")
    assert isinstance(found[0], SinkFailed)


def test_no_two_sinks_have_the_same_name(tmp_path: Path) -> None:
    hooks = [WebhookSink(url=f"https://hooks.example.com/{path}", secret=SecretStr("s")) for path in "ab"]
    names = [sink.name for sink in open_sinks([*hooks, FileSink(path=tmp_path / "active.json")])]
    assert names[:2] == ["webhook hooks.example.com", "webhook hooks.example.com (2)"]
    assert len(set(names)) == 3
