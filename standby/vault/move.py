"""Copies a vault to another place, file by file, each compared after it was written; the source stays as it is."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from standby.clock import Clock
from standby.concurrency import do_for_each
from standby.document import Document
from standby.vault import errors
from standby.vault.documents import hold_file
from standby.vault.role import ROLE, Role, new_id, read_role, records, role_and_tag, set_role
from standby.vault.storage import LOCK, Listed, Storage, is_held

AT_ONCE = 8  # Files that are copied at the same time
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
        """Let nobody take the copy for a vault before it is whole."""
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
