"""One JSON document of the vault: anybody may read it, only the run that holds it may change it.

A holder reads the document and writes it back as a whole, and never sees how the vault keeps others away.
Waiting for another holder is a choice of the caller's: `once_free`.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from standby.clock import Clock
from standby.config.errors import summary
from standby.vault.errors import Held
from standby.vault.filesystem import FileSystem, Journal, Objects

log = logging.getLogger("standby.vault")

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

Unreadable = Callable[[str, str], Exception]
"""Makes the error for a document that cannot be understood, of where it is and the reason."""

Busy = Callable[[str], Exception]
"""Makes the error for a file that another run holds, of where it is."""

AGAIN = 0.5
"""Seconds between two tries to have what somebody else holds."""


@dataclass
class HeldDocument(Generic[M]):
    """A document that only one run may change.

    Attributes:
        found: what it says; what was written is safe. `None` where there is none yet.
    """

    found: M | None
    where: str
    _journal: Journal

    async def write(self, document: M) -> None:
        """Put another document in its place; it is safe when this returns."""
        await self._journal.rewrite(document.model_dump_json(indent=1).encode())
        self.found = document


async def read_document(objects: Objects, path: str, model: type[M], unreadable: Unreadable | None = None) -> M | None:
    """Read a document; `None` where there is none.

    Args:
        unreadable: makes the error for one that cannot be understood. Without it, such a document is
            warned of and counts as missing, which is right only for what a run can find out again.

    Raises:
        VaultUnavailable: the storage does not say.
    """
    return _parse(objects.where(path), await objects.read(path), model, unreadable)


@asynccontextmanager
async def hold_document(
    files: FileSystem, path: str, model: type[M], *, busy: Busy = Held, unreadable: Unreadable | None = None
) -> AsyncIterator[HeldDocument[M]]:
    """Hold a document for changing it; one run at a time may.

    Args:
        busy: makes the error for one that another run holds.

    Raises:
        Held: another run holds it, and `busy` makes no other error.
        VaultUnavailable: it cannot be held or read.
    """
    async with hold_file(files, path, busy) as journal:
        where = files.where(path)
        yield HeldDocument(_parse(where, journal.found, model, unreadable), where, journal)


@asynccontextmanager
async def hold_file(files: FileSystem, path: str, busy: Busy) -> AsyncIterator[Journal]:
    """Hold any file of the vault, with an error of one's own where another run holds it."""
    async with AsyncExitStack() as stack:
        try:
            journal = await stack.enter_async_context(files.hold(path))
        except Held as held:
            raise busy(held.where) from None
        yield journal


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


def _parse(where: str, content: bytes | None, model: type[M], unreadable: Unreadable | None) -> M | None:
    if not content:
        return None
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        if unreadable is not None:
            raise unreadable(where, summary(error)) from None
        log.warning("%s cannot be read and counts as missing: %s", where, summary(error))
        return None
