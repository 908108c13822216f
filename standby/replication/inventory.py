"""The inventory of one resource: its own analyzers, and the models it can serve."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache, cached_property
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from standby.clock import Clock, SystemClock
from standby.concurrency import all_of, side_by_side
from standby.config.durations import moment_of
from standby.config.globs import matches
from standby.config.plan import RecoveryPlan
from standby.config.resource import PREVIEW_2025, Resource
from standby.document import JsonObject, JsonValue
from standby.replication.errors import NothingSelected
from standby.replication.fingerprint import fingerprint, present_fingerprint, writable
from standby.replication.needs import Serving, models_of, references
from standby.replication.trained import is_side_copy
from standby.replication.verdict import Sighting
from standby.service.calls import trusted_certificates
from standby.service.client import ContentUnderstandingClient
from standby.service.errors import AnswerUnreadable, ArmUnavailable, DefaultsNotSet, ServiceError
from standby.service.models import Analyzer, Deployment, Written
from standby.text import sentence

log = logging.getLogger("standby.replication")

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Meaning:
    """What planning needs of a definition, worked out once for all analyzers that have the same."""

    ignore: tuple[str, ...]
    fingerprint: str  # by the present rules, unless anything about it is odd
    references: frozenset[str]
    models: tuple[tuple[str, str], ...]
    trained: bool


_MEANINGS: WeakKeyDictionary[Written, Meaning] = WeakKeyDictionary()


def meaning_of(analyzer: Analyzer, ignore: tuple[str, ...]) -> Meaning:
    written = analyzer.written
    known = _MEANINGS.get(written) if written is not None else None
    if known is not None and known.ignore == ignore:
        return known
    definition = analyzer.definition()
    hashed = present_fingerprint(definition, written.text, ignore) if written else fingerprint(definition, ignore)
    trained = bool(definition.get("knowledgeSources"))
    made = Meaning(ignore, hashed, references(definition), models_of(definition), trained)
    if written is not None:
        _MEANINGS[written] = made
    return made


def sight_as_it_is(analyzer: Analyzer, meaning: Meaning) -> Sighting:
    """See an analyzer as its resource shows it, by the present rules."""
    made_at, changed_at = analyzer.created_at, analyzer.last_modified_at
    return Sighting(meaning.fingerprint, analyzer.status, made_at, changed_at, meaning.trained)


class _WhenAsked(Mapping[str, T], Generic[S, T]):
    """What is made of each of some things when it is asked for."""

    def __init__(self, things: Mapping[str, S], make: Callable[[S], T]) -> None:
        self._things = things
        self._make = make

    def __getitem__(self, name: str) -> T:
        return self._make(self._things[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._things)

    def __len__(self) -> int:
        return len(self._things)


@dataclass(frozen=True)
class Inventory:
    """One listing of a resource: its custom analyzers by id. Prebuilt ones are everywhere and never copied."""

    serving: Serving
    analyzers: Mapping[str, Analyzer]

    def meaning(self, name: str, ignore: tuple[str, ...]) -> Meaning:
        return meaning_of(self.analyzers[name], ignore)

    def means(self, name: str, ignore: tuple[str, ...]) -> dict[str, JsonValue]:
        """Give what an analyzer's definition means in full, to be compared."""
        analyzer = self.analyzers[name]
        return writable(analyzer.definition(), ignore, analyzer.written.text if analyzer.written else None)

    @property
    def definitions(self) -> Mapping[str, JsonObject]:
        """What the service sent of each analyzer, as far as a hash can be made of it."""
        return _WhenAsked(self.analyzers, Analyzer.definition)  # All at once would fill the memory.

    def unreadable(self, name: str, advice: str = "Correct it there, or exclude it from the plan") -> str:
        """Say what of an analyzer cannot be read; empty where all of it can, or there is none."""
        found = self.analyzers.get(name)
        return found.unreadable(self.serving.resource.name, advice) if found is not None and found.wrong else ""

    @cached_property
    def unlisted(self) -> str:
        """Why what it does not list may nevertheless exist; empty where its list could be read whole."""
        return next((sentence(each.wrong) for each in self.analyzers.values() if each.is_nameless), "")

    def with_defaults(self, added: Mapping[str, str]) -> Inventory:
        """Take for true what an earlier pair of a plan adds to the resource's defaults."""
        if not added:
            return self
        serving = replace(self.serving, defaults={**(self.serving.defaults or {}), **added})
        return replace(self, serving=serving)


