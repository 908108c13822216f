"""Resources over https, with an authority that is made for the run."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator

import httpx
import pytest
from azure.ai.contentunderstanding.aio import ContentUnderstandingClient
from azure.identity.aio import ManagedIdentityCredential

from standby.emulator.config import EmulatorConfig
from standby.emulator.serve import Emulator, running
from tests.patience import PATIENCE


@pytest.fixture
async def emulator(config: EmulatorConfig) -> AsyncIterator[Emulator]:
    """The emulator of this test, over https."""
    async with running(config.model_copy(update={"tls": True})) as emulator:
        yield emulator


async def test_the_authority_vouches_for_the_resources(emulator: Emulator) -> None:
    served = emulator.resources["east"]
    assert served.endpoint.startswith("https://127.0.0.1:")
    assert emulator.announcement()["ca_file"] == str(emulator.ca_file)
    trust = ssl.create_default_context(cafile=emulator.ca_file)
    async with httpx.AsyncClient(
        verify=trust, headers={"Ocp-Apim-Subscription-Key": served.key}, params={"api-version": "2025-11-01"}
    ) as client:
        copy = f"{served.endpoint}/contentunderstanding/analyzers/second:copy"
        started = await client.post(copy, json={"sourceAnalyzerId": "invoice"})
        assert started.headers["operation-location"].startswith(f"{served.endpoint}/")
        polled = await client.get(started.headers["operation-location"])
        assert polled.json()["status"] == "Succeeded"
        await client.post(f"{emulator.control}/faults", json={"fault": {"kind": "drop"}})
        with pytest.raises(httpx.TransportError):
            await client.get(started.headers["operation-location"])


async def test_nobody_trusts_the_resources_without_the_authority(emulator: Emulator) -> None:
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.get(emulator.resources["east"].endpoint)
        assert (await client.get(f"{emulator.control}/stats")).status_code == 200


async def test_the_authoritys_file_goes_when_the_emulator_ends(config: EmulatorConfig) -> None:
    async with running(config.model_copy(update={"tls": True})) as emulator:
        assert emulator.ca_file is not None
        assert emulator.ca_file.exists()
    assert not emulator.ca_file.exists()


async def test_it_ends_at_once_with_a_call_that_hangs(config: EmulatorConfig) -> None:
    loop = asyncio.get_running_loop()
    async with running(config.model_copy(update={"tls": True})) as emulator:
        trust = ssl.create_default_context(cafile=emulator.ca_file)
        async with httpx.AsyncClient(verify=trust) as client:
            await client.post(f"{emulator.control}/faults", json={"fault": {"kind": "hang"}})
            waiting = asyncio.create_task(
                client.get(f"{emulator.resources['east'].endpoint}/contentunderstanding/analyzers")
            )
            async with asyncio.timeout(PATIENCE):
                while not (await client.get(f"{emulator.control}/stats")).json()["resources"]["east"]["calls"]:
                    continue
            ending = loop.time()
    assert loop.time() - ending < 0.5
    with pytest.raises(httpx.TransportError):
        await waiting


async def test_the_sdk_signs_in_with_a_token(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", emulator.identity.endpoint)
    monkeypatch.setenv("IDENTITY_HEADER", emulator.identity.header)
    async with (
        ManagedIdentityCredential() as credential,
        ContentUnderstandingClient(
            emulator.resources["east"].endpoint, credential, connection_verify=str(emulator.ca_file)
        ) as client,
    ):
        assert (await client.get_analyzer("invoice")).description == "Invoices"
