"""The gateway on a port of its own."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import pytest

from standby.cli.serve import KEEP_ALIVE, OF_ONE_CLIENT, bound, serve, url_of
from standby.gateway.errors import AddressUnusable
from tests.patience import PATIENCE
from tests.standby.gateway.conftest import TOKEN, UNHEALTHY
from tests.standby.gateway.samples import metric_alert

if TYPE_CHECKING:
    from tests.standby.gateway.conftest import Gateway


@asynccontextmanager
async def served(gateway: Gateway, keep_alive: int = KEEP_ALIVE) -> AsyncIterator[tuple[str, asyncio.Task[None]]]:
    ready = asyncio.Event()
    with bound("127.0.0.1", 0) as taken:
        task = asyncio.create_task(serve(gateway.app, taken, ready.set, keep_alive))
        try:
            async with asyncio.timeout(PATIENCE):
                await ready.wait()
            yield url_of(taken), task
        finally:
            task.cancel()
            await asyncio.wait({task})


async def test_it_serves_on_a_real_port_and_no_log_has_the_token(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with served(gateway) as (url, _), httpx.AsyncClient(base_url=url) as http:
        health = await http.get("/healthz")
        taken = await http.post("/azure-monitor", params={"token": TOKEN}, json=metric_alert())

    assert health.json() == {"status": "ok"}
    assert "server" not in health.headers
    assert taken.json()["posted"] == 1
    assert gateway.told() == [(UNHEALTHY, "east")]
    # The client of this test logs its own requests.
    lines = [record.getMessage() for record in caplog.records if not record.name.startswith("http")]
    assert not [line for line in lines if TOKEN in line]


HEAD = b"POST /azure-monitor HTTP/1.1\r\nHost: x\r\n"
LATER = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


async def test_connections_without_a_complete_request_end_soon_however_they_drip(gateway: Gateway) -> None:
    refused = HEAD + b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    async with served(gateway, keep_alive=1) as (url, _), httpx.AsyncClient(base_url=url) as http:
        address = httpx.URL(url)

        async def drip(first: bytes) -> None:
            reader, writer = await asyncio.open_connection(address.host, address.port)
            ended = asyncio.create_task(reader.read())
            writer.write(first)
            while not ended.done():
                writer.write(b"a" if first else b"")
                await asyncio.wait({ended}, timeout=0.05)
            assert isinstance(ended.exception(), ConnectionError | None)
            writer.close()

        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as dripping:
            for first in (b"", HEAD, LATER + HEAD, refused):
                dripping.create_task(drip(first))
            # The others are answered meanwhile.
            assert (await http.get("/healthz")).status_code == 200


async def test_one_client_has_only_so_many_connections(gateway: Gateway) -> None:
    async with served(gateway) as (url, _), AsyncExitStack() as stack:
        address = httpx.URL(url)
        for _ in range(OF_ONE_CLIENT):
            _, writer = await asyncio.open_connection(address.host, address.port)
            stack.callback(writer.close)
        reader, writer = await asyncio.open_connection(address.host, address.port)
        stack.callback(writer.close)
        assert (await reader.read()).startswith(b"HTTP/1.1 503 ")


async def test_what_is_no_http_is_refused(gateway: Gateway) -> None:
    async with served(gateway) as (url, _):
        address = httpx.URL(url)
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(b"\x16\x03\x01 hello\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()

    assert answer.startswith(b"HTTP/1.1 400 ")


async def test_stopped_it_first_answers_what_it_has_begun(gateway: Gateway) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        begun.set()
        yield b"{"
        await go_on.wait()
        yield b"}"

    async with served(gateway) as (url, task), httpx.AsyncClient(base_url=url) as http:
        headers = {"content-type": "application/json", "Authorization": f"Bearer {TOKEN}"}
        delivery = asyncio.create_task(http.post("/azure-monitor", headers=headers, content=slowly()))
        await begun.wait()
        await http.get("/healthz")
        task.cancel()
        refused = 0
        async with asyncio.timeout(PATIENCE):
            # It takes no new connection any more.
            while not refused:
                try:
                    async with httpx.AsyncClient(base_url=url) as other:
                        await other.get("/healthz")
                except httpx.TransportError:
                    refused += 1
        go_on.set()
        answer = await delivery
        assert answer.status_code == 400
    assert task.cancelled()


def test_an_address_that_is_taken_or_none_of_ours_is_told() -> None:
    with bound("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(AddressUnusable, match=f"on 127.0.0.1:{port}: Address already in use"),
            bound("127.0.0.1", port),
        ):
            pass
    with pytest.raises(AddressUnusable), bound("192.0.2.1", 0):
        pass
    with pytest.raises(AddressUnusable), bound("no host.invalid", 0):
        pass


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_the_url_of_an_ipv6_address_has_brackets() -> None:
    with bound("::1", 0) as taken:
        assert url_of(taken) == f"http://[::1]:{taken.getsockname()[1]}"
