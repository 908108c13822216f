"""What a place is: the vault, its replica, or an unfinished copy, under a history that grows with every promotion.

Whoever writes to a vault compares its history with that of its replica, and the longer one is right: a vault whose
replica was promoted is not written any more, and becomes the replica of the other one as soon as the configuration
names them so. A vault is moved file by file, each compared after it was written; the source stays as it is.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal
from uuid import uuid4

from pydantic import Field

from standby.clock import Clock, SystemClock
from standby.concurrency import do_for_each
from standby.config.vault import Promotion
from standby.document import Document
from standby.text import utc
from standby.vault import errors
from standby.vault.documents import Stored, hold_file, understood
from standby.vault.storage import LOCK, HeldFile, Listed, Storage, Version, is_held

log = logging.getLogger("standby.vault")
CHECK = 1.0  # Seconds that the other place may take to say what it is
TRIES = 20  # How often something is tried while others change the same file
ROLE = "role.json"  # File that says what a place is
OWN = (ROLE, "doctor/")  # What belongs to a place, and is not replicated


class Role(Stored):
    """What a place is."""

    kind: Literal["vault", "replica", "unfinished"]
    # Of the vault that it is, or is a replica of: an id for its beginning, and one for each promotion.
    history: tuple[str, ...] = Field(min_length=1)
    at: datetime
    by: str = ""
    why: str = ""
    of: str = ""  # where the vault is that it replicates, or that it is an unfinished copy of
    behind: str = ""  # what it lacked when it was promoted, as far as that was known


async def read_role(place: Storage) -> Role | None:
    """Read what a place is; `None` where it does not say, as before it had a replica."""
    return (await role_and_tag(place))[0]


async def role_and_tag(place: Storage) -> tuple[Role | None, str | None]:
    version = await place.read_version(ROLE)
    if version is None:
        return None, None
    return understood(place.where(ROLE), version.content, Role, errors.RoleUnreadable), version.tag


async def set_role(place: Storage, role: Role, tag: str | None) -> None:
    """Say what a place is; `Changed` if that was changed since."""
    await place.swap(ROLE, role.model_dump_json(indent=1).encode(), tag)


def new_id() -> str:
    return uuid4().hex[:12]


def must_be_the_vault(own: Role | None, where: str) -> None:
    """Refuse to write as the vault what is a replica, or a copy that is not whole."""
    if own is not None and own.kind == "replica":
        raise errors.IsReplica(where, own.of)
    if own is not None and own.kind == "unfinished":
        raise errors.Unfinished(where, own.of)


def must_lead(first: Role, second: Role | None, where: str, where_second: str) -> None:
    """Refuse to write a vault as the first of two where the second was promoted since."""
    must_be_the_vault(first, where)
    if second is None or second.kind == "unfinished":
        return
    shorter = min(len(first.history), len(second.history))
    same = first.history[:shorter] == second.history[:shorter]
    if same and len(second.history) > len(first.history):
        raise promotion_of(second, where, where_second)
    if same and (second.kind == "replica" or len(second.history) < len(first.history)):
        return
    if second.history[0] != first.history[0]:
        return  # It belongs to another vault, and is not written.
    raise errors.PromotedTwice(where, where_second)


async def must_still_lead(first: Storage, second: Storage) -> tuple[Role | None, Role | None]:
    """Refuse by `GuardRefused` to believe a vault whose replica was promoted, or that was lost; give what both are."""
    own, other = await read_role(first), await read_role(second)
    if own is None:
        await must_be_there(first, second, other)
    else:
        must_lead(own, other, first.where(""), second.where(""))
    return own, other


async def must_be_there(first: Storage, second: Storage, other: Role | None) -> None:
    """Refuse a vault that does not say what it is, where its replica knows better."""
    if other is not None and other.kind == "vault":
        raise promotion_of(other, first.where(""), second.where(""))
    if other is not None and other.kind == "unfinished":
        return
    if not await records(first) and await records(second):
        raise errors.VaultLost(first.where(""), second.where(""))


def promotion_of(second: Role, where: str, where_second: str) -> errors.Promoted:
    return errors.Promoted(where, where_second, f"{utc(second.at)} by {second.by or 'an operator'}")


class Guarded:
    """A place that is checked once, before anything in it is changed."""

    def __init__(self, place: Storage, check: Callable[[], Awaitable[None]]) -> None:
        self._place = place
        self._check = check
        self._checked = False
        self._checking = asyncio.Lock()
        self.where = place.where
        self.read = place.read
        self.read_version = place.read_version
        self.list = place.list

    async def write(self, path: str, content: bytes) -> None:
        await self.check()
        await self._place.write(path, content)
        self.note(path)

    async def swap(self, path: str, content: bytes, tag: str | None) -> str:
        await self.check()
        new = await self._place.swap(path, content, tag)
        self.note(path)
        return new

    async def remove(self, path: str) -> None:
        await self.check()
        await self._place.remove(path)
        self.note(path, removed=True)

    @asynccontextmanager
    async def hold(self, path: str) -> AsyncIterator[HeldFile]:
        await self.check()
        async with self._place.hold(path) as file:
            file.storage = self  # So each write is checked, and noted.
            yield file

    async def check(self) -> None:
        async with self._checking:
            if not self._checked:
                await self._check()
                self._checked = True

    def note(self, path: str, *, removed: bool = False) -> None:
        """Take note of a change, for whoever has to follow it: here nobody."""


def guarded(place: Storage) -> Guarded:
    async def check() -> None:
        must_be_the_vault(await read_role(place), place.where(""))

    return Guarded(place, check)


def promoted(first: Storage, second: Storage, order: Promotion) -> Guarded:
    """Give the second as the vault, on an operator's order; it is promoted before anything in it is changed."""
    # The first is only asked what it is, and not written.

    async def promote() -> None:
        for _ in range(TRIES):
            try:
                own, tag = await role_and_tag(second)
            except errors.RoleUnreadable as error:
                log.warning("%s", error)
                own, tag = None, (await second.read_version(ROLE) or Version(b"", "")).tag
            if own is not None and own.kind == "unfinished":
                raise errors.Unfinished(second.where(""), own.of)
            if own is None and not await records(second):
                raise errors.NothingReplicated(second.where(""), first.where(""))
            history = await _longest(first, own.history if own else ())
            new = Role(kind="vault", history=(*history, new_id()), at=SystemClock().now(), **asdict(order))
            try:
                await set_role(second, new, tag)
            except errors.Changed:
                continue
            log.warning(
                "%s is the vault from now on, and %s is not written. Exchange vault and vault.second in standby.yaml",
                *(second.where(""), first.where("")),
            )
            return
        raise errors.VaultUnavailable(second.where(ROLE), "written", "others write it all the time")

    return Guarded(second, promote)


