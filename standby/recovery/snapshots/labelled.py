"""The labelled data that trained an analyzer: what can be seen of it, and whether it is still the same."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence

from standby.concurrency import side_by_side
from standby.config.resource import EntraCredentials, KeyCredentials
from standby.document import JsonObject, JsonValue
from standby.recovery.snapshots.blobs import BlobsUnknown, open_blobs
from standby.recovery.snapshots.manifest import Blob, LabelledData
from standby.replication.dependencies import inline_analyzers
from standby.service.calls import Tls
from standby.text import some_of

LISTINGS_AT_ONCE = 4

LISTING_SECONDS = 20.0
"""What one container may take."""

ALL_SECONDS = 120.0
"""What all containers together may take; those that are left then are unknown."""

LABELLED = "labeledData"

Place = tuple[str, str]
"""URL of a container as the definition has it, and the prefix."""


def labelled_sources(definition: Mapping[str, JsonValue]) -> tuple[JsonObject, ...]:
    """Give the labelled data a definition names, inline analyzers included."""
    return tuple(
        source
        for analyzer in (definition, *inline_analyzers(definition))
        for source in _sources(analyzer)
        if str(source.get("kind", LABELLED)).lower() == LABELLED.lower()
    )


async def see_labelled(
    definitions: Mapping[str, Mapping[str, JsonValue]],
    credentials: KeyCredentials | EntraCredentials,
    tls: Tls,
) -> dict[str, tuple[LabelledData, ...]]:
    """List the labelled data of analyzers; whatever cannot be listed is unknown, with the reason.

    Args:
        definitions: as the service sent them, by analyzer.
        credentials: of the resource; an Entra identity may list what it may read.
        tls: which certificates are trusted.

    Returns:
        By analyzer, of those that have any.
    """
    sources = {name: labelled_sources(definition) for name, definition in definitions.items()}
    places = {_place(source) for found in sources.values() for source in found}
    listed = await _list_all(sorted(places), credentials, tls) if places else {}
    return {
        name: tuple(_labelled(source, listed[_place(source)]) for source in found)
        for name, found in sources.items()
        if found
    }


def what_changed(then: Sequence[LabelledData], now: Sequence[LabelledData]) -> str:
    """Say why labelled data is not proven to be what it was; nothing where it is.

    Args:
        then: as the snapshot has it.
        now: the same places, listed just now.
    """
    for kept, found in zip(then, now, strict=True):
        if kept.blobs == "unknown":
            return f"Its labelled data was unknown when the snapshot was taken: {kept.reason}"
        if found.blobs == "unknown":
            return f"Its labelled data cannot be looked at: {found.reason}"
        if kept.blobs and not found.blobs:
            return "Its labelled data is gone"
        if changed := _changed(kept.blobs, found.blobs):
            return f"Its labelled data has changed: {some_of(changed, 1)}"
    return ""


async def _list_all(
    places: Sequence[Place], credentials: KeyCredentials | EntraCredentials, tls: Tls
) -> dict[Place, tuple[Blob, ...] | str]:
    listed: dict[Place, tuple[Blob, ...] | str] = dict.fromkeys(places, "There was no time left to list it")
    gate = asyncio.Semaphore(LISTINGS_AT_ONCE)

    async with open_blobs(credentials, tls) as reader:

        async def inspect(place: Place) -> None:
            async with gate:
                try:
                    async with asyncio.timeout(LISTING_SECONDS):
                        listed[place] = await reader.list(*place)
                except BlobsUnknown as error:
                    listed[place] = error.cause
                except TimeoutError:
                    listed[place] = f"The storage did not list it within {LISTING_SECONDS:.0f} s"

        try:
            async with asyncio.timeout(ALL_SECONDS), side_by_side() as group:
                for place in places:
                    group.create_task(inspect(place))
        except TimeoutError:
            pass  # What was not reached says so.
    return listed


def _labelled(source: JsonObject, listed: tuple[Blob, ...] | str) -> LabelledData:
    url, prefix = _place(source)
    container, _, query = url.partition("?")
    return LabelledData(
        container=container,
        prefix=prefix,
        file_list=str(source.get("fileListPath") or ""),
        blobs="unknown" if isinstance(listed, str) else listed,
        reason=listed if isinstance(listed, str) else "",
        access_cut=bool(query),
    )


def _place(source: JsonObject) -> Place:
    return str(source.get("containerUrl") or ""), str(source.get("prefix") or "")


def _sources(analyzer: Mapping[str, JsonValue]) -> Iterator[JsonObject]:
    sources = analyzer.get("knowledgeSources")
    if isinstance(sources, list):
        yield from (source for source in sources if isinstance(source, dict))


def _changed(then: Sequence[Blob], now: Sequence[Blob]) -> list[str]:
    kept, found = {blob.name: blob for blob in then}, {blob.name: blob for blob in now}
    return sorted(
        name
        for name in kept.keys() | found.keys()
        if name not in kept or name not in found or not _is_same(kept[name], found[name])
    )


def _is_same(one: Blob, other: Blob) -> bool:
    if one.size != other.size:
        return False
    if one.md5 and other.md5:
        return one.md5 == other.md5
    return one.etag is not None and one.etag == other.etag
