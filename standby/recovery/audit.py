"""Who did what and why: JSON lines in the vault, each sealed to the one before it.

A line's digest covers the digest of the line before, so that no line can be changed, removed or put in
between without every later one saying so. With a signing key each line is signed as well: then the chain
cannot be made anew by somebody without the key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import rfc8785
from pydantic import BaseModel, ConfigDict, ValidationError

from standby.recovery.context import RecoveryContext
from standby.recovery.errors import RecoveryError
from standby.recovery.signing import Signer
from standby.service.models import JsonValue
from standby.vault.errors import Held
from standby.vault.filesystem import Objects

PATIENCE = 60.0
"""Seconds that another writer of the same log is waited for."""

AGAIN = 0.5

FIRST = "0" * 64
"""What stands for the digest before the first line."""


class Deed(StrEnum):
    """What can be in the log."""

    SNAPSHOT_TAKEN = "snapshot.taken"
    SNAPSHOT_RETIRED = "snapshot.retired"
    RESTORE_BEGUN = "restore.begun"
    RESTORE_ENDED = "restore.ended"
    DECIDED = "failover.decided"
    PROPOSED = "failover.proposed"
    APPROVED = "failover.approved"
    REJECTED = "failover.rejected"
    FENCED = "failover.fenced"
    ACTIVATED = "failover.activated"
    ROLLED_BACK = "failover.rolled_back"
    COMMITTED = "failover.committed"
    FAILBACK_BEGUN = "failback.begun"
    FAILBACK_ENDED = "failback.ended"
    DRILL_BEGUN = "drill.begun"
    DRILL_ENDED = "drill.ended"
    AUTOMATION_SWITCHED = "automation.switched"


class AuditLine(BaseModel):
    """One line of the log."""

    model_config = ConfigDict(frozen=True)

    sequence: int
    at: datetime
    plan: str
    deed: str
    actor: str
    via: str
    run_id: str
    epoch: int | None
    facts: dict[str, JsonValue]
    previous: str
    digest: str
    signature: str | None = None


class AuditBusy(RecoveryError):
    """The log is in somebody else's hands for too long."""

    def __init__(self, where: str) -> None:
        super().__init__(f"{where} was held by another run for {PATIENCE:.0f} s", "Run again when that ended")
        self.args = (where,)


class AuditBroken(RecoveryError):
    """Nothing is added to a log that was tampered with or damaged: it would look whole from here on."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(
            f"{where} is not whole: {problem}",
            "Move it aside and keep it; see standby audit verify",
        )
        self.args = (where, problem)


@dataclass(frozen=True)
class AuditCheck:
    """What a verification found.

    Attributes:
        where: the log, for people.
        lines: those that were read, oldest first, up to the first that is not right.
        problems: what is wrong, a sentence each; none where the log is whole.
    """

    where: str
    lines: tuple[AuditLine, ...]
    problems: tuple[str, ...]


async def note(
    context: RecoveryContext,
    deed: Deed,
    facts: Mapping[str, JsonValue] | None = None,
    *,
    epoch: int | None = None,
) -> AuditLine:
    """Add a line to the plan's log; it is safe when this returns.

    Raises:
        AuditBusy: another run holds the log for too long.
        AuditBroken: the log's last line is not what it should be.
    """
    path = audit_path(context.plan.name)
    begun = context.clock.monotonic()
    while True:
        try:
            async with context.vault.hold(path) as journal:
                content = journal.found or b""
                line = _next(context, content, deed, dict(facts or {}), epoch)
                await journal.rewrite(content + line.model_dump_json().encode() + b"\n")
                return line
        except Held:
            if context.clock.monotonic() - begun > PATIENCE:
                raise AuditBusy(context.vault.where(path)) from None
            await context.clock.sleep(AGAIN)


async def verify_audit(objects: Objects, plan: str, signer: Signer | None) -> AuditCheck:
    """Check every line of a plan's log against the one before it, and its signature where there is a key."""
    path = audit_path(plan)
    lines: list[AuditLine] = []
    problems: list[str] = []
    previous = FIRST
    for number, text in enumerate((await objects.read(path) or b"").splitlines(), start=1):
        line = _read(text)
        problem = "it cannot be read" if line is None else _wrong(line, number, previous, signer)
        if line is None or problem:
            problems.append(f"Line {number}: {problem}")
            break
        lines.append(line)
        previous = line.digest
    return AuditCheck(objects.where(path), tuple(lines), tuple(problems))


def audit_path(plan: str) -> str:
    """Give the path of a plan's log in the vault."""
    return f"audit/{plan}.jsonl"


def _next(
    context: RecoveryContext, content: bytes, deed: Deed, facts: dict[str, JsonValue], epoch: int | None
) -> AuditLine:
    texts = content.splitlines()
    last = _read(texts[-1]) if texts else None
    if texts and (last is None or _wrong(last, len(texts), last.previous, context.signer)):
        raise AuditBroken(context.vault.where(audit_path(context.plan.name)), "its last line is not right")
    line = AuditLine(
        sequence=len(texts) + 1,
        at=context.clock.now(),
        plan=context.plan.name,
        deed=deed.value,
        actor=context.actor,
        via=context.via,
        run_id=context.run_id,
        epoch=epoch,
        facts=facts,
        previous=last.digest if last else FIRST,
        digest="",
    )
    digest = _digest(line)
    signature = context.signer.sign(digest.encode()) if context.signer else None
    return line.model_copy(update={"digest": digest, "signature": signature})


def _wrong(line: AuditLine, number: int, previous: str, signer: Signer | None) -> str:
    if line.sequence != number:
        return f"it has the number {line.sequence}: lines were removed or put in"
    if line.previous != previous:
        return "it does not follow from the line before it"
    if line.digest != _digest(line):
        return "it was changed after it was written"
    if signer is not None and not signer.verifies(line.digest.encode(), line.signature or ""):
        return "its signature is missing or of another key"
    return ""


def _digest(line: AuditLine) -> str:
    told = line.model_dump(mode="json", exclude={"digest", "signature"})
    return hashlib.sha256(rfc8785.dumps(told)).hexdigest()


def _read(text: bytes) -> AuditLine | None:
    try:
        return AuditLine.model_validate_json(text)
    except ValidationError:
        return None
