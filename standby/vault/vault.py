"""Opens the vault of a configuration, wherever it is kept."""

from __future__ import annotations

import asyncio
import math
import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import parse_qs, urlsplit

from obstore import exceptions
from obstore.store import AzureStore, GCSStore, S3Store

from standby.clock import Clock, SystemClock
from standby.config.resource import EntraCredentials, KeyCredentials, is_loopback
from standby.config.vault import Place, Promotion, SasCredentials, VaultSettings
from standby.errors import is_read_only, must_not_be_read_only
from standby.text import counted, some_of, utc
from standby.vault.errors import AccessRefused, NoSecond, VaultError, VaultUnavailable
from standby.vault.folder import LocalFolder
from standby.vault.object_storage import EntraTokens, ObjectStorage, Store, Waits
from standby.vault.replica import Replicated, compare
from standby.vault.role import Guarded, guarded, promoted, records
from standby.vault.storage import Storage, checked

if TYPE_CHECKING:
    from obstore.store import AzureCredential, ClientConfig, RetryConfig

CONNECT = timedelta(seconds=3)  # How long making a connection may take
READ = timedelta(minutes=2)  # No read takes longer, however little the storage says at a time
ONCE: RetryConfig = {"max_retries": 0, "retry_timeout": timedelta(0)}
"""The library tries nothing again: it could not tell its own success by an earlier try from another writer's."""

NOWHERE = "http://127.0.0.1:9"  # A proxy that is not there
KEYS = {"s3": "AWS_ACCESS_KEY_ID", "gs": "GOOGLE_APPLICATION_CREDENTIALS"}
"""What in the environment says who opens a storage; without it this machine's own identity is asked for."""


@asynccontextmanager
async def open_vault(settings: VaultSettings) -> AsyncIterator[Storage]:
    """Open the vault, with its replica where there is one; on an operator's order, the replica as the vault.

    Nothing is called, and nothing is made, before the first file is read or written.
    """
    async with AsyncExitStack() as stack:
        if settings.second is None:
            yield guarded(await stack.enter_async_context(open_place(settings)))
            return
        first, second = [await open_either(stack, place) for place in (settings, settings.second)]
        if settings.promotion is not None:
            yield promoted(first, second, settings.promotion)
            return
        replicated = Replicated(first, second)
        stack.push_async_callback(replicated.aclose)
        yield replicated


async def open_either(stack: AsyncExitStack, place: Place) -> Storage:
    """Open one of two places; where that cannot be done, the other one is used nevertheless."""
    try:
        return await stack.enter_async_context(open_place(place))
    except VaultUnavailable as error:
        return _Unopened(place.url or str(place.folder), error)


class _Unopened:
    """A place whose settings are wrong: whatever is asked of it fails."""

    def __init__(self, where: str, error: VaultUnavailable) -> None:
        async def fail(*_: Any, **__: Any) -> NoReturn:
            raise error

        def refuse(_: str) -> NoReturn:
            raise error

        self._where = where
        self.hold = refuse
        self.read = self.read_version = self.write = self.swap = self.remove = self.list = fail

    def where(self, path: str) -> str:
        return f"{self._where}/{path}"


async def on_second(settings: VaultSettings, by: str, why: str) -> VaultSettings:
    """Give the settings that open the replica as the vault, with what it may lack; nothing is changed yet."""
    if settings.second is None:
        raise NoSecond
    async with AsyncExitStack() as stack:
        first, second = [await open_either(stack, place) for place in (settings, settings.second)]
        behind = await what_may_be_missing(first, second)
    return settings.promoted(Promotion(by=by, why=why, behind=behind))


async def what_may_be_missing(first: Storage, second: Storage, seconds: float = 3.0) -> str:
    """Say what the second lacks of the first, as far as that can be known in some seconds; this never raises."""
    try:
        async with asyncio.timeout(seconds):
            there = await records(second)
    except (VaultError, TimeoutError) as error:
        return f"It is unknown which files of the vault {second.where('')} lacks{_because(error)}"
    newest = max((each.changed_at for each in there), default=None)
    after = f"whatever was written after {utc(newest)}, when the replica was last written" if newest else "everything"
    try:
        async with asyncio.timeout(seconds):
            behind = await compare(first, second)
            if not behind and not await records(first):
                return f"The vault at {first.where('')} is empty or gone; {after}, may be missing"
    except (VaultError, TimeoutError) as error:
        return f"The vault at {first.where('')} cannot be read{_because(error)}; {after}, may be missing"
    if not behind:
        return f"{second.where('')} has everything that the vault at {first.where('')} has"
    since = min(each.changed_at for each in behind)
    names = some_of(sorted(each.path for each in behind), 10)
    return (
        f"{counted(len(behind), 'file')} of the vault at {first.where('')} did not reach the replica "
        f"since {utc(since)} and may be missing: {names}"
    )


