"""The active endpoint map, and its publication to every sink side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from pydantic import Field

from standby.concurrency import side_by_side
from standby.document import Document
from standby.errors import GuardRefused, StandbyError
from standby.vault.documents import Stored


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
        epoch: of the fence; a receiver that has a higher one ignores this.
        sources: what to call, by primary; `None` during a failover, when no resource may be called.
    """

    plan: str
    epoch: int
    changed_at: datetime
    run_id: str
    sources: Mapping[str, ActiveEndpoint | None]


class ActiveMaps(Stored):
    """The content of a sink that several plans share: each plan's map by the plan's name."""

    plans: Mapping[str, Activation] = {}


class SinkFailed(StandbyError):
    """The active map could not be published to a sink."""

    def __init__(self, sink: str, reason: str, next_action: str = "Fix the sink and run again") -> None:
        super().__init__(f"The active map could not be published to {sink}: {reason}", next_action)


class SinkAhead(GuardRefused):
    """A sink has a higher epoch: this run decided from an old state."""

    def __init__(self, sink: str, there: int | None, ours: int) -> None:
        known = "a higher epoch" if there is None else f"epoch {there}"
        super().__init__(
            f"{sink} already has {known}, and this run has epoch {ours}",
            "This is another vault, or an older copy, than the one that was used last: find that one and use it",
        )


class ActivationSink(Protocol):
    """One place that applications read, or that calls them."""

    @property
    def name(self) -> str:
        """What reports call it; it holds no secret."""
        ...

    async def publish(self, activation: Activation) -> None:
        """Publish the map; the same map again changes nothing.

        Raises:
            SinkAhead: it has a higher epoch.
            SinkFailed: it does not take it.
        """
        ...

    async def read(self, plan: str) -> Activation | None:
        """Give the last map of a plan; `None` where it has none, or cannot be read.

        Raises:
            SinkFailed: it can be read, and does not answer.
        """
        ...


def must_follow(sink: str, found: Activation | None, new: Activation) -> None:
    """Replace what a sink holds only by what is newer, or by the same again.

    Raises:
        SinkAhead: it has a higher epoch; or another resource under the same one, from another vault.
    """
    if found is None or found.epoch < new.epoch:
        return
    if found.epoch > new.epoch or any(
        endpoint is not None
        and primary in new.sources
        and endpoint.resource != getattr(new.sources[primary], "resource", None)
        for primary, endpoint in found.sources.items()
    ):
        raise SinkAhead(sink, found.epoch, new.epoch)


@dataclass(frozen=True)
class DeferredSink:
    """Is not published to now; the report says how that is done later."""

    name: str

    async def publish(self, activation: Activation) -> None:
        """Leave it as it is."""

    async def read(self, plan: str) -> Activation | None:  # noqa: ARG002 - it cannot be read
        """Give nothing: it cannot be read."""
        return None


SinkStatus = Literal["told", "deferred", "failed"]


class SinkResult(Document):
    """The outcome of publishing to one sink.

    Attributes:
        published: the resource that it has for the primary of the failover; `nobody` while none may be called;
            empty where nothing was published.
        reason: why nothing was published, with what to do about it.
    """

    name: str
    status: SinkStatus
    published: str = Field("", alias="told")
    reason: str = ""


NOBODY = "nobody"


async def publish_to_sinks(
    sinks: Sequence[ActivationSink], activation: Activation, primary: str
) -> tuple[SinkResult, ...]:
    """Publish a map to every sink, and name what each has for one primary; one that fails does not stop the others."""
    async with side_by_side() as group:
        tasks = [group.create_task(_publish(sink, activation, primary)) for sink in sinks]
    return tuple(task.result() for task in tasks)


async def read_back(sinks: Sequence[ActivationSink], plan: str) -> tuple[Activation | SinkFailed | None, ...]:
    """Read the last map of a plan from each sink; `None` where it cannot be read."""
    async with side_by_side() as group:
        read = [group.create_task(_read(sink, plan)) for sink in sinks]
    return tuple(task.result() for task in read)


async def _publish(sink: ActivationSink, activation: Activation, primary: str) -> SinkResult:
    if isinstance(sink, DeferredSink):
        return SinkResult(
            name=sink.name,
            status="deferred",
            reason=f"Only Prefect can publish to it. When Prefect answers: "
            f"standby commit {activation.plan} --via prefect.",
        )
    try:
        await sink.publish(activation)
    except (SinkAhead, SinkFailed) as error:
        return SinkResult(name=sink.name, status="failed", reason=str(error))
    endpoint = activation.sources.get(primary)
    return SinkResult(name=sink.name, status="told", published=endpoint.resource if endpoint else NOBODY)


async def _read(sink: ActivationSink, plan: str) -> Activation | SinkFailed | None:
    try:
        return await sink.read(plan)
    except SinkFailed as error:
        return error