async def _longest(first: Storage, history: tuple[str, ...]) -> tuple[str, ...]:
    """Give the history of the first where it continues that of the second."""
    try:
        async with asyncio.timeout(CHECK):
            there = await read_role(first)
    except (errors.VaultError, TimeoutError):
        return history
    return there.history if there and there.history[: len(history)] == history else history


async def records(place: Storage) -> list[Listed]:
    return [each for each in await place.list() if not each.path.startswith(OWN)]


AT_ONCE = 8  # Files that are copied, or compared, at the same time
ROUNDS = 3  # How often what was written meanwhile is copied again
NEVER_HELD = ("objects/", "replaced/", "decisions/", "displaced/")  # Folders whose files no run holds


class Moved(Document):
    """A vault that was copied: files written now, files equal already, as after an interrupted run, and all bytes."""

    source: str
    target: str
    copied: int
    equal: int
    size: int
    becomes: Literal["vault", "replica"]


@dataclass(frozen=True)
class Move:
    """One move of a vault."""

    source: Storage
    target: Storage
    becomes: Literal["vault", "replica"]  # what the copy is when it is whole
    clock: Clock
    by: str = ""  # who asks for it

    async def run(self, on_progress: Callable[[int, int], None] = lambda _done, _total: None) -> Moved:
        """Copy everything that the target lacks; an interrupted copy is continued."""
        own = await read_role(self.source)
        if own is not None and own.kind == "unfinished":
            raise errors.Unfinished(self.source.where(""), own.of)
        seen = {each.path: each for each in await records(self.source)}
        if not seen:
            raise errors.NothingToMove(self.source.where(""))
        await self._must_rest(seen.values())
        different = await self._different(seen)
        await self._begin(own)
        copied: set[str] = set()
        for _ in range(ROUNDS):
            await self._copy(different, len(seen), on_progress)
            copied |= {each.path for each in different}
            now = {each.path: each for each in await records(self.source)}
            different = [each for path, each in now.items() if each != seen.get(path)]
            for path in seen.keys() - now.keys():
                await self.target.remove(path)
            quiet, seen = now == seen, now
            if quiet:
                break
        else:
            raise errors.StillWritten(self.source.where(""))
        await self._must_rest(seen.values())
        await self._end(own)
        return Moved(
            source=self.source.where(""),
            target=self.target.where(""),
            copied=len(copied & seen.keys()),
            equal=len(seen.keys() - copied),
            size=sum(each.size for each in seen.values()),
            becomes=self.becomes,
        )

    async def _must_rest(self, listed: Iterable[Listed]) -> None:
        now = self.clock.now()

        async def look(each: Listed) -> None:
            lock = await self.source.read(f"{each.path}{LOCK}")
            if lock and is_held(lock, now):
                raise errors.RunUnderWay(self.source.where(each.path))
            if lock == b"":
                # That of a folder: only the kernel knows whether it is held.
                async with hold_file(self.source, each.path, errors.RunUnderWay):
                    pass

        await do_for_each([each for each in listed if not each.path.startswith(NEVER_HELD)], look, AT_ONCE)

    async def _different(self, listed: dict[str, Listed]) -> list[Listed]:
        """Choose what is to be copied; refuse to overwrite what is not an older state of the same vault."""
        role = await read_role(self.target)
        resumed = role is not None and role.kind == "unfinished"
        if role is not None and resumed and role.of != self.source.where(""):
            raise errors.Unfinished(self.target.where(""), role.of)
        there = {each.path: each for each in await records(self.target)}
        if not resumed and there.keys() - listed.keys():
            raise errors.OtherVault(self.target.where(""), self.source.where(""))

        async def differs(each: Listed) -> bool:
            other = there.get(each.path)
            if other is None:
                return True
            if other.size == each.size and await self.source.read(each.path) == await self.target.read(each.path):
                return False
            if not resumed and other.changed_at > each.changed_at:
                raise errors.OtherVault(self.target.where(each.path), self.source.where(""))
            return True

        every = list(listed.values())
        found = await do_for_each(every, differs, AT_ONCE)
        return [each for each, is_other in zip(every, found, strict=True) if is_other]

    async def _begin(self, own: Role | None) -> None:
        known, tag = await role_and_tag(self.target)
        if known is None or known.kind != "unfinished":
            history, here = own.history if own else (new_id(),), self.source.where("")
            await self._say(Role(kind="unfinished", history=history, at=self.clock.now(), of=here), tag)

    async def _end(self, own: Role | None) -> None:
        known, tag = await role_and_tag(self.target)
        history = own.history if own else known.history if known else (new_id(),)
        if self.becomes == "vault":
            history = (*history, new_id())
        here = self.source.where("")
        of, why = here if self.becomes == "replica" else "", f"moved from {here}"
        new = Role(kind=self.becomes, history=history, at=self.clock.now(), by=self.by, why=why, of=of)
        await self._say(new, tag)

    async def _say(self, role: Role, tag: str | None) -> None:
        try:
            await set_role(self.target, role, tag)
        except errors.Changed:
            raise errors.VaultUnavailable(self.target.where(ROLE), "written", "another run writes it") from None

    async def _copy(self, files: list[Listed], total: int, on_progress: Callable[[int, int], None]) -> None:
        done = total - len(files)
        on_progress(done, total)

        async def copy(each: Listed) -> None:
            nonlocal done
            content = await self.source.read(each.path)
            if content is not None:
                await self.target.write(each.path, content)
                if await self.target.read(each.path) != content:
                    where = self.target.where(each.path)
                    raise errors.VaultUnavailable(where, "copied", "a file read back differs from the one written")
            done += 1
            on_progress(done, total)

        await do_for_each(files, copy, AT_ONCE)
