"""The vault in object storage of Azure, Amazon or Google, where every exclusive write is a compare-and-swap.

A write whose answer is lost, or comes as 412 or 503, may have won nevertheless, and a read may show what was there
before. So every object says as metadata which writes led to it: a list of random ids, the last one its own. Whoever
is in doubt reads back. Its own id is in the list: it has won, even if others wrote since. The list goes on from what
it wanted to replace, without its id: it has lost, and what it sent can no longer succeed. Anything else is an old
sight, or nothing happened yet: the same write, with the same condition and id, is sent again.

The library is called in threads, not by its own coroutines: with these its threads touch the interpreter after the
last answer, and one process in five that ended right then was aborted.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, TypeVar
from uuid import uuid4

import obstore
from obstore import exceptions
from obstore.store import AzureStore, GCSStore, S3Store

from standby.clock import Clock
from standby.config.resource import EntraCredentials, cloud_of
from standby.service.auth import STORAGE_SCOPE, entra_auth
from standby.service.errors import ServiceError, TokenUnavailable
from standby.vault.errors import Changed, Failed, VaultUnavailable, WriteUnsettled, understand
from standby.vault.storage import LOCK, HeldFile, Listed, Version, checked, hold_by_lease

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken
    from obstore import PutMode
    from obstore.store import AzureCredential

T = TypeVar("T")
Store = AzureStore | S3Store | GCSStore
WRITES = "writes"  # The metadata of an object that lists the writes which led to it; a name that every storage takes
MOST_WRITES = 32  # Older ones are forgotten
NOTHING = "0"  # What stands in the list for: there was no such object
MOST_BYTES = 128_000_000  # A longer object is neither read nor written
MOST_LISTED = 500_000  # More objects are not listed
BYTES_PER_SECOND = 250_000  # What a connection carries at least


ENTRA = 30.0  # Seconds in which Entra has to give a token; it is asked in several ways, one after the other


@dataclass(frozen=True)
class Waits:
    """How long a storage is waited for, in seconds."""

    call: float = 5.0  # for the answer to one call, or the next part of it, besides the time that sent bytes take
    whole: float = 15.0  # for an operation, after which it is not tried again
    listing: float = 60.0  # for a list with all its pages
    pause: float = 0.1  # between the first two tries; it doubles from try to try


class EntraTokens:
    """Gives a storage the tokens of an Entra identity."""

    def __init__(self, credentials: EntraCredentials, endpoint: str) -> None:
        self._auth = entra_auth(credentials, STORAGE_SCOPE, cloud_of(endpoint))
        self._token: AccessToken | None = None

    async def have(self, *, another: bool = False) -> None:
        """Have a token ready, another one where the storage refused the last; `Failed` where Entra gives none."""
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
        if self._token is None:
            raise ValueError("a token is fetched before each call")
        # The library asks again with every call: only `EntraAuth` knows when a token is no longer good.
        return {"token": self._token.token, "expires_at": datetime.now(UTC)}

    async def aclose(self) -> None:
        await self._auth.aclose()


@dataclass(frozen=True)
class Sight:
    """One version of an object, by what the storage compares (Google a generation), and the writes that led to it."""

    e_tag: str
    generation: str | None
    writes: tuple[str, ...]

    @classmethod
    def of(cls, tag: str) -> Sight:
        e_tag, generation, writes = tag.rsplit(" ", 2)
        return cls(e_tag, None if generation == "-" else generation, tuple(writes.split(",")))

    @property
    def tag(self) -> str:
        return f"{self.e_tag} {self.generation or '-'} {','.join(self.writes)}"

    @property
    def is_known(self) -> bool:
        """Whether it can be named to the storage; one that was replaced before it was ever seen cannot."""
        return bool(self.e_tag) or self == ABSENT

    @property
    def condition(self) -> PutMode:
        """What the storage compares before it replaces this version."""
        if self == ABSENT:
            return "create"
        return {"e_tag": self.e_tag, "version": self.generation} if self.generation else {"e_tag": self.e_tag}


ABSENT = Sight("", None, (NOTHING,))


class Outcome(Enum):
    """What became of a write, as far as an object that was read afterwards tells."""

    WON = "it replaced what was to be replaced"
    LOST = "another write did"
    OPEN = "what was to be replaced is there, or something older"
    UNRELATED = "the present version was written by somebody who did not look first, or more often than is listed"


def outcome(write: str, before: Sight, now: Sight) -> Outcome:
    """Say what became of a write that was to replace one version, from the version that is there now."""
    if write in now.writes:
        return Outcome.WON
    if now.writes[-1] == before.writes[-1] and now.e_tag != before.e_tag:
        return Outcome.LOST  # Another program wrote, and kept what it did not know.
    if now.writes[-1] in before.writes:
        return Outcome.OPEN
    return Outcome.LOST if before.writes[-1] in now.writes else Outcome.UNRELATED


@dataclass(eq=False)
class ObjectStorage:
    """Objects of one container or bucket, below one folder."""

    _reading: Store  # for calls that send nothing
    _writing: Callable[[float], Store]  # for those that may take so many seconds
    _container: str  # or bucket, as in the configuration
    _root: str  # what every path begins with; empty, or with a slash at its end
    _url: str  # where the root is, for people
    _tokens: EntraTokens | None  # of Entra, where the storage is called with these
    _hint: str  # what may be behind calls that are not answered, or refused
    _clock: Clock
    _waits: Waits

    def where(self, path: str) -> str:
        return f"{self._url}{path}"

    async def read(self, path: str) -> bytes | None:
        version = await self.read_version(path)
        return version.content if version else None

    async def read_version(self, path: str) -> Version | None:
        found = await self._till_done(path, "read", lambda: self._get(path))
        return None if found is None else Version(found[0], found[1].tag)

    async def write(self, path: str, content: bytes) -> None:
        # Each try has an id of its own, so that no id stands for two versions.
        await self._till_done(path, "written", lambda: self._put(path, content, "overwrite", (_new_write(),)))

    async def swap(self, path: str, content: bytes, tag: str | None) -> str:
        before = ABSENT if tag is None else Sight.of(tag)
        if not before.is_known:
            raise Changed(self.where(path))
        write = _new_write()
        writes = (*before.writes, write)[-MOST_WRITES:]
        tries, doubt = _Tries(self._clock, self._waits), False
        while True:
            try:
                return (await self._put(path, content, before.condition, writes)).tag
            except Failed as failed:
                last = failed
            doubt, now = doubt or last.kind == "unclear", None
            may_go_on = last.is_passing
            if doubt or last.kind in CLASH:
                try:
                    found = await self._get(path)
                    now = ABSENT if found is None else found[1]
                except Failed as unseen:
                    may_go_on = may_go_on and unseen.is_passing
                became = Outcome.OPEN if now is None else outcome(write, before, now)
                if now is not None and became is Outcome.WON:
                    return (now if now.writes[-1] == write else Sight("", None, writes)).tag
                if became is Outcome.LOST or (became is Outcome.UNRELATED and not doubt):
                    raise Changed(self.where(path))
            if not (may_go_on and await tries.again()):
                if now == ABSENT and last.kind in CLASH and not doubt:
                    raise Changed(self.where(path))  # It was removed.
                raise self._error(path, "written", last, doubt or last.kind in CLASH)

    async def remove(self, path: str) -> None:
        await self._till_done(path, "removed", lambda: self._delete(path))

    async def list(self, prefix: str = "") -> tuple[Listed, ...]:
        return await self._till_done(prefix, "listed", lambda: self._list(prefix))

    def hold(self, path: str) -> AbstractAsyncContextManager[HeldFile]:
        return hold_by_lease(self, path, self._clock)

    async def _till_done(self, path: str, action: str, work: Callable[[], Awaitable[T]]) -> T:
        tries, doubt = _Tries(self._clock, self._waits), False
        while True:
            try:
                return await work()
            except Failed as failed:
                doubt = doubt or failed.kind == "unclear"
                if not (failed.is_passing and await tries.again()):
                    raise self._error(path, action, failed, doubt) from None

    def _error(self, path: str, action: str, failed: Failed, doubt: bool) -> VaultUnavailable:
        if doubt and action == "written":
            return WriteUnsettled(self.where(path), "written for certain", failed.reason)
        return failed.at(self.where(path), action, self._container)

    async def _put(self, path: str, content: bytes, mode: PutMode, writes: tuple[str, ...]) -> Sight:
        if len(content) > MOST_BYTES:
            raise Failed("refused", TOO_LARGE)
        seconds = self._waits.call + len(content) / BYTES_PER_SECOND
        store, full, attributes = self._writing(seconds), self._full(path), {WRITES: ",".join(writes)}
        if path.endswith(".html"):
            attributes["Content-Type"] = "text/html; charset=utf-8"  # A browser would else keep it, not show it.
        result = await self._once(
            lambda: obstore.put(store, full, content, mode=mode, attributes=attributes, use_multipart=False)
        )
        return Sight(result["e_tag"] or "", result["version"], writes)

    async def _get(self, path: str) -> tuple[bytes, Sight] | None:
        full = self._full(path)

        def get() -> tuple[bytes, Sight]:
            found = obstore.get(self._reading, full)
            size, e_tag = found.meta["size"], found.meta["e_tag"] or ""
            if size > MOST_BYTES:
                raise Failed("refused", TOO_LARGE)
            content = bytes(found.bytes())
            if len(content) != size:
                raise Failed("unclear", "its answer was cut off")
            writes = str(found.attributes.get(WRITES, ""))
            # What other programs wrote, or copied without this, is known by what the storage calls it.
            known = writes if re.fullmatch(_LIST, writes) else re.sub("[^0-9A-Za-z]", "", e_tag)[:64] or "unnamed"
            return content, Sight(e_tag, found.meta["version"], tuple(known.split(",")))

        try:
            return await self._once(get)
        except Failed as failed:
            await self._make_sure_it_is_missing(path, failed)
            return None

    async def _make_sure_it_is_missing(self, path: str, failed: Failed) -> None:
        """Return if it is certain that there is no such object; or else raise why not."""
        if failed.kind == "not found":
            # It does not say what is missing: a container that can be listed is not.
            await self._list(path)
        elif failed.kind != "no object":
            raise failed

    async def _delete(self, path: str) -> None:
        full = self._full(path)
        try:
            await self._once(lambda: obstore.delete(self._reading, full))
        except Failed as failed:
            await self._make_sure_it_is_missing(path, failed)

    async def _list(self, prefix: str) -> tuple[Listed, ...]:
        folder = self._full(prefix.rstrip("/")) if prefix.rstrip("/") else self._root
        end = time.monotonic() + self._waits.listing

        def pages() -> list[Listed]:
            found: list[Listed] = []
            for page in obstore.list(self._reading, folder or None, chunk_size=1000):
                for each in page:
                    path = each["path"].removeprefix(self._root)
                    if not path.endswith(LOCK):
                        found.append(Listed(path, each["size"], each["last_modified"].astimezone(UTC)))
                if len(found) > MOST_LISTED:
                    raise Failed("refused", f"there are more than {MOST_LISTED} files")
                if time.monotonic() > end:
                    raise Failed("refused", f"its list takes longer than {self._waits.listing:.0f} s")
            return found

        return tuple(sorted(await self._once(pages), key=lambda each: each.path))

    async def _once(self, call: Callable[[], T]) -> T:
        """Call the storage once; once more where it refused the token."""
        for is_second in (False, True):
            if self._tokens is not None:
                await self._tokens.have(another=is_second)
            try:
                return await asyncio.to_thread(call)
            except Failed as known:
                failed = known
            except (exceptions.BaseError, OSError, ValueError) as error:
                failed = understand(error, self._hint)
            if self._tokens is None or failed.status != 401:
                break
        # Raised here and not above: the library's errors may hold a signature, even as a context.
        raise failed

    def _full(self, path: str) -> str:
        return f"{self._root}{checked(path)}"


CLASH = frozenset({"conflict", "no object"})  # What is said of a write with a condition that is not met
_LIST = r"[0-9A-Za-z]{1,64}(,[0-9A-Za-z]{1,64})*"
TOO_LARGE = f"it is larger than {MOST_BYTES // 1_000_000} MB"


def _new_write() -> str:
    return uuid4().hex[:16]


class _Tries:
    def __init__(self, clock: Clock, waits: Waits) -> None:
        self._clock = clock
        self._pause = waits.pause
        self._end = clock.monotonic() + waits.whole

    async def again(self) -> bool:
        """Wait until the next try; `False` where there is no time for one."""
        if self._clock.monotonic() + self._pause >= self._end:
            return False
        await self._clock.sleep(self._pause)
        self._pause *= 2
        return True
