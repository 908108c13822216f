"""A worker of one of our pools, as an operator would start it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from prefect import get_client

from flows.bootstrap import WORK_POOL


async def delete_deployments() -> None:
    """Leave nothing that another test has deployed, or that would start runs in one."""
    async with get_client() as client:
        for deployment in await client.read_deployments():
            await client.delete_deployment(deployment.id)


@asynccontextmanager
async def worker(server: Any, limit: int = 1, pool: str = WORK_POOL) -> AsyncIterator[None]:
    """Run a process worker of the tests' Prefect server."""
    environment = {"PREFECT_API_URL": server.api_url, "PREFECT_HOME": str(server.home)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--limit", str(limit)),
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        await process.wait()
