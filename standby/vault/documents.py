"""One JSON document of the vault: anybody may read it, and a change is never lost.

A run that works on something for a while holds its document, and keeps other runs away. A change that takes a moment
is made to what is there now, as often as it takes. Waiting for another holder is a choice of the caller's:
`once_free`.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import ValidationError

from standby.clock import Clock
from standby.config.errors import summary
from standby.vault.errors import Changed, Held, VaultUnavailable
from standby.vault.formats import Stored, parse_stored
from standby.vault.storage import HeldFile, Storage

log = logging.getLogger("standby.vault")

M = TypeVar("M", bound=Stored)
T = TypeVar("T")

Unreadable = Callable[[str, str], Exception]
"""Makes the error for a document that cannot be understood, of where it is and the reason."""

Busy = Callable[[str], Exception]
"""Makes the error for a file that another run holds, of where it is."""

AGAIN = 0.5
"""Seconds between two tries to have what somebody else holds."""

CHANGES = 100
"""How often a change is tried while others change the same document; each try means that another one succeeded."""


@dataclass
class HeldDocument(Generic[M]):
    """A document that only one run may change.

    Attributes:
        found: what it says; what was written is safe. `None` where there is none yet.
    """

    found: M | None
    _file: HeldFile
    _storage: Storage
    _path: str

    @property
    def where(self) -> str:
        """Say where it is, for people."""
        return self._file.where

    async def write(self, document: M) -> None:
        """Put another document in its place; it is safe when this returns.

        Raises:
            TakenOver: another run wrote it; nothing was written.
        """
        if self.found is None and self._file.found:
            await set_aside(self._storage, self._path, [self._file.found])
        await self._file.write(_to_bytes(document))
        self.found = document


async def read_document(storage: Storage, path: str, model: type[M], unreadable: Unreadable | None = None) -> M | None:
    """Read a document; `None` where there is none.

    Args:
        unreadable: makes the error for one that cannot be understood. Without it, such a document is
            warned of and counts as missing, which is right only for what a run can find out again.

    Raises:
        FormatUnknown: another version of Standby wrote it, whatever `unreadable` is.
        VaultUnavailable: the storage does not say.
    """
    return _parse(storage.where(path), await storage.read(path), model, unreadable)


@asynccontextmanager
async def hold_document(
    storage: Storage, path: str, model: type[M], *, busy: Busy = Held, unreadable: Unreadable | None = None
) -> AsyncIterator[HeldDocument[M]]:
    """Hold a document for changing it; one run at a time may.

    Args:
        busy: makes the error for one that another run holds.

    Raises:
        Held: another run holds it, and `busy` makes no other error.
        VaultUnavailable: it cannot be held or read.
    """
    async with hold_file(storage, path, busy) as file:
        yield HeldDocument(_parse(file.where, file.found, model, unreadable), file, storage, path)


async def open_document(
    storage: Storage, path: str, model: type[M], unreadable: Unreadable | None = None
) -> HeldDocument[M]:
    """Open a document for writing it again and again while something else keeps other runs away."""
    file = HeldFile(storage, path, await storage.read_version(path))
    return HeldDocument(_parse(file.where, file.found, model, unreadable), file, storage, path)


async def change_document(
    storage: Storage, path: str, model: type[M], change: Callable[[M | None], M], unreadable: Unreadable | None = None
) -> M:
    """Change a document as it is now; what others change at the same time is kept, too.

    Args:
        change: makes the new document of the present one; called again where somebody else was faster.

    Returns:
        The new document, which is safe.

    Raises:
        VaultUnavailable: it may or may not have been changed.
    """
    for _ in range(CHANGES):
        there = await storage.read_version(path)
        known = _parse(storage.where(path), there.content if there else None, model, unreadable)
        new = change(known)
        if known is not None and new == known:
            return new
        if known is None and there is not None and there.content:
            await set_aside(storage, path, [there.content])
        try:
            await storage.swap(path, _to_bytes(new), there.tag if there else None)
        except Changed:
            continue
        return new
    raise VaultUnavailable(storage.where(path), "changed", "others change it all the time")


@asynccontextmanager
async def hold_file(storage: Storage, path: str, busy: Busy) -> AsyncIterator[HeldFile]:
    """Hold any file of the vault, with an error of one's own where another run holds it."""
    async with AsyncExitStack() as stack:
        try:
            file = await stack.enter_async_context(storage.hold(path))
        except Held as held:
            raise busy(held.where) from None
        yield file


async def once_free(
    clock: Clock,
    work: Callable[[], Awaitable[T]],
    *,
    patience: float,
    busy: type[Exception] = Held,
    again: float = AGAIN,
) -> T:
    """Do work that needs what another run may hold, as soon as that run has ended.

    Args:
        work: starts again after every try that found the file held.
        patience: seconds that the other run is waited for.
        busy: how the work says that another run holds it.

    Raises:
        Held: it is still held after `patience`; or `busy`, whatever that is.
    """
    begun = clock.monotonic()
    while True:
        try:
            return await work()
        except busy:
            if clock.monotonic() - begun >= patience:
                raise
        await clock.sleep(again)


async def set_aside(storage: Storage, path: str, damaged: Iterable[bytes]) -> None:
    """Keep what could not be understood beside its file, before something else takes its place there."""
    kept = f"{path}.damaged"
    earlier = await storage.read(kept) or b""
    new = b"".join(each + b"\n" for each in damaged if each not in earlier)
    if new:
        await storage.write(kept, earlier + new)


def _to_bytes(document: Stored) -> bytes:
    return document.model_dump_json(indent=1).encode()


def _parse(where: str, content: bytes | None, model: type[M], unreadable: Unreadable | None) -> M | None:
    if content is None:
        return None
    try:
        return parse_stored(where, content, model)
    except ValidationError as error:
        if unreadable is not None:
            raise unreadable(where, summary(error)) from None
        log.warning("%s cannot be read and counts as missing: %s", where, summary(error))
        return None
