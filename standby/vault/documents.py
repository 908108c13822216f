"""One JSON document of the vault: anybody may read it, and a change is never lost.

A run that works on something for a while holds its document, and keeps other runs away. A change that takes a moment
is made to the present version, as often as it takes. Waiting for another holder is a choice of the caller's:
`once_free`.

Each file says the number of its format, and a reader takes the last three. One without a number was written before
there were any, and counts as the first. What is read in an earlier format is brought to the present one in memory, and
is written so when it is written next. A file of a newer version is refused, whatever becomes of one that cannot be
understood: if it counted as missing, it would be overwritten.
"""

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import ClassVar, Generic, Self, TypeVar

from pydantic import JsonValue, ValidationError, field_validator
from pydantic_core import from_json

from standby.clock import Clock
from standby.config.errors import summary
from standby.document import Document, JsonObject
from standby.vault.errors import Changed, Held, NewerFormat, OlderFormat, VaultUnavailable
from standby.vault.storage import HeldFile, Storage

log = logging.getLogger("standby.vault")
FORMATS_READ = 3  # The present format, and so many less one before it
Upgrade = Callable[[JsonObject], JsonObject]  # Gives what a file of one format says as a file of the next one says it


class Stored(Document):
    """What a file holds, or a line of it.

    A change after which an earlier version would misread the file gives it the next number: a model then says
    `format: Literal[2] = 2`, and how to get there from the formats that are still read.
    """

    upgrades: ClassVar[Mapping[int, Upgrade]] = {}  # by the number of the format that each begins with

    format: int | str = 1  # the number of the format in which it is written

    @field_validator("format")
    @classmethod
    def _is_the_present_one(cls, value: int | str) -> int | str:
        if value != cls.model_fields["format"].default:
            raise ValueError("is no format of this version")
        return value

    @classmethod
    def present_format(cls) -> int:
        return _number(cls.model_fields["format"].default) or 1


M = TypeVar("M", bound=Stored)


def parse_stored(where: str, content: bytes, model: type[M]) -> M:
    """Understand a stored file, or a line of one.

    Raises:
        NewerFormat: a newer version wrote it; it must not be overwritten.
        OlderFormat: it is older than what is still read.
        ValidationError: it is something else, or damaged.
    """
    present = model.present_format()
    if present == 1:
        # Nearly all are what they should be, and the lines of a ledger are many.
        with suppress(ValidationError):
            return model.model_validate_json(content)
    given: JsonObject = {}
    with suppress(ValueError):
        found = from_json(content)
        given = found if isinstance(found, dict) else {}
    number = _number(given.get("format", 1))
    if number is None or number == present or not given:
        return model.model_validate_json(content)
    if number > present:
        raise NewerFormat(where, number, present)
    oldest = max(1, present + 1 - FORMATS_READ)
    if number < oldest:
        raise OlderFormat(where, number, oldest, present)
    for each in range(number, present):
        given = model.upgrades[each](given)
    return model.model_validate_json(json.dumps({**given, "format": model.model_fields["format"].default}))


def _number(name: JsonValue) -> int | None:
    """Give the number of a format, which may have a name before it: `standby.drill/1`."""
    try:
        return int(str(name).rpartition("/")[2])
    except ValueError:
        return None


T = TypeVar("T")
Unreadable = Callable[[str, str], Exception]  # Makes the error for what cannot be understood, of where it is and why
Busy = Callable[[str], Exception]  # Makes the error for a file that another run holds, of where it is
AGAIN = 0.5  # Seconds between two tries to have what somebody else holds
CHANGES = 100  # How often a change is tried while others change the document; each try means that one succeeded


@dataclass
class HeldDocument(Generic[M]):
    """A document that only one run may change; `found` is what it says, and safe: `None` where there is none yet."""

    found: M | None
    _file: HeldFile

    @property
    def where(self) -> str:
        return self._file.where

    async def write(self, document: M) -> None:
        """Put another document in its place; it is safe when this returns, and not written after `TakenOver`."""
        if self.found is None and self._file.found:
            await set_aside(self._file.storage, self._file.path, [self._file.found])
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
    return understood(storage.where(path), await storage.read(path), model, unreadable)


@asynccontextmanager
async def hold_document(
    storage: Storage, path: str, model: type[M], *, busy: Busy = Held, unreadable: Unreadable | None = None
) -> AsyncIterator[HeldDocument[M]]:
    """Hold a document for changing it; one run at a time may, any other gets `Held` or what `busy` makes of it."""
    async with hold_file(storage, path, busy) as file:
        yield HeldDocument(understood(file.where, file.found, model, unreadable), file)


async def open_document(storage: Storage, path: str, model: type[M]) -> HeldDocument[M]:
    """Open a document for writing it again and again while something else keeps other runs away."""
    file = HeldFile(storage, path, await storage.read_version(path))
    return HeldDocument(understood(file.where, file.found, model), file)


async def change_document(storage: Storage, path: str, model: type[M], change: Callable[[M | None], M]) -> M:
    """Change a document as it is now, again where somebody else was faster; give the new one, which is safe."""
    for _ in range(CHANGES):
        there = await storage.read_version(path)
        known = understood(storage.where(path), there.content if there else None, model)
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


class Remembered(Stored):
    """A file of a plan, or of a resource, that says nothing before it is there; most can be found out again."""

    place: ClassVar[str]  # its path, in which `{plan}` or `{resource}` stands for the name of that

    @classmethod
    async def read(cls, storage: Storage, of: str, unreadable: Unreadable | None = None) -> Self:
        """Read what is remembered, as `read_document` does; nothing where there is no file yet."""
        return await read_document(storage, cls.place.format(plan=of, resource=of), cls, unreadable) or cls()

    @classmethod
    async def change(cls, storage: Storage, of: str, change: Callable[[Self], Self]) -> Self:
        path = cls.place.format(plan=of, resource=of)
        return await change_document(storage, path, cls, lambda known: change(known or cls()))


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
    """Do work that needs what another run may hold, again from its start until it is free, or `patience` is over."""
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


def understood(where: str, content: bytes | None, model: type[M], unreadable: Unreadable | None = None) -> M | None:
    """Understand what was read of a document, as `read_document` does."""
    if content is None:
        return None
    try:
        return parse_stored(where, content, model)
    except ValidationError as error:
        if unreadable is not None:
            raise unreadable(where, summary(error)) from None
        log.warning("%s cannot be read and counts as missing: %s", where, summary(error))
        return None