def _because(error: VaultError | TimeoutError) -> str:
    return f" ({error.cause})" if isinstance(error, VaultError) else " (it did not answer in time)"


@asynccontextmanager
async def open_place(place: Place) -> AsyncIterator[Storage]:
    """Open one place for files, whatever it is; where Standby is read-only, each write is refused by `ReadOnly`."""

    async def refuse() -> None:
        must_not_be_read_only(f"A write to {storage.where('')}")

    async with AsyncExitStack() as stack:
        storage: Storage
        if place.folder is not None:
            storage = LocalFolder(place.folder)
        else:
            storage = await stack.enter_async_context(open_object_storage(place))
        yield Guarded(storage, refuse) if is_read_only() else storage


@asynccontextmanager
async def open_object_storage(
    place: Place, clock: Clock | None = None, waits: Waits | None = None
) -> AsyncIterator[ObjectStorage]:
    """Open object storage; `VaultUnavailable` where its settings are not those of such a storage."""
    parts = urlsplit(place.url or "")
    folder = parts.path.strip("/")
    root = f"{checked(folder)}/" if folder else ""
    credentials = place.credentials or EntraCredentials()
    tokens = None
    if place.scheme == "az" and isinstance(credentials, EntraCredentials):
        tokens = EntraTokens(credentials, place.endpoint)
    base = f"{place.endpoint}/{parts.netloc}" if place.endpoint else f"{place.scheme}://{parts.netloc}"
    waits = waits or Waits()
    stores: dict[float, Store] = {}

    def writing(seconds: float) -> Store:
        # The next power of two, so that there are few clients.
        limit = 2.0 ** math.ceil(math.log2(seconds))
        if limit not in stores:
            stores[limit] = _open(place, tokens, {"timeout": timedelta(seconds=limit)})
        return stores[limit]

    try:
        reading = _open(place, tokens, {"timeout": READ, "read_timeout": timedelta(seconds=waits.call)})
        where = (parts.netloc, root, f"{base}/{root}")
        yield ObjectStorage(reading, writing, *where, tokens, _hint(place), clock or SystemClock(), waits)
    finally:
        if tokens is not None:
            await tokens.aclose()


def _open(place: Place, tokens: EntraTokens | None, options: ClientConfig) -> Store:
    container, there = urlsplit(place.url or "").netloc, urlsplit(place.endpoint)
    common: Any = {"client_options": _client(place.endpoint) | options, "retry_config": ONCE}
    reason = ""
    try:
        match place.scheme:
            case "az":
                return AzureStore(
                    container,
                    # The first label of its host, or the path where the host is an address.
                    account_name=there.path.strip("/").partition("/")[0] or (there.hostname or "").partition(".")[0],
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
    options: ClientConfig = {"connect_timeout": CONNECT}
    parts = urlsplit(endpoint)
    if is_loopback(parts.hostname):
        # A proxy of the environment is not asked for this machine, and nothing on it leads away to another host.
        options |= {"proxy_url": NOWHERE, "proxy_excludes": (parts.hostname or "").strip("[]")}
        options["allow_http"] = parts.scheme == "http"
    return options


def _hint(place: Place) -> str:
    key = KEYS.get(place.scheme)
    if key and not os.environ.get(key):
        return f"; no {key} is set, so this machine's own identity was used"
    if isinstance(place.credentials, SasCredentials):
        ends = parse_qs(place.credentials.sas.get_secret_value().removeprefix("?")).get("se", [""])[0]
        with suppress(ValueError):
            if (end := datetime.fromisoformat(ends).astimezone(UTC)) < SystemClock().now():
                return f"; its shared access signature ended at {utc(end)}"
    return ""


def _secret(place: Place) -> Callable[[], AzureCredential]:
    found = place.credentials
    if isinstance(found, KeyCredentials):
        key = found.key.get_secret_value()
        if not re.fullmatch(r"[A-Za-z0-9+/]+={0,2}", key):
            raise AccessRefused(place.url or "", "opened", "its key is not one of a storage account")
        return lambda: {"access_key": key, "expires_at": None}
    sas = found.sas.get_secret_value().strip().removeprefix("?") if isinstance(found, SasCredentials) else ""
    return lambda: {"sas_token": sas, "expires_at": None}
