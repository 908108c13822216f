"""What each block gives to the library, without a Prefect server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from standby.blocks import (
    ContentUnderstandingEntra,
    ContentUnderstandingKey,
    ContentUnderstandingResource,
    RecoveryPlan,
)
from standby.blocks.resource import SchemaKept, credentials_block
from standby.config.configuration import Configuration
from standby.config.plan import FreshKey, GivenKey, NoEncryption
from standby.config.resource import EntraCredentials, KeyCredentials
from standby.config.sinks import FileSink, SinkForm, VariableSink, sink_forms, sinks_of
from standby.config.vault import Ed25519Signing, HmacSigning, SasCredentials, SecondPlace, VaultSettings

RESOURCE: dict[str, Any] = {
    "endpoint": "https://east.services.ai.azure.com",
    "region": "eastus",
    "resource_id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/east",
    "credentials": {"block_type_slug": "content-understanding-key", "key": "sesame"},
}
PAIRS = [{"source": "east", "targets": ["west"]}]


BLOCKS = (ContentUnderstandingKey, ContentUnderstandingEntra, ContentUnderstandingResource, RecoveryPlan)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("by_alias", [True, False])
def test_the_schema_that_is_kept_is_the_one_that_prefect_makes(block: type[SchemaKept], by_alias: bool) -> None:
    for _ in range(2):
        assert block.model_json_schema(by_alias=by_alias) == super(SchemaKept, block).model_json_schema(by_alias)


def test_a_key_block_gives_a_ready_auth() -> None:
    block = ContentUnderstandingKey(key="sesame")
    assert block.to_credentials().key.get_secret_value() == "sesame"
    assert isinstance(block.get_auth(), httpx.Auth)


def test_an_entra_block_gives_a_ready_auth() -> None:
    block = ContentUnderstandingEntra(tenant_id="t", client_id="c", client_secret="s")
    assert block.to_credentials().tenant_id == "t"
    assert isinstance(block.get_auth(), httpx.Auth)


def test_what_a_form_left_empty_is_not_given() -> None:
    block = ContentUnderstandingEntra(tenant_id="", client_id="", client_secret="")
    assert block.to_credentials() == EntraCredentials()


def test_a_client_secret_needs_its_application() -> None:
    with pytest.raises(ValidationError, match="client_secret needs tenant_id and client_id"):
        ContentUnderstandingEntra(client_secret="sesame")


def test_a_resource_block_becomes_a_resource(configuration: Configuration) -> None:
    for resource in configuration.resources.values():
        block = ContentUnderstandingResource.of(resource, credentials_block(resource.credentials))
        assert block.to_resource(resource.name) == resource


def test_a_resource_block_has_the_defaults_of_a_resource() -> None:
    resource = ContentUnderstandingResource.model_validate(RESOURCE).to_resource("east")
    assert (resource.api_version, resource.max_concurrent_copies) == ("2025-11-01", 10)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("endpoint", "http://east.services.ai.azure.com", "must be https"),
        ("endpoint", "https://example.com", "not a known Azure host"),
        ("resource_id", "east", "must look like /subscriptions/"),
        ("max_concurrent_copies", 0, "greater than or equal to 1"),
        ("api_version", "2024-01-01", "2025-11-01"),
    ],
)
def test_a_resource_block_refuses_what_a_resource_refuses(field: str, value: object, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason) as caught:
        ContentUnderstandingResource.model_validate({**RESOURCE, field: value})
    assert "sesame" not in str(caught.value)


def test_a_plan_block_becomes_the_plan_its_vault_and_its_sinks(configuration: Configuration) -> None:
    plan = configuration.plan("invoices")
    block = RecoveryPlan.of(plan, configuration.vault, configuration.activation)
    assert block.to_plan("invoices") == plan
    assert block.to_vault() == configuration.vault
    assert block.to_sinks() == configuration.activation


def test_a_file_sink_keeps_its_mode_in_a_block(configuration: Configuration) -> None:
    sinks = (FileSink(path=Path("/active.json"), mode=0o640), FileSink(path=Path("/other.json")))
    block = RecoveryPlan.of(configuration.plan("invoices"), configuration.vault, sinks)
    assert [form.mode for form in block.activation] == ["0640", "0644"]
    assert block.to_sinks() == sinks


def test_a_sink_of_a_block_is_required_unless_its_form_says_otherwise() -> None:
    given = FileSink(path=Path("/active.json")), VariableSink(name="active", required=False)
    forms = sink_forms(given)
    assert sinks_of(forms, None) == given
    # As the last version saved it.
    saved = forms[0].model_dump(exclude={"required"})
    assert sinks_of([SinkForm.model_validate(saved)], None) == given[:1]


@pytest.mark.parametrize(
    "vault",
    [
        VaultSettings(path=Path("/vault")),
        VaultSettings(path=Path("/vault"), second=SecondPlace(path=Path("/second"))),
        VaultSettings(url="s3://bucket/vault", signing=Ed25519Signing(private_key="secret")),
        VaultSettings(url="gs://bucket/vault", signing=Ed25519Signing(public_key="public")),
        VaultSettings(
            url="az://container/vault",
            endpoint="https://account.blob.core.windows.net",
            credentials=KeyCredentials(key="a-key"),
            second=SecondPlace(
                url="az://container/second",
                endpoint="https://other.blob.core.windows.net",
                credentials=SasCredentials(sas="sv=1&sig=x"),
            ),
            signing=HmacSigning(key="x" * 16),
        ),
        VaultSettings(
            url="az://container",
            endpoint="https://account.blob.core.windows.net",
            credentials=EntraCredentials(tenant_id="t", client_id="c", client_secret="s"),
        ),
    ],
    ids=[
        "folder",
        "second folder",
        "S3, private key",
        "GCS, public key",
        "Azure, key, SAS, shared key",
        "Azure, Entra",
    ],
)
def test_every_kind_of_vault_comes_back_from_its_block(configuration: Configuration, vault: VaultSettings) -> None:
    assert RecoveryPlan.of(configuration.plan("invoices"), vault).to_vault() == vault


@pytest.mark.parametrize(
    ("form", "encryption"),
    [
        ({}, FreshKey()),
        ({"encryption": "none"}, NoEncryption()),
        ({"encryption": "given", "encryption_key": "sesame"}, GivenKey(key="sesame")),
        ({"encryption": "none", "encryption_key": "sesame"}, NoEncryption()),
    ],
)
def test_a_plan_block_says_which_key_encrypts(form: dict[str, Any], encryption: object) -> None:
    block = RecoveryPlan.model_validate({"pairs": PAIRS, **form})
    assert block.to_plan("invoices").encryption == encryption


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ({"encryption": "given"}, "encryption_key is empty"),
        ({"encryption": "given", "encryption_key": ""}, "encryption_key is empty"),
        ({"deployments": [{"target": "wset"}]}, "did you mean west"),
        ({"deployments": [{"target": "west"}, {"target": "west"}]}, "a target twice"),
        ({"pairs": [*PAIRS, *PAIRS]}, "a pair twice: east to west"),
        ({"objectives": {"rpo": "soon"}}, "must be a duration"),
        ({"vault_block": "s3-bucket/vault", "vault_path": ""}, "can no longer be a Prefect block"),
        ({"second_block": "s3-bucket/vault"}, "can no longer be a Prefect block"),
        ({"vault_path": ""}, "needs vault_path or vault_url"),
        ({"second_path": "a", "second_url": "s3://b"}, "either a path or a url"),
        ({"vault_path": "", "vault_url": "az://c"}, "needs an endpoint"),
        ({"vault_path": "", "vault_url": "az://c", "vault_credentials": "key"}, "vault_secret is empty"),
        ({"signing": "hmac"}, "key is missing"),
        ({"signing": "ed25519", "signing_key": ""}, "needs private_key, or public_key"),
        ({"activation": [{"kind": "file"}]}, "path is missing"),
        ({"activation": [{"kind": "webhook", "url": "https://a.example"}]}, "secret is missing"),
        ({"activation": [{"kind": "webhook", "url": "http://a"}], "webhook_keys": '["k"]'}, "must be https"),
        (
            {"activation": [{"kind": "webhook", "url": "https://a"}], "webhook_keys": "k"},
            "must be a JSON list",
        ),
        ({"activation": [{"kind": "file", "path": "a", "name": "b"}]}, "name is not known here"),
        ({"activation": [{"kind": "file", "path": "a", "mode": "777"}]}, "mode must be one of 0600"),
        ({"activation": [{"kind": "variable", "name": "Not Allowed"}]}, "lower-case letters"),
    ],
)
def test_a_plan_block_refuses_what_makes_no_plan(form: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        RecoveryPlan.model_validate({"pairs": PAIRS, **form})


def test_a_printed_block_shows_no_secret(configuration: Configuration) -> None:
    east = configuration.resource("east")
    resource = ContentUnderstandingResource.of(east, credentials_block(east.credentials))
    plan = RecoveryPlan.of(configuration.plan("invoices"), configuration.vault, configuration.activation)
    assert "canary" not in f"{resource} {resource!r} {plan} {plan!r}"
