"""What runs beside a test as it would for an operator: workers of our pools, and a Prefect server that is whole."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from prefect import get_client, settings

from standby.flows import QUICKLY
from standby.flows.bootstrap import WORK_POOL
from standby.flows.processes import PROMPT, SETTINGS
from tests.conftest import NewDatabase
from tests.patience import PATIENCE


async def delete_deployments() -> None:
    """Leave nothing that another test has deployed, or that would start runs in one."""
    async with get_client() as client:
        for deployment in await client.read_deployments():
            await client.delete_deployment(deployment.id)


@asynccontextmanager
async def worker(server: Any, limit: int = 1, pool: str = WORK_POOL) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a process worker of a Prefect server, and end with it the flow runs that it has begun."""
    environment = {**PROMPT, "PREFECT_API_URL": server.api_url, "PREFECT_HOME": str(server.home)}
    process = await started("worker", "start", "--pool", pool, "--limit", str(limit), environment=environment)
    try:
        yield process
    finally:
        # Not killed: it ends its flow runs, which are in sessions of their own.
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def started(*command: str, environment: Mapping[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, *QUICKLY, "prefect", *command),
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )


def descendants(pid: int) -> Iterator[int]:
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield int(child)
            yield from descendants(int(child))


def kill_all(pid: int) -> None:
    """What the loss of a machine does to a worker: it and all it started are gone at once."""
    for lost in [pid, *descendants(pid)]:
        os.kill(lost, signal.SIGKILL)


async def killed(process: asyncio.subprocess.Process) -> None:
    """End a process, and those it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


@dataclass
class WholeServer:
    """A Prefect server with the scheduler and all else that the tests' shared one leaves out, which can be killed.

    Attributes:
        home: its PREFECT_HOME, with its database.
    """

    api_url: str
    home: Path
    _process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        url = httpx.URL(self.api_url)
        self._process = await started(
            *("server", "start", "--host", str(url.host), "--port", str(url.port)),
            environment={**SETTINGS, "PREFECT_HOME": str(self.home), "PREFECT_API_URL": self.api_url},
        )
        async with asyncio.timeout(PATIENCE), httpx.AsyncClient() as http:
            while True:
                with suppress(httpx.TransportError):
                    if (await http.get(f"{self.api_url}/health")).is_success:
                        return
                await asyncio.sleep(0.25)

    async def kill(self) -> None:
        """End it as the loss of a machine does."""
        if self._process is not None:
            await killed(self._process)


@asynccontextmanager
async def whole_server(home: Path, new_database: NewDatabase) -> AsyncIterator[WholeServer]:
    """Run such a server, and have the clients in this process use it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = WholeServer(f"http://127.0.0.1:{port}/api", home)
    with settings.temporary_settings({settings.PREFECT_API_URL: server.api_url, settings.PREFECT_HOME: home}):
        try:
            with new_database.at(home / "prefect.db"):
                await server.start()
            yield server
        finally:
            await server.kill()
