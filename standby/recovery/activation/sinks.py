"""Tells every sink side by side, and says what became of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from standby.concurrency import side_by_side
from standby.document import Document
from standby.errors import GuardRefused
from standby.recovery.errors import RecoveryError


class ActiveEndpoint(Document):
    """A resource that serves.

    Attributes:
        analyzers: id to call at this resource, by the id that the analyzer has at its source.
    """

    resource: str
    endpoint: str
    region: str
    resource_id: str
    api_version: str
    analyzers: Mapping[str, str]


class Activation(Document):
    """The active endpoint map of one plan.

    Attributes:
        epoch: of the fence; whoever was told a higher one ignores this.
        sources: by the source that serves in ordinary times; `None` while a switch is under way, when no side
            may be called.
    """

    plan: str
    epoch: int
    changed_at: datetime
    run_id: str
    sources: Mapping[str, ActiveEndpoint | None]


class ActivationBook(Document):
    """What a place that is shared by several plans holds: each plan's map by its name."""

    plans: Mapping[str, Activation] = {}


class SinkFailed(RecoveryError):
    """A sink could not be told."""

    def __init__(self, sink: str, reason: str, next_action: str = "Mend it and run again") -> None:
        super().__init__(f"{sink} could not be told which side is active: {reason}", next_action)
        self.args = (sink, reason, next_action)


class SinkAhead(GuardRefused):
    """A sink has already been told a higher epoch: this run decided from an old state."""

    def __init__(self, sink: str, there: int | None, ours: int) -> None:
        told = "a higher epoch" if there is None else f"epoch {there}"
        super().__init__(
            f"{sink} was told {told} already, and this run has epoch {ours}",
            "Another vault or an older copy of it was used; find out which, before anything is switched",
        )
        self.args = (sink, there, ours)


class ActivationSink(Protocol):
    """One place that applications look at, or are called from."""

    @property
    def name(self) -> str:
        """What reports call it; it holds no secret."""
        ...

    async def publish(self, activation: Activation) -> None:
        """Tell it; telling it the same again changes nothing.

        Raises:
            SinkAhead: it was told a higher epoch before.
            SinkFailed: it does not take it.
        """
        ...

    async def read(self, plan: str) -> Activation | None:
        """Give what it was told of a plan last; `None` where it was told nothing, or cannot say.

        Raises:
            SinkFailed: it could say, and does not answer.
        """
        ...


def must_follow(sink: str, found: Activation | None, told: Activation) -> None:
    """Let only what is newer, or the same again, take the place of what a sink holds.

    Args:
        sink: its name.
        found: what it holds of the plan.
        told: what it is to hold.

    Raises:
        SinkAhead: it was told a higher epoch; or another side under the same one, from another vault.
    """
    if found is None or found.epoch < told.epoch:
        return
    if found.epoch > told.epoch or any(
        endpoint is not None
        and primary in told.sources
        and endpoint.resource != getattr(told.sources[primary], "resource", None)
        for primary, endpoint in found.sources.items()
    ):
        raise SinkAhead(sink, found.epoch, told.epoch)


@dataclass(frozen=True)
class DeferredSink:
    """Is told nothing now; the report says how it is told later."""

    name: str

    async def publish(self, activation: Activation) -> None:
        """Leave it as it is."""

    async def read(self, plan: str) -> Activation | None:  # noqa: ARG002 - it cannot say
        """Give nothing: it cannot be asked."""
        return None


SinkStatus = Literal["told", "deferred", "failed"]


class SinkResult(Document):
    """What became of one sink.

    Attributes:
        told: the resource it was told for the home that is switched; `nobody` while none may be called; empty
            where it was told nothing.
        reason: why it was not told, with what to do about it.
    """

    name: str
    status: SinkStatus
    told: str = ""
    reason: str = ""


NOBODY = "nobody"


async def tell(sinks: Sequence[ActivationSink], activation: Activation, primary: str) -> tuple[SinkResult, ...]:
    """Tell every sink the map of a plan; one that fails keeps no other from being told.

    Args:
        sinks: who is told.
        activation: the map.
        home: whose side is told in the results.
    """
    async with side_by_side() as group:
        told = [group.create_task(_tell(sink, activation, primary)) for sink in sinks]
    return tuple(task.result() for task in told)


async def read_back(sinks: Sequence[ActivationSink], plan: str) -> tuple[Activation | SinkFailed | None, ...]:
    """Read what each sink was told of a plan last; `None` where it cannot say."""
    async with side_by_side() as group:
        read = [group.create_task(_read(sink, plan)) for sink in sinks]
    return tuple(task.result() for task in read)


async def _tell(sink: ActivationSink, activation: Activation, primary: str) -> SinkResult:
    if isinstance(sink, DeferredSink):
        return SinkResult(
            name=sink.name,
            status="deferred",
            reason=f"Only Prefect can tell it. When Prefect answers: standby commit {activation.plan} --via prefect.",
        )
    try:
        await sink.publish(activation)
    except (SinkAhead, SinkFailed) as error:
        return SinkResult(name=sink.name, status="failed", reason=str(error))
    endpoint = activation.sources.get(primary)
    return SinkResult(name=sink.name, status="told", told=endpoint.resource if endpoint else NOBODY)


async def _read(sink: ActivationSink, plan: str) -> Activation | SinkFailed | None:
    try:
        return await sink.read(plan)
    except SinkFailed as error:
        return error
