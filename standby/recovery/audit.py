"""The audit log: who did what and why, as JSON lines in the vault, each chained to the one before it.

A line's digest covers the digest of the line before, so that every later line shows when one was changed, removed
or inserted. With a signing key each line is signed as well: then the chain cannot be rebuilt by somebody without the
key. A second file says which line is the newest, so that lines cut off the end are noticed, too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import groupby

from pydantic import Field, ValidationError

from standby.document import JsonValue, digest_of_json
from standby.errors import StandbyError
from standby.recovery.context import RecoveryContext
from standby.vault.documents import Stored, parse_stored
from standby.vault.errors import Changed
from standby.vault.signing import Signer
from standby.vault.storage import Storage, Version

FIRST = "0" * 64
"""The first line has this instead of a digest of the line before."""

LARGEST = 2**53 - 1
"""The largest whole number that canonical JSON has (RFC 8785)."""


class AuditLine(Stored):
    """One line of the log.

    Attributes:
        key_id: of the key it is signed with; `None` where there was none.
    """

    sequence: int
    at: datetime
    plan: str
    action: str = Field(alias="deed")
    actor: str
    via: str
    run_id: str
    epoch: int | None
    facts: dict[str, JsonValue]
    previous: str
    key_id: str | None = None
    digest: str
    signature: str | None = None


def sealed(line: AuditLine, signer: Signer | None) -> AuditLine:
    """Give a line its digest and its signature."""
    keyed = line.model_copy(update={"key_id": signer.key_id if signer else None})
    digest = _digest(keyed.model_dump_json().encode())
    signature = signer.sign(digest.encode()) if signer else None
    return keyed.model_copy(update={"digest": digest, "signature": signature})


def read_line(where: str, text: bytes) -> AuditLine | None:
    """Read a line; `None` where it is none.

    Raises:
        FormatUnknown: another version of Standby wrote it.
    """
    try:
        json.loads(text, object_pairs_hook=_no_duplicate_keys)
        _digest(text)
        return parse_stored(where, text, AuditLine)
    except (ValueError, ValidationError, RecursionError):
        return None


def unchained(line: AuditLine, text: bytes, plan: str, number: int, previous: str) -> str:
    """Say why a line of a plan's log does not follow from the one before; empty where it does."""
    if line.plan != plan:
        return f"it belongs to plan {line.plan}"
    if line.sequence != number:
        return f"its number is {line.sequence}: lines were removed or inserted"
    if line.previous != previous:
        return "it does not follow from the line before it"
    if line.digest != _digest(text):
        return "it was changed after it was written"
    return ""


def unsigned(line: AuditLine, signer: Signer | None) -> str:
    """Say why a line's signature does not count; empty where it does, or there is no key."""
    if signer is None:
        return ""
    if line.signature is None:
        return "not signed"
    if line.key_id != signer.key_id:
        return f"signed with key {line.key_id}, and vault.signing has key {signer.key_id}"
    return "" if signer.verifies(line.digest.encode(), line.signature) else "its signature is wrong"


def plain(fact: JsonValue) -> JsonValue:
    """Give a fact as every reader of JSON understands it alike."""
    if isinstance(fact, str):
        return plain_text(fact)
    if isinstance(fact, dict):
        return {plain_text(name): plain(value) for name, value in fact.items()}
    if isinstance(fact, list):
        return [plain(value) for value in fact]
    too_large = isinstance(fact, int) and abs(fact) > LARGEST
    return str(fact) if too_large or (isinstance(fact, float) and not math.isfinite(fact)) else fact


def plain_text(text: str) -> str:
    """Escape what is no text: a terminal of another encoding may pass such characters."""
    return text.encode("utf-8", "backslashreplace").decode()


def _digest(text: bytes) -> str:
    """Give the digest of all that a line has, also of keys that this version does not know."""
    members = json.loads(text)
    kept = {name: value for name, value in members.items() if name not in {"digest", "signature"}}
    return digest_of_json(kept)


def _no_duplicate_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    # Another program that reads the line might take the first one.
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a key occurs twice")
    return dict(pairs)


class AuditHead(Stored):
    """Which line was added last.

    Attributes:
        signature: over plan, number and digest.
    """

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
    return f"audit/{plan}.head.json"


async def write_head(storage: Storage, line: AuditLine, signer: Signer | None, known: Version | None) -> None:
    """Write down which line is the newest, unless somebody who added a later one did that already.

    Args:
        known: the head as it was read before the line was added.
    """
    while True:
        try:
            await storage.swap(head_path(line.plan), head_of(line, signer), known.tag if known else None)
        except Changed:
            known = await storage.read_version(head_path(line.plan))
            there = _head(storage.where(head_path(line.plan)), known.content) if known else None
            if there is not None and there.sequence >= line.sequence:
                return
        else:
            return