async def take_inventory(client: ContentUnderstandingClient, ignore: tuple[str, ...] | None = None) -> Inventory:
    """List a resource's custom analyzers, its defaults and its deployments."""

    # Where planning follows, with what the plan ignores of definitions, what they mean is worked out meanwhile.
    def work_out(analyzer: Analyzer) -> None:
        if ignore is not None and not analyzer.is_prebuilt:
            meaning_of(analyzer, ignore)

    async with side_by_side() as group:
        listing = group.create_task(client.list_readable(work_out))
        serving = group.create_task(read_serving(client))
    return inventory_of(serving.result(), listing.result())


def inventory_of(serving: Serving, listing: Iterable[Analyzer]) -> Inventory:
    return Inventory(serving, {each.analyzer_id: each for each in listing if not each.is_prebuilt})


async def take_inventories(clients: Iterable[ContentUnderstandingClient]) -> dict[str, Inventory]:
    taken = await all_of(take_inventory(client) for client in clients)
    return {inventory.serving.resource.name: inventory for inventory in taken}


async def look_at(
    clients: Iterable[ContentUnderstandingClient], ignore: tuple[str, ...] | None = None
) -> tuple[dict[str, Inventory], dict[str, ServiceError]]:
    """Take the inventories of several resources; give those of the ones that answer, and why the others do not."""

    async def take(client: ContentUnderstandingClient) -> Inventory | ServiceError:
        try:
            return await take_inventory(client, ignore)
        except ServiceError as error:
            return error

    async with side_by_side() as group:
        tasks = {client.resource.name: group.create_task(take(client)) for client in clients}
    found = {name: task.result() for name, task in tasks.items()}
    failures = {name: each for name, each in found.items() if isinstance(each, ServiceError)}
    return {name: each for name, each in found.items() if isinstance(each, Inventory)}, failures


async def read_serving(client: ContentUnderstandingClient) -> Serving:
    async with side_by_side() as group:
        serving = group.create_task(read_defaults(client))
        deployments = group.create_task(read_deployments(client))
    return replace(serving.result(), deployments=deployments.result())


async def read_defaults(client: ContentUnderstandingClient) -> Serving:
    """Read what a resource serves but its deployments: where that cannot be read, its analyzers nevertheless can."""
    resource = client.resource
    if resource.api_version == PREVIEW_2025:
        return Serving(resource)  # It has no such call: its analyzers name deployments (recording: defaults).
    try:
        return Serving(resource, (await client.get_defaults()).model_deployments)
    except DefaultsNotSet:
        return Serving(resource)
    except AnswerUnreadable as error:
        log.warning("it is unknown which deployments %s has: %s", resource.name, error)
        return Serving(resource, unread=error)


async def read_deployments(client: ContentUnderstandingClient) -> Mapping[str, Deployment] | None:
    """Read the deployments by name; `None` where Azure's management plane cannot or may not say."""
    try:
        listed = await client.arm.list_deployments()
    except ArmUnavailable:
        return None
    except ServiceError as error:
        # The management plane may be down or closed to us while the service works: not a reason to stop.
        log.warning("deployments of %s are unknown: %s", client.resource.name, error)
        return None
    return {deployment.name: deployment for deployment in listed}


DRILL_TAG = "standby-drill"  # Tag of what a drill makes and deletes again: nobody would delete a copy of it elsewhere


