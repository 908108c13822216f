"""The released API's copy: the source keeps the grant, the target looks it up (recording: grant copy)."""

from __future__ import annotations

from standby.service.authorization import CopyAuthorization
from standby.service.calls import Call
from standby.service.client import ContentUnderstandingClient
from standby.service.encryption import Encryption
from standby.service.models import Grant, JsonObject, StartedOperation
from standby.service.resource import DeploymentOverrides, Resource
from standby.service.starting import start_copy


class ReleasedProtocol:
    """`:grantCopyAuthorization`, then `:copy`; it has neither token, encryption nor deployments."""

    async def authorize(
        self,
        source: ContentUnderstandingClient,
        analyzer: str,
        target: Resource,
        target_analyzer: str,
        *,
        encryption: Encryption,  # noqa: ARG002 - there is no token to encrypt
    ) -> CopyAuthorization:
        """Have the source note that this target may copy this analyzer.

        Raises:
            ProtocolError: the grant is for another target.
        """
        body: JsonObject = {"targetAzureResourceId": target.resource_id, "targetRegion": target.region}
        answer = await source.post(
            Call(
                "POST",
                source.path(analyzer, ":grantCopyAuthorization"),
                source.version,
                body,
                analyzer=analyzer,
            )
        )
        grant = answer.read(Grant)
        granted = grant.target_resource_id
        if granted is not None and granted.lower() != target.resource_id.lower():
            raise answer.protocol_error(f"{source.resource.name} granted the copy to another target")
        return CopyAuthorization(source.resource, analyzer, target_analyzer, grant.expires_at)

    async def copy(
        self,
        target: ContentUnderstandingClient,
        authorization: CopyAuthorization,
        *,
        overrides: DeploymentOverrides,  # noqa: ARG002 - the target's defaults say which deployment serves
        allow_replace: bool,
    ) -> StartedOperation:
        """Start the copy at the target."""
        source = authorization.source
        body: JsonObject = {"sourceAnalyzerId": authorization.analyzer}
        if source.resource_id.lower() != target.resource.resource_id.lower():
            body |= {"sourceAzureResourceId": source.resource_id, "sourceRegion": source.region}
        replace = {"allowReplace": "true"} if allow_replace else {}
        return await start_copy(target, authorization, body, target.version | replace)
