"""A Content Understanding resource and the credentials of its runs, as Prefect keeps them."""

from __future__ import annotations

from copy import copy
from typing import Any, ClassVar, Self, assert_never

import httpx
from prefect.blocks.core import Block
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr, model_validator

from standby.config.errors import valid
from standby.config.resource import ApiVersion, Credentials, EntraCredentials, KeyCredentials, Resource
from standby.config.secrets import resolved
from standby.service.auth import auth_for

DOCUMENTATION = HttpUrl("https://learn.microsoft.com/azure/ai-services/content-understanding/how-to/disaster-recovery")
"""The page of the product that the blocks' forms link to."""


def same_as(model: type[BaseModel], name: str) -> Any:
    """Take over a field's description, default and limits, so that they are written once."""
    return copy(model.model_fields[name])


class SchemaKept(BaseModel):
    """A block whose JSON schema is made once; Prefect asks for it again for every field that it saves or reads."""

    _documentation_url: ClassVar[HttpUrl | None] = DOCUMENTATION
    model_config = ConfigDict(hide_input_in_errors=True)

    _made: ClassVar[dict[object, dict[str, Any]]] = {}

    @classmethod
    def model_json_schema(cls, *args: Any, **options: Any) -> dict[str, Any]:
        """Give the schema, which is read only."""
        asked = cls, args, *sorted(options.items())
        if asked not in cls._made:
            cls._made[asked] = super().model_json_schema(*args, **options)
        return cls._made[asked]


class ContentUnderstandingKey(SchemaKept, Block):
    """Subscription key of a Content Understanding resource."""

    _block_type_name: ClassVar[str | None] = "Content Understanding Key"
    _block_type_slug: ClassVar[str | None] = "content-understanding-key"
    _description: ClassVar[str | None] = (
        "Subscription key of an Azure Content Understanding resource. "
        "With a key, Azure does not say which models a resource deploys; an Entra identity can."
    )

    key: SecretStr = same_as(KeyCredentials, "key")

    def to_credentials(self) -> KeyCredentials:
        return KeyCredentials(key=self.key)

    def get_auth(self) -> httpx.Auth:
        """Give what puts the key on each request of an httpx client."""
        return auth_for(resolved(self.to_credentials()))


class ContentUnderstandingEntra(SchemaKept, Block):
    """Entra identity that may use a Content Understanding resource."""

    _block_type_name: ClassVar[str | None] = "Content Understanding Entra"
    _block_type_slug: ClassVar[str | None] = "content-understanding-entra"
    _description: ClassVar[str | None] = (
        "Microsoft Entra identity with the role Cognitive Services User on a Content Understanding resource. "
        "If all fields are empty, DefaultAzureCredential finds an identity where the flow runs."
    )

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
        secret = secret if secret and secret.get_secret_value() else None
        return valid(
            EntraCredentials, tenant_id=self.tenant_id or None, client_id=self.client_id or None, client_secret=secret
        )

    def get_auth(self) -> httpx.Auth:
        """Give what gets tokens, keeps them fresh and puts them on each request of an httpx client."""
        return auth_for(resolved(self.to_credentials()))


class ContentUnderstandingResource(SchemaKept, Block):
    """One resource in one region; recovery plans refer to it by the name of its block."""

    _block_type_name: ClassVar[str | None] = "Content Understanding Resource"
    _block_type_slug: ClassVar[str | None] = "content-understanding-resource"
    _description: ClassVar[str | None] = (
        "An Azure Content Understanding resource in one region: where it is, how to sign in, "
        "and how many calls and copies it may get at a time. Recovery plans refer to it by the name of its block."
    )

    endpoint: str = same_as(Resource, "endpoint")
    region: str = same_as(Resource, "region")
    resource_id: str = same_as(Resource, "resource_id")
    api_version: ApiVersion = same_as(Resource, "api_version")
    credentials: ContentUnderstandingKey | ContentUnderstandingEntra = Field(
        description="How to sign in to the resource."
    )
    arm_endpoint: str = same_as(Resource, "arm_endpoint")
    max_concurrent_copies: int = same_as(Resource, "max_concurrent_copies")
    operations_per_minute: int = same_as(Resource, "operations_per_minute")
    allow_host: bool = same_as(Resource, "allow_host")

    @model_validator(mode="after")
    def _a_resource(self) -> Self:
        self.to_resource("resource")
        return self

    def to_resource(self, name: str) -> Resource:
        shared = {field: getattr(self, field) for field in SHARED}
        return valid(Resource, name=name, credentials=self.credentials.to_credentials(), **shared)

    @classmethod
    def of(
        cls, resource: Resource, credentials: ContentUnderstandingKey | ContentUnderstandingEntra
    ) -> ContentUnderstandingResource:
        return cls(credentials=credentials, **{field: getattr(resource, field) for field in SHARED})


SHARED = tuple(name for name in Resource.model_fields if name not in {"name", "credentials"})
"""Fields that the block and the library's resource have alike."""


def credentials_block(credentials: Credentials) -> ContentUnderstandingKey | ContentUnderstandingEntra:
    match credentials:
        case KeyCredentials():
            return ContentUnderstandingKey(key=credentials.key)
        case EntraCredentials():
            return ContentUnderstandingEntra(**credentials.model_dump(exclude={"kind"}))
        case _:
            assert_never(credentials)
