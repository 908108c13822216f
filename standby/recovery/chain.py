"""The chain of the audit log: a line, how it follows from the one before, and the head that knows the last one.

A line's digest covers the digest of the line before, so that every later line shows when one was changed, removed
or inserted. With a signing key each line is signed as well: then the chain cannot be rebuilt by somebody without the
key. The head, a second file, says which line is the newest, so that lines cut off the end are noticed, too. Where
both were lost, what was written beside them still has a mark of the newest line: `LogMark`.
"""

import json
import math
from collections.abc import Sequence
from datetime import datetime

from pydantic import Field, ValidationError

from standby.document import JsonValue, digest_of_json
from standby.vault.documents import Stored, parse_stored
from standby.vault.errors import Changed
from standby.vault.signing import OTHER_KEY, LogMark, Signer
from standby.vault.storage import Storage, Version

FIRST = "0" * 64  # The first line has this instead of a digest of the line before
LARGEST = 2**53 - 1  # The largest whole number that canonical JSON has (RFC 8785)


class AuditLine(Stored):
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

    @property
    def mark(self) -> LogMark:
        return LogMark(sequence=self.sequence, digest=self.digest)


FORCED = "fence.forced"  # The action of a line that may follow although lines before it are lost: an operator said so
CONTINUES = "continues"  # Its fact that has the mark of the last line that was still there; `None` where there was none


def sealed(line: AuditLine, signer: Signer | None) -> AuditLine:
    keyed = line.model_copy(update={"key_id": signer.key_id if signer else None})
    digest = _digest(keyed.model_dump_json().encode())
    signature = signer.sign(digest.encode()) if signer else None
    return keyed.model_copy(update={"digest": digest, "signature": signature})


def read_line(where: str, text: bytes) -> AuditLine | None:
    try:
        if not isinstance(json.loads(text, object_pairs_hook=_no_duplicate_keys), dict):
            return None
        _digest(text)
        return parse_stored(where, text, AuditLine)
    except (ValueError, ValidationError, RecursionError):
        return None


def unchained(line: AuditLine, text: bytes, plan: str, last: AuditLine | None) -> str:
    """Say why a line of a plan's log does not follow from the one before; empty where it does."""
    if line.plan != plan:
        return f"it belongs to plan {line.plan}"
    if not is_gap(line, last):
        if line.sequence != (last.sequence + 1 if last else 1):
            return f"its number is {line.sequence}: lines were removed or inserted"
        if line.previous != (last.digest if last else FIRST):
            return "it does not follow from the line before it"
    return changed(line, text)


def changed(line: AuditLine, text: bytes) -> str:
    """Say that a line is not as it was written; empty where it is."""
    return "" if line.digest == _digest(text) else "it was changed after it was written"


def is_gap(line: AuditLine, last: AuditLine | None) -> bool:
    """Say whether a line goes on, by force and after all that is there, although lines between are lost."""
    return (
        line.action == FORCED
        and CONTINUES in line.facts
        and line.facts[CONTINUES] == (last.mark.model_dump() if last else None)
        and line.sequence > (last.sequence if last else 0)
    )


def follow(where: str, texts: Sequence[bytes], plan: str) -> tuple[tuple[AuditLine, ...], str]:
    """Read the lines of a log up to the first that does not follow; also say why that one does not."""
    lines: list[AuditLine] = []
    for number, text in enumerate(texts, start=1):
        line = read_line(where, text)
        wrong = unchained(line, text, plan, lines[-1] if lines else None) if line else "it cannot be read"
        if line is None or wrong:
            return tuple(lines), f"Line {number}: {wrong}"
        lines.append(line)
    return tuple(lines), ""


def lacking(mark: LogMark, lines: Sequence[AuditLine]) -> str:
    """Say, as a clause, that a log is not the one of which a line is known; empty where it is.

    The lines are the log's, oldest first, and at least those from the newest line on that is known.
    """
    if any(line.action == FORCED and line.sequence > mark.sequence for line in lines):
        return ""  # Somebody went on without it, and said so.
    if not lines:
        return f"is gone: it had {mark.sequence} lines"
    if lines[-1].sequence < mark.sequence:
        return f"ends with line {lines[-1].sequence}, and had {mark.sequence}: it was cut off, or is an older copy"
    there = next((line for line in lines if line.sequence == mark.sequence), None)
    if there is None or there.digest != mark.digest:
        return (
            f"has another line {mark.sequence} than the one that was written: it was rewritten, or is of another vault"
        )
    return ""


