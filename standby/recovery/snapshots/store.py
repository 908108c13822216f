"""The stores of a plan's snapshots: the vault and a second one, each with all files."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from standby.concurrency import do_for_each
from standby.document import JsonValue, digest_of
from standby.errors import GuardRefused
from standby.recovery.context import RecoveryContext
from standby.vault.errors import VaultError
from standby.vault.storage import Storage


def index_path(plan: str) -> str:
    return f"snapshots/{plan}/index.jsonl"


def manifest_path(plan: str, snapshot: str) -> str:
    return f"snapshots/{plan}/{snapshot}.json"


def seal_path(plan: str, snapshot: str) -> str:
    return f"snapshots/{plan}/{snapshot}.sig"


def object_path(plan: str, digest: str) -> str:
    return f"objects/{plan}/{digest[:2]}/{digest}"


def to_object(definition: Mapping[str, JsonValue]) -> bytes:
    """Give the bytes of a definition's object, in the order in which it was received."""
    return json.dumps(definition, separators=(",", ":")).encode()


log = logging.getLogger("standby.recovery")

CHANGED = "was changed after it was written"  # What is wrong with a file, behind its path
FILES_AT_ONCE = 8  # Files of one store that are read or written at the same time


@dataclass(frozen=True)
class StoredFile:
    content: bytes | None  # `None` where it is not there, is damaged, or could not be read
    # What is wrong with it, also at stores that were asked before: sentences without full stops that name the file.
    problems: tuple[str, ...] = ()
    answered: bool = True


@dataclass(frozen=True)
class Store:
    """A place that has all files of the snapshots."""

    name: str
    files: Storage

    def where(self, path: str) -> str:
        return f"{self.files.where(path)} ({self.name})"

    async def read(self, path: str) -> bytes | None:
        """Give what a file holds; an empty one counts as missing, because not every storage can delete."""
        return await self.files.read(path) or None

    async def inspect(self, plan: str, digest: str) -> StoredFile:
        """Read a definition's object and check that it is what its name says; this never raises."""
        path = object_path(plan, digest)
        try:
            content = await self.read(path)
        except VaultError as error:
            return StoredFile(None, (error.cause,), answered=False)
        if content is not None and digest_of(content) == digest:
            return StoredFile(content)
        return StoredFile(None, (f"{self.where(path)} {'is missing' if content is None else CHANGED}",))


def stores_of(context: RecoveryContext) -> tuple[Store, ...]:
    """Give the vault, and the second store where there is one."""
    first = Store("the vault", context.vault)
    return (first,) if context.second is None else (first, Store("the second store", context.second))


async def read_object(stores: tuple[Store, ...], plan: str, digest: str) -> StoredFile:
    """Read a definition from the first store that has it undamaged, and repair it in the stores before that one."""
    problems: list[str] = []
    broken: list[Store] = []
    for store in stores:
        found = await store.inspect(plan, digest)
        if found.content is not None:
            for other in broken:
                await repair(other, object_path(plan, digest), found.content)
            return StoredFile(found.content, tuple(problems))
        problems += found.problems
        if found.answered:
            broken.append(store)
    return StoredFile(None, tuple(problems))


async def repair(store: Store, path: str, content: bytes) -> None:
    """Write a file again that a store has lost or damaged; where that fails, the next reader tries again."""
    try:
        await store.files.write(path, content)
    except (VaultError, GuardRefused) as error:
        log.warning("%s", error)
    else:
        log.warning("%s was damaged; it is repaired from the other store", store.where(path))


async def put_objects(store: Store, plan: str, objects: Mapping[str, bytes]) -> tuple[int, tuple[str, ...]]:
    """Make sure that a store has some objects; give how many are new, and in sentences which were repaired."""

    async def put(digest: str) -> tuple[bool, str]:
        path = object_path(plan, digest)
        there = await store.read(path)
        if there == objects[digest]:
            return False, ""
        await store.files.write(path, objects[digest])
        return (True, "") if there is None else (False, f"{store.where(path)} was damaged; it is written again")

    ends = await do_for_each(objects, put, FILES_AT_ONCE)
    return sum(new for new, _ in ends), tuple(problem for _, problem in ends if problem)
