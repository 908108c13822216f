"""References to files and key vaults; Azure's own library asks an HTTPS endpoint here, with a token of the emulator."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import trustme
from pydantic import SecretStr

from standby.config import secrets
from standby.config.configuration import Configuration, load_configuration
from standby.config.errors import ConfigurationError
from standby.config.secrets import KeyVaults, Unresolved, as_written, read_reference, resolved
from standby.config.yaml_file import fill
from standby.emulator.config import EmulatorConfig
from standby.emulator.serve import Emulator, running

VAULT = "vault-of-tests"
VALUE = "canary-0123456789abcdef"

CONFIGURATION = """
resources:
  east:
    endpoint: https://east.services.ai.azure.com
    region: eastus
    resource_id: /subscriptions/1/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/east
    credentials: {{kind: key, key: {reference}}}
"""


def load(folder: Path, reference: str, environ: dict[str, str] | None = None) -> Configuration:
    file = folder / "standby.yaml"
    file.write_text(CONFIGURATION.format(reference=reference))
    return load_configuration(file, environ or {})


def key_of(configuration: Configuration) -> str:
    return configuration.resource("east").credentials.key.get_secret_value()  # type: ignore[union-attr]


def problem(folder: Path, reference: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(folder, reference, environ)
    assert len(caught.value.problems) == 1
    assert "resources.east.credentials.key needs" in str(caught.value)
    assert VALUE not in str(caught.value)
    return caught.value.problems[0]


def test_a_secret_comes_from_a_file_beside_the_configuration_or_anywhere(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "east").write_text(VALUE)
    assert key_of(load(tmp_path, "${file:keys/east}")) == VALUE
    assert key_of(load(tmp_path, f"${{file:{tmp_path}/keys/east}}")) == VALUE
    assert VALUE not in repr(load(tmp_path, "${file:keys/east}"))


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_one_line_end_after_a_value_in_a_file_is_no_part_of_it(tmp_path: Path, end: str) -> None:
    # A secret of Kubernetes is a symbolic link, to a folder that is exchanged as a whole.
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "east").write_bytes(f"{VALUE}{end}".encode())
    (tmp_path / "east").symlink_to("..data/east")
    assert key_of(load(tmp_path, "${file:east}")) == VALUE
    filled = fill({"endpoint": "https://${file:east}.example.com"}, {}, folder=tmp_path)
    assert filled.data == {"endpoint": f"https://{VALUE}.example.com"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (f"{VALUE}\n\n".encode(), "has white space around its value"),
        (f"{VALUE}\r".encode(), "has white space around its value"),
        (f"{VALUE}\n\r".encode(), "has white space around its value"),
        (f"{VALUE} \n".encode(), "has white space around its value"),
        (f"\n{VALUE}".encode(), "has white space around its value"),
        (b"\n", "is empty"),
        (b"\r\n", "is empty"),
        (f"\ufeff{VALUE}".encode(), "a line end or control character in it"),
        (f" {VALUE}".encode(), "has white space around its value"),
        (f"{VALUE}\n{VALUE}".encode(), "a line end or control character in it"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        (b"x" * (secrets.LARGEST_FILE + 1), "is larger than 64 KB"),
    ],
)
def test_a_file_that_holds_no_secret_alone_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "east").write_bytes(content)
    told = problem(tmp_path, "${file:east}")
    assert f"needs the file {tmp_path / 'east'}, which" in told
    assert reason in told


def test_what_is_no_file_is_named_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "which is no regular file" in problem(tmp_path, "${file:pipe}")
    assert "which is a folder" in problem(tmp_path, f"${{file:{tmp_path}}}")
    assert f"{tmp_path / 'nothing'}, which does not exist" in problem(tmp_path, "${file:nothing}")
    (tmp_path / "file").write_text("x")
    assert f"{tmp_path / 'file' / 'below'}, which cannot be read" in problem(tmp_path, "${file:file/below}")


def test_a_variable_that_is_empty_is_named_where_a_secret_is_needed(tmp_path: Path) -> None:
    assert "needs ${EAST_KEY}, which is empty" in problem(tmp_path, "${EAST_KEY}", {"EAST_KEY": ""})


def test_a_value_from_a_file_is_hidden_in_messages(tmp_path: Path) -> None:
    (tmp_path / "name").write_text("SeCrEt.*")
    filled = fill({"endpoint": "https://${file:name}"}, {}, folder=tmp_path)
    assert filled.hide("host secret.* is not known") == "host ${file:name} is not known"


@pytest.mark.parametrize("vault", ["a", "two--dashes", "1digit", "x.example.com", "a.b.vault.azure.net", "under_score",
                                   "vault-.vault.azure.net", "vault.azure.net", "x" * 25, "evilvault.azure.net",
                                   "abc.vault.azure.net:8443", "user@abc.vault.azure.net"])  # fmt: skip
def test_a_place_that_is_no_key_vault_of_azure_is_refused_before_anything_is_sent(vault: str) -> None:
    with pytest.raises(Unresolved, match=r"which is not a name of one: write NAME, NAME\.vault\.azure\.net"):
        KeyVaults().read(f"{vault}/east")


@pytest.mark.parametrize("name", ["", "under_score", "a.b", "x" * 128, "a?b", "east/123", "east/", f"east/{'g' * 32}"])
def test_what_is_no_name_or_version_of_a_secret_is_refused(name: str) -> None:
    with pytest.raises(Unresolved, match=r"is not (a name of one|one of its versions)"):
        KeyVaults().read(f"{VAULT}/{name}")


@pytest.mark.parametrize("suffix", ["vault.azure.net", "vault.usgovcloudapi.net", "vault.azure.cn"])
def test_every_cloud_has_its_key_vaults(suffix: str) -> None:
    assert secrets._parts(f"{VAULT}.{suffix}/east/{'0a' * 16}") == (f"{VAULT}.{suffix}", "east", "0a" * 16)


def test_without_the_extra_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure.keyvault.secrets", None)
    with pytest.raises(Unresolved, match=r'needs the secret east .* pip install "standby\[azure\]"'):
        KeyVaults().read(f"{VAULT}/east")


def test_azures_library_is_imported_for_a_key_vault_only(tmp_path: Path) -> None:
    (tmp_path / "east").write_text(VALUE)
    load(tmp_path, "${file:east}")
    code = (
        "import sys; from pathlib import Path; from standby.config.configuration import load_configuration; "
        f"load_configuration(Path({str(tmp_path / 'standby.yaml')!r}), {{}}); "
        "assert not any(name.startswith('azure') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# A key vault, as azure-keyvault-secrets speaks to it


@dataclass
class KeyVault:
    """What the server holds, and what it was asked."""

    emulator: Emulator
    secrets: dict[str, str] = field(default_factory=lambda: {"east": VALUE, "empty": "", "line": f"{VALUE}\n"})
    status: int = 0  # that is answered instead
    hold: Event | None = None
    asked: list[str] = field(default_factory=list)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        scheme, _, token = handler.headers.get("Authorization", "").partition(" ")
        host, name = str(handler.headers["Host"]), handler.path.partition("?")[0].split("/")[2]
        if not scheme:
            resource = "https://" + host.partition(".")[2]
            challenge = f'Bearer authorization="https://login.microsoftonline.com/t", resource="{resource}"'
            return reply(handler, 401, {}, {"WWW-Authenticate": challenge})
        self.asked.append(f"{host}/{name}")
        if self.hold:
            self.hold.wait(30)
        if self.emulator.world.issuer.audience(token) not in {"https://vault.azure.net", "https://vault.azure.cn"}:
            return reply(handler, 401, {"error": {"code": "Unauthorized", "message": VALUE}})
        if self.status:
            return reply(handler, self.status, {"error": {"code": "Forbidden", "message": VALUE}})
        if name not in self.secrets:
            return reply(handler, 404, {"error": {"code": "SecretNotFound", "message": VALUE}})
        return reply(handler, 200, {"value": self.secrets[name], "id": f"https://{host}/secrets/{name}/{'0a' * 16}",
                                    "attributes": {"enabled": True}})  # fmt: skip


def reply(handler: BaseHTTPRequestHandler, status: int, body: object, headers: dict[str, str] | None = None) -> None:
    content = json.dumps(body).encode()
    handler.send_response(status)
    for name, value in {
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
        **(headers or {}),
    }.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(content)


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with running(EmulatorConfig.model_validate({"resources": {"east": {"region": "eastus"}}})) as started:
        yield started


@pytest.fixture
def key_vault(emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyVault]:
    """Serves HTTPS where every host of Azure's key vaults leads."""
    vault = KeyVault(emulator)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            vault.answer(self)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("*.vault.azure.net", "*.vault.azure.cn").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        port, found = server.server_port, socket.getaddrinfo

        def lead(host: Any, *rest: Any, **options: Any) -> Any:
            if str(host).endswith((".vault.azure.net", ".vault.azure.cn")):
                return found("127.0.0.1", port, *rest[1:], **options)
            return found(host, *rest, **options)

        monkeypatch.setattr(socket, "getaddrinfo", lead)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
        monkeypatch.setattr(secrets, "KEY_VAULTS", KeyVaults())
        for name in ("CLIENT_ID", "TENANT_ID", "CLIENT_SECRET", "FEDERATED_TOKEN_FILE", "TOKEN_CREDENTIALS"):
            monkeypatch.delenv(f"AZURE_{name}", raising=False)
        monkeypatch.setenv("IDENTITY_ENDPOINT", emulator.identity.endpoint)
        monkeypatch.setenv("IDENTITY_HEADER", emulator.identity.header)
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield vault
        if vault.hold:
            vault.hold.set()
        server.shutdown()
        thread.join()


