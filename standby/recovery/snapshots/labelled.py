"""The labelled data that trained an analyzer: which files there are, and whether they are still the same.

The definition says which host is asked, so that is bounded: only known storage hosts are, and this machine only where
the resource itself is on it; redirects are not followed, and a token goes to the former only. The library that opens
the vault follows redirects, and gives no content hashes, so it is not used here.
"""

import asyncio
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import unquote, urlencode, urlsplit

import httpx
from pydantic import SecretStr

from standby.concurrency import do_for_each
from standby.config.resource import EntraCredentials, Resource, cloud_of, is_loopback
from standby.document import JsonObject, JsonValue
from standby.recovery.snapshots.manifest import Blob, LabelledData, SnapshotError
from standby.replication.needs import inline_analyzers
from standby.service.auth import STORAGE_SCOPE, EntraAuth, entra_auth
from standby.service.calls import CODINGS, Tls, route_to, take_in
from standby.service.errors import ServiceError
from standby.service.redaction import keep_secret
from standby.text import some_of

BLOB_SUFFIXES = (".blob.core.windows.net", ".blob.core.usgovcloudapi.net", ".blob.core.chinacloudapi.cn")
"""Hosts of Azure's storage, by cloud."""

STORAGE_VERSION = "2023-11-03"  # Version of its API; tokens need one of 2017-11-09 or later
TIMEOUT = httpx.Timeout(10.0, connect=5.0)  # Seconds for a connection, and for each read
MOST_BLOBS = 10_000  # Files below one prefix that are listed; more are not compared
PAGE = 5000


class BlobsUnknown(SnapshotError):
    def __init__(self, reason: str) -> None:
        super().__init__(reason, "Allow this identity to list the container")


class StorageSilent(BlobsUnknown):
    """The storage itself did not respond, so that none of its containers can be listed."""


@dataclass(frozen=True)
class BlobReader:
    """Lists containers, with the identity of a resource where that is an Entra one."""

    auth: EntraAuth | None
    tls: Tls
    transport: httpx.AsyncBaseTransport | None
    is_emulated: bool

    async def list(self, container_url: str, prefix: str) -> tuple[Blob, ...]:
        """List the files below a prefix, in order of name."""
        refuse_strange_host(container_url, is_emulated=self.is_emulated)
        parts = urlsplit(container_url)
        is_here = is_loopback(parts.hostname)
        found: list[Blob] = []
        marker = ""
        async with httpx.AsyncClient(
            auth=None if parts.query or is_here else self.auth,
            timeout=TIMEOUT,
            headers={"x-ms-version": STORAGE_VERSION, "Accept-Encoding": CODINGS},
            event_hooks={"response": [take_in]},
            follow_redirects=False,
            proxy=None if self.transport else route_to(container_url).proxy,
            trust_env=False,
            verify=self.tls,
            transport=self.transport,
        ) as http:
            while True:
                page, marker = parse_page(await _page(http, container_url, prefix, marker))
                found += page
                if len(found) > MOST_BLOBS:
                    raise BlobsUnknown(f"There are more than {MOST_BLOBS} files")
                if not marker:
                    return tuple(sorted(found, key=lambda blob: blob.name))
                if not page:
                    raise BlobsUnknown("The storage's list has no end")


@asynccontextmanager
async def open_blobs(
    resource: Resource, tls: Tls, transport: httpx.AsyncBaseTransport | None = None
) -> AsyncIterator[BlobReader]:
    """Open a reader of containers, with the credentials of a resource; a key gives no access to storage."""
    found, cloud = resource.credentials, cloud_of(resource.endpoint)
    auth = entra_auth(found, STORAGE_SCOPE, cloud) if isinstance(found, EntraCredentials) else None
    try:
        yield BlobReader(auth, tls, transport, is_emulated=is_loopback(urlsplit(resource.endpoint).hostname))
    finally:
        if auth is not None:
            await auth.aclose()


