"""The one or two places that have everything of a plan's snapshots, each by itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from standby.concurrency import side_by_side
from standby.recovery.context import RecoveryContext
from standby.recovery.snapshots.manifest import digest_of
from standby.recovery.snapshots.paths import object_path
from standby.vault.errors import VaultError
from standby.vault.filesystem import FileSystem

log = logging.getLogger("standby.recovery")

FILES_AT_ONCE = 8
"""Files of one store that are read or written at the same time."""

Check = Callable[[bytes], str]
"""Says what is wrong with a file's content, as the end of a sentence; nothing where it is right."""


@dataclass(frozen=True)
class Look:
    """A file as one store has it.

    Attributes:
        content: `None` where it is not there, or could not be read.
        problem: what is wrong with it, a sentence without its full stop that names the file.
        answered: whether the store could tell.
    """

    content: bytes | None
    problem: str = ""
    answered: bool = True


@dataclass(frozen=True)
class Store:
    """One place."""

    name: str
    files: FileSystem

    async def read(self, path: str) -> bytes | None:
        """Give what a file holds; an empty one counts as absent: not every storage can delete.

        Raises:
            VaultUnavailable: it cannot be told.
        """
        return await self.files.read(path) or None

    async def look(self, path: str, wrong: Check) -> Look:
        """Read a file and check it; this never raises."""
        where = f"{self.files.where(path)} ({self.name})"
        try:
            content = await self.read(path)
        except VaultError as error:
            return Look(None, error.cause, answered=False)
        if content is None:
            return Look(None, f"{where} is gone")
        problem = wrong(content)
        return Look(content, f"{where} {problem}" if problem else "")


@dataclass(frozen=True)
class Found:
    """A file as the stores have it together.

    Attributes:
        content: from the first store that has it right; `None` where none has.
        problems: what is wrong at the stores that were asked before.
    """

    content: bytes | None
    problems: tuple[str, ...]


def stores_of(context: RecoveryContext) -> tuple[Store, ...]:
    """Give the vault, and the second store where there is one."""
    first = Store("the vault", context.vault)
    return (first,) if context.second is None else (first, Store("the second store", context.second))


async def read_anywhere(stores: tuple[Store, ...], path: str, wrong: Check) -> Found:
    """Read a file from the first store that has it right, and mend it in those asked before."""
    problems: list[str] = []
    broken: list[Store] = []
    for store in stores:
        look = await store.look(path, wrong)
        if look.content is not None and not look.problem:
            for other in broken:
                await mend(other, path, look.content)
            return Found(look.content, tuple(problems))
        problems.append(look.problem)
        if look.answered:
            broken.append(store)
    return Found(None, tuple(problems))


async def mend(store: Store, path: str, content: bytes) -> None:
    """Write a file again that a store has lost; where that fails, it is told again next time."""
    try:
        await store.files.write(path, content)
    except VaultError as error:
        log.warning("%s", error)
    else:
        log.warning("%s was damaged and is written again", store.files.where(path))


async def read_object(stores: tuple[Store, ...], plan: str, digest: str) -> Found:
    """Read a definition from the first store that has it right."""
    return await read_anywhere(stores, object_path(plan, digest), has_digest(digest))


async def put_objects(store: Store, plan: str, objects: dict[str, bytes]) -> tuple[int, tuple[str, ...]]:
    """Make sure that a store has some objects.

    Args:
        store: where.
        plan: whose they are.
        objects: content by digest.

    Returns:
        How many were not there, and what was found damaged and is now mended.

    Raises:
        VaultUnavailable: not all of them are there.
    """
    gate = asyncio.Semaphore(FILES_AT_ONCE)

    async def put(digest: str, content: bytes) -> tuple[bool, str]:
        path = object_path(plan, digest)
        async with gate:
            there = await store.read(path)
            if there == content:
                return False, ""
            await store.files.write(path, content)
        if there is None:
            return True, ""
        return False, f"{store.files.where(path)} ({store.name}) was damaged, and is written again"

    async with side_by_side() as group:
        tasks = [group.create_task(put(digest, content)) for digest, content in objects.items()]
    ends = [task.result() for task in tasks]
    return sum(new for new, _ in ends), tuple(problem for _, problem in ends if problem)


def has_digest(digest: str) -> Check:
    """Check that a file is what its name says."""
    return lambda content: "" if digest_of(content) == digest else "was changed after it was written"