def _head(where: str, content: bytes) -> AuditHead | None:
    try:
        return parse_stored(where, content, AuditHead)
    except ValidationError:
        return None


def head_of(line: AuditLine, signer: Signer | None) -> bytes:
    """Make the head of a line; it is signed where the line is."""
    head = AuditHead(plan=line.plan, sequence=line.sequence, digest=line.digest)
    if signer is not None and line.key_id == signer.key_id:
        update = {"key_id": signer.key_id, "signature": signer.sign(head.signed)}
        head = head.model_copy(update=update)
    return head.model_dump_json(indent=1).encode()


def head_problem(where: str, content: bytes | None, lines: Sequence[AuditLine], signer: Signer | None) -> str:
    """Say what is wrong between a log and its head, as a clause; empty where they agree.

    Args:
        where: the head's file is.
        content: of the head's file; `None` where there is none.
        lines: the log's last two lines at least, oldest first.
    """
    length = lines[-1].sequence if lines else 0
    if content is None:
        # The first line may have been followed by a crash.
        return "is missing: lines may have been cut off the end of the log" if length > 1 else ""
    head = _head(where, content)
    if head is None:
        return "cannot be read"
    if head.sequence > length:
        return f"knows {head.sequence} lines, and the log has {length}: its end was cut off"
    if head.sequence < max(1, length - 1):
        return f"is of line {head.sequence}, and the log has {length}: it was replaced by an older one"
    return _strange(head, lines[head.sequence - length - 1], signer)


def _strange(head: AuditHead, line: AuditLine, signer: Signer | None) -> str:
    if head.digest != line.digest:
        return f"does not know line {head.sequence} of the log as it is: the end was rewritten"
    # A line that was written before there was this key has such a head, too.
    due = signer is not None and line.key_id == signer.key_id
    if signer and due and not signer.verifies(head.signed, head.signature or ""):
        return f"is not signed with key {signer.key_id}"
    return ""


PATIENCE = 60.0
"""Seconds for which a line is tried to be added while others add theirs."""

LOOKS = 5
"""How often a log and its head are read again while somebody adds lines."""


class AuditAction(StrEnum):
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


class AuditBusy(StandbyError):
    """Other runs added lines all the time."""

    def __init__(self, where: str) -> None:
        super().__init__(
            f"Other runs wrote {where} without a pause for {PATIENCE:.0f} s", "Run again when they have ended"
        )


class AuditBroken(StandbyError):
    """Nothing is added to a log that was tampered with or damaged: from then on it would look whole."""

    def __init__(self, where: str, head: str, problem: str) -> None:
        super().__init__(
            f"{where} is damaged or was changed: {problem}",
            f"Move it and {head} aside and keep both; see standby audit verify",
        )


@dataclass(frozen=True)
class AuditCheck:
    """What a verification found.

    Attributes:
        lines: those that were read, oldest first, up to the first that does not fit.
        problems: what is wrong, a sentence each; none where the log is whole.
    """

    where: str
    lines: tuple[AuditLine, ...]
    problems: tuple[str, ...]

    @property
    def epoch(self) -> int | None:
        """The last fencing epoch in the log."""
        return next((line.epoch for line in reversed(self.lines) if line.epoch is not None), None)


async def record_action(
    context: RecoveryContext,
    action: AuditAction,
    facts: Mapping[str, JsonValue] | None = None,
    *,
    epoch: int | None = None,
) -> AuditLine:
    """Add a line to the plan's log; it is safe when this returns.

    Raises:
        AuditBusy: other runs write the log without a pause.
        AuditBroken: the log's last line, or the file that knows it, is not what it should be.
        CannotSign: only the public half of the key is here.
    """
    path = audit_path(context.plan.name)
    begun = context.clock.monotonic()
    while context.clock.monotonic() - begun < PATIENCE:
        head, log = await _read_end(context)
        content = log.content if log else b""
        last = _last_line(context, content.splitlines())
        if last is not None and (head is None or head.content != head_of(last, context.signer)):
            await write_head(context.vault, last, context.signer, head)
        line = _next(context, last, action, facts or {}, epoch)
        added = content + line.model_dump_json().encode() + b"\n"
        try:
            await context.vault.swap(path, added, log.tag if log else None)
        except Changed:
            continue  # Somebody else added a line: ours comes after it.
        await write_head(context.vault, line, context.signer, head)
        return line
    raise AuditBusy(context.vault.where(path))


