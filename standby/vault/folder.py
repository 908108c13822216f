"""The vault in a local folder: atomic by renaming, durable by fsync, one writer by locks of the kernel.

The lock of a swap is that of the folder that holds the file: it cannot be lost without the file. The lock of a run
that holds a file is a file beside it; where somebody removes that, the next write of one of the two runs fails.
"""

import asyncio
import errno
import fcntl
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from standby.document import digest_of
from standby.vault.errors import Changed, Held, OutsideVault, VaultClosed, VaultFull, VaultNotMounted, VaultUnavailable
from standby.vault.storage import LOCK, HeldFile, Listed, Version, checked

OWNER_ONLY = 0o600  # Mode of a file that only its owner reads and writes
FRESH = ".new"  # The end of the name of a file that is not whole yet

_KINDS = dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), VaultFull) | dict.fromkeys(
    (errno.EROFS, errno.EACCES, errno.EPERM), VaultClosed
)

SWAP_SECONDS = 15.0  # How long another process that swaps a file in the folder is waited for; each takes milliseconds


@dataclass(frozen=True)
class LocalFolder:
    """A folder of this machine, made when something is written, not before; its files get the `mode`."""

    root: Path
    mode: int = OWNER_ONLY

    def where(self, path: str) -> str:
        return str(self.root / path)

    async def read(self, path: str) -> bytes | None:
        return await asyncio.to_thread(_read, self._inside(path))

    async def read_version(self, path: str) -> Version | None:
        content = await self.read(path)
        return None if content is None else Version(content, digest_of(content))

    async def write(self, path: str, content: bytes) -> None:
        await asyncio.to_thread(_replace, self._inside(path), content, self.mode)

    async def swap(self, path: str, content: bytes, tag: str | None) -> str:
        return await asyncio.to_thread(_swap, self._inside(path), content, tag, self.mode)

    async def remove(self, path: str) -> None:
        await asyncio.to_thread(_remove, self._inside(path))

    async def list(self, prefix: str = "") -> tuple[Listed, ...]:
        self._inside(f"{prefix}a")
        return await asyncio.to_thread(_list, self.root, prefix)

    @asynccontextmanager
    async def hold(self, path: str) -> AsyncIterator[HeldFile]:
        with locked(self._inside(path)):
            yield HeldFile(self, path, await self.read_version(path))

    def _inside(self, path: str) -> Path:
        place = self.root / checked(path)
        try:
            for each in (self.root, *self.root.parents):
                if each.is_symlink() and not each.exists():
                    where = "itself" if _leads_in_circles(each) else "something that is not there"
                    raise VaultNotMounted(str(place), "found", f"{each} is a link to {where}")
            if not place.resolve().is_relative_to(self.root.resolve()):
                raise OutsideVault(path)
        except (OSError, RuntimeError, ValueError) as error:  # Names that are too long, links that lead in circles.
            reason = getattr(error, "strerror", None) or str(error)
            raise VaultUnavailable(str(place)[:200], "found", reason) from None
        return place


def _leads_in_circles(link: Path) -> bool:
    try:
        link.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


@contextmanager
def locked(place: Path, mode: int = OWNER_ONLY) -> Iterator[None]:
    """Hold the lock that goes with a file, in a file of its own, so that the other may be replaced; or `Held`."""
    with _vault_errors(place, "written"):
        _make(place.parent, mode)
        lock = os.open(place.with_name(f"{place.name}{LOCK}"), os.O_RDWR | os.O_CREAT, OWNER_ONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Held(str(place)) from None
        yield
    finally:
        os.close(lock)


@contextmanager
def _swapping(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder while one of its files is compared and replaced."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        until = time.monotonic() + SWAP_SECONDS
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise VaultUnavailable(str(folder), "written", "another process locks it") from None
                time.sleep(0.002)
        yield
    finally:
        os.close(handle)


def _read(place: Path) -> bytes | None:
    with _vault_errors(place, "read"), suppress(FileNotFoundError):
        return place.read_bytes()
    return None


def _swap(place: Path, content: bytes, tag: str | None, mode: int) -> str:
    with _vault_errors(place, "written"):
        _make(place.parent, mode)
        with _swapping(place.parent):
            there = _read(place)
            if tag != (None if there is None else digest_of(there)):
                raise Changed(str(place))
            _replace(place, content, mode)
    return digest_of(content)


def _replace(place: Path, content: bytes, mode: int) -> None:
    with _vault_errors(place, "written"):
        _make(place.parent, mode)
        if place.exists() and not place.is_file() and not place.is_dir():
            raise OSError(errno.EINVAL, "it is a device or a pipe, and would be replaced by a file")
        # Two writers of one file must not share it before it is whole.
        fresh = place.with_name(f".{place.name}.{uuid4().hex}{FRESH}")
        try:
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                os.fchmod(file.fileno(), mode)  # Whatever the umask takes away.
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(place)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
        _sync(place.parent)


def _remove(place: Path) -> None:
    with _vault_errors(place, "removed"), suppress(FileNotFoundError):
        place.unlink()
        _sync(place.parent)


def _list(root: Path, prefix: str) -> tuple[Listed, ...]:
    with _vault_errors(root / prefix, "listed"):
        found = []
        for folder, _, names in os.walk(root / prefix, onerror=_not_if_missing):
            for name in names:
                place = Path(folder, name)
                if name.endswith(LOCK) or (name.startswith(".") and name.endswith(FRESH)):
                    continue
                try:
                    about = place.stat()
                except OSError as error:
                    if error.errno in (errno.ENOENT, errno.ELOOP):
                        continue  # It was removed since, or is a link to itself.
                    raise
                changed_at = datetime.fromtimestamp(about.st_mtime, UTC)
                found.append(Listed(place.relative_to(root).as_posix(), about.st_size, changed_at))
        return tuple(sorted(found, key=lambda listed: listed.path))


def _not_if_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _make(folder: Path, mode: int) -> None:
    """Make a folder, for its owner alone where its files are."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
        each.chmod(0o755 if mode & 0o077 else 0o700)  # Whatever the umask takes away.
        _sync(each.parent)


def _sync(folder: Path) -> None:
    """Bring the names in a folder to the disk: a file that has none is lost."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _vault_errors(place: Path, action: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise _KINDS.get(error.errno or 0, VaultUnavailable)(str(place), action, reason) from None
