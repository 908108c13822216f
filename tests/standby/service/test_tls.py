from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import httpx
import pytest
import trustme

from standby.service.calls import trusted_certificates
from standby.service.errors import NotFromHere, UntrustedCertificate
from standby.service.retries import HttpRetries

if TYPE_CHECKING:
    from pathlib import Path

    from tests.standby.service.conftest import Connect, Heard, Listen


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """An authority that no machine trusts."""
    return trustme.CA()


def server_context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    """A server that is called so."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


async def answer(_: Heard) -> httpx.Response:
    return httpx.Response(200, json={"analyzerId": "a"})


async def test_a_certificate_that_nobody_signed_is_not_trusted(
    connect: Connect, listen: Listen, authority: trustme.CA
) -> None:
    endpoint = await listen(answer, server_context(authority, "127.0.0.1"))
    with pytest.raises(UntrustedCertificate, match="SSL_CERT_FILE") as caught:
        await connect(endpoint=endpoint).get_analyzer("a")
    assert caught.value.cause == f"The certificate of west ({endpoint}) is not trusted"


@pytest.mark.parametrize("name", ["127.0.0.1", "elsewhere.example"])
async def test_an_own_authority_is_trusted_for_its_own_names(
    connect: Connect,
    listen: Listen,
    authority: trustme.CA,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    client = connect(endpoint=await listen(answer, server_context(authority, name)), trusted=trusted_certificates())
    if name == "127.0.0.1":
        assert (await client.get_analyzer("a")).analyzer_id == "a"
    else:
        with pytest.raises(UntrustedCertificate):
            await client.get_analyzer("a")


def test_the_certificates_of_a_run_check_names_and_are_required() -> None:
    context = trusted_certificates()
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_a_file_of_certificates_that_cannot_be_read_is_told(
    connect: Connect, listen: Listen, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "authority.pem"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    client = connect(trusted=trusted_certificates(), retries=HttpRetries(attempts=1))
    with pytest.raises(NotFromHere, match="the trusted certificates that SSL_CERT_FILE names cannot be read"):
        await client.get_analyzer("a")
    # What needs none is not kept from being called.
    client = connect(trusted=trusted_certificates(), endpoint=await listen(answer))
    assert (await client.get_analyzer("a")).analyzer_id == "a"
