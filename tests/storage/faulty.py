"""A proxy in front of Azurite that does to calls what networks and storages do, whenever a test asks for it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import httpx

from tests.storage.azurite import signature

Answer = httpx.Response | None
"""What the caller gets; `None` is a connection that is cut without a word."""

NOT_COPIED = {"connection", "transfer-encoding", "content-length", "keep-alive"}


@dataclass
class Call:
    """One request on its way.

    Attributes:
        older: what a read of the same object would have said before the last write that came by.
        later: what goes on when the caller has its answer.
    """

    request: httpx.Request
    http: httpx.AsyncClient
    later: list[asyncio.Task[httpx.Response]]
    older: httpx.Response | None = None

    @property
    def is_write(self) -> bool:
        return self.request.method == "PUT"

    @property
    def is_read(self) -> bool:
        return self.request.method == "GET" and "comp=list" not in str(self.request.url)

    async def forward(self) -> httpx.Response:
        return await self.http.send(self.request)


Fault = Callable[[Call], Awaitable[Answer]]


def answered(status: int) -> Fault:
    """Do nothing, and answer."""

    async def fault(_call: Call) -> Answer:
        return httpx.Response(status)

    return fault


def masked(status: int) -> Fault:
    """Do what is asked, and say something else."""

    async def fault(call: Call) -> Answer:
        await call.forward()
        return httpx.Response(status)

    return fault


async def swallowed(_call: Call) -> Answer:
    """Do nothing, and cut the connection."""
    return None


async def cut(call: Call) -> Answer:
    """Do what is asked, and cut the connection."""
    await call.forward()
    return None


async def halved(call: Call) -> Answer:
    """Give the first half of an answer."""
    answer = await call.forward()
    answer.extensions["half"] = True
    return answer


async def stale(call: Call) -> Answer:
    """Show what was there before the last write."""
    return call.older or await call.forward()


def delayed(until: asyncio.Event) -> Fault:
    """Cut the connection at once, and do what is asked when something else has happened."""

    async def fault(call: Call) -> Answer:
        async def arrive() -> httpx.Response:
            await until.wait()
            return await call.forward()

        call.later.append(asyncio.create_task(arrive()))
        return None

    return fault


def silent(until: asyncio.Event) -> Fault:
    """Do what is asked, and say so too late."""

    async def fault(call: Call) -> Answer:
        answer = await call.forward()
        await until.wait()
        return answer

    return fault


@dataclass
class Proxy:
    """A proxy that runs.

    Attributes:
        port: of this machine.
        writes: faults of the next writes, one each; `None` is one that goes well.
        reads: likewise, of the next reads of an object.
        others: likewise, of whatever comes next.
        chance: draws the fault of a call for which none of these waits.
        calls: the methods of all calls that came, oldest first.
        later: what goes on when a caller has its answer.
        watch: is told of each call, before anything is done with it and after.
    """

    port: int = 0
    writes: deque[Fault | None] = field(default_factory=deque)
    reads: deque[Fault | None] = field(default_factory=deque)
    others: deque[Fault | None] = field(default_factory=deque)
    chance: Callable[[Call], Fault | None] = lambda _call: None
    calls: list[str] = field(default_factory=list)
    later: list[asyncio.Task[httpx.Response]] = field(default_factory=list)
    watch: Callable[[str], None] | None = None
    _older: dict[str, httpx.Response] = field(default_factory=dict)

    async def carry(self, call: Call) -> Answer:
        """Let a call through, with the fault whose turn it is."""
        self.calls.append(call.request.method)
        self._say("before")
        waiting = self.writes if call.is_write else self.reads if call.is_read else self.others
        waiting = waiting or self.others
        fault = waiting.popleft() if waiting else self.chance(call)
        name = str(call.request.url).partition("?")[0]
        call.older = self._older.get(name)
        if call.is_write:
            self._older[name] = await call.http.get(f"{name}?{signature('r')}")
        answer = await (fault(call) if fault else call.forward())
        self._say("after")
        return answer

    def _say(self, moment: str) -> None:
        if self.watch is not None:
            self.watch(moment)


@asynccontextmanager
async def running_proxy(port: int) -> AsyncIterator[Proxy]:
    """Run one in front of a port of this machine."""
    proxy = Proxy()
    callers: set[asyncio.Task[None]] = set()
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", trust_env=False, verify=False, timeout=60
    ) as http:

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                with suppress(ConnectionError, asyncio.IncompleteReadError):
                    while (request := await _read(reader, http)) is not None:
                        answer = await proxy.carry(Call(request, http, proxy.later))
                        if not _write(writer, answer):
                            break
                        await writer.drain()
            finally:
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(serve(reader, writer))
            callers.add(task)

        async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
            proxy.port = server.sockets[0].getsockname()[1]
            yield proxy
            await asyncio.gather(*proxy.later)
            server.close()
            for task in callers:
                task.cancel()
            await asyncio.gather(*callers, return_exceptions=True)


async def _read(reader: asyncio.StreamReader, http: httpx.AsyncClient) -> httpx.Request | None:
    line = (await reader.readline()).decode().split()
    if len(line) != 3:
        return None
    headers: list[tuple[str, str]] = []
    while (header := (await reader.readline()).decode().strip()) != "":
        name, _, value = header.partition(":")
        headers.append((name.lower(), value.strip()))
    length = int(dict(headers).get("content-length", 0))
    body = await reader.readexactly(length)
    return http.build_request(line[0], line[1], headers=headers, content=body)


def _write(writer: asyncio.StreamWriter, answer: Answer) -> bool:
    """Send an answer; `False` where the connection ends with it."""
    if answer is None:
        return False
    is_half = "half" in answer.extensions
    content = answer.content
    kept = [(name, value) for name, value in answer.headers.items() if name not in NOT_COPIED]
    head = [f"HTTP/1.1 {answer.status_code} x", *(f"{name}: {value}" for name, value in kept)]
    head.append(f"content-length: {len(content)}")
    writer.write("\r\n".join((*head, "", "")).encode() + (content[: len(content) // 2] if is_half else content))
    return not is_half
