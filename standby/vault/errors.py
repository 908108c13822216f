"""What can go wrong with the vault."""

from __future__ import annotations

from standby.errors import StandbyError


class VaultError(StandbyError):
    """Base of this package's errors."""


class OutsideVault(VaultError):
    """A path leads, or might lead, out of the vault."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path!r} is no path inside the vault", "Look for links in the vault's folder")
        self.args = (path,)


class VaultUnavailable(VaultError):
    """The vault could not be read or written; that says nothing about what it holds."""

    def __init__(self, where: str, deed: str, reason: str) -> None:
        super().__init__(
            f"{where} could not be {deed}: {reason}",
            "See that the vault's storage answers and lets this process read and write, then run again",
        )
        self.args = (where, deed, reason)


class VaultTooSlow(VaultError):
    """A write took longer than two runs may be apart and still see each other."""

    def __init__(self, where: str, seconds: float) -> None:
        super().__init__(
            f"The vault took longer than {seconds:.0f} s to write {where}: two runs could miss each other",
            "Run again when its storage is faster, or keep the vault elsewhere",
        )
        self.args = (where, seconds)


class Held(VaultError):
    """Somebody else is writing this file."""

    def __init__(self, where: str) -> None:
        super().__init__(f"Another run writes {where}", "Wait for it to end, then run again")
        self.args = (where,)
        self.where = where


class TakenOver(VaultError):
    """Another run took this one for dead."""

    def __init__(self, where: str) -> None:
        super().__init__(
            f"Another run took over {where}: what this run does from here on is not recorded there",
            "Run again when both have ended: what is in sync is then recorded",
        )
        self.args = (where,)


class VaultNeedsPrefect(VaultError):
    """The vault is a Prefect block only, and this run uses no Prefect."""

    def __init__(self, block: str) -> None:
        super().__init__(
            f"The vault is the Prefect block {block}, and a run without Prefect cannot open it",
            "Add a path beside the block, under vault in standby.yaml: a folder in which runs without "
            "Prefect keep records of their own; or use --via prefect",
        )
        self.args = (block,)
