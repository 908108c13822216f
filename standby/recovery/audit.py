"""Who did what and why: JSON lines in the vault, each sealed to the one before it.

A line's digest covers the digest of the line before, so that no line can be changed, removed or put in
between without every later one saying so. With a signing key each line is signed as well: then the chain
cannot be made anew by somebody without the key. What the newest line is stands in a second file, so that
lines cut off the end are missed, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from standby.recovery.audit_head import head_of, head_path, head_problem, write_head
from standby.recovery.audit_line import (
    FIRST,
    AuditLine,
    plain,
    plain_text,
    read_line,
    sealed,
    unchained,
    unsigned,
)
from standby.recovery.context import RecoveryContext
from standby.recovery.errors import RecoveryError
from standby.recovery.signing import Signer
from standby.service.models import JsonValue
from standby.vault.errors import Held
from standby.vault.filesystem import Objects

__all__ = [
    "AuditBroken",
    "AuditBusy",
    "AuditCheck",
    "AuditLine",
    "Deed",
    "audit_path",
    "note",
    "verify_audit",
]

PATIENCE = 60.0
"""Seconds that another writer of the same log is waited for."""

AGAIN = 0.5

LOOKS = 5
"""So often a log and its head are read again that change between two looks."""


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


class AuditBusy(RecoveryError):
    """The log is in somebody else's hands for too long."""

    def __init__(self, where: str) -> None:
        super().__init__(f"{where} was held by another run for {PATIENCE:.0f} s", "Run again when that ended")
        self.args = (where,)


class AuditBroken(RecoveryError):
    """Nothing is added to a log that was tampered with or damaged: it would look whole from here on."""

    def __init__(self, where: str, head: str, problem: str) -> None:
        super().__init__(
            f"{where} is not whole: {problem}",
            f"Move it and {head} aside and keep both; see standby audit verify",
        )
        self.args = (where, head, problem)


@dataclass(frozen=True)
class AuditCheck:
    """What a verification found.

    Attributes:
        where: the log, for people.
        lines: those that were read, oldest first, up to the first that does not fit.
        problems: what is wrong, a sentence each; none where the log is whole.
    """

    where: str
    lines: tuple[AuditLine, ...]
    problems: tuple[str, ...]

    @property
    def epoch(self) -> int | None:
        """The last fencing epoch that the log tells of."""
        return next((line.epoch for line in reversed(self.lines) if line.epoch is not None), None)


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
        AuditBroken: the log's last line, or the file that knows it, is not what it should be.
        CannotSign: only the public half of the key is here.
    """
    path = audit_path(context.plan.name)
    begun = context.clock.monotonic()
    while True:
        try:
            async with context.vault.hold(path) as journal:
                content = journal.found or b""
                last = await _settled_end(context, content.splitlines())
                line = _next(context, last, deed, facts or {}, epoch)
                await journal.rewrite(content + line.model_dump_json().encode() + b"\n")
                await write_head(context.vault, line, context.signer)
                return line
        except Held:
            if context.clock.monotonic() - begun > PATIENCE:
                raise AuditBusy(context.vault.where(path)) from None
            await context.clock.sleep(AGAIN)


async def verify_audit(objects: Objects, plan: str, signer: Signer | None) -> AuditCheck:
    """Check every line of a plan's log, and its end; with a key, the signatures, too."""
    head, texts = await _looked_at(objects, plan)
    lines: list[AuditLine] = []
    doubtful: list[tuple[int, str]] = []
    problems: list[str] = []
    for number, text in enumerate(texts, start=1):
        line = read_line(text)
        previous = lines[-1].digest if lines else FIRST
        problem = unchained(line, text, plan, number, previous) if line else "it cannot be read"
        if line is None or problem:
            problems.append(f"Line {number}: {problem}")
            break
        lines.append(line)
        if wrong := unsigned(line, signer):
            doubtful.append((number, wrong))
    if not problems and (wrong := head_problem(head, lines, signer)):
        problems.append(f"{objects.where(head_path(plan))} {wrong}")
    return AuditCheck(objects.where(audit_path(plan)), tuple(lines), (*problems, *_grouped(doubtful)))


def audit_path(plan: str) -> str:
    """Give the path of a plan's log in the vault."""
    return f"audit/{plan}.jsonl"


async def _looked_at(objects: Objects, plan: str) -> tuple[bytes | None, list[bytes]]:
    """Read head and log as they were at one time, although somebody may be adding lines."""
    for _ in range(LOOKS):
        head = await objects.read(head_path(plan))
        texts = (await objects.read(audit_path(plan)) or b"").splitlines()
        if head == await objects.read(head_path(plan)):
            break
    return head, texts


async def _settled_end(context: RecoveryContext, texts: list[bytes]) -> AuditLine | None:
    """Give the last line once it and the head agree; a crash may have left the head one behind."""
    plan, signer = context.plan.name, context.signer
    lines: list[AuditLine] = []
    for number, text in list(enumerate(texts, start=1))[-2:]:
        line = read_line(text)
        if line is None or unchained(line, text, plan, number, lines[-1].digest if lines else line.previous):
            raise _broken(context, f"line {number}, one of its last, is not right")
        # Lines of another key are not in the way of a failover; audit verify tells of them.
        if signer and line.key_id == signer.key_id and unsigned(line, signer):
            raise _broken(context, f"the signature of line {number} is wrong")
        lines.append(line)
    head = await context.vault.read(head_path(plan))
    if wrong := head_problem(head, lines, signer):
        raise _broken(context, f"{context.vault.where(head_path(plan))} {wrong}")
    last = lines[-1] if lines else None
    if last and head != head_of(last, signer):
        await write_head(context.vault, last, signer)
    return last


def _broken(context: RecoveryContext, problem: str) -> AuditBroken:
    plan = context.plan.name
    return AuditBroken(context.vault.where(audit_path(plan)), context.vault.where(head_path(plan)), problem)


def _next(
    context: RecoveryContext,
    last: AuditLine | None,
    deed: Deed,
    facts: Mapping[str, JsonValue],
    epoch: int | None,
) -> AuditLine:
    line = AuditLine(
        sequence=last.sequence + 1 if last else 1,
        at=context.clock.now(),
        plan=context.plan.name,
        deed=deed.value,
        actor=plain_text(context.actor),
        via=context.via,
        run_id=plain_text(context.run_id),
        epoch=epoch,
        facts={plain_text(name): plain(fact) for name, fact in facts.items()},
        previous=last.digest if last else FIRST,
        digest="",
    )
    return sealed(line, context.signer)


def _grouped(doubtful: Iterable[tuple[int, str]]) -> list[str]:
    """Say once what goes for many lines in a row, as after a change of the key."""
    told = []
    for wrong, group in groupby(doubtful, key=lambda found: found[1]):
        numbers = [number for number, _ in group]
        lines = f"Line {numbers[0]}" if len(numbers) == 1 else f"{len(numbers)} lines from {numbers[0]} on"
        told.append(f"{lines}: {wrong}")
    return told
