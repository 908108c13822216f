"""How an object storage is reached, and what its errors mean."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from azure.core.credentials import AccessToken
from obstore import exceptions
from obstore.store import AzureStore, GCSStore, S3Store

from standby.config.resource import EntraCredentials, KeyCredentials, is_loopback
from standby.config.vault import Place, SasCredentials
from standby.service.auth import STORAGE_SCOPE, entra_auth
from standby.service.errors import ServiceError, TokenUnavailable
from standby.vault.errors import AccessRefused, ContainerMissing, VaultUnavailable
from standby.vault.storage import checked

if TYPE_CHECKING:
    from obstore.store import AzureCredential, ClientConfig, RetryConfig

CONNECT = timedelta(seconds=3)
"""How long making a connection may take."""

ENTRA = 30.0
"""Seconds in which Entra has to give a token; it is asked in several ways, one after the other."""

CALL = timedelta(minutes=10)
"""No call takes longer; whoever calls sets closer bounds."""

ONCE: RetryConfig = {"max_retries": 0, "retry_timeout": timedelta(0)}
"""The library tries nothing again: it could not tell its own success by an earlier try from another writer's."""

NOWHERE = "http://127.0.0.1:9"
"""A proxy that is not there."""


@dataclass(frozen=True)
class Connection:
    """A storage that can be called.

    Attributes:
        container: or bucket, as in the configuration.
        root: what every path begins with; empty, or with a slash at its end.
        url: where the root is, for people.
        tokens: of Entra, where the storage is called with these.
        hint: what may be behind calls that are not answered.
    """

    store: AzureStore | S3Store | GCSStore
    container: str
    root: str
    url: str
    tokens: EntraTokens | None = None
    hint: str = ""


@asynccontextmanager
async def connect(place: Place) -> AsyncIterator[Connection]:
    """Make ready to call a storage; nothing is called yet.

    Raises:
        VaultUnavailable: its settings are no settings of such a storage.
    """
    parts = urlsplit(place.url or "")
    folder = parts.path.strip("/")
    root = f"{checked(folder)}/" if folder else ""
    credentials = place.credentials or EntraCredentials()
    tokens = EntraTokens(credentials) if place.scheme == "az" and isinstance(credentials, EntraCredentials) else None
    base = f"{place.endpoint}/{parts.netloc}" if place.endpoint else f"{place.scheme}://{parts.netloc}"
    try:
        yield Connection(
            store=_open(place, parts.netloc, tokens),
            container=parts.netloc,
            root=root,
            url=f"{base}/{root}",
            tokens=tokens,
            hint=NO_KEYS if place.scheme == "s3" and not os.environ.get("AWS_ACCESS_KEY_ID") else "",
        )
    finally:
        if tokens is not None:
            await tokens.aclose()


def _open(place: Place, container: str, tokens: EntraTokens | None) -> AzureStore | S3Store | GCSStore:
    common: Any = {"client_options": _client(place.endpoint), "retry_config": ONCE}
    reason = ""
    try:
        match place.scheme:
            case "az":
                return AzureStore(
                    container,
                    account_name=_account(place.endpoint),
                    endpoint=place.endpoint,
                    credential_provider=tokens or _secret(place),
                    # The environment may say otherwise, and is another program's.
                    skip_signature=False,
                    use_emulator=False,
                    use_fabric_endpoint=False,
                    **common,
                )
            case "s3":
                return S3Store(container, config={"endpoint": place.endpoint} if place.endpoint else {}, **common)
            case _:
                return GCSStore(container, **common)
    except (exceptions.BaseError, OSError, ValueError) as error:
        reason = f"its settings are not those of such a storage ({type(error).__name__})"
    # Raised here and not above: the errors of the library may hold what is secret, even as a context.
    raise VaultUnavailable(f"{place.scheme}://{container}", "opened", reason)


def _client(endpoint: str) -> ClientConfig:
    options: ClientConfig = {"connect_timeout": CONNECT, "timeout": CALL}
    parts = urlsplit(endpoint)
    if is_loopback(parts.hostname):
        # A proxy of the environment is not asked for this machine, and nothing on it leads away to another host.
        options |= {"proxy_url": NOWHERE, "proxy_excludes": (parts.hostname or "").strip("[]")}
        options["allow_http"] = parts.scheme == "http"
    return options


def _account(endpoint: str) -> str:
    """Give the account's name: the first label of its host, or the path where the host is an address."""
    parts = urlsplit(endpoint)
    return parts.path.strip("/").partition("/")[0] or (parts.hostname or "").partition(".")[0]


