"""Decisions with everything they were made of, kept in the vault; the audit log knows their digests."""

from __future__ import annotations

import hashlib
import re
from uuid import uuid4

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from standby import __version__
from standby.config.explanation import summary
from standby.recovery.audit import Deed, note
from standby.recovery.context import RecoveryContext
from standby.recovery.decision.case import Case
from standby.recovery.decision.errors import DecisionUnreadable, NoSuchDecision
from standby.recovery.decision.verdict import Decision
from standby.vault.filesystem import Objects

_ID = re.compile(r"([a-z0-9][a-z0-9-]*)-[0-9]{8}T[0-9]{6}Z-[0-9a-f]{4}")


class DecisionRecord(BaseModel):
    """One decision.

    Attributes:
        id: its plan, when it was recorded, and four digits against chance.
        case: everything it was made of.
        actor: who asked for it.
        version: of Standby, whose rules it follows.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    recorded_at: AwareDatetime
    actor: str
    via: str
    version: str
    case: Case
    decision: Decision


async def record_decision(context: RecoveryContext, case: Case, decision: Decision) -> str:
    """Keep a decision, and note its digest in the audit log.

    Returns:
        Its id, such as `invoices-20260131T031402Z-1a2b`.

    Raises:
        VaultUnavailable: it may or may not have been kept.
        AuditBroken: it is kept, and could not be noted.
        AuditBusy: likewise.
    """
    now = context.clock.now()
    decision_id = await _free_id(context.vault, f"{case.plan}-{now:%Y%m%dT%H%M%SZ}")
    record = DecisionRecord(
        id=decision_id,
        recorded_at=now,
        actor=context.actor,
        via=context.via,
        version=__version__,
        case=case,
        decision=decision,
    )
    content = record.model_dump_json(indent=1).encode()
    await context.vault.write(decision_path(decision_id), content)
    facts = {
        "decision": decision_id,
        "home": case.home,
        "outcome": decision.outcome.value,
        "to": decision.to,
        "requested_by": case.requested_by,
        "digest": digest_of(content),
    }
    await note(context, Deed.DECIDED, facts, epoch=case.epoch)
    return decision_id


async def read_record(objects: Objects, decision_id: str) -> tuple[DecisionRecord, str]:
    """Read a decision, with the digest of what its file holds now.

    Raises:
        NoSuchDecision: nothing is recorded under this id.
        DecisionUnreadable: something else is.
        VaultUnavailable: it cannot be told.
    """
    path = decision_path(decision_id)
    where = objects.where(path)
    content = await objects.read(path)
    if content is None:
        raise NoSuchDecision(decision_id, where)
    try:
        return DecisionRecord.model_validate_json(content), digest_of(content)
    except ValidationError as error:
        raise DecisionUnreadable(where, summary(error)) from None


def decision_path(decision_id: str) -> str:
    """Give the path of a decision in the vault.

    Raises:
        NoSuchDecision: it is no id, and might lead elsewhere.
    """
    plan_of(decision_id)
    return f"decisions/{decision_id}.json"


def plan_of(decision_id: str) -> str:
    """Give the name of the plan that a decision is about; the id has it, whatever was done to the file.

    Raises:
        NoSuchDecision: it is no id.
    """
    found = _ID.fullmatch(decision_id)
    if found is None:
        raise NoSuchDecision(decision_id, "file of such a name")
    return found.group(1)


def digest_of(content: bytes) -> str:
    """Give the digest of a decision's file."""
    return hashlib.sha256(content).hexdigest()


async def _free_id(objects: Objects, stem: str) -> str:
    while True:
        decision_id = f"{stem}-{uuid4().hex[:4]}"
        if await objects.read(decision_path(decision_id)) is None:
            return decision_id
