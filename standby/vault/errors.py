"""Every way in which the vault can fail."""

import re
from typing import ClassVar, Literal

from obstore import exceptions

from standby.errors import GuardRefused, StandbyError


class VaultError(StandbyError):
    """Base of this package's errors."""


class OutsideVault(VaultError):
    def __init__(self, path: str) -> None:
        super().__init__(f"{path!r} is not a path inside the vault", "Check the vault's folder for links that leave it")


class VaultUnavailable(VaultError):
    advice: ClassVar[str] = (
        "Check that the vault's storage answers and that this process may read and write there, then run again"
    )

    def __init__(self, where: str, action: str, reason: str) -> None:
        super().__init__(f"{where} could not be {action}: {reason}", self.advice)


class VaultFull(VaultUnavailable):
    advice = "Free space on its disk, or raise the quota, then run again"


class VaultClosed(VaultUnavailable):
    """This process may not write, or read, there."""

    advice = "Mount its disk writable, and let the user of this process own the folder; then run again"


class VaultNotMounted(VaultUnavailable):
    """Behind a link may be a disk that is not mounted: what cannot be seen is not missing."""

    advice = "Mount the disk that the link leads to, or correct the link, then run again"


class ContainerMissing(VaultUnavailable):
    """Where it should be there is nothing: that does not mean that the vault is empty."""

    advice = "Correct url and endpoint of the vault; a new container has to be created first"


class AccessRefused(VaultUnavailable):
    advice = "Correct the credentials of the vault; they must allow reading, writing, listing and deleting there"


class WriteUnsettled(VaultUnavailable):
    """The storage was asked to write and does not say whether it did."""

    advice = "It may or may not have been written: run again when the vault's storage answers"


class _OfPlaces(StandbyError):
    """Something is wrong with one place, or with it and another one; each leaf has its sentence, and what to do."""

    _cause: ClassVar[str]
    _advice: ClassVar[str]

    def __init__(self, where: str, other: str = "") -> None:
        super().__init__(self._cause.format(where=where, other=other), self._advice)
        self.where = where


class Changed(_OfPlaces, VaultError):
    """Somebody else wrote a file since it was read; nothing was written."""

    _cause = "Another run wrote {where} at the same time"
    _advice = "Run again"


class Held(_OfPlaces, VaultError, GuardRefused):
    _cause = "Another run is writing {where}"
    _advice = "Wait until it ends, then run again"


class TakenOver(_OfPlaces, VaultError):
    """Another run assumed that this one had died."""

    _cause = "Another run took over {where}, so what this run does from now on is not recorded there"
    _advice = "Run again when both have ended; what is in sync is then recorded"


class FormatUnknown(VaultError):
    """Base of the errors for a file that another version of Standby wrote, and this one does not read."""


class NewerFormat(FormatUnknown):
    """What a newer version wrote neither counts as missing nor is overwritten."""

    def __init__(self, where: str, number: int, known: int) -> None:
        cause = f"{where} was written by a newer version of Standby, in format {number}; this one reads up to {known}"
        super().__init__(cause, "Upgrade Standby on this machine to the version that wrote it, then run again")


class OlderFormat(FormatUnknown):
    """It was not written for several versions."""

    def __init__(self, where: str, number: int, oldest: int, known: int) -> None:
        super().__init__(
            f"{where} was written by an old version of Standby, in format {number}; this one reads {oldest} to {known}",
            "Let a version in between write it first: its release notes say which formats it reads",
        )


Kind = Literal["no container", "no object", "not found", "conflict", "no access", "refused", "unreached", "unclear"]

NO_CONTAINER = frozenset(
    {"ContainerNotFound", "ContainerBeingDeleted", "ContainerDisabled", "NoSuchBucket", "FilesystemNotFound"}
)
NO_OBJECT = frozenset({"BlobNotFound", "NoSuchKey", "PathNotFound"})
AGAIN = frozenset({"unreached", "unclear", "conflict"})
_STATUS = re.compile(r"(?:status code:|\(code:) (\d{3})\b")
_CODE = re.compile(r"<Code>([A-Za-z0-9]{1,60})</Code>")

_NO_CONNECTION = {
    "connectionrefused": "nothing answers at its address",
    "dns error": "its host is unknown",
    "certificate": "its certificate is not trusted",
}


