"""Every way in which the vault can fail."""

from __future__ import annotations

from standby.errors import StandbyError


class VaultError(StandbyError):
    """Base of this package's errors."""


class OutsideVault(VaultError):
    def __init__(self, path: str) -> None:
        super().__init__(f"{path!r} is not a path inside the vault", "Check the vault's folder for links that leave it")


class VaultUnavailable(VaultError):
    def __init__(self, where: str, action: str, reason: str) -> None:
        super().__init__(
            f"{where} could not be {action}: {reason}",
            "Check that the vault's storage answers and that this process may read and write there, then run again",
        )


class ContainerMissing(VaultUnavailable):
    """Where it should be there is nothing: that does not mean that the vault is empty."""

    def __init__(self, where: str, action: str, container: str) -> None:
        super().__init__(where, action, f"there is no container or bucket {container!r}")
        self.next_action = "Correct url and endpoint of the vault; a new container has to be created first"


class AccessRefused(VaultUnavailable):
    def __init__(self, where: str, action: str, reason: str) -> None:
        super().__init__(where, action, reason)
        self.next_action = "Correct the credentials of the vault; they must allow to read, write, list and delete there"


class WriteUnsettled(VaultUnavailable):
    """The storage was asked to write and does not say whether it did."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(where, "written for certain", reason)
        self.next_action = "It may or may not have been written: run again when the vault's storage answers"


class Changed(VaultError):
    """Somebody else wrote a file since it was read; nothing was written."""

    def __init__(self, where: str) -> None:
        super().__init__(f"Another run wrote {where} at the same time", "Run again")


class Held(VaultError):
    def __init__(self, where: str) -> None:
        super().__init__(f"Another run is writing {where}", "Wait until it ends, then run again")
        self.where = where


class TakenOver(VaultError):
    """Another run assumed that this one had died."""

    def __init__(self, where: str) -> None:
        super().__init__(
            f"Another run took over {where}, so what this run does from now on is not recorded there",
            "Run again when both have ended; what is in sync is then recorded",
        )