def _secret(place: Place) -> Callable[[], AzureCredential]:
    found = place.credentials
    if isinstance(found, KeyCredentials):
        key = found.key.get_secret_value()
        if not re.fullmatch(r"[A-Za-z0-9+/]+={0,2}", key):
            raise AccessRefused(place.url or "", "opened", "its key is not one of a storage account")
        return lambda: {"access_key": key, "expires_at": None}
    sas = found.sas.get_secret_value().strip().removeprefix("?") if isinstance(found, SasCredentials) else ""
    return lambda: {"sas_token": sas, "expires_at": None}


class EntraTokens:
    """Gives a storage the tokens of an Entra identity."""

    def __init__(self, credentials: EntraCredentials) -> None:
        self._auth = entra_auth(credentials, STORAGE_SCOPE)
        self._token: AccessToken | None = None

    async def have(self, *, another: bool = False) -> None:
        """Have a token ready; another one where the storage refused the last.

        Raises:
            Failed: Entra gives none.
        """
        try:
            async with asyncio.timeout(ENTRA):
                self._token = await self._auth.token(refused=self._token if another else None)
        except TokenUnavailable as error:
            raise Failed("unreached", error.cause) from None
        except ServiceError as error:
            raise Failed("no access", error.cause) from None
        except TimeoutError:
            raise Failed("unreached", f"Entra gave no token within {ENTRA:.0f} s") from None

    def __call__(self) -> AzureCredential:
        assert self._token is not None  # noqa: S101
        # The library asks again with every call: only `EntraAuth` knows when a token is no longer good.
        return {"token": self._token.token, "expires_at": datetime.now(UTC)}

    async def aclose(self) -> None:
        """Close the connections to Entra."""
        await self._auth.aclose()


Kind = Literal["no container", "no object", "not found", "conflict", "no access", "refused", "unreached", "unclear"]

NO_CONTAINER = frozenset(
    {"ContainerNotFound", "ContainerBeingDeleted", "ContainerDisabled", "NoSuchBucket", "FilesystemNotFound"}
)
NO_OBJECT = frozenset({"BlobNotFound", "NoSuchKey", "PathNotFound"})
AGAIN = frozenset({"unreached", "unclear", "conflict"})

_STATUS = re.compile(r"status code: (\d{3})\b")
_CODE = re.compile(r"<Code>([A-Za-z0-9]{1,60})</Code>")

_NO_CONNECTION = {
    "connectionrefused": "nothing answers at its address",
    "dns error": "its host is not known",
    "certificate": "its certificate is not trusted",
}

NO_KEYS = "; no AWS_ACCESS_KEY_ID is set, so this machine's own identity was asked for"


class Failed(Exception):
    """A call failed.

    Attributes:
        kind: after `unclear` a write may have been carried out, and after `conflict` where it was not the first try.
        reason: without anything secret; the library's messages hold addresses with their signatures.
    """

    def __init__(self, kind: Kind, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.status = status

    @property
    def is_passing(self) -> bool:
        """Whether the same call may succeed a moment later."""
        return self.kind in AGAIN

    def at(self, where: str, action: str, container: str) -> VaultUnavailable:
        """Make the error that people see, of what could not be done with which file."""
        match self.kind:
            case "no container" | "not found":
                return ContainerMissing(where, action, container)
            case "no access":
                return AccessRefused(where, action, self.reason)
            case _:
                return VaultUnavailable(where, action, self.reason)


def understand(error: Exception, connection: Connection) -> Failed:
    """Say what an error of the library means."""
    text = str(error)
    status, code = _STATUS.search(text), _CODE.search(text)
    if status is not None:
        return _answered(int(status[1]), code[1] if code else "")
    if isinstance(error, (exceptions.UnauthenticatedError, exceptions.PermissionDeniedError)):
        return Failed("no access", "nothing can be signed with the credentials")
    return _unanswered(text.lower(), connection.hint)


def _answered(status: int, code: str) -> Failed:
    answer = f"HTTP {status}, {code}" if code else f"HTTP {status}"
    if code in NO_CONTAINER:
        return Failed("no container", answer)
    match status:
        case 404:
            return Failed("no object" if code in NO_OBJECT else "not found", answer)
        case 401 | 403:
            reason = f"the storage refuses the credentials, or they do not allow this ({answer})"
            return Failed("no access", reason, status)
        case 409 | 412:
            return Failed("conflict", f"the storage refused it ({answer})")
        case 408 | 429:
            return Failed("unclear", f"the storage is busy ({answer})")
        case _:
            return Failed("unclear" if status >= 500 else "refused", f"the storage failed ({answer})")


def _unanswered(said: str, hint: str) -> Failed:
    if "kind: connect" in said:
        reasons = (reason for sign, reason in _NO_CONNECTION.items() if sign in said)
        return Failed("unreached", f"{next(reasons, 'no connection can be made')}{hint}")
    is_late = "timedout" in said or "timed out" in said
    reason = "it did not answer in time" if is_late else "its answer was cut off, or is not that of a storage"
    return Failed("unclear", f"{reason}{hint}")
