"""Prefect servers and workers of our own, where a demo or a machine has none: processes that end with us."""

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx

from standby.flows import QUICKLY
from standby.flows.errors import ServerDidNotStart

START_SECONDS = 120.0  # How long a new server may take: it makes its database first
STOP_SECONDS = 15.0
EVERY = 0.1  # Seconds between two checks whether it responds

SETTINGS: Mapping[str, str] = {
    # Without these two a busy server, or one that ends with us, loses task runs.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    # Without this one the slots of killed runs are lost when the server is started again.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}
"""Settings of every server that is started for our users."""

PROMPT: Mapping[str, str] = {"PREFECT_WORKER_QUERY_SECONDS": "2"}
"""Settings of every worker that is started for our users: an outage must not wait 10 s for its evaluation."""


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@asynccontextmanager
async def own_server(home: Path) -> AsyncIterator[str]:
    """Run a server that keeps all in one folder, and give the URL of its UI and `/api`; or `ServerDidNotStart`."""
    await asyncio.to_thread(home.mkdir, parents=True, exist_ok=True)
    port = free_port()
    url, log = f"http://127.0.0.1:{port}", home / "server.log"
    # Settings that are meant for another server are left out.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    inherited.setdefault("HOME", str(home))  # In a container the user may have none.
    # The UI runs in the browser and would look for the API at Prefect's usual port.
    settings = {**inherited, **SETTINGS, "PREFECT_HOME": str(home), "PREFECT_SERVER_UI_API_URL": f"{url}/api"}
    command = ("prefect", "server", "start", "--host", "127.0.0.1", "--port", port)
    async with started(log, settings, *QUICKLY, *command) as process:
        await until_it_answers(process, f"{url}/api", log)
        yield url


@asynccontextmanager
async def started(
    log: Path, env: Mapping[str, str], *arguments: str, folder: Path | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a Python program, in a folder, and stop it at the end, with what it started; `log` gets its output."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *arguments),
            cwd=folder,
            env=env,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            # Ctrl-C is for us: what we still have to say to the server comes first.
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        # Flow runs are processes of a worker's group.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


async def until_it_answers(process: asyncio.subprocess.Process, api: str, log: Path) -> None:
    """Wait until a server answers; `ServerDidNotStart` says why it does not."""
    with suppress(TimeoutError):
        async with asyncio.timeout(START_SECONDS), httpx.AsyncClient(trust_env=False) as http:
            while process.returncode is None:
                # Until it listens, there is an error.
                with suppress(httpx.TransportError):
                    if (await http.get(f"{api}/health")).is_success:
                        return
                await asyncio.sleep(EVERY)
    said = [line.strip() for line in (await asyncio.to_thread(log.read_text, errors="replace")).split("\n")]
    # What it says last is that it ends; the error stands before it.
    told = [line for line in said if re.match(r"[\w.]+Error\b", line)] or [line for line in said if line]
    raise ServerDidNotStart(str(log), told[-1] if told else "")