def unsigned(line: AuditLine, signer: Signer | None) -> str:
    """Say why a line's signature does not count; empty where it does, or there is no key."""
    if signer is None:
        return ""
    if line.signature is None:
        return "not signed"
    if line.key_id != signer.key_id:
        return f"signed with key {line.key_id}, {OTHER_KEY} {signer.key_id}"
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
    """Which line was added last."""

    plan: str
    sequence: int
    digest: str
    epoch: int | None = None  # the last one in the log; `None` where it has none, or an earlier version wrote it
    key_id: str | None = None
    signature: str | None = None  # over plan, number, digest and epoch

    @property
    def signed(self) -> bytes:
        """What the signature is of."""
        known = f"{self.plan}\n{self.sequence}\n{self.digest}"
        return (known if self.epoch is None else f"{known}\n{self.epoch}").encode()

    @property
    def mark(self) -> LogMark:
        return LogMark(sequence=self.sequence, digest=self.digest)


def head_path(plan: str) -> str:
    return f"audit/{plan}.head.json"


async def write_head(storage: Storage, head: AuditHead, known: Version | None) -> Version | None:
    """Write down which line is the newest, unless somebody who added a later one did that already.

    `known` is the head as it was read before the line was added. Gives the head as it is then.
    """
    content = head.model_dump_json(indent=1).encode()
    while True:
        try:
            tag = await storage.swap(head_path(head.plan), content, known.tag if known else None)
        except Changed:
            known = await storage.read_version(head_path(head.plan))
            there = parse_head(storage.where(head_path(head.plan)), known.content) if known else None
            if there is not None and there.sequence >= head.sequence:
                return known
        else:
            return Version(content, tag)


def parse_head(where: str, content: bytes | None) -> AuditHead | None:
    try:
        return parse_stored(where, content, AuditHead) if content else None
    except ValidationError:
        return None


def head_of(line: AuditLine, signer: Signer | None, epoch: int | None) -> AuditHead:
    """Make the head of a line; it is signed where the line is."""
    head = AuditHead(plan=line.plan, sequence=line.sequence, digest=line.digest, epoch=epoch)
    if signer is None or line.key_id != signer.key_id:
        return head
    return head.model_copy(update={"key_id": signer.key_id, "signature": signer.sign(head.signed)})


def head_problem(where: str, content: bytes | None, lines: Sequence[AuditLine], signer: Signer | None) -> str:
    """Say what is wrong between a log and its head, as a clause; empty where they agree.

    The content is that of the head's file, and the lines are the log's last two at least, oldest first.
    """
    length = lines[-1].sequence if lines else 0
    if content is None:
        # The first line may have been followed by a crash.
        return "is missing: lines may have been cut off the end of the log" if length > 1 else ""
    head = parse_head(where, content)
    if head is None:
        return "cannot be read"
    if head.sequence > length:
        return f"counts {head.sequence} lines, and the log has {length}: its end was cut off"
    there = next((line for line in lines[-2:] if line.sequence == head.sequence), None)
    if there is not None:
        return _strange(head, there, signer)
    if lines[-1].action == FORCED:
        return ""  # A crash after it left the head of a log that was lost.
    return f"is of line {head.sequence}, and the log has {length}: it was replaced by an older one"


def _strange(head: AuditHead, line: AuditLine, signer: Signer | None) -> str:
    if head.digest != line.digest:
        return f"contradicts line {head.sequence} of the log: the end was rewritten"
    # A line that was written before there was this key has such a head, too.
    due = signer is not None and line.key_id == signer.key_id
    if signer and due and not signer.verifies(head.signed, head.signature or ""):
        return f"is not signed with key {signer.key_id}"
    return ""
