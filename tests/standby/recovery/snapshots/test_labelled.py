from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from standby.recovery.snapshots import labelled
from standby.recovery.snapshots.fidelity import Fidelity
from standby.recovery.snapshots.labelled import BlobReader, BlobsUnknown, open_blobs, parse_page, see_labelled
from standby.recovery.snapshots.snapshot import open_snapshot
from standby.service.auth import STORAGE_SCOPE, EntraAuth
from tests.standby.recovery.snapshots.storage import Container, storage
from tests.standby.recovery.snapshots.world import Cloud, World, analyzer, labelled_by, recorded, served
from tests.standby.replication.world import certificates, resource

EAST = resource("east")
HERE = resource("east", endpoint="http://127.0.0.1:1")
FILES = {"set/a.pdf": "bWQ1LW9mLWE=", "set/a.pdf.labels.json": "bWQ1LW9mLWxh", "other/b.pdf": "bWQ1LW9mLWI="}


@pytest.fixture
async def container() -> AsyncIterator[Container]:
    async with storage(Container(files=dict(FILES))) as served_there:
        yield served_there


async def kept(container: Container, query: str = "", *more: dict[str, Any]) -> World:
    world = served(World(cloud=Cloud(is_here=True)))
    world.hold("east", labelled_by(f"{container.url}{query}"), *more)
    await world.take()
    world.cloud.down.add("east")
    return world


async def test_a_snapshot_names_the_files_below_the_prefix(container: Container) -> None:
    world = await kept(container)

    [source] = (await open_snapshot(world.context())).resources["east"].analyzers["trained"].labelled

    assert (source.container, source.prefix, source.file_list) == (container.url, "set/", "set/list.jsonl")
    assert [(blob.name, blob.size, blob.md5) for blob in source.blobs if not isinstance(blob, str)] == [
        ("set/a.pdf", 9, "bWQ1LW9mLWE="),
        ("set/a.pdf.labels.json", 21, "bWQ1LW9mLWxh"),
    ]


async def test_labelled_data_that_has_not_changed_makes_it_equivalent(container: Container) -> None:
    world = await kept(container)

    [item] = (await world.planned()).items

    assert item.fidelity is Fidelity.EQUIVALENT
    assert "trained again on labelled data that has not changed" in item.reason


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"set/a.pdf": "another"}, "has changed: set/a.pdf"),
        ({"set/new.pdf": "new"}, "has changed: set/new.pdf"),
        ({"other/b.pdf": "another"}, "trained again"),
    ],
)
async def test_says_what_has_changed(container: Container, change: dict[str, str], words: str) -> None:
    world = await kept(container)
    container.files |= change

    [item] = (await world.planned()).items

    assert words in item.reason
    assert item.fidelity is (Fidelity.EQUIVALENT if words == "trained again" else Fidelity.UNFAITHFUL)


async def test_says_that_it_is_gone(container: Container) -> None:
    world = await kept(container)
    container.files.clear()

    [item] = (await world.planned()).items

    assert (item.fidelity, "labelled data is gone" in item.reason) == (Fidelity.UNFAITHFUL, True)


async def test_says_that_it_cannot_be_looked_at(container: Container) -> None:
    world = await kept(container)
    container.status = 403

    [item] = (await world.planned()).items

    assert item.fidelity is Fidelity.UNFAITHFUL
    assert "Its labelled data cannot be listed now: The storage answered HTTP 403" in item.reason


async def test_where_there_is_a_verified_copy_the_data_need_not_be_looked_at(container: Container) -> None:
    world = await kept(container)
    world.hold("west", labelled_by(container.url))
    await recorded(world, "trained")
    container.asked.clear()

    [item] = (await world.planned()).items

    assert (item.fidelity, container.asked) == (Fidelity.EXACT, [])


async def test_a_container_is_listed_once_for_all_that_share_it(container: Container) -> None:
    world = served(World(cloud=Cloud(is_here=True)))
    world.hold("east", *(labelled_by(container.url, name=f"a{number}") for number in range(5)))

    taken = await world.take()

    assert (len(container.asked), taken.unknown_labelled) == (1, ())


async def test_inline_analyzers_count_too(container: Container) -> None:
    inline = labelled_by(container.url, "inline")
    world = served(World(cloud=Cloud(is_here=True)))
    world.hold("east", analyzer("top", config={"contentCategories": {"x": {"analyzer": inline}}}))

    await world.take()

    assert len((await open_snapshot(world.context())).resources["east"].analyzers["top"].labelled) == 1


async def test_follows_the_pages_of_a_list(container: Container) -> None:
    container.files = {f"set/{number:03}.pdf": "md5" for number in range(25)}
    container.page = 10

    seen = await see_labelled({"a": labelled_by(container.url)}, HERE, certificates())

    assert len(seen["a"][0].blobs) == 25
    assert len(container.asked) == 3


