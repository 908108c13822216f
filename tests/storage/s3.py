"""An S3 server on one's own machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from standby.config.vault import Place
from tests.cluster.services import free_port, wait_for

ENVIRONMENT: Mapping[str, str] = {
    "AWS_ACCESS_KEY_ID": "somebody",
    "AWS_SECRET_ACCESS_KEY": "canary-of-s3",
    "AWS_REGION": "us-east-1",
}
"""Where the storage's credentials come from; any are good enough."""


SERVER = """
import os, sys, threading
from moto.server import main
# It ends when the process that started it has ended, however that came.
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
main(sys.argv[1:])
"""


@dataclass(frozen=True)
class S3:
    """One that runs, at a URL."""

    endpoint: str

    def make_bucket(self, name: str) -> None:
        """Make a bucket; the library that is tested makes none."""
        httpx.put(f"{self.endpoint}/{name}", trust_env=False, verify=False).raise_for_status()

    def place(self, bucket: str, folder: str = "vault") -> Place:
        """Give the settings of a vault in a bucket."""
        return Place.model_validate({"url": f"s3://{bucket}/{folder}", "endpoint": self.endpoint})


@contextmanager
def running_s3() -> Iterator[S3]:
    """Run one that keeps all in memory."""
    port = free_port()
    command = (sys.executable, "-c", SERVER, "-H", "127.0.0.1", "-p", str(port))
    env = os.environ | {"AWS_DEFAULT_REGION": "us-east-1"}
    nowhere = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=nowhere, stderr=nowhere, env=env) as process:
        try:
            s3 = S3(f"http://127.0.0.1:{port}")
            wait_for("S3 server", lambda: process.poll() is not None or _answers(s3.endpoint))
            assert process.poll() is None, "the S3 server ended"
            yield s3
        finally:
            process.kill()


def _answers(url: str) -> bool:
    try:
        httpx.get(url, trust_env=False, verify=False)
    except httpx.TransportError:
        return False
    return True
