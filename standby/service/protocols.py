"""The two ways the service copies an analyzer between resources, behind one interface.

The released API keeps the grant at the source; the disaster-recovery page's hands a token to the caller.
Which one is spoken follows from the api-version of source and target (REFERENCE, *Two protocols*).
"""

from __future__ import annotations

from typing import Protocol

from standby.service.authorization import CopyAuthorization
from standby.service.client import ContentUnderstandingClient
from standby.service.encryption import Encryption
from standby.service.errors import ApiVersionMismatch
from standby.service.models import StartedOperation
from standby.service.released import ReleasedProtocol
from standby.service.resource import SEED_PAGE_API_VERSION, DeploymentOverrides, Resource
from standby.service.seed_page import SeedPageProtocol


class CopyProtocol(Protocol):
    """One way to copy."""

    async def authorize(
        self,
        source: ContentUnderstandingClient,
        analyzer: str,
        target: Resource,
        target_analyzer: str,
        *,
        encryption: Encryption,
    ) -> CopyAuthorization:
        """Ask the source to let one target copy one analyzer.

        Raises:
            ProtocolError: the grant is for something else than was asked.
        """
        ...

    async def copy(
        self,
        target: ContentUnderstandingClient,
        authorization: CopyAuthorization,
        *,
        overrides: DeploymentOverrides,
        allow_replace: bool,
    ) -> StartedOperation:
        """Start the copy at the target; it is sent again only when it was certainly not taken.

        Raises:
            CopyOutcomeUnknown: it was sent and no usable answer came.
            Conflict: the target has an analyzer of this id, or is making one.
            GrantVoid: the target does not find the source's grant.
        """
        ...


def protocol_for(source: Resource, target: Resource) -> CopyProtocol:
    """Choose the protocol of a pair.

    Raises:
        ApiVersionMismatch: the two are not set to the same api-version.
    """
    if source.api_version != target.api_version:
        raise ApiVersionMismatch(
            f"{source.name} has api_version {source.api_version} and {target.name} {target.api_version}",
            resource=target.name,
        )
    return SeedPageProtocol() if target.api_version == SEED_PAGE_API_VERSION else ReleasedProtocol()
