"""A Prefect server of our own, for a demo or a machine that has none.

It imports nothing of Prefect, which reads its settings as it is imported: the server has to run before.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx

from flows.errors import ServerDidNotStart

START_SECONDS = 120.0
"""How long a new server may take: it makes its database first."""

STOP_SECONDS = 15.0

EVERY = 0.25
"""Seconds between two checks whether it responds."""

SETTINGS: Mapping[str, str] = {
    # Without these two a busy server, or one that ends with us, loses task runs.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    # Without this one the slots of killed runs are lost when the server is started again.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}
"""Settings of every server that is started for our users."""


@asynccontextmanager
async def own_server(home: Path) -> AsyncIterator[str]:
    """Start a server with everything it keeps in one folder, its PREFECT_HOME, and stop it at the end.

    Returns:
        The URL of its UI; its API is below, at `/api`.

    Raises:
        ServerDidNotStart: it ended, or did not answer in time.
    """
    await asyncio.to_thread(home.mkdir, parents=True, exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    url, log = f"http://127.0.0.1:{port}", home / "server.log"
    # Settings that are meant for another server are left out.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    settings = {
        **SETTINGS,
        "PREFECT_HOME": str(home),
        # The UI runs in the browser and would look for the API at Prefect's usual port.
        "PREFECT_SERVER_UI_API_URL": f"{url}/api",
    }
    process = await _start(log, {**inherited, **settings}, "server", "start", "--host", "127.0.0.1", "--port", port)
    try:
        await _until_it_answers(process, f"{url}/api", log)
        yield url
    finally:
        await _stop(process)


@asynccontextmanager
async def own_worker(log: Path, pool: str, settings: Mapping[str, str]) -> AsyncIterator[None]:
    """Run a worker of a work pool, and stop it at the end.

    Args:
        log: file that gets what it says.
        pool: the work pool.
        settings: of Prefect, which name its server.
    """
    process = await _start(log, {**os.environ, **settings}, "worker", "start", "--pool", pool, "--type", "process")
    try:
        yield
    finally:
        await _stop(process)
        # Flow runs are processes of its group.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


async def _start(log: Path, env: Mapping[str, str], *command: str) -> asyncio.subprocess.Process:
    with log.open("wb") as output:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "prefect", *command),
            env=env,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            # Ctrl-C is for us: what we still have to say to the server comes first.
            start_new_session=True,
        )


async def _until_it_answers(process: asyncio.subprocess.Process, api: str, log: Path) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(START_SECONDS), httpx.AsyncClient() as http:
            while process.returncode is None:
                # Until it listens, there is an error.
                with suppress(httpx.TransportError):
                    if (await http.get(f"{api}/health")).is_success:
                        return
                await asyncio.sleep(EVERY)
    raise ServerDidNotStart(str(log))


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
