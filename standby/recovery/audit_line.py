"""One line of the audit log: what is in it, what its digest covers, how it is read again."""

from __future__ import annotations

import hashlib
import json
import math
from datetime import datetime

import rfc8785
from pydantic import BaseModel, ConfigDict, ValidationError

from standby.recovery.signing import Signer
from standby.service.models import JsonValue

FIRST = "0" * 64
"""What stands for the digest before the first line."""

LARGEST = 2**53 - 1
"""The largest whole number that canonical JSON has (RFC 8785)."""


class AuditLine(BaseModel):
    """One line of the log.

    Attributes:
        previous: digest of the line before.
        key_id: of the key it is signed with; `None` where there was none.
        digest: of everything else but the signature.
        signature: of the digest.
    """

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
    key_id: str | None = None
    digest: str
    signature: str | None = None


def sealed(line: AuditLine, signer: Signer | None) -> AuditLine:
    """Give a line its digest and its signature."""
    keyed = line.model_copy(update={"key_id": signer.key_id if signer else None})
    digest = _digest(keyed.model_dump_json().encode())
    signature = signer.sign(digest.encode()) if signer else None
    return keyed.model_copy(update={"digest": digest, "signature": signature})


def read_line(text: bytes) -> AuditLine | None:
    """Read a line; `None` where it is none."""
    try:
        json.loads(text, object_pairs_hook=_no_name_twice)
        _digest(text)
        return AuditLine.model_validate_json(text)
    except (ValueError, ValidationError, RecursionError):
        return None


def unchained(line: AuditLine, text: bytes, plan: str, number: int, previous: str) -> str:
    """Say why a line of a plan's log does not follow from the one before; empty where it does."""
    if line.plan != plan:
        return f"it is of plan {line.plan}"
    if line.sequence != number:
        return f"it has the number {line.sequence}: lines were removed or put in"
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
    """Bring a fact to what every reader of JSON understands alike."""
    if isinstance(fact, str):
        return plain_text(fact)
    if isinstance(fact, dict):
        return {plain_text(name): plain(value) for name, value in fact.items()}
    if isinstance(fact, list):
        return [plain(value) for value in fact]
    too_large = isinstance(fact, int) and abs(fact) > LARGEST
    return str(fact) if too_large or (isinstance(fact, float) and not math.isfinite(fact)) else fact


def plain_text(text: str) -> str:
    """Write out what is no text: a terminal of another encoding hands such parts over."""
    return text.encode("utf-8", "backslashreplace").decode()


def _digest(text: bytes) -> str:
    """Give the digest of what stands in a line, also of what this version knows nothing of."""
    told = json.loads(text)
    kept = {name: value for name, value in told.items() if name not in {"digest", "signature"}}
    return hashlib.sha256(rfc8785.dumps(kept)).hexdigest()


def _no_name_twice(pairs: list[tuple[str, object]]) -> dict[str, object]:
    # Whoever reads the line with other means might see the first one.
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a name stands twice")
    return dict(pairs)