def is_protected(plan: RecoveryPlan, analyzer: Analyzer, now: datetime) -> bool:
    """Say whether all filters of a plan choose an analyzer; what a drill made is never chosen."""
    # A side copy that was kept of a trained analyzer is chosen only by a filter that names such copies. Where something
    # cannot be read, only filters by name leave it out: it may be what the others choose.
    if analyzer.is_nameless:
        return True
    return (
        DRILL_TAG not in analyzer.tags
        and (not is_side_copy(analyzer.analyzer_id) or any("_kept_" in pattern for pattern in plan.include))
        and matches(analyzer.analyzer_id, plan.include)
        and not matches(analyzer.analyzer_id, plan.exclude)
        and (bool(analyzer.wrong) or _is_chosen(plan, analyzer, now))
    )


def _is_chosen(plan: RecoveryPlan, analyzer: Analyzer, now: datetime) -> bool:
    changed_at, tags = analyzer.last_modified_at, [wanted.partition("=") for wanted in plan.tags]
    return (
        all(key in analyzer.tags and matches(analyzer.tags[key], [pattern]) for key, _, pattern in tags)
        and matches(analyzer.base_analyzer_id or "", plan.base)
        # One whose date is unknown is protected: leaving it out could lose it.
        and (plan.modified_since is None or changed_at is None or changed_at >= moment_of(plan.modified_since, now))
    )


def must_match(patterns: Iterable[str], known: Collection[str]) -> None:
    """Refuse a glob that matches no analyzer: it may be misspelled, and a run of nothing would look like success."""
    for pattern in patterns:
        if pattern != "*" and not any(matches(name, [pattern]) for name in known):
            raise NothingSelected("analyzer", pattern, sorted(known))


SERVING_AGE = 60.0  # Seconds for which what a resource serves is taken as still true


@dataclass
class Connections:
    """An open client for each resource, and what the resource was last seen to serve."""

    clients: Mapping[str, ContentUnderstandingClient]
    clock: Clock = field(default_factory=SystemClock)
    _serving: dict[str, tuple[float, Serving]] = field(default_factory=dict)
    _slots: dict[str, asyncio.Semaphore] = field(default_factory=dict)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __getitem__(self, resource: str) -> ContentUnderstandingClient:
        return self.clients[resource]

    def slots(self, resource: str) -> asyncio.Semaphore:
        """Give the places for what is in flight at a resource: one set for all pairs, restores and syncs of a run."""
        most = self.clients[resource].resource.max_concurrent_copies
        return self._slots.setdefault(resource, asyncio.Semaphore(most))

    async def serving(self, resource: str) -> Serving:
        """Tell what a resource serves, asked at most once in `SERVING_AGE` seconds."""
        async with self._lock:
            known = self._serving.get(resource)
            if known is None or self.clock.monotonic() - known[0] > SERVING_AGE:
                self.remember_serving(await read_serving(self.clients[resource]))
            return self._serving[resource][1]

    def remember_serving(self, serving: Serving) -> None:
        """Take what was just read for true, for a while."""
        self._serving[serving.resource.name] = (self.clock.monotonic(), serving)

    def forget_serving(self, resource: str) -> None:
        self._serving.pop(resource, None)


@asynccontextmanager
async def connect(resources: Iterable[Resource], silence: float | None = None) -> AsyncIterator[Connections]:
    made: dict[str, ContentUnderstandingClient] = {}
    tls = cache(trusted_certificates)

    def client(resource: Resource) -> ContentUnderstandingClient:
        # When it is first asked for: what calls nobody waits for none of it.
        if resource.name not in made:
            made[resource.name] = ContentUnderstandingClient(resource, tls=tls(), silence=silence)
            stack.push_async_exit(made[resource.name])
        return made[resource.name]

    async with AsyncExitStack() as stack:
        yield Connections(_WhenAsked({resource.name: resource for resource in resources}, client))