async def test_uses_the_signature_of_the_url_and_keeps_it_nowhere(container: Container) -> None:
    world = await kept(container, "?sv=2024&sig=canary%2Bsignature%3D")

    assert container.asked[0]["sig"] == "canary+signature="
    assert b"canary" not in b"".join(world.vault.files.values())
    assert (await open_snapshot(world.context())).resources["east"].analyzers["trained"].labelled[0].access_cut


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ({"status": 404}, "HTTP 404"),
        ({"redirect": "http://127.0.0.1:9/elsewhere"}, "HTTP 307"),
        ({"hangs": True}, "did not list it within"),
    ],
)
async def test_whatever_goes_wrong_is_unknown_and_never_a_failed_snapshot(
    container: Container, behaviour: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in behaviour.items():
        setattr(container, name, value)
    if container.hangs:
        # Nothing else may depend on how fast this machine is.
        monkeypatch.setattr(labelled, "LISTING_SECONDS", 0.2)
    world = served(World(cloud=Cloud(is_here=True)))
    world.hold("east", labelled_by(container.url))

    taken = await world.take()

    assert (taken.complete, taken.unknown_labelled) == (True, ("trained",))
    [source] = (await open_snapshot(world.context())).resources["east"].analyzers["trained"].labelled
    assert source.blobs == "unknown"
    assert reason in source.reason
    container.hangs = False


async def test_a_storage_that_hangs_is_not_asked_for_one_container_after_the_other(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelled, "TIMEOUT", httpx.Timeout(0.5))
    container.hangs = True
    wanted = {f"a{number}": labelled_by(f"{container.url}{number}") for number in range(20)}

    seen = await see_labelled(wanted, HERE, certificates())

    assert {found.blobs for (found,) in seen.values()} == {"unknown"}
    assert all("The storage did not respond" in found.reason for (found,) in seen.values())
    assert len(container.asked) == labelled.LISTINGS_AT_ONCE
    container.hangs = False


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://labels.example.com/x",
        "https://x.blob.core.windows.net.example.com/x",
        "https://x.blob.core.windows.net:8443/x",
        "http://x.blob.core.windows.net/x",
        "https://user:password@x.blob.core.windows.net/x",
        "ftp://x.blob.core.windows.net/x",
        "https://[half/x",
        "https://x.blob.core.windows.net:port/x",
    ],
)
async def test_strange_hosts_are_not_asked(url: str) -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200)

    async with open_blobs(EAST, certificates(), httpx.MockTransport(answer)) as reader:
        with pytest.raises(BlobsUnknown):
            await reader.list(url, "set/")

    assert asked == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.1.2.3", "LOCALHOST"])
async def test_this_machine_is_not_asked_for_the_labelled_data_of_a_resource_elsewhere(host: str) -> None:
    connections: list[asyncio.StreamWriter] = []
    async with await asyncio.start_server(lambda _, writer: connections.append(writer), None, 0) as server:
        url = f"http://{host}:{server.sockets[0].getsockname()[1]}/labels"
        world = served(World())
        world.hold("east", labelled_by(url))
        taken = await world.take()

    assert (taken.complete, taken.unknown_labelled, connections) == (True, ("trained",), [])
    [source] = (await open_snapshot(world.context())).resources["east"].analyzers["trained"].labelled
    assert (source.blobs, source.reason) == (
        "unknown",
        "It is on this machine and its resource is not, so it was not called",
    )


class Token:
    """A credential that always has a token."""

    async def get_token(self, *scopes: str, **_: Any) -> Any:
        from azure.core.credentials import AccessToken  # noqa: PLC0415

        assert scopes == (STORAGE_SCOPE,)
        return AccessToken("canary-token", 2**40)

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("url", "signed"),
    [
        ("https://x.blob.core.windows.net/labels", True),
        ("https://x.blob.core.usgovcloudapi.net/labels", True),
        ("https://x.blob.core.windows.net/labels?sig=s", False),
        ("https://localhost/labels", False),
        ("http://127.0.0.1:10000/account/labels", False),
    ],
)
async def test_a_token_goes_to_storage_accounts_only(url: str, signed: bool) -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, text="<EnumerationResults><Blobs/><NextMarker/></EnumerationResults>")

    auth = EntraAuth(Token, STORAGE_SCOPE)  # type: ignore[arg-type]
    reader = BlobReader(auth, certificates(), httpx.MockTransport(answer), is_emulated=True)
    found = await reader.list(url, "set/")

    assert found == ()
    assert [request.headers.get("authorization") for request in asked] == ["Bearer canary-token" if signed else None]
    assert asked[0].headers["x-ms-version"] == labelled.STORAGE_VERSION


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"\xff\xfe<\x00",
        b'<!DOCTYPE x [<!ENTITY a "aaaa">]><E><Blob><Name>&a;</Name></Blob></E>',
        b"<EnumerationResults><Blobs><Blob></Blob></Blobs></EnumerationResults>",
        b"<E><Blob><Name>a</Name><Properties><Content-Length>many</Content-Length></Properties></Blob></E>",
    ],
)
def test_what_is_no_list_is_not_taken_for_one(content: bytes) -> None:
    with pytest.raises(BlobsUnknown, match="is not a list of files"):
        parse_page(content)


def test_names_that_xml_cannot_have_are_read_as_they_are() -> None:
    page, marker = parse_page(b'<E><Blob><Name Encoded="true">a%01b</Name></Blob><NextMarker>n</NextMarker></E>')

    assert ([blob.name for blob in page], marker) == (["a\x01b"], "n")


async def test_a_list_without_an_end_is_given_up() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text="<E><Blobs/><NextMarker>again</NextMarker></E>"))
    async with open_blobs(EAST, certificates(), transport) as reader:
        with pytest.raises(BlobsUnknown, match="has no end"):
            await reader.list("https://x.blob.core.windows.net/labels", "")
