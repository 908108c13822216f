"""How requests are signed: a subscription key, or an Entra token that is kept fresh.

Azure's library takes a third of a second to import, which a command that has only keys is spared.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, assert_never

import httpx
from pydantic import SecretStr

from standby.config.resource import PUBLIC, Cloud, Credentials, EntraCredentials, KeyCredentials, NoCredentials
from standby.service.errors import NotAuthorized, ResourceUnusable, ServiceError, TokenUnavailable
from standby.service.redaction import keep_secret, one_line

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken
    from azure.core.credentials_async import AsyncTokenCredential

DATA_SCOPE = PUBLIC.scope  # Scope of the tokens the service takes (REFERENCE, *Authentication and hosts*)
STORAGE_SCOPE = "https://storage.azure.com/.default"  # Scope of the tokens Azure's storage takes
KEY_HEADER = "Ocp-Apim-Subscription-Key"
REFRESH_MARGIN = 300.0  # Seconds before its end at which a token is no longer used
CORRECT = "Correct the entra credentials of the resource, or sign in where this runs"


class KeyAuth(httpx.Auth):
    """Puts the subscription key on every request."""

    def __init__(self, key: SecretStr) -> None:
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        keep_secret(self._key)
        request.headers[KEY_HEADER] = self._key.get_secret_value()
        yield request


class EntraAuth(httpx.Auth):
    """Puts an Entra token on every request; renews it before its end, and once after a 401."""

    def __init__(
        self,
        # Of azure-identity; another is made after a 401, because each keeps its tokens until they end, revoked or not.
        make_credential: Callable[[], AsyncTokenCredential],
        scope: str,
        *,
        tenant_id: str | None = None,  # the tenant they come from, where it is not the credential's own
    ) -> None:
        self._make_credential = make_credential
        self._scope = scope
        self._options: dict[str, Any] = {"tenant_id": tenant_id} if tenant_id else {}
        self._credential: AsyncTokenCredential | None = None
        self._token: AccessToken | None = None
        self._lock = asyncio.Lock()

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        del request
        raise RuntimeError("EntraAuth signs requests of an httpx.AsyncClient only")

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        token = await self.token()
        request.headers["Authorization"] = f"Bearer {token.token}"
        response = yield request
        if response.status_code == 401:
            token = await self.token(refused=token)
            request.headers["Authorization"] = f"Bearer {token.token}"
            yield request

    async def token(self, refused: AccessToken | None = None) -> AccessToken:
        """Give a token valid for some minutes, another than was refused; else `NotAuthorized` or `TokenUnavailable`."""
        async with self._lock:
            if refused is not None and self._token is refused:
                await self.aclose()
            if self._token is None or self._token.expires_on - REFRESH_MARGIN < time.time():
                self._token = await self._ask()
            keep_secret(SecretStr(self._token.token))
            return self._token

    async def aclose(self) -> None:
        credential, self._credential, self._token = self._credential, None, None
        if credential is not None:
            await credential.close()

    async def _ask(self) -> AccessToken:
        from azure.core.exceptions import AzureError, ClientAuthenticationError  # noqa: PLC0415

        failure: ServiceError
        try:
            self._credential = self._credential or self._make_credential()
            return await self._credential.get_token(self._scope, **self._options)
        except ClientAuthenticationError as error:
            failure = NotAuthorized(f"Entra gave no token: {_first_line(error)}", CORRECT)
        except AzureError as error:
            # Not just unreachable: what was to be signed has not been sent, so even a copy may be repeated.
            failure = TokenUnavailable(f"Entra cannot be reached for a token: {_first_line(error)}")
        except (ValueError, LookupError, TypeError) as error:
            # So azure-identity refuses settings, and stumbles over an answer that lacks something.
            failure = NotAuthorized(f"No Entra token can be obtained: {_first_line(error)}", CORRECT)
        # Raised here and not above: the errors of azure-identity hold what was sent, even as a context.
        raise failure


def _first_line(error: Exception) -> str:
    # Azure's errors say more as text than their message.
    lines = str(getattr(error, "message", error)).strip().splitlines() or [type(error).__name__]
    return one_line(lines[0])


def auth_for(
    credentials: Credentials | NoCredentials, scope: str = DATA_SCOPE, cloud: Cloud = PUBLIC
) -> KeyAuth | EntraAuth:
    """Make what signs requests with some credentials; without any, it refuses each before it is sent."""
    match credentials:
        case NoCredentials():
            return EntraAuth(partial(_refuse, credentials), scope)
        case KeyCredentials():
            return KeyAuth(credentials.key)
        case EntraCredentials():
            return entra_auth(credentials, scope, cloud)
        case _:
            assert_never(credentials)


def _refuse(why: NoCredentials) -> NoReturn:
    raise ResourceUnusable(why.reason, why.next_action)


def entra_auth(credentials: EntraCredentials, scope: str, cloud: Cloud = PUBLIC) -> EntraAuth:
    """Make what gives the tokens of an Entra identity."""
    keep_secret(credentials.client_secret)
    return EntraAuth(partial(_credential, credentials, cloud), scope, tenant_id=credentials.tenant_id)


def _credential(credentials: EntraCredentials, cloud: Cloud) -> AsyncTokenCredential:
    from azure.identity.aio import ClientSecretCredential, DefaultAzureCredential  # noqa: PLC0415

    secret = credentials.client_secret
    # Where none is given the environment's AZURE_AUTHORITY_HOST counts.
    options: dict[str, Any] = {"authority": cloud.authority} if cloud.authority else {}
    if secret is not None and credentials.tenant_id and credentials.client_id:
        found = secret.get_secret_value()
        return ClientSecretCredential(credentials.tenant_id, credentials.client_id, found, **options)
    if credentials.tenant_id:
        options["additionally_allowed_tenants"] = [credentials.tenant_id]
    if credentials.client_id:
        # Not passed as None, which would outdo the environment's AZURE_CLIENT_ID.
        options["managed_identity_client_id"] = credentials.client_id
    return DefaultAzureCredential(**options)
