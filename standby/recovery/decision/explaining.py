"""Replays a recorded decision, and says whether the record is the one that was written."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict

from standby.recovery.audit import AuditLine, Deed, verify_audit
from standby.recovery.audit_line import unsigned
from standby.recovery.decision.decide import decide
from standby.recovery.decision.record import DecisionRecord, decision_path, plan_of, read_record
from standby.recovery.decision.verdict import Decision
from standby.recovery.signing import Signer
from standby.vault.filesystem import Objects


class Explanation(BaseModel):
    """A recorded decision, and what its case comes to now.

    Attributes:
        where: the record, for people.
        again: what the same case comes to by the rules of this version.
        same: whether that is what was decided.
        problems: why the record may not be the one that was written, a sentence each; none where it is.
    """

    model_config = ConfigDict(frozen=True)

    where: str
    record: DecisionRecord
    again: Decision
    same: bool
    problems: tuple[str, ...]


async def explain(objects: Objects, decision_id: str, signer: Signer | None) -> Explanation:
    """Replay a decision from its record alone; no resource is asked.

    Args:
        objects: the vault.
        decision_id: as it was told.
        signer: checks the signature of its line in the audit log, where there is a key.

    Raises:
        NoSuchDecision: nothing is recorded under this id.
        DecisionUnreadable: the record cannot be understood.
        VaultUnavailable: it cannot be told.
    """
    record, digest = await read_record(objects, decision_id)
    again = decide(record.case)
    plan = plan_of(decision_id)
    checked = await verify_audit(objects, plan, signer)
    line = next((line for line in checked.lines if _is_of(line, decision_id)), None)
    where = objects.where(decision_path(decision_id))
    problems = [*_strange(record, decision_id, plan)]
    if line is None:
        problems.append(f"{checked.where} has no line about it{_broken(checked.problems)}")
    elif line.facts.get("digest") != digest:
        problems.append(f"{where} was changed after it was written: the audit log has another digest of it")
    if line is not None and (reason := unsigned(line, signer)):
        problems.append(f"Its line in {checked.where} does not count: {reason}")
    return Explanation(
        where=where, record=record, again=again, same=again == record.decision, problems=tuple(problems)
    )


def _is_of(line: AuditLine, decision_id: str) -> bool:
    return line.deed == Deed.DECIDED and line.facts.get("decision") == decision_id


def _strange(record: DecisionRecord, decision_id: str, plan: str) -> Iterator[str]:
    if record.id != decision_id or record.case.plan != plan:
        yield f"It is the record of {record.id} and was put under another id"


def _broken(problems: tuple[str, ...]) -> str:
    return f", and is not whole: {problems[0]}" if problems else ""