def refuse_strange_host(url: str, *, is_emulated: bool) -> None:
    """Refuse to ask any host but storage accounts, and this machine where the resource is emulated on it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BlobsUnknown("Its URL is not a storage URL") from None
    host = (parts.hostname or "").lower()
    if parts.username or parts.password or parts.scheme not in {"http", "https"}:
        raise BlobsUnknown("Its URL is not a storage URL")
    if is_loopback(host):
        if not is_emulated:
            raise BlobsUnknown("It is on this machine and its resource is not, so it was not called")
        return
    if parts.scheme != "https" or port not in (None, 443) or not host.endswith(BLOB_SUFFIXES):
        raise BlobsUnknown("Its host is not a known storage account, so it was not called")


def parse_page(content: bytes) -> tuple[list[Blob], str]:
    """Give the files that one page lists, and the marker of the next page; empty where there is none."""
    try:
        text = content.decode("utf-8-sig")
        if "<!DOCTYPE" in text:
            raise BlobsUnknown("The storage's answer is not a list of files")
        # Without a document type there are no entities that could grow or refer to other files.
        root = ET.fromstring(text)  # noqa: S314
        return [_blob(element) for element in root.iter("Blob")], (root.findtext("NextMarker") or "").strip()
    except (ET.ParseError, ValueError):
        raise BlobsUnknown("The storage's answer is not a list of files") from None


def _blob(element: ET.Element) -> Blob:
    name = element.find("Name")
    if name is None or not name.text:
        raise ValueError("no name")
    properties = element.find("Properties")
    found = {} if properties is None else {each.tag: (each.text or "").strip() for each in properties}
    return Blob(
        # Characters that XML cannot have are percent-encoded, and an attribute says so.
        name=unquote(name.text) if name.get("Encoded") == "true" else name.text,
        size=int(found.get("Content-Length") or 0),
        md5=found.get("Content-MD5") or None,
        etag=found.get("Etag") or None,
    )


async def _page(http: httpx.AsyncClient, container_url: str, prefix: str, marker: str) -> bytes:
    asked = {"restype": "container", "comp": "list", "maxresults": str(PAGE), "prefix": prefix}
    query = urlencode(asked | ({"marker": marker} if marker else {}))
    # The signature covers the query as it is written, so the query is not parsed and rebuilt.
    url = f"{container_url}{'&' if '?' in container_url else '?'}{query}"
    reason = silent = ""
    try:
        keep_secret(SecretStr(httpx.URL(container_url).query.decode("ascii")))
        answer = await http.get(url)
        if answer.status_code == 200:
            return answer.content
        reason = f"The storage answered HTTP {answer.status_code}"
    except ServiceError as error:
        reason = error.cause
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        # Its message may contain the whole URL, with the signature.
        silent = f"The storage did not respond: {type(error).__name__}"
    # Raised here and not above: those errors hold the request.
    if silent:
        raise StorageSilent(silent)
    raise BlobsUnknown(reason)


LISTINGS_AT_ONCE = 4
LISTING_SECONDS = 20.0  # How long listing one container may take
ALL_SECONDS = 120.0  # How long listing all containers may take; the rest is unknown then
Location = tuple[str, str]  # URL of a container as the definition has it, and the prefix


def labelled_sources(definition: Mapping[str, JsonValue]) -> tuple[JsonObject, ...]:
    """Give the labelled data a definition names, inline analyzers included."""
    named = [analyzer.get("knowledgeSources") for analyzer in (definition, *inline_analyzers(definition))]
    sources = [source for each in named if isinstance(each, list) for source in each if isinstance(source, dict)]
    return tuple(it for it in sources if str(it.get("kind", "labeledData")).lower() == "labeleddata")


async def see_labelled(
    definitions: Mapping[str, Mapping[str, JsonValue]], resource: Resource, tls: Tls
) -> dict[str, tuple[LabelledData, ...]]:
    """List the labelled data of the analyzers of a resource; what cannot be listed is unknown, with the reason."""
    sources = {name: labelled_sources(definition) for name, definition in definitions.items()}
    locations = {_location(source) for found in sources.values() for source in found}
    listed = await _list_all(sorted(locations), resource, tls) if locations else {}

    def seen(source: JsonObject) -> LabelledData:
        (url, prefix), there = _location(source), listed[_location(source)]
        container, _, query = url.partition("?")
        return LabelledData(
            container=container,
            prefix=prefix,
            file_list=str(source.get("fileListPath") or ""),
            blobs="unknown" if isinstance(there, str) else there,
            reason=there if isinstance(there, str) else "",
            access_cut=bool(query),
        )

    return {name: tuple(map(seen, some)) for name, some in sources.items() if some}


def what_changed(then: Sequence[LabelledData], now: Sequence[LabelledData]) -> str:
    """Say why labelled data may not be what it was when the snapshot was taken; nothing where it is the same."""
    for before, found in zip(then, now, strict=True):
        if before.blobs == "unknown":
            return f"Its labelled data could not be listed when the snapshot was taken: {before.reason}"
        if found.blobs == "unknown":
            return f"Its labelled data cannot be listed now: {found.reason}"
        if before.blobs and not found.blobs:
            return "Its labelled data is gone"
        if changed := _changed(before.blobs, found.blobs):
            return f"Its labelled data has changed: {some_of(changed, 1)}"
    return ""


async def _list_all(
    locations: Sequence[Location], resource: Resource, tls: Tls
) -> dict[Location, tuple[Blob, ...] | str]:
    listed: dict[Location, tuple[Blob, ...] | str] = dict.fromkeys(locations, "There was no time left to list it")
    silent: dict[str, str] = {}

    async with open_blobs(resource, tls) as reader:

        async def inspect(location: Location) -> None:
            host = location[0].partition("?")[0].rpartition("/")[0]
            if host in silent:
                listed[location] = silent[host]
                return
            try:
                async with asyncio.timeout(LISTING_SECONDS):
                    listed[location] = await reader.list(*location)
            except StorageSilent as error:
                # Its other containers would keep the whole snapshot waiting for the same.
                listed[location] = silent[host] = error.cause
            except BlobsUnknown as error:
                listed[location] = error.cause
            except TimeoutError:
                listed[location] = f"The storage did not list it within {LISTING_SECONDS:.0f} s"

        try:
            async with asyncio.timeout(ALL_SECONDS):
                await do_for_each(locations, inspect, LISTINGS_AT_ONCE)
        except TimeoutError:
            pass  # What was not listed says so.
    return listed


def _location(source: JsonObject) -> Location:
    return str(source.get("containerUrl") or ""), str(source.get("prefix") or "")


def _changed(then: Sequence[Blob], now: Sequence[Blob]) -> list[str]:
    before, found = {blob.name: blob for blob in then}, {blob.name: blob for blob in now}
    same = {name for name in before.keys() & found.keys() if _is_same(before[name], found[name])}
    return sorted((before.keys() | found.keys()) - same)


def _is_same(one: Blob, other: Blob) -> bool:
    if one.size != other.size:
        return False
    if one.md5 and other.md5:
        return one.md5 == other.md5
    return one.etag is not None and one.etag == other.etag