async def verify_audit(storage: Storage, plan: str, signer: Signer | None) -> AuditCheck:
    """Check every line of a plan's log, and its end; with a key, the signatures, too.

    Raises:
        FormatUnknown: another version of Standby wrote a line or the head.
    """
    head, texts = await _read_together(storage, plan)
    lines: list[AuditLine] = []
    doubtful: list[tuple[int, str]] = []
    problems: list[str] = []
    for number, text in enumerate(texts, start=1):
        line = read_line(storage.where(audit_path(plan)), text)
        previous = lines[-1].digest if lines else FIRST
        problem = unchained(line, text, plan, number, previous) if line else "it cannot be read"
        if line is None or problem:
            problems.append(f"Line {number}: {problem}")
            break
        lines.append(line)
        if wrong := unsigned(line, signer):
            doubtful.append((number, wrong))
    head_at = storage.where(head_path(plan))
    if not problems and (wrong := head_problem(head_at, head, lines, signer)):
        problems.append(f"{head_at} {wrong}")
    return AuditCheck(storage.where(audit_path(plan)), tuple(lines), (*problems, *_grouped(doubtful)))


def audit_path(plan: str) -> str:
    return f"audit/{plan}.jsonl"


async def _read_together(storage: Storage, plan: str) -> tuple[bytes | None, list[bytes]]:
    """Read head and log as they were at one time, although somebody may be adding lines."""
    for _ in range(LOOKS):
        head = await storage.read(head_path(plan))
        texts = (await storage.read(audit_path(plan)) or b"").splitlines()
        if head == await storage.read(head_path(plan)):
            break
    return head, texts


async def _read_end(context: RecoveryContext) -> tuple[Version | None, Version | None]:
    """Read head and log once they agree; a crash may have left the head one behind.

    Raises:
        AuditBroken: they do not agree, and nobody is writing them.
    """
    plan = context.plan.name
    head_at, log_at = context.vault.where(head_path(plan)), context.vault.where(audit_path(plan))
    seen: tuple[Version | None, Version | None] | None = None
    while True:
        head = await context.vault.read_version(head_path(plan))
        log = await context.vault.read_version(audit_path(plan))
        texts = log.content.splitlines() if log else []
        lines = [line for text in texts[-2:] if (line := read_line(log_at, text)) is not None]
        wrong = head_problem(head_at, head.content if head else None, lines, context.signer)
        if not wrong or len(lines) < len(texts[-2:]):
            return head, log
        if (head, log) == seen:
            raise _broken(context, f"{head_at} {wrong}")
        seen = head, log


def _last_line(context: RecoveryContext, texts: list[bytes]) -> AuditLine | None:
    """Give the last line of a log; `AuditBroken` where one of the last two is not as it was written."""
    plan, signer = context.plan.name, context.signer
    lines: list[AuditLine] = []
    for number, text in list(enumerate(texts, start=1))[-2:]:
        line = read_line(context.vault.where(audit_path(plan)), text)
        if line is None or unchained(line, text, plan, number, lines[-1].digest if lines else line.previous):
            raise _broken(context, f"line {number}, one of its last, is not valid")
        # Lines of another key are not in the way of a failover; audit verify reports them.
        if signer and line.key_id == signer.key_id and unsigned(line, signer):
            raise _broken(context, f"the signature of line {number} is wrong")
        lines.append(line)
    return lines[-1] if lines else None


def _broken(context: RecoveryContext, problem: str) -> AuditBroken:
    plan = context.plan.name
    return AuditBroken(context.vault.where(audit_path(plan)), context.vault.where(head_path(plan)), problem)


def _next(
    context: RecoveryContext,
    last: AuditLine | None,
    action: AuditAction,
    facts: Mapping[str, JsonValue],
    epoch: int | None,
) -> AuditLine:
    line = AuditLine(
        sequence=last.sequence + 1 if last else 1,
        at=context.clock.now(),
        plan=context.plan.name,
        action=action.value,
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
    """Say once what is true of many lines in a row, as after a change of the key."""
    members = []
    for wrong, group in groupby(doubtful, key=lambda found: found[1]):
        numbers = [number for number, _ in group]
        lines = f"Line {numbers[0]}" if len(numbers) == 1 else f"{len(numbers)} lines from {numbers[0]} on"
        members.append(f"{lines}: {wrong}")
    return members


LONGEST_FACT = 200
"""Characters of a fact that are shown."""


def facts_of_line(line: AuditLine) -> str:
    """Put the facts of a line one after the other."""
    return ", ".join(f"{name} {_fact(value)}" for name, value in line.facts.items())


def _fact(value: JsonValue) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_FACT else f"{text[:LONGEST_FACT]}…"
