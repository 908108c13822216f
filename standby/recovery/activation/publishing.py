"""Tells every sink side by side, and says what became of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from standby.concurrency import side_by_side
from standby.recovery.activation.deferred import DeferredSink
from standby.recovery.activation.document import Activation
from standby.recovery.activation.sink import ActivationSink, SinkAhead, SinkFailed

SinkStatus = Literal["told", "deferred", "failed"]


class SinkResult(BaseModel):
    """What became of one sink.

    Attributes:
        told: the resource it was told for the home that is switched; `nobody` while none may be called; empty
            where it was told nothing.
        reason: why it was not told, with what to do about it.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    status: SinkStatus
    told: str = ""
    reason: str = ""


NOBODY = "nobody"


async def tell(sinks: Sequence[ActivationSink], activation: Activation, home: str) -> tuple[SinkResult, ...]:
    """Tell every sink the map of a plan; one that fails keeps no other from being told.

    Args:
        sinks: who is told.
        activation: the map.
        home: whose side is told in the results.
    """
    async with side_by_side() as group:
        told = [group.create_task(_tell(sink, activation, home)) for sink in sinks]
    return tuple(task.result() for task in told)


async def read_back(sinks: Sequence[ActivationSink], plan: str) -> tuple[Activation | SinkFailed | None, ...]:
    """Read what each sink was told of a plan last; `None` where it cannot say."""
    async with side_by_side() as group:
        read = [group.create_task(_read(sink, plan)) for sink in sinks]
    return tuple(task.result() for task in read)


async def _tell(sink: ActivationSink, activation: Activation, home: str) -> SinkResult:
    if isinstance(sink, DeferredSink):
        return SinkResult(
            name=sink.name,
            status="deferred",
            reason=f"Only Prefect can tell it. When Prefect answers: "
            f"standby commit {activation.plan} --via prefect.",
        )
    try:
        await sink.publish(activation)
    except (SinkAhead, SinkFailed) as error:
        return SinkResult(name=sink.name, status="failed", reason=str(error))
    endpoint = activation.sources.get(home)
    return SinkResult(name=sink.name, status="told", told=endpoint.resource if endpoint else NOBODY)


async def _read(sink: ActivationSink, plan: str) -> Activation | SinkFailed | None:
    try:
        return await sink.read(plan)
    except SinkFailed as error:
        return error