class Failed(Exception):
    """A call failed."""

    def __init__(self, kind: Kind, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.kind = kind  # after `unclear` a write may have been carried out, after `conflict` if not the first try
        self.reason = reason  # without anything secret; the library's messages hold addresses with their signatures
        self.status = status

    @property
    def is_passing(self) -> bool:
        """Whether the same call may succeed a moment later."""
        return self.kind in AGAIN

    def at(self, where: str, action: str, container: str) -> VaultUnavailable:
        """Make the error that people see, of what could not be done with which file."""
        match self.kind:
            case "no container" | "not found":
                return ContainerMissing(where, action, f"there is no container or bucket {container!r}")
            case "no access":
                return AccessRefused(where, action, self.reason)
            case _:
                return VaultUnavailable(where, action, self.reason)


def understand(error: Exception, hint: str) -> Failed:
    """Say what an error of the library for object storage means; the hint is for what is not answered, or refused."""
    text = str(error)
    status, code = _STATUS.search(text), _CODE.search(text)
    if status is not None:
        return _answered(int(status[1]), code[1] if code else "", hint)
    if isinstance(error, exceptions.UnauthenticatedError):
        return Failed("no access", "nothing can be signed with the credentials")
    said = text.lower()
    if "kind: connect" in said:
        reasons = (reason for sign, reason in _NO_CONNECTION.items() if sign in said)
        return Failed("unreached", f"{next(reasons, 'no connection can be made')}{hint}")
    is_late = "timedout" in said or "timed out" in said
    reason = "it did not answer in time" if is_late else "its answer was cut off, or is not that of a storage"
    return Failed("unclear", f"{reason}{hint}")


def _answered(status: int, code: str, hint: str) -> Failed:
    answer = f"HTTP {status}, {code}" if code else f"HTTP {status}"
    if code in NO_CONTAINER:
        return Failed("no container", answer)
    match status:
        case 404:
            return Failed("no object" if code in NO_OBJECT else "not found", answer)
        case 401 | 403:
            reason = f"the storage refuses the credentials, or they do not allow this ({answer}){hint}"
            return Failed("no access", reason, status)
        case 409 | 412:
            return Failed("conflict", f"the storage refused it ({answer})")
        case 408 | 429:
            return Failed("unclear", f"the storage is busy ({answer})")
        case _:
            return Failed("unclear" if status >= 500 else "refused", f"the storage failed ({answer})")


class OtherRecords(_OfPlaces, VaultError):
    """A place holds what another vault wrote; nothing of it is overwritten."""

    _cause = "{where} holds records that the vault at {other} does not have: it belongs to another vault, or to none"
    _advice = "Name an empty folder, or the one that belongs to the vault"


class RoleUnreadable(VaultError):
    def __init__(self, where: str, reason: str) -> None:
        cause = f"{where}, which says whether this is the vault or its replica, cannot be read: {reason}"
        super().__init__(cause, "Put an older version of that file back, or remove it")


class IsReplica(_OfPlaces, GuardRefused):
    """What is written to a replica, its vault overwrites."""

    _cause = "{where} is the replica of the vault at {other}, and was not promoted, so nothing is written to it"
    _advice = "If that vault is lost, name this place as vault.second in standby.yaml and add --vault second"


class Promoted(GuardRefused):
    """An operator made the replica the vault."""

    def __init__(self, where: str, second: str, when: str) -> None:
        super().__init__(
            f"{second} was promoted at {when}: it is the vault now, and nothing is written to {where}",
            "Exchange vault and vault.second in standby.yaml; then run standby bootstrap, so that flows use it",
        )


class PromotedTwice(_OfPlaces, GuardRefused):
    _cause = "{where} and {other} were both promoted, so each may have records that the other one lacks"
    _advice = "Compare them with standby audit show; then empty the folder of the one that is to be the replica"


class VaultLost(_OfPlaces, GuardRefused):
    """Missing is not empty."""

    _cause = "There is nothing in the vault at {where}, although {other} is the replica of its records"
    _advice = "Mount or correct it. If it is lost, run standby vault move second vault, or add --vault second"


class NoSecond(VaultError):
    def __init__(self) -> None:
        super().__init__("vault.second is not set, so the vault has no replica", "Name another place")


class NothingReplicated(_OfPlaces, GuardRefused):
    _cause = "Nothing was ever replicated to {where}, so it cannot take the place of the vault at {other}"
    _advice = "Correct vault.second, or the vault itself"


class Unfinished(_OfPlaces, GuardRefused):
    _cause = "{where} is an unfinished copy of the vault at {other}, so it is not used"
    _advice = "Run standby vault move again: it continues where it was interrupted"


class NothingToMove(_OfPlaces, VaultError):
    _cause = "There is no vault at {where}: nothing was ever written there"
    _advice = "Correct FROM"


class OtherVault(_OfPlaces, GuardRefused):
    _cause = "{where} has files that {other} lacks, or has in an older state: they would be lost"
    _advice = "Name an empty place as TO; standby audit show lists what each of them has"


class RunUnderWay(_OfPlaces, GuardRefused):
    _cause = "A run holds {where}, so a copy of the vault would not be complete"
    _advice = "Pause the schedules, wait until the run ends, then run it again"


class StillWritten(_OfPlaces, GuardRefused):
    _cause = "Runs write to {where} all the time, so a copy of it would not be complete"
    _advice = "Pause the schedules, then run it again: files that were copied are not copied again"