async def test_a_key_vault_is_asked_once_for_each_secret(key_vault: KeyVault, tmp_path: Path) -> None:
    reference = f"${{keyvault:{VAULT}/east}}"
    for _ in range(2):
        assert key_of(await asyncio.to_thread(load, tmp_path, reference)) == VALUE
    assert key_vault.asked == [f"{VAULT}.vault.azure.net/east"]


async def test_a_key_vault_of_another_cloud_is_asked_there(key_vault: KeyVault) -> None:
    reference = f"keyvault:{VAULT}.vault.azure.cn/east/{'0a' * 16}"
    assert await asyncio.to_thread(read_reference, reference, {}) == VALUE
    assert key_vault.asked == [f"{VAULT}.vault.azure.cn/east"]


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("nothing", 0, "does not exist there"),
        ("empty", 0, "is empty"),
        ("line", 0, "has white space around its value"),
        ("east", 403, "was refused with status 403: give the identity the role Key Vault Secrets User"),
        ("east", 400, "was refused with status 400"),
    ],
)
async def test_a_secret_that_cannot_be_had_is_named(
    key_vault: KeyVault, tmp_path: Path, name: str, status: int, reason: str
) -> None:
    key_vault.status = status
    told = await asyncio.to_thread(problem, tmp_path, f"${{keyvault:{VAULT}/{name}}}")
    assert f"needs the secret {name} of the key vault {VAULT}.vault.azure.net, which {reason}" in told


