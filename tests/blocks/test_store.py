"""Blocks on a real Prefect server."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from pydantic import SecretStr

from standby.blocks import ContentUnderstandingResource, RecoveryPlan
from standby.blocks.store import BlockMissing, BlockUnusable, load_what_is_usable
from standby.config import secrets
from standby.config.configuration import Configuration
from standby.config.errors import ConfigurationError
from standby.config.plan import NoEncryption, Objectives, RegionPair, StepRetries
from standby.config.resource import DeploymentOverrides, KeyCredentials
from standby.config.secrets import KeyVaults, Unresolved
from standby.config.vault import HmacSigning, VaultSettings
from standby.replication.inventory import connect
from standby.service.errors import ResourceUnusable
from tests.blocks.stored import load_configuration_from_blocks, save_configuration

OURS = [
    "content-understanding-key",
    "content-understanding-entra",
    "content-understanding-resource",
    "recovery-plan",
]


async def delete_blocks() -> None:
    async with get_client() as client:
        found = {block.id: block.block_type.slug for block in await client.read_block_documents() if block.block_type}
        for document in sorted((id for id in found if found[id] in OURS), key=lambda id: -OURS.index(found[id])):
            await client.delete_block_document(document)


@pytest.fixture(autouse=True)
async def no_blocks(prefect_server: Any) -> AsyncIterator[None]:
    """Begin without blocks and leave none behind: other tests share the server, in any order."""
    await delete_blocks()
    yield
    await delete_blocks()


def changed(configuration: Configuration, section: str, name: str, **update: object) -> Configuration:
    parts = getattr(configuration, section)
    part = parts[name].model_copy(update=update)
    return configuration.model_copy(update={section: {**parts, name: part}})


async def documents(*, include_secrets: bool) -> str:
    async with get_client() as client:
        found = await client.read_block_documents(include_secrets=include_secrets)
    return json.dumps([document.data for document in found], default=str)


async def test_a_configuration_comes_back_as_it_was_saved(configuration: Configuration) -> None:
    saved = await save_configuration(configuration)
    assert list(saved.items()) == [
        ("content-understanding-key/east", "created"),
        ("content-understanding-resource/east", "created"),
        ("content-understanding-entra/west", "created"),
        ("content-understanding-resource/west", "created"),
        ("content-understanding-entra/north", "created"),
        ("content-understanding-resource/north", "created"),
        ("recovery-plan/invoices", "created"),
    ]
    assert await load_configuration_from_blocks("invoices") == configuration


async def test_saving_twice_changes_nothing(configuration: Configuration) -> None:
    await save_configuration(configuration)
    assert await save_configuration(configuration) == {}


async def test_a_resource_keeps_a_reference_to_its_credentials(configuration: Configuration) -> None:
    await save_configuration(configuration)
    rotated = changed(configuration, "resources", "east", credentials=KeyCredentials(key="rotated"))
    assert list(await save_configuration(rotated)) == ["content-understanding-key/east"]
    assert await load_configuration_from_blocks("invoices") == rotated


async def test_other_credentials_are_taken_up_by_the_resource(configuration: Configuration) -> None:
    await save_configuration(configuration)
    other = changed(configuration, "resources", "west", credentials=KeyCredentials(key="now a key"))
    assert list((await save_configuration(other)).items()) == [
        ("content-understanding-key/west", "created"),
        ("content-understanding-resource/west", "changed"),
    ]
    assert await load_configuration_from_blocks("invoices") == other


async def test_a_changed_plan_is_saved_whole(configuration: Configuration) -> None:
    await save_configuration(configuration)
    other = changed(
        configuration,
        "plans",
        "invoices",
        deployments={"north": DeploymentOverrides(embedding="emb-north")},
        retries=StepRetries(),
    )
    assert list(await save_configuration(other)) == ["recovery-plan/invoices"]
    assert await load_configuration_from_blocks("invoices") == other


async def test_what_is_taken_out_of_a_plan_is_taken_out_of_its_block(configuration: Configuration) -> None:
    await save_configuration(configuration)
    emptied = changed(
        configuration,
        "plans",
        "invoices",
        deployments={},
        exclude=(),
        ignore=(),
        encryption=NoEncryption(),
        objectives=Objectives(),
    )
    emptied = emptied.model_copy(update={"activation": (), "vault": VaultSettings(path=emptied.vault.path)})
    assert list(await save_configuration(emptied)) == ["recovery-plan/invoices"]
    assert await load_configuration_from_blocks("invoices") == emptied


async def test_another_secret_of_a_sink_or_a_signature_is_taken_up(configuration: Configuration) -> None:
    await save_configuration(configuration)
    _, hook, variable = configuration.activation
    rotated = configuration.model_copy(
        update={
            "activation": (variable, hook.model_copy(update={"secret": SecretStr("rotated")})),
            "vault": configuration.vault.model_copy(update={"signing": HmacSigning(key="rotated too, long")}),
        }
    )
    assert list(await save_configuration(rotated)) == ["recovery-plan/invoices"]
    assert await load_configuration_from_blocks("invoices") == rotated


async def test_secrets_cannot_be_read_from_the_database_nor_by_a_plain_request(
    configuration: Configuration, prefect_server: Any, canaries: tuple[str, ...]
) -> None:
    await save_configuration(configuration)
    with_secrets = await documents(include_secrets=True)
    without = await documents(include_secrets=False)
    with sqlite3.connect(prefect_server.database) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    database = b"".join(
        file.read_bytes() for file in prefect_server.database.parent.glob(f"{prefect_server.database.name}*")
    )
    assert b"content-understanding-key" in database
    for canary in canaries:
        assert canary in with_secrets
        assert canary not in without
        assert canary.encode() not in database


async def test_a_plan_that_was_never_saved_is_named(prefect_server: Any) -> None:
    with pytest.raises(BlockMissing, match="no block recovery-plan/nowhere") as caught:
        await load_configuration_from_blocks("nowhere")
    assert "standby bootstrap" in str(caught.value)


async def test_a_scratch_resource_comes_with_every_plan_that_may_use_it(configuration: Configuration) -> None:
    invoices = configuration.plan("invoices")
    pairs = (RegionPair(source="east", targets=("north",)),)
    # The two may write the same analyzers: what uses the scratch resource is asked about, and nothing else.
    contracts = invoices.model_copy(update={"name": "contracts", "pairs": pairs, "deployments": {}})
    both = configuration.model_copy(update={"plans": {"invoices": invoices, "contracts": contracts}})
    await save_configuration(both)
    alone = await load_configuration_from_blocks("contracts")
    assert (set(alone.plans), set(alone.resources)) == ({"contracts"}, {"east", "north"})
    with_scratch = await load_configuration_from_blocks("contracts", scratch="west")
    assert (set(with_scratch.plans), set(with_scratch.resources)) == (set(both.plans), set(both.resources))
    with pytest.raises(BlockMissing, match="content-understanding-resource/south"):
        await load_configuration_from_blocks("contracts", scratch="south")


async def test_every_resource_that_was_never_saved_is_named(configuration: Configuration) -> None:
    await RecoveryPlan.of(configuration.plan("invoices"), configuration.vault).asave("invoices")
    with pytest.raises(BlockMissing) as caught:
        await load_configuration_from_blocks("invoices")
    assert caught.value.problems == tuple(
        f"The Prefect server has no block content-understanding-resource/{name}" for name in ("east", "north", "west")
    )


async def test_a_block_with_values_that_are_not_valid_is_named_and_mended(
    configuration: Configuration, canaries: tuple[str, ...]
) -> None:
    await save_configuration(configuration)
    block: ContentUnderstandingResource = await ContentUnderstandingResource.aload("east")
    block.endpoint = "https://example.com"
    await block.asave("east", overwrite=True)
    with pytest.raises(BlockUnusable, match=r"content-understanding-resource/east.*not a known Azure host") as caught:
        await load_configuration_from_blocks("invoices")
    assert not any(canary in str(caught.value) for canary in canaries)
    assert list(await save_configuration(configuration)) == ["content-understanding-resource/east"]
    assert await load_configuration_from_blocks("invoices") == configuration


async def test_blocks_that_do_not_go_together_are_refused(configuration: Configuration) -> None:
    await save_configuration(configuration)
    await save_configuration(changed(configuration, "resources", "west", api_version="2025-11-01"))
    with pytest.raises(ConfigurationError, match="east has api_version"):
        await load_configuration_from_blocks("invoices")


async def test_prefect_registers_all_four_types(prefect_server: Any) -> None:
    environment = {"PREFECT_API_URL": prefect_server.api_url, "PREFECT_HOME": str(prefect_server.home)}
    register = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "prefect", "block", "register", "-m", "standby.blocks"),
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await register.communicate()
    assert register.returncode == 0, output.decode()
    async with get_client() as client:
        slugs = {block_type.slug for block_type in await client.read_block_types()}
    assert slugs >= set(OURS)


async def test_access_to_a_vault_that_is_kept_elsewhere_or_opened_otherwise_comes_back_as_it_is_now(
    configuration: Configuration, prefect_server: Any
) -> None:
    at = {"url": "az://vault/prod", "endpoint": "https://account.blob.core.windows.net"}
    key, sas = {"kind": "key", "key": "canarykey0123456"}, {"kind": "sas", "sas": "sv=1&sig=canary"}
    for settings in (
        {**at, "credentials": key, "second": {**at, "url": "az://other", "credentials": sas}},
        {**at, "credentials": {"kind": "entra"}, "second": {"url": "s3://bucket"}},
    ):
        kept = configuration.model_copy(update={"vault": VaultSettings.model_validate(settings)})
        assert list(await save_configuration(kept))[-1:] == ["recovery-plan/invoices"]
        assert (await load_configuration_from_blocks("invoices")).vault == kept.vault
        assert "canary" not in await documents(include_secrets=False)


async def test_a_resource_whose_block_cannot_be_used_costs_itself_only(configuration: Configuration) -> None:
    await save_configuration(configuration)
    block: ContentUnderstandingResource = await ContentUnderstandingResource.aload("west")
    block.endpoint = "https://example.com"
    await block.asave("west", overwrite=True)
    async with get_client() as client:
        gone = await client.read_block_document_by_name("north", "content-understanding-resource")
        await client.delete_block_document(gone.id)

    usable = await load_what_is_usable("invoices")

    assert usable.plans == configuration.plans
    assert usable.resource("east") == configuration.resource("east")
    async with connect(usable.resources.values()) as connections:
        for name, words in {"west": "not a known Azure host", "north": "has no block"}.items():
            with pytest.raises(ResourceUnusable, match=words):
                await connections[name].list_analyzers()
    with pytest.raises(BlockMissing):
        await load_what_is_usable("invoices", scratch="north")


@pytest.fixture
def key_vault(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | Unresolved]:
    """What was read from a key vault, by reference; nothing else is known, and nothing is asked."""
    known = KeyVaults()
    monkeypatch.setattr(secrets, "KEY_VAULTS", known)
    return known._answers


async def test_what_a_key_vault_gave_is_saved_as_its_reference_and_read_anew(
    configuration: Configuration, key_vault: dict[str, str | Unresolved], canaries: tuple[str, ...]
) -> None:
    for number, canary in enumerate(canaries):
        key_vault[f"vault/secret-{number}"] = canary
    await save_configuration(configuration)
    stored = await documents(include_secrets=True)
    assert not any(canary in stored for canary in canaries)
    assert all(f"${{keyvault:vault/secret-{number}}}" in stored for number in range(len(canaries)))
    assert await load_configuration_from_blocks("invoices") == configuration
    assert await save_configuration(configuration) == {}


async def test_a_secret_that_a_key_vault_does_not_give_costs_its_resource_only(
    configuration: Configuration, key_vault: dict[str, str | Unresolved], canaries: tuple[str, ...]
) -> None:
    key_vault["vault/east"] = canaries[0]
    await save_configuration(configuration)
    key_vault["vault/east"] = Unresolved("needs the secret east, which does not exist there")
    found = await load_what_is_usable("invoices")
    assert "needs the secret east, which does not exist there" in found.resource("east").why_unusable
    assert not found.resource("west").why_unusable
    with pytest.raises(BlockUnusable, match="needs the secret east"):
        await load_configuration_from_blocks("invoices")


async def test_a_value_that_was_saved_before_becomes_a_reference(
    configuration: Configuration, key_vault: dict[str, str | Unresolved], canaries: tuple[str, ...]
) -> None:
    await save_configuration(configuration)
    key_vault["vault/east"] = canaries[0]
    saved = await save_configuration(configuration)
    assert saved["content-understanding-key/east"] == "changed"
    assert canaries[0] not in await documents(include_secrets=True)
