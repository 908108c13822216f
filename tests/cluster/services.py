"""What a Prefect server for large runs stands on, on this machine, everything of it in temporary folders."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.patience import PATIENCE

UNPRIVILEGED = "nobody"
"""Whom PostgreSQL runs as where we are root: it refuses to be."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(what: str, ready: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Ask again until there is an answer that is not empty."""
    end = time.monotonic() + seconds
    while not (answer := ready()):
        assert time.monotonic() < end, f"no {what} after {seconds:.0f} s"
        time.sleep(0.25)
    return answer


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def process(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a session of its own; it and what it started are gone at the end."""
    with log.open("wb") as output:
        started = subprocess.Popen(
            command,
            env=None if environment is None else dict(environment),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield started
    finally:
        started.send_signal(signal.SIGINT)
        try:
            started.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()


@contextmanager
def postgres(log: Path) -> Iterator[str]:
    """Run a database server of our own; give the URL of a database in it."""
    (binaries,) = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]
    # Not below the tests' own folder, which only its owner may enter.
    folder = Path(tempfile.mkdtemp(prefix="standby-postgres-"))
    prefix: list[str] = []
    if os.geteuid() == 0:
        user = pwd.getpwnam(UNPRIVILEGED)
        os.chown(folder, user.pw_uid, user.pw_gid)
        prefix = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    port = free_port()
    data = folder / "data"
    initialise = [str(binaries / "initdb"), "--pgdata", str(data), "--username=standby", "--auth=trust"]
    try:
        subprocess.run(
            [*prefix, *initialise, "--no-sync", "--encoding=UTF8", "--locale=C"],
            check=True,
            capture_output=True,
            timeout=PATIENCE,
        )
        serve = [str(binaries / "postgres"), "-D", str(data), "-p", str(port), "-h", "127.0.0.1"]
        options = ["-k", str(folder), "-c", "fsync=off", "-c", "max_connections=200"]
        with process([*prefix, *serve, *options], log):
            wait_for("PostgreSQL", lambda: listens(port))
            yield f"postgresql+asyncpg://standby@127.0.0.1:{port}/postgres"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def redis(folder: Path) -> Iterator[int]:
    """Run a Redis server of our own; give its port."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with process(command, folder / "redis.log"):
        wait_for("Redis", lambda: listens(port))
        yield port


@contextmanager
def prefect_server(folder: Path, database: str, redis_port: int) -> Iterator[dict[str, str]]:
    """Run a Prefect server on both, set as docs/how-to/large-runs.md says; give the environment of its clients."""
    port = free_port()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    settings = {
        "PREFECT_HOME": str(folder / "server"),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
        "PREFECT_MESSAGING_BROKER": "prefect_redis.messaging",
        "PREFECT_MESSAGING_CACHE": "prefect_redis.messaging",
        "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
        "PREFECT_REDIS_MESSAGING_HOST": "127.0.0.1",
        "PREFECT_REDIS_MESSAGING_PORT": str(redis_port),
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    api = f"http://127.0.0.1:{port}/api"
    with process(command, folder / "server.log", {**clean, **settings}):
        wait_for("Prefect server", lambda: answers(f"{api}/health"))
        yield {
            **clean,
            "PREFECT_API_URL": api,
            "PREFECT_HOME": str(folder / "client"),
            "DO_NOT_TRACK": "1",
        }


def answers(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False
