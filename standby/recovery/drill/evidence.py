"""The evidence of a drill: one JSON file, its signature beside it, its digest in the audit log, and a page.

The signature is over the very bytes of the file, so that any tool can check it. The audit log has its digest,
so that it cannot be rewritten later, also where there is no key.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import AwareDatetime, Field, ValidationError

from standby import __version__
from standby.config.errors import summary
from standby.document import digest_of
from standby.errors import StandbyError
from standby.recovery.activation.sinks import Activation
from standby.recovery.audit import AuditAction, verify_audit
from standby.recovery.context import RecoveryContext
from standby.recovery.drill.findings import DrilledAnalyzer, DrillReport, facts
from standby.recovery.drill.sandbox import UNKNOWN, drill_folder
from standby.recovery.failover.report import FailoverReport
from standby.recovery.page import template
from standby.vault.documents import Stored, parse_stored
from standby.vault.signing import Signer, sealed, unsealed
from standby.vault.storage import Storage

MOST_ANALYZERS = 500  # Analyzers that the page lists; the JSON file has all
SEAL = ".sig"


class NoEvidence(StandbyError):
    def __init__(self, where: str) -> None:
        super().__init__(
            f"{where} does not exist", "Name a run id that standby audit show PLAN lists, or an evidence.json file"
        )


class Evidence(Stored):
    """Everything that shows what a drill proved."""

    format: Literal["standby.drill/1"] = "standby.drill/1"
    standby: str = __version__
    written_at: AwareDatetime
    begun_line: str  # digest of the line of the audit log with which it began
    report: DrillReport  # without what is only known once this is written
    failover: FailoverReport | None  # the report of the drilled failover; `None` where it did not get so far
    analyzers: tuple[DrilledAnalyzer, ...]  # each one at the resource of the drill
    # To the sandbox's sink, in order: that no resource serves first, then the target.
    published: tuple[Activation, ...] = Field(alias="told")
    # Digests of the real fence and of what the real sinks hold; `unknown` where they cannot say.
    before: Mapping[str, str]
    after: Mapping[str, str]  # the same, at the end


def evidence_page(evidence: Evidence) -> str:
    """Write the page; the report of the evidence says where the file is."""
    report, after = evidence.report, evidence.after
    # What is wrong comes first, however many there are.
    listed = sorted(evidence.analyzers, key=lambda each: not each.problem)
    longest = max((phase.seconds for phase in report.phases), default=0.0) or 1.0
    return template("standby.recovery", "evidence.html.j2").render(
        report=report,
        facts=list(facts(report)),
        at=report.scratch or report.to,
        analyzers=listed[:MOST_ANALYZERS],
        more=len(listed) - MOST_ANALYZERS,
        widths=[round(100 * phase.seconds / longest, 1) for phase in report.phases],
        production=[(name, digest, after.get(name, UNKNOWN)) for name, digest in evidence.before.items()],
    )


async def write_evidence(context: RecoveryContext, evidence: Evidence) -> DrillReport:
    """Write evidence, its signature and its page; give the report with where it is."""
    path = f"{drill_folder(evidence.report.plan, evidence.report.run_id)}/evidence.json"
    content = evidence.model_dump_json(indent=1).encode()
    signer = context.signer
    await context.vault.write(path, content)
    if signer is not None:
        await context.vault.write(f"{path}{SEAL}", sealed(content, signer))
    where, key_id = context.vault.where(path), signer.key_id if signer else None
    written = {"evidence": where, "evidence_digest": digest_of(content), "key_id": key_id}
    report = evidence.report.model_copy(update=written)
    page = evidence_page(evidence.model_copy(update={"report": report}))
    await context.vault.write(path.replace(".json", ".html"), page.encode())
    return report


@dataclass(frozen=True)
class EvidenceCheck:
    where: str
    digest: str
    evidence: Evidence | None
    signed_with: str  # id of the key whose signature was checked; empty where none was
    problems: tuple[str, ...]  # what is wrong, a sentence each; none where it is genuine
    notes: tuple[str, ...]  # what could not be checked, a sentence each


async def verify_evidence(objects: Storage, plan: str, run_id: str, signer: Signer | None) -> EvidenceCheck:
    path = f"{drill_folder(plan, run_id)}/evidence.json"
    content = await objects.read(path)
    if content is None:
        raise NoEvidence(objects.where(path))
    seal = await objects.read(f"{path}{SEAL}")
    return await check_evidence(objects, plan, signer, objects.where(path), content, seal)


async def check_evidence(
    objects: Storage, plan: str, signer: Signer | None, where: str, content: bytes, seal: bytes | None
) -> EvidenceCheck:
    """Check evidence, wherever it comes from, against its signature and the plan's audit log."""
    digest = digest_of(content)
    try:
        evidence = parse_stored(where, content, Evidence)
    except ValidationError as error:
        problem = f"It is not the evidence of a drill: {summary(error)}"
        return EvidenceCheck(where, digest, None, "", (problem,), ())
    problems, notes = [], []
    if evidence.report.plan != plan:
        problems.append(f"It belongs to plan {evidence.report.plan}")
    if signer is None:
        notes.append("vault.signing has no key, so no signature was checked")
    elif wrong := unsealed(content, seal, signer):
        problems.append(f"Its signature {wrong}")
    check, run_id = await verify_audit(objects, plan, signer), evidence.report.run_id
    ends = [line for line in check.lines if line.action == AuditAction.DRILL_ENDED and line.run_id == run_id]
    recorded = [line.facts.get("evidence") for line in ends]
    if not recorded:
        problems.append(f"The audit log does not say that drill {run_id} ended")
    elif digest not in recorded:
        problems.append("It was changed after it was written: the audit log has another digest of it")
    if check.problems:
        problems.append(f"The audit log {check.ending}: {check.problems[0]}")
    signed_with = signer.key_id if signer and not problems else ""
    return EvidenceCheck(where, digest, evidence, signed_with, tuple(problems), tuple(notes))
