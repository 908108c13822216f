"""Paths of the vault: relative, plain, with slashes, whatever the file system."""

from __future__ import annotations

from standby.vault.errors import OutsideVault

_FORBIDDEN = frozenset({"", ".", ".."})


def checked(path: str) -> str:
    """Give a path back that cannot lead out of the vault.

    Raises:
        OutsideVault: it could.
    """
    if _FORBIDDEN.intersection(path.split("/")) or any(char in path for char in "\\\0?#:"):
        raise OutsideVault(path)
    return path
