"""The vault in a file system that Prefect knows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from inspect import isawaitable
from pathlib import Path
from typing import Any

from prefect.blocks.core import Block, UnknownBlockType
from prefect.exceptions import ObjectNotFound
from prefect.filesystems import LocalFileSystem, WritableFileSystem
from pydantic import ValidationError

from standby.clock import Clock, SystemClock
from standby.config.errors import ConfigurationError, summary
from standby.config.vault import VaultSettings
from standby.vault.errors import OutsideVault, VaultUnavailable
from standby.vault.filesystem import FileSystem, Journal, checked
from standby.vault.folder import LocalFolder, open_folder
from standby.vault.journal import hold_object

_AZURE = frozenset({"BlobNotFound", "PathNotFound"})
_AWS = frozenset({"NoSuchKey", "404"})


def says_missing(error: BaseException) -> bool:
    """Say whether an error, or what caused it, means that the file is not there and the file system is."""
    return _says_missing(error) or (error.__cause__ is not None and says_missing(error.__cause__))


def _says_missing(error: BaseException) -> bool:
    # The SDKs are not installed with us, so they are known by what they say.
    if isinstance(error, FileNotFoundError):
        return "bucket" not in str(error).lower()
    name = type(error).__name__
    if name == "ResourceNotFoundError":
        code = getattr(error, "error_code", None)
        return getattr(code, "value", code) in _AZURE
    if name in {"ClientError", "NoSuchKey"}:
        answer = getattr(error, "response", None)
        return isinstance(answer, dict) and answer.get("Error", {}).get("Code") in _AWS
    return name == "NotFound" and "No such object" in str(error)


log = logging.getLogger("standby.blocks")

LONGEST_CALL = 120.0
"""Seconds after which a read or a write counts as failed."""

CALLS_AT_ONCE = 4


class VaultBlockUnusable(ConfigurationError):
    """The block that the configuration names as its vault cannot be one."""

    def __init__(self, block: str, reason: str) -> None:
        super().__init__(
            [f"The vault's block {block} {reason}"],
            "Save a file system block of that type and name in the Prefect UI, or name another one",
        )


async def open_vault(settings: VaultSettings) -> FileSystem:
    """Open the vault of a flow: its block, loaded from the Prefect server, or else its folder."""
    return open_folder(settings) if settings.block is None else await _open_block(settings.block)


async def open_second(settings: VaultSettings) -> FileSystem | None:
    """Open the second store of a flow, where there is one."""
    second = settings.second
    if second is None:
        return None
    return LocalFolder(second.path) if second.path is not None else await _open_block(str(second.block))


async def _open_block(reference: str) -> FileSystem:
    block = await _load(reference)
    if isinstance(block, LocalFileSystem):
        # Prefect's own way to write it is neither atomic nor safe.
        return LocalFolder(await asyncio.to_thread(_folder, block))
    if not isinstance(block, WritableFileSystem):
        raise VaultBlockUnusable(reference, "is not a file system that can be written to")
    return BlockFileSystem(block, reference)


def _folder(block: LocalFileSystem) -> Path:
    return Path(block.basepath or ".").expanduser().resolve()


class BlockFileSystem:
    """Files in a Prefect file system block that stores whole objects, as object stores do."""

    def __init__(self, block: WritableFileSystem, reference: str, clock: Clock | None = None) -> None:
        """Take a block for the vault, and its type-slug/name; the clock is for leases and saving."""
        self._block: Any = block
        self._reference = reference
        self._clock = clock or SystemClock()
        # Threads of its own: calls that hang must not use up those that resolve host names.
        self._threads = ThreadPoolExecutor(CALLS_AT_ONCE, "vault")

    def where(self, path: str) -> str:
        """Give the path in the block, and the block."""
        return f"{path} in the block {self._reference}"

    async def read(self, path: str) -> bytes | None:
        """Give the content of a file; `None` where there is no file."""
        # Newer blocks have an asynchronous method beside one that decides itself what it is.
        read = getattr(self._block, "aread_path", self._block.read_path)
        try:
            return bytes(await self._call(read, checked(path)))
        except OutsideVault:
            raise
        except Exception as error:
            if says_missing(error):
                return None
            log.debug("reading %s failed", self.where(path), exc_info=True)
            raise VaultUnavailable(self.where(path), "read", _kinds(error)) from None

    async def write(self, path: str, content: bytes) -> None:
        """Write or replace a file, as safely and as atomically as the block's storage does it."""
        write = getattr(self._block, "awrite_path", self._block.write_path)
        try:
            await self._call(write, checked(path), content)
        except OutsideVault:
            raise
        except Exception as error:
            log.debug("writing %s failed", self.where(path), exc_info=True)
            raise VaultUnavailable(self.where(path), "written", _kinds(error)) from None

    async def remove(self, path: str) -> None:
        """Empty a file: Prefect's file systems cannot delete, and an empty one counts as absent."""
        if await self.read(path):
            await self.write(path, b"")

    def hold(self, path: str) -> AbstractAsyncContextManager[Journal]:
        """Open a journal under a lease that is an object too; lines are safe after some seconds."""
        return hold_object(self, path, self._clock)

    async def _call(self, method: Callable[..., Any], *args: object) -> Any:
        async with asyncio.timeout(LONGEST_CALL):
            return await asyncio.get_running_loop().run_in_executor(self._threads, _run, method, args)


def _kinds(error: Exception) -> str:
    """Name an error and its cause: what a storage's client says besides may hold a signature or a key."""
    return " after ".join(type(each).__name__ for each in (error, error.__cause__) if each is not None)


def _run(method: Callable[..., Any], args: tuple[object, ...]) -> Any:
    """Call a block in an event loop of its own: some hold up the one they run in."""

    async def call() -> Any:
        result = method(*args)
        return await result if isawaitable(result) else result

    return asyncio.run(call())


async def _load(reference: str) -> Block:
    try:
        return await Block.aload(reference)
    except UnknownBlockType:
        raise VaultBlockUnusable(reference, "is of a type that is not installed here, such as prefect-azure") from None
    except ValueError as error:
        if isinstance(error.__cause__, ObjectNotFound):
            raise VaultBlockUnusable(reference, "is not on the Prefect server") from None
        raise
    except RuntimeError as error:
        if isinstance(error.__cause__, ValidationError):
            raise VaultBlockUnusable(reference, f"is not valid: {summary(error.__cause__)}") from None
        raise
