"""How Prefect's runs sign in to a Content Understanding resource."""

from __future__ import annotations

from copy import copy
from typing import Any, ClassVar, Self

import httpx
from prefect.blocks.core import Block
from pydantic import BaseModel, ConfigDict, HttpUrl, SecretStr, model_validator

from standby.config.errors import valid
from standby.config.resource import EntraCredentials, KeyCredentials
from standby.service.auth import auth_for

DOCUMENTATION = HttpUrl("https://learn.microsoft.com/azure/ai-services/content-understanding/how-to/disaster-recovery")
"""The page of the product that the blocks' forms link to."""


def same_as(model: type[BaseModel], name: str) -> Any:
    """Take over a field's description, default and limits, so that they stand in one place."""
    return copy(model.model_fields[name])


class ContentUnderstandingKey(Block):
    """Subscription key of a Content Understanding resource."""

    _block_type_name: ClassVar[str | None] = "Content Understanding Key"
    _block_type_slug: ClassVar[str | None] = "content-understanding-key"
    _documentation_url: ClassVar[HttpUrl | None] = DOCUMENTATION
    _description: ClassVar[str | None] = (
        "Subscription key of an Azure Content Understanding resource. "
        "A key cannot ask Azure which models a resource deploys; an Entra identity can."
    )

    model_config = ConfigDict(hide_input_in_errors=True)

    key: SecretStr = same_as(KeyCredentials, "key")

    def to_credentials(self) -> KeyCredentials:
        """Give what the library signs in with."""
        return KeyCredentials(key=self.key)

    def get_auth(self) -> httpx.Auth:
        """Give what puts the key on each request of an httpx client."""
        return auth_for(self.to_credentials())


class ContentUnderstandingEntra(Block):
    """Entra identity that may use a Content Understanding resource."""

    _block_type_name: ClassVar[str | None] = "Content Understanding Entra"
    _block_type_slug: ClassVar[str | None] = "content-understanding-entra"
    _documentation_url: ClassVar[HttpUrl | None] = DOCUMENTATION
    _description: ClassVar[str | None] = (
        "Microsoft Entra identity with the role Cognitive Services User on a Content Understanding resource. "
        "Left empty, it is whatever DefaultAzureCredential finds where the flow runs."
    )

    model_config = ConfigDict(hide_input_in_errors=True)

    tenant_id: str | None = same_as(EntraCredentials, "tenant_id")
    client_id: str | None = same_as(EntraCredentials, "client_id")
    client_secret: SecretStr | None = same_as(EntraCredentials, "client_secret")

    @model_validator(mode="after")
    def _an_identity(self) -> Self:
        self.to_credentials()
        return self

    def to_credentials(self) -> EntraCredentials:
        """Give what the library signs in with; what a form left empty is not given."""
        secret = self.client_secret
        return valid(
            EntraCredentials,
            tenant_id=self.tenant_id or None,
            client_id=self.client_id or None,
            client_secret=secret if secret and secret.get_secret_value() else None,
        )

    def get_auth(self) -> httpx.Auth:
        """Give what gets tokens, keeps them fresh and puts them on each request of an httpx client."""
        return auth_for(self.to_credentials())
