"""A worker of our own, for a demonstration or a test: it runs what a server of ours schedules."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from prefect.settings import get_current_settings

from flows.bootstrapping import WORK_POOL

STOP_SECONDS = 15.0


@asynccontextmanager
async def own_worker(log: Path) -> AsyncIterator[None]:
    """Run a worker of the work pool against the server that this process uses, and stop it at the end.

    Args:
        log: file that gets what it says.
    """
    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "prefect", "worker", "start", "--pool", WORK_POOL, "--type", "process"),
            env={**os.environ, **settings},
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            # Ctrl-C is for us; what the worker has begun ends with it.
            start_new_session=True,
        )
    try:
        yield
    finally:
        await _stop(process)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
    # Flow runs are processes of its group.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
