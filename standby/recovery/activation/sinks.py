"""The active endpoint map, and its publication to every sink side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Literal, Protocol

from pydantic import (
    AwareDatetime,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapSerializer,
    WrapValidator,
)

from standby.concurrency import all_of
from standby.document import Document, digest_of_json
from standby.errors import GuardRefused, StandbyError, must_not_be_read_only, sentence
from standby.vault.documents import Stored, parse_stored
from standby.vault.errors import FormatUnknown

OPTIONAL_SECONDS = 2.0  # How long a sink that is not required may take: a failover does not wait for it
LATER = "It is not required, so a failover does not wait for it; the map is published to it later."
READ_SECONDS = 5.0  # How long a sink may take to say what it holds


class ActiveEndpoint(Document):
    """A resource that serves."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    resource: str = Field(description="Name of the resource in Standby's configuration.")
    endpoint: str = Field(description="URL to call.")
    region: str = Field(description="Azure region of the resource.")
    resource_id: str = Field(description="Azure resource id; empty where the configuration has none.")
    api_version: str = Field(description="Value of api-version in calls to this resource.")
    analyzers: Mapping[str, str] = Field(
        description="Id to call at this resource, by id at the primary; an id that is in neither list stays the same."
    )
    missing: tuple[str, ...] = Field(
        (), description="Ids at the primary of analyzers that this resource cannot serve now; calls of them would fail."
    )


class Activation(Document):
    """The active endpoint map of one plan."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    plan: str = Field(description="Name of the recovery plan.")
    epoch: int = Field(ge=0, description="Grows with every failover and rollback: of two maps the higher one counts.")
    changed_at: datetime = Field(description="When what serves was changed, UTC.")
    as_of: AwareDatetime = Field(
        default_factory=lambda written: written["changed_at"],
        description="When this map was published, UTC; under the same epoch the later one counts.",
    )
    run_id: str = Field(description="The run of Standby that changed it.")
    sources: Mapping[str, ActiveEndpoint | None] = Field(
        description="What to call, by name of the primary; null while nobody serves: wait, and read again."
    )

    @property
    def meaning(self) -> str:
        """The digest of what it says: not of when and by which run, nor of ids that stay the same."""
        sources: dict[str, Any] = {}
        for primary, endpoint in self.sources.items():
            if endpoint is not None:
                renamed = {own: called for own, called in endpoint.analyzers.items() if own != called}
                sources[primary] = endpoint.model_copy(update={"analyzers": renamed}).model_dump(mode="json")
            else:
                sources[primary] = None
        return digest_of_json({"plan": self.plan, "epoch": self.epoch, "sources": sources})

    def says_the_same(self, other: Activation | None) -> bool:
        """Say whether an application does the same by both."""
        return other is not None and self.meaning == other.meaning

    @property
    def serving(self) -> dict[str, str | None]:
        """The name of what serves, by primary; `None` for nobody."""
        return {primary: endpoint.resource if endpoint else None for primary, endpoint in self.sources.items()}


def _or_as_it_is(value: object, handler: ValidatorFunctionWrapHandler) -> object:
    try:
        return handler(value)
    except ValidationError:
        return value


_Kept = Annotated[
    Activation,
    WrapValidator(_or_as_it_is),
    # Without types, so that its JSON schema is that of a map.
    WrapSerializer(lambda value, handler: handler(value) if isinstance(value, Activation) else value),
]
"""The map of a plan. One that cannot be read is kept as it is, so that no other plan loses its own."""


class ActiveMaps(Stored):
    """The content of a sink that several plans share: each plan's map by the plan's name."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    plans: Mapping[str, _Kept] = Field({}, description="The active endpoint map of each plan, by its name.")

    def knows(self, plan: str) -> bool:
        """Say whether the map of a plan can be read, or it has none yet."""
        return plan not in self.plans or type(self.plans[plan]) is Activation


class SinkFailed(StandbyError):
    def __init__(self, sink: str, reason: str, next_action: str = "Fix the sink and run again") -> None:
        super().__init__(f"The active map could not be published to {sink}: {reason}", next_action)


class SinkAhead(GuardRefused):
    """A sink has a higher epoch: this run decided from an old state."""

    def __init__(self, sink: str, there: int | None, ours: int) -> None:
        known = "a higher epoch" if there is None else f"epoch {there}"
        action = "This vault is another one than was used last, or an older copy of it: use the one that was used last"
        super().__init__(f"{sink} already has {known}, and this run has epoch {ours}", action)


def read_maps(sink: str, where: str, content: bytes, plan: str, advice: str) -> ActiveMaps:
    """Read what a sink holds for a plan and others; `SinkFailed`, with some advice, where that is no map."""
    try:
        maps = parse_stored(where, content, ActiveMaps)
        if maps.knows(plan):
            return maps
    except FormatUnknown as error:
        raise SinkFailed(sink, error.cause, error.next_action) from None
    except ValidationError:
        pass  # Some other program's, or damaged: what it said, and under which epoch, would be lost.
    reason = "it holds something other than an active endpoint map, so it is not overwritten"
    raise SinkFailed(sink, reason, advice)


