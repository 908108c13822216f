"""The findings of a drill, whether it passed and why not, and its evidence.

The evidence is one JSON file, its signature beside it, its digest in the audit log, and a page. The signature is over
the very bytes of the file, so that any tool can check it. The audit log has its digest, so that it cannot be rewritten
later, also where there is no key.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from pydantic import AwareDatetime, Field, ValidationError

from standby import __version__
from standby.config.errors import summary
from standby.config.plan import RecoveryPlan
from standby.document import Document, digest_of
from standby.errors import StandbyError, sentence
from standby.recovery.activation.sinks import Activation
from standby.recovery.audit import AuditAction, verify_audit
from standby.recovery.context import RecoveryContext, RunReport
from standby.recovery.drill.cleanup import CleanUp, DrillManifest, clean_up_again
from standby.recovery.drill.sandbox import UNKNOWN, drill_folder
from standby.recovery.failover.report import FailoverReport, PhaseTime
from standby.recovery.page import template
from standby.recovery.proof.records import Proof, verdict_words
from standby.recovery.snapshots.fidelity import Fidelity, RestoreItem, RestorePlan
from standby.recovery.snapshots.plan import source_serving
from standby.recovery.snapshots.snapshot import Snapshot
from standby.replication.fingerprint import fingerprint, same_meaning
from standby.replication.needs import Severity, check_models, models_of
from standby.service.models import Analyzer
from standby.text import lasting, some_of, utc
from standby.vault.documents import Stored, parse_stored
from standby.vault.signing import Signer, sealed, unsealed
from standby.vault.storage import Storage

MOST_REASONS = 20  # Analyzers whose failure is named one by one


class DrilledAnalyzer(Document):
    """One analyzer of the snapshot, at the resource of the drill."""

    analyzer: str
    target_analyzer: str
    fidelity: Fidelity
    fingerprint: str
    problem: str = ""  # why it could not serve; empty where it could
    unknown: str = ""  # what is not known about its models


class DrilledAnalyzers(Document):
    """How many analyzers of the snapshot a drill had, and how many could serve."""

    count: int = 0
    usable: int = 0
    fidelity: Mapping[Fidelity, int] = {}


class Fact(NamedTuple):
    """One thing to know about a drill, as terminal, Prefect and page show it."""

    label: str
    text: str
    is_wrong: bool = False


class DrillReport(RunReport):
    actor: str
    primary: str = Field(alias="home")
    to: str
    scratch: str | None  # the scratch resource at which analyzers were made instead of at `to`
    passed: bool
    reasons: tuple[str, ...]  # why it did not pass, a sentence each
    phases: tuple[PhaseTime, ...]  # of the failover and of what only a drill does, in order
    analyzers: DrilledAnalyzers
    proofs: tuple[Proof, ...] = ()  # what samples showed of them
    by_samples: tuple[str, ...] = ()  # what is wrong with them by that, a sentence each
    snapshot_id: str  # what was restored from; empty where it did not get so far
    snapshot_taken_at: AwareDatetime | None
    recovery_seconds: float | None  # what a failover would have taken; `None` where it did not complete
    rto_seconds: float | None
    rto_met: bool | None
    cleanup: CleanUp
    seconds: float
    begun_at: AwareDatetime
    ended_at: AwareDatetime
    interrupted: bool = False
    evidence: str = ""
    evidence_digest: str = ""  # SHA-256 of the file with its evidence
    key_id: str | None = None

    @property
    def title(self) -> str:
        where = f"{self.to} (at {self.scratch})" if self.scratch else self.to
        return f"Drill {self.run_id} of plan {self.plan}, {self.primary} → {where}"

    @property
    def ending(self) -> str:
        return f"passed in {lasting(self.seconds)}" if self.passed else f"did not pass, after {lasting(self.seconds)}"

    @property
    def next_action(self) -> str:
        """The one thing to do now; empty where nothing is left."""
        return "" if self.cleanup.proven else clean_up_again(self.plan)


def message(report: DrillReport) -> str:
    """Say in a few sentences how a drill ended, why it did not pass, and what to do then."""
    again = f"Correct that, then run standby drill {report.plan} --to {report.to}"
    action = report.next_action or ("" if report.passed or report.interrupted else again)
    return " ".join(map(sentence, filter(None, (f"{report.title}: {report.ending}", *report.reasons, action))))


def facts(report: DrillReport) -> Iterator[Fact]:
    """Say what was drilled with, how long it took, whether anything is left, and where the evidence is."""
    fidelity = "".join(f", {count} {kind.value}" for kind, count in report.analyzers.fidelity.items())
    yield Fact("analyzers", f"{report.analyzers.usable} of {report.analyzers.count} could serve{fidelity}")
    if report.proofs:
        yield Fact("samples", verdict_words(report.proofs))
    yield from (Fact("samples", wrong.rstrip("."), is_wrong=True) for wrong in report.by_samples)
    if report.snapshot_taken_at is not None:
        yield Fact("snapshot", f"{report.snapshot_id} of {utc(report.snapshot_taken_at)}")
    if report.recovery_seconds is None:
        yield Fact("recovery", "not completed", is_wrong=True)
    else:
        limit = "" if report.rto_seconds is None else f" the RTO of {lasting(report.rto_seconds)}"
        kept = limit and f", {'within' if report.rto_met else 'longer than'}{limit}"
        yield Fact("recovery", f"{lasting(report.recovery_seconds)}{kept}")
    yield Fact("clean-up", report.cleanup.outcome, is_wrong=not report.cleanup.proven)
    signed = f"signed with key {report.key_id}" if report.key_id else "not signed: vault.signing has no key"
    yield Fact("evidence", f"{report.evidence or 'not written'} ({signed})")


@dataclass
class Findings:
    epoch: int = 0
    failover: FailoverReport | None = None
    analyzers: tuple[DrilledAnalyzer, ...] = ()
    proofs: tuple[Proof, ...] = ()
    by_samples: tuple[str, ...] = ()  # what is wrong with them by that, a sentence each
    published: tuple[Activation, ...] = ()
    before: Mapping[str, str] = field(default_factory=dict)
    after: Mapping[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    interrupted: bool = False
    cleanup: CleanUp = field(default_factory=CleanUp)


def reasons_against(plan: RecoveryPlan, manifest: DrillManifest, found: Findings) -> tuple[str, ...]:
    """Say why a drill did not pass, a sentence each, the cause first; none where it passed."""
    reasons: list[str] = []
    if found.interrupted:
        reasons.append("It was interrupted before its end.")
    reasons += [sentence(problem) for problem in found.problems]
    unusable = [f"{each.analyzer}: {sentence(each.problem)}" for each in found.analyzers if each.problem]
    reasons += unusable[:MOST_REASONS]
    if len(unusable) > MOST_REASONS:
        reasons.append(f"And {len(unusable) - MOST_REASONS} more analyzers could not serve.")
    if not found.problems and not found.interrupted:
        reasons += _against_failover(plan, manifest, found)
    for name, before in found.before.items():
        after = found.after.get(name, UNKNOWN)
        if UNKNOWN not in (before, after) and before != after:
            reasons.append(f"{name} changed during the drill: standby audit show {plan.name} says who changed it.")
    if not found.cleanup.proven:
        left = found.cleanup.left
        what = f"{some_of(left, 5)} left" if left else "It is unknown what is left"
        problem = sentence(f"{what} at {manifest.to}: {found.cleanup.problem}")
        reasons.append(f"The clean-up is not proven complete. {problem}")
    # The failover and the inspection of its result often say the same.
    return tuple(dict.fromkeys(reasons))


def _against_failover(plan: RecoveryPlan, manifest: DrillManifest, found: Findings) -> Iterator[str]:
    report = found.failover
    if report is None or report.state != "activated":
        yield from (sentence(problem) for problem in (report.problems if report else ()))
        yield f"The failover to {manifest.to} did not complete."
        return
    if report.epoch <= found.epoch:
        yield f"The epoch did not grow: it was {found.epoch}, and is {report.epoch}."
    endpoints = [activation.sources.get(manifest.primary) for activation in found.published]
    if not endpoints or endpoints[-1] is None or endpoints[-1].resource != manifest.to:
        yield f"The map that names {manifest.to} for {manifest.primary} was not published to the sink."
    elif found.published[-1].epoch != report.epoch:
        yield f"Epoch {found.published[-1].epoch} was published to the sink, and the failover had {report.epoch}."
    elif endpoints[0] is not None:
        yield f"{manifest.to} was published to the sink before the map that says that no resource serves."
    objective = plan.objectives.rto
    if objective is not None and report.recovery_seconds is not None:
        allowed = objective.total_seconds()
        if report.recovery_seconds > allowed:
            yield f"The recovery took {lasting(report.recovery_seconds)}, and the RTO is {lasting(allowed)}."


async def inspect_analyzers(
    context: RecoveryContext, manifest: DrillManifest, snapshot: Snapshot, plan: RestorePlan
) -> tuple[DrilledAnalyzer, ...]:
    """Say of every analyzer of a drill whether it could serve; the context is that of the sandbox."""
    client = context.connections[manifest.to]
    listed = {found.analyzer_id: found for found in await client.list_analyzers()}
    context.connections.forget_serving(manifest.to)
    serving = await context.connections.serving(manifest.to)
    names, parts = {item.resource for item in plan.items}, snapshot.resources
    sources = {name: source_serving(context, name, parts[name], serving) for name in names}

    def inspected(item: RestoreItem) -> DrilledAnalyzer:
        found = listed.get(item.target_analyzer)
        # As it is there: an embedding model that the service filled in is used like one that was named.
        definition, overrides = found.definition() if found else {}, context.plan.overrides(manifest.to)
        models = check_models(models_of(definition), sources[item.resource], serving, overrides)
        forgiven = context.plan.missing_defaults == "ignore"
        errors = [str(it) for it in models if it.severity is Severity.ERROR and not (it.missing and forgiven)]
        problem = _problem(manifest, item, found, fingerprint(definition, context.plan.ignore))
        return DrilledAnalyzer(
            analyzer=item.analyzer,
            target_analyzer=item.target_analyzer,
            fidelity=item.fidelity,
            fingerprint=item.fingerprint,
            problem=problem or " ".join(errors),
            unknown=" ".join(str(it) for it in models if it.severity is Severity.UNKNOWN),
        )

    return tuple(map(inspected, plan.items))


def _problem(manifest: DrillManifest, item: RestoreItem, found: Analyzer | None, seen: str) -> str:
    if found is None:
        return item.reason or f"{manifest.to} does not have it"
    if not manifest.made(found):
        return f"{manifest.to} has another analyzer under its id {item.target_analyzer}"
    if found.status != "ready":
        return f"it is {found.status} at {manifest.to}"
    return "" if same_meaning(seen, item.fingerprint) else f"at {manifest.to} it differs from the snapshot"


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
