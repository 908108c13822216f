"""A Content Understanding resource, as Prefect keeps it."""

from __future__ import annotations

from typing import ClassVar, Self

from prefect.blocks.core import Block
from pydantic import ConfigDict, Field, HttpUrl, model_validator

from blocks.credentials import DOCUMENTATION, ContentUnderstandingEntra, ContentUnderstandingKey, same_as
from standby.config.errors import valid
from standby.config.resource import ApiVersion, EntraCredentials, KeyCredentials, Resource


class ContentUnderstandingResource(Block):
    """One resource in one region; recovery plans refer to it by the name of its block."""

    _block_type_name: ClassVar[str | None] = "Content Understanding Resource"
    _block_type_slug: ClassVar[str | None] = "content-understanding-resource"
    _documentation_url: ClassVar[HttpUrl | None] = DOCUMENTATION
    _description: ClassVar[str | None] = (
        "An Azure Content Understanding resource in one region: where it is, how to sign in, "
        "and how hard it may be driven. Recovery plans refer to it by the name of its block."
    )

    model_config = ConfigDict(hide_input_in_errors=True)

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
        """Give the library's resource.

        Args:
            name: what plans and reports call it: the name of the block.
        """
        return valid(
            Resource,
            name=name,
            credentials=self.credentials.to_credentials(),
            **{field: getattr(self, field) for field in SHARED},
        )

    @classmethod
    def of(
        cls, resource: Resource, credentials: ContentUnderstandingKey | ContentUnderstandingEntra
    ) -> ContentUnderstandingResource:
        """Make the block of a resource, with its credentials' block."""
        return cls(credentials=credentials, **{field: getattr(resource, field) for field in SHARED})


SHARED = tuple(name for name in Resource.model_fields if name not in {"name", "credentials"})
"""Fields that the block and the library's resource have alike."""


def credentials_block(
    credentials: KeyCredentials | EntraCredentials,
) -> ContentUnderstandingKey | ContentUnderstandingEntra:
    """Make the block of some credentials."""
    if isinstance(credentials, KeyCredentials):
        return ContentUnderstandingKey(key=credentials.key)
    return ContentUnderstandingEntra(
        tenant_id=credentials.tenant_id,
        client_id=credentials.client_id,
        client_secret=credentials.client_secret,
    )
