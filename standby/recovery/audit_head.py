"""The newest line of an audit log, written down a second time: a chain alone says nothing of a missing end.

It is written after the line itself, so a crash between the two leaves it one line behind and never ahead.
Whoever can put back an old copy of both files is not noticed; a copy of the vault elsewhere shows that.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, ValidationError

from standby.recovery.audit_line import AuditLine
from standby.recovery.signing import Signer
from standby.vault.filesystem import Objects


class AuditHead(BaseModel):
    """Which line was added last.

    Attributes:
        sequence: its number.
        digest: its digest.
        key_id: of the key it is signed with; `None` where there was none.
        signature: over plan, number and digest.
    """

    model_config = ConfigDict(frozen=True)

    plan: str
    sequence: int
    digest: str
    key_id: str | None = None
    signature: str | None = None

    @property
    def signed(self) -> bytes:
        """What the signature is of."""
        return f"{self.plan}\n{self.sequence}\n{self.digest}".encode()


def head_path(plan: str) -> str:
    """Give the path of a log's head in the vault."""
    return f"audit/{plan}.head.json"


async def write_head(objects: Objects, line: AuditLine, signer: Signer | None) -> None:
    """Write down which line is the newest."""
    await objects.write(head_path(line.plan), head_of(line, signer))


def head_of(line: AuditLine, signer: Signer | None) -> bytes:
    """Make the head of a line; it is signed where the line is."""
    head = AuditHead(plan=line.plan, sequence=line.sequence, digest=line.digest)
    if signer is not None and line.key_id == signer.key_id:
        update = {"key_id": signer.key_id, "signature": signer.sign(head.signed)}
        head = head.model_copy(update=update)
    return head.model_dump_json(indent=1).encode()


def head_problem(content: bytes | None, lines: Sequence[AuditLine], signer: Signer | None) -> str:
    """Say what is wrong between a log and its head, as a clause; empty where they agree.

    Args:
        content: of the head's file; `None` where there is none.
        lines: the log's last two lines at least, oldest first.
        signer: checks the head's signature, where there is a key.
    """
    length = lines[-1].sequence if lines else 0
    if content is None:
        # The first line may have been followed by a crash.
        return "is missing: lines may have been cut off the end of the log" if length > 1 else ""
    try:
        head = AuditHead.model_validate_json(content)
    except ValidationError:
        return "cannot be read"
    if head.sequence > length:
        return f"knows {head.sequence} lines, and the log has {length}: its end was cut off"
    if head.sequence < max(1, length - 1):
        return f"is of line {head.sequence}, and the log has {length}: an older one was put in its place"
    return _strange(head, lines[head.sequence - length - 1], signer)


def _strange(head: AuditHead, line: AuditLine, signer: Signer | None) -> str:
    if head.digest != line.digest:
        return f"does not know line {head.sequence} of the log as it is: the end was written anew"
    # A line of before there was this key has a head of before, too.
    due = signer is not None and line.key_id == signer.key_id
    if signer and due and not signer.verifies(head.signed, head.signature or ""):
        return f"is not signed with key {signer.key_id}"
    return ""