class ActivationSink(Protocol):
    """One place that applications read, or that calls them."""

    @property
    def name(self) -> str: ...  # what reports call it; it holds no secret
    @property
    def required(self) -> bool: ...  # whether a failover waits for it
    @property
    def readable(self) -> bool: ...  # whether it can say what it holds
    # What records call it: another receiver under the same name has another one. It is empty where nothing is
    # recorded, since everybody can ask it.
    @property
    def id(self) -> str: ...

    async def publish(self, activation: Activation) -> None:
        """Publish the map; the same map again changes nothing."""

    async def read(self, plan: str) -> Activation | None:
        """Give the last map of a plan; `None` where it has none, or cannot be read."""


def must_follow(sink: str, found: Activation | None, new: Activation) -> None:
    """Replace what a sink holds only by what is newer, or by the same again."""
    if found is None or found.epoch < new.epoch:
        return
    serving = new.serving
    known = ((name, each) for name, each in found.serving.items() if each is not None and name in serving)
    if found.epoch > new.epoch or any(serving[name] != each for name, each in known):
        raise SinkAhead(sink, found.epoch, new.epoch)


@dataclass(frozen=True)
class DeferredSink:
    """Is not published to now; the report says how that is done later."""

    name: str
    required: bool = True
    readable: bool = False

    @property
    def id(self) -> str:
        return self.name

    async def publish(self, activation: Activation) -> None:
        """Leave it as it is."""

    async def read(self, plan: str) -> Activation | None:  # noqa: ARG002 - it cannot be read
        return None


SinkStatus = Literal["told", "deferred", "failed"]


class SinkResult(Document):
    """The outcome of publishing to one sink."""

    name: str
    status: SinkStatus
    # The resource that it has for the primary of the failover; `nobody` while none may be called; empty where nothing
    # was published.
    published: str = Field("", alias="told")
    reason: str = ""  # why nothing was published, with what to do about it
    required: bool = True

    @property
    def holds_up(self) -> bool:
        return self.required and self.status == "failed"


NOBODY = "nobody"


@dataclass
class Outcomes:
    """The results of publishing to some sinks so far; they are right after an interruption, too."""

    results: dict[str, SinkResult] = field(default_factory=dict)  # of the last attempt, by name of the sink
    taken: dict[str, Activation] = field(default_factory=dict)  # the map that each took last, by id of the sink
    # The epoch of the last map that it is unknown to have taken, and why; by id of the sink.
    missed: dict[str, tuple[int, str]] = field(default_factory=dict)


async def publish_to_sinks(
    sinks: Sequence[ActivationSink],
    activation: Activation,
    primary: str,
    *,
    into: Outcomes | None = None,  # gets each outcome as it comes
    patience: float | None = None,  # seconds for each; without it, those that are not required have `OPTIONAL_SECONDS`
) -> tuple[SinkResult, ...]:
    """Publish a map to every sink, and name what each has for one primary; one that fails does not stop the others."""
    must_not_be_read_only("A publication")
    outcomes = Outcomes() if into is None else into
    seconds = {it.name: patience if patience is not None or it.required else OPTIONAL_SECONDS for it in sinks}
    await all_of(_publish(sink, activation, primary, outcomes, seconds[sink.name]) for sink in sinks)
    return tuple(outcomes.results[sink.name] for sink in sinks)


async def read_back(sinks: Sequence[ActivationSink], plan: str) -> tuple[Activation | SinkFailed | None, ...]:
    """Read the last map of a plan from each sink; `None` where it cannot be read."""

    async def read(sink: ActivationSink) -> Activation | SinkFailed | None:
        try:
            return await read_sink(sink, plan)
        except SinkFailed as error:
            return error

    return tuple(await all_of(read(sink) for sink in sinks))


async def read_sink(sink: ActivationSink, plan: str) -> Activation | None:
    """Read the last map of a plan from one sink, in bounded time."""
    try:
        async with asyncio.timeout(READ_SECONDS):
            return await sink.read(plan)
    except TimeoutError:
        raise SinkFailed(sink.name, f"it did not return its map within {READ_SECONDS:.0f} s") from None


def failed_at(sink: ActivationSink, error: StandbyError) -> SinkResult:
    reason = str(error) if sink.required else f"{sentence(error.cause)} {LATER}"
    return SinkResult(name=sink.name, status="failed", reason=reason, required=sink.required)


async def _publish(
    sink: ActivationSink, activation: Activation, primary: str, into: Outcomes, seconds: float | None
) -> None:
    def fail(error: StandbyError) -> None:
        into.results[sink.name] = failed_at(sink, error)
        if sink.id:
            into.missed[sink.id] = (activation.epoch, error.cause)

    if isinstance(sink, DeferredSink):
        commit = f"standby commit {activation.plan} --via prefect"
        reason = f"Only Prefect can publish to it. When Prefect answers: {commit}."
        into.results[sink.name] = SinkResult(name=sink.name, status="deferred", reason=reason, required=sink.required)
        return
    try:
        async with asyncio.timeout(seconds):
            await sink.publish(activation)
    except (SinkAhead, SinkFailed) as error:
        fail(error)
        return
    except TimeoutError:
        fail(SinkFailed(sink.name, f"no answer within {seconds:g} s, so it is unknown whether it took the map"))
        return
    except asyncio.CancelledError:
        interrupted = "the run was interrupted before it answered"
        fail(SinkFailed(sink.name, f"{interrupted}, so it is unknown whether it took the map"))
        raise
    endpoint = activation.sources.get(primary)
    if sink.id:
        into.taken[sink.id] = activation
        into.missed.pop(sink.id, None)
    told = endpoint.resource if endpoint else NOBODY
    into.results[sink.name] = SinkResult(name=sink.name, status="told", published=told, required=sink.required)
