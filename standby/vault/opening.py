"""The vault of a run that uses no Prefect."""

from __future__ import annotations

from standby.config.vault import VaultSettings
from standby.vault.errors import VaultNeedsPrefect
from standby.vault.folder import LocalFolder


def open_folder(settings: VaultSettings) -> LocalFolder:
    """Give the local folder of the vault.

    Raises:
        VaultNeedsPrefect: it has none.
    """
    if settings.folder is None:
        raise VaultNeedsPrefect(str(settings.block))
    return LocalFolder(settings.folder)
