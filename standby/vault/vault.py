"""Opens the vault of a configuration, wherever it is kept."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from standby.config.vault import Place
from standby.vault.folder import LocalFolder
from standby.vault.storage import Storage


@asynccontextmanager
async def open_vault(place: Place) -> AsyncIterator[Storage]:
    """Open a place for files; nothing is called, and nothing is made, before the first file is read or written."""
    if place.folder is not None:
        yield LocalFolder(place.folder.expanduser())
        return
    # The library for object storage takes a while to import, which a vault in a folder is spared.
    from standby.vault.object_storage import open_object_storage  # noqa: PLC0415

    async with open_object_storage(place) as storage:
        yield storage