async def test_a_token_that_is_refused_is_said(
    key_vault: KeyVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDENTITY_HEADER", "another")
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
    told = await asyncio.to_thread(problem, tmp_path, f"${{keyvault:{VAULT}/east}}")
    assert "no Azure identity could sign in for" in told
    assert key_vault.asked == []


async def test_a_key_vault_that_hangs_is_waited_for_once_and_not_long(
    key_vault: KeyVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_vault.hold = Event()
    monkeypatch.setattr(secrets, "VAULT_SECONDS", 0.3)
    started = time.monotonic()
    for name in ("east", "west"):
        told = await asyncio.to_thread(problem, tmp_path, f"${{keyvault:{VAULT}/{name}}}")
        assert f"needs the secret {name} " in told
        assert "which was not given within 0 s" in told
    assert time.monotonic() - started < 5
    assert set(key_vault.asked) <= {f"{VAULT}.vault.azure.net/east"}


async def test_what_is_saved_is_the_reference_and_what_is_used_its_value(key_vault: KeyVault, tmp_path: Path) -> None:
    found = await asyncio.to_thread(load, tmp_path, f"${{keyvault:{VAULT}/east}}")
    saved = as_written(found)
    assert key_of(saved) == f"${{keyvault:{VAULT}/east}}"
    assert await asyncio.to_thread(resolved, saved) == found
    assert resolved(found) is found


async def test_a_value_of_a_key_vault_is_checked_as_any_other(key_vault: KeyVault, tmp_path: Path) -> None:
    key_vault.secrets["east"] = "schlüssel"
    found = load(tmp_path, "${KEY}", {"KEY": f"${{keyvault:{VAULT}/east}}"})
    with pytest.raises(ValueError, match="must be printable ASCII") as caught:
        await asyncio.to_thread(resolved, found)
    assert "schlüssel" not in str(caught.value)


def test_a_secret_that_is_no_reference_to_a_key_vault_stays() -> None:
    for text in ("plain", "${NAME}", "${file:/etc/hostname}", "a ${keyvault:abc/d}"):
        assert KeyVaults().resolved(SecretStr(text)) == SecretStr(text)
