"""The copy of the product's disaster-recovery page: a token is handed from the source to the target."""

from __future__ import annotations

from standby.service.authorization import CopyAuthorization
from standby.service.calls import Call
from standby.service.client import ContentUnderstandingClient
from standby.service.encryption import Encryption, key_for_copy
from standby.service.errors import InvalidRequest
from standby.service.models import Grant, JsonObject, StartedOperation
from standby.service.resource import DeploymentOverrides, Resource
from standby.service.starting import start_copy


class SeedPageProtocol:
    """`:getCopyAuthorization`, then `:copy` with its token; always locked to one target analyzer."""

    async def authorize(
        self,
        source: ContentUnderstandingClient,
        analyzer: str,
        target: Resource,
        target_analyzer: str,
        *,
        encryption: Encryption,
    ) -> CopyAuthorization:
        """Get a token for this target, encrypted where that is asked for.

        Raises:
            ProtocolError: there is no token, or it is locked to another target.
        """
        locked_to = f"{target.endpoint}{source.path(target_analyzer)}"
        key = key_for_copy(encryption)
        body: JsonObject = {"target": locked_to}
        if key is not None:
            body["encryptionKey"] = key.get_secret_value()
        answer = await source.post(
            Call(
                "POST",
                source.path(analyzer, ":getCopyAuthorization"),
                source.version,
                body,
                analyzer=analyzer,
                secrets=() if key is None else (key,),
            )
        )
        grant = answer.read(Grant)
        if not grant.token or not grant.source:
            raise answer.protocol_error(f"{source.resource.name} granted the copy without a token")
        if grant.target is not None and grant.target.lower() != locked_to.lower():
            raise answer.protocol_error(f"{source.resource.name} granted the copy to another target")
        return CopyAuthorization(
            source.resource,
            analyzer,
            target_analyzer,
            grant.expires_at,
            source_url=grant.source,
            token=grant.token,
            decryption_key=key,
        )

    async def copy(
        self,
        target: ContentUnderstandingClient,
        authorization: CopyAuthorization,
        *,
        overrides: DeploymentOverrides,
        allow_replace: bool,
    ) -> StartedOperation:
        """Start the copy at the target.

        Raises:
            InvalidRequest: a replacement is asked for, which this protocol does not have.
        """
        if allow_replace:
            raise InvalidRequest(
                f"api-version {target.resource.api_version} cannot replace {authorization.target_analyzer}",
                "Use --on-existing version, or another api_version at both resources",
                resource=target.resource.name,
                analyzer=authorization.target_analyzer,
            )
        secrets = [value for value in (authorization.token, authorization.decryption_key) if value]
        body: JsonObject = {"source": authorization.source_url}
        if authorization.token is not None:
            body["authorizationToken"] = authorization.token.get_secret_value()
        if authorization.decryption_key is not None:
            body["decryptionKey"] = authorization.decryption_key.get_secret_value()
        chosen = overrides.model_dump(by_alias=True, exclude_none=True)
        if chosen:
            body["deployments"] = chosen
        return await start_copy(target, authorization, body, target.version, tuple(secrets))
