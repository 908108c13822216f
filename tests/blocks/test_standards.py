"""What Prefect asks of every block type, and what its forms show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from prefect.blocks.core import Block
from prefect.testing.standard_test_suites.blocks import BlockStandardTestSuite

from standby.blocks import (
    ContentUnderstandingEntra,
    ContentUnderstandingKey,
    ContentUnderstandingResource,
    RecoveryPlan,
)

SLUGS: dict[type[Block], str] = {
    ContentUnderstandingKey: "content-understanding-key",
    ContentUnderstandingEntra: "content-understanding-entra",
    ContentUnderstandingResource: "content-understanding-resource",
    RecoveryPlan: "recovery-plan",
}


class TestEveryBlock(BlockStandardTestSuite):
    @pytest.fixture(params=SLUGS, ids=list(SLUGS.values()))
    def block(self, request: pytest.FixtureRequest) -> type[Block]:
        block: type[Block] = request.param
        return block

    def test_has_a_valid_image(self, block: type[Block]) -> None:
        """A logo has to lie on the web; ours would be the only thing there, so Prefect shows its own."""
        assert block._logo_url is None

    def test_has_the_slug_of_the_contract(self, block: type[Block]) -> None:
        assert block.get_block_type_slug() == SLUGS[block]

    def test_describes_every_field_of_its_form_at_any_depth(self, block: type[Block]) -> None:
        schema = block.model_json_schema()
        forms = [schema, *schema.get("definitions", {}).values()]
        fields = [(form["title"], name, field) for form in forms for name, field in _fields(form)]
        assert [
            f"{form}.{name}" for form, name, field in fields if not field.get("description", "").endswith(".")
        ] == []


def _fields(form: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, field in form.get("properties", {}).items():
        if name != "credentials":  # A picker of blocks; Prefect shows no description there.
            yield name, field


def test_secrets_are_known_to_prefect_as_such() -> None:
    secret_fields = {block: block.model_json_schema()["secret_fields"] for block in SLUGS}
    assert secret_fields == {
        ContentUnderstandingKey: ["key"],
        ContentUnderstandingEntra: ["client_secret"],
        ContentUnderstandingResource: ["credentials.key", "credentials.client_secret"],
        RecoveryPlan: ["encryption_key", "vault_secret", "second_secret", "signing_key", "webhook_keys"],
    }


def test_durations_are_plain_text_fields() -> None:
    objectives = RecoveryPlan.model_json_schema()["definitions"]["Objectives"]["properties"]
    assert {option["type"] for option in objectives["rpo"]["anyOf"]} == {"string", "null"}
