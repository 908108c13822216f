"""The two ways the service copies an analyzer between resources, behind one interface.

The released API keeps the grant at the source; `2025-05-01-preview` hands a token to the caller.
Which one is spoken follows from the api-version of source and target (REFERENCE, *Two protocols*).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pydantic import SecretStr

from standby.config.plan import Encryption, key_for_copy
from standby.config.resource import PREVIEW_2025, DeploymentOverrides, Resource
from standby.document import JsonObject
from standby.service import errors
from standby.service.calls import Call
from standby.service.client import ContentUnderstandingClient as Client
from standby.service.models import Analyzer, StartedOperation
from standby.service.redaction import keep_secret
from standby.service.retries import Repeat


@dataclass(frozen=True)
class CopyAuthorization:
    """The source's permission to copy one analyzer to one target; never stored. Only one protocol has a token."""

    source: Resource
    analyzer: str
    target_analyzer: str
    expires_at: datetime | None
    source_url: str | None = None
    token: SecretStr | None = None
    decryption_key: SecretStr | None = None


async def start_copy(
    target: Client, authorization: CopyAuthorization, body: JsonObject, params: Mapping[str, str]
) -> StartedOperation:
    """Send `:copy` to a target; `CopyOutcomeUnknown` where no answer says whether it was taken."""
    analyzer = authorization.target_analyzer
    path, repeat = target.path(analyzer, ":copy"), Repeat.IF_NOT_TAKEN
    call = Call("POST", path, params, body, analyzer=analyzer, repeat=repeat, kind="a copy")
    with errors.taken_or_not(errors.CopyOutcomeUnknown, target.resource.name, analyzer):
        answer = await target.post(call)
        copied = answer.read(Analyzer)
        return target.started(answer, copied, copied.warnings)


class ReleasedProtocol:
    """`:grantCopyAuthorization`, then `:copy`; it has neither token, encryption nor deployments."""

    async def authorize(
        self, source: Client, analyzer: str, target: Resource, target_analyzer: str, *, encryption: Encryption
    ) -> CopyAuthorization:
        """Have the source note that this target may copy this analyzer; `ProtocolError` if it granted another one."""
        del encryption  # There is no token to encrypt.
        body: JsonObject = {"targetAzureResourceId": target.resource_id, "targetRegion": target.region}
        answer, grant = await source.ask_for_grant(analyzer, ":grantCopyAuthorization", body)
        granted = grant.target_resource_id
        if granted is not None and granted.lower() != target.resource_id.lower():
            raise answer.protocol_error(f"{source.resource.name} granted the copy to another target")
        return CopyAuthorization(source.resource, analyzer, target_analyzer, grant.expires_at)

    async def copy(
        self, target: Client, authorization: CopyAuthorization, *, overrides: DeploymentOverrides, allow_replace: bool
    ) -> StartedOperation:
        """Start the copy at the target; it is sent again only when it was certainly not taken."""
        del overrides  # The target's defaults say which deployment serves.
        source = authorization.source
        body: JsonObject = {"sourceAnalyzerId": authorization.analyzer}
        if source.resource_id.lower() != target.resource.resource_id.lower():
            body |= {"sourceAzureResourceId": source.resource_id, "sourceRegion": source.region}
        replace = {"allowReplace": "true"} if allow_replace else {}
        return await start_copy(target, authorization, body, target.version | replace)


class Preview2025Protocol:
    """`:getCopyAuthorization`, then `:copy` with its token; always locked to one target analyzer."""

    async def authorize(
        self, source: Client, analyzer: str, target: Resource, target_analyzer: str, *, encryption: Encryption
    ) -> CopyAuthorization:
        """Get a token, encrypted where that is asked for; `ProtocolError` if there is none for this target."""
        locked_to = f"{target.endpoint}{source.path(target_analyzer)}"
        key = key_for_copy(encryption)
        body: JsonObject = {"target": locked_to}
        if key is not None:
            keep_secret(key)
            body["encryptionKey"] = key.get_secret_value()
        answer, grant = await source.ask_for_grant(analyzer, ":getCopyAuthorization", body)
        keep_secret(grant.token)
        if not grant.token or not grant.source:
            raise answer.protocol_error(f"{source.resource.name} granted the copy without a token")
        if grant.target is not None and grant.target.lower() != locked_to.lower():
            raise answer.protocol_error(f"{source.resource.name} granted the copy to another target")
        of_grant = (grant.expires_at, grant.source, grant.token)
        return CopyAuthorization(source.resource, analyzer, target_analyzer, *of_grant, decryption_key=key)

    async def copy(
        self, target: Client, authorization: CopyAuthorization, *, overrides: DeploymentOverrides, allow_replace: bool
    ) -> StartedOperation:
        """Start the copy at the target; `InvalidRequest` where it is to replace, which this protocol does not have."""
        if allow_replace:
            there, analyzer = target.resource, authorization.target_analyzer
            cause = f"api-version {there.api_version} cannot replace {analyzer}"
            action = "Use --on-existing version, or another api_version at both resources"
            raise errors.InvalidRequest(cause, action, resource=there.name, analyzer=analyzer)
        body: JsonObject = {"source": authorization.source_url}
        if authorization.token is not None:
            body["authorizationToken"] = authorization.token.get_secret_value()
        if authorization.decryption_key is not None:
            body["decryptionKey"] = authorization.decryption_key.get_secret_value()
        chosen = overrides.model_dump(by_alias=True, exclude_none=True)
        if chosen:
            body["deployments"] = chosen
        return await start_copy(target, authorization, body, target.version)


CopyProtocol = ReleasedProtocol | Preview2025Protocol


def protocol_for(source: Resource, target: Resource) -> CopyProtocol:
    """Choose the protocol of a pair; `ApiVersionMismatch` where the two are not set to the same api-version."""
    if source.api_version != target.api_version:
        text = f"{source.name} has api_version {source.api_version} and {target.name} {target.api_version}"
        raise errors.ApiVersionMismatch(text, resource=target.name)
    return Preview2025Protocol() if target.api_version == PREVIEW_2025 else ReleasedProtocol()
