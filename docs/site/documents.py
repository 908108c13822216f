"""The page about JSON: what each command prints with `--json`, with its keys and its schema."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from docs.site.configuration import models_in
from docs.site.markdown import as_sentence, meanings, summary, table, type_words
from standby.document import JsonObject, JsonValue
from standby.recovery.activation.seen import SinkView
from standby.recovery.concerns import Concern
from standby.recovery.decision.input import Approval
from standby.recovery.decision.record import Explanation
from standby.recovery.drill.cleanup import CleanUpReport
from standby.recovery.drill.findings import DrillReport
from standby.recovery.failback.report import DivergenceReport, FailbackReport
from standby.recovery.failover.attendance import Told
from standby.recovery.failover.report import CommitReport, FailoverReport
from standby.recovery.readiness.document import Readiness
from standby.recovery.snapshots.fidelity import RestoreItem
from standby.recovery.snapshots.restore import RestoreReport
from standby.recovery.snapshots.snapshot import SnapshotEntry, Verification
from standby.recovery.snapshots.take import SnapshotTaken
from standby.replication.report import Report
from standby.vault.move import Moved
from standby.vault.replica import ReplicaState

DIALECT = "https://json-schema.org/draft/2020-12/schema"


COMMON = {
    "plan": "name of the plan",
    "run_id": "the run",
    "via": "how it ran: here, or as a flow of Prefect",
    "seconds": "how long it took",
    "totals": "how many ended in which way",
    "objectives": "whether the plan's RPO is met",
    "items": "one for each analyzer and target",
    "unseen": "resources that could not be looked at, with the reason",
    "id": "its id",
    "digest": "SHA-256 of it, in hex",
    "taken_at": "when the snapshot was taken",
    "signed": "whether it is signed",
    "resources": "how many analyzers of each resource are in it",
    "missing": "what is left out, with the reason where there is one",
    "new_objects": "definitions that no earlier snapshot has",
    "unknown_labelled": "analyzers whose labelled data could not be listed",
    "retired": "older snapshots that are no longer kept",
    "stores": "storage of labelled data that it refers to",
    "problems": "what went wrong, in sentences",
    "snapshot": "id of the snapshot",
    "to": "the target",
    "interrupted": "whether it was ended before its time",
    "epoch": "epoch of the fence",
    "home": "the primary",
    "side": "the resource that serves",
    "sides": "the resource that serves for each primary",
    "from_resource": "the resource that served before",
    "mode": "how it was asked for",
    "reason": "why",
    "decision_id": "the recorded decision; standby explain replays it",
    "started_at": "when it began",
    "begun_at": "when it began",
    "ended_at": "when it ended",
    "phases": "how long each step took",
    "sinks": "what each sink has",
    "rto_objective_seconds": "the plan's RTO",
    "rto_seconds": "the plan's RTO",
    "rto_met": "whether it was within the RTO; null where that is unknown",
    "rpo_seconds": "the plan's RPO",
    "state": "how it stands",
    "forced": "guards that were forced",
    "next_action": "what to do",
    "replica": "how far the replica of the vault is",
    "commit": "the commit at its end",
    "seen": "what the applications of each sink see",
    "standby": "the standby",
    "compared_at": "when they were compared",
    "actor": "who did it",
    "by": "who did it",
    "passed": "whether it passed",
    "analyzers": "what became of the analyzers",
    "snapshot_taken_at": "when the snapshot was taken that it used",
    "cleanup": "what was removed",
    "evidence": "the file of the evidence",
    "key_id": "the key of the signature",
    "drills": "each drill",
    "where": "the file or place",
    "record": "what was recorded",
    "source": "copied from",
    "target": "copied to; the target",
    "copied": "files that were copied",
    "equal": "files that were there already",
    "size": "bytes in all",
    "becomes": "what the place is from now on",
    "analyzer": "id of the analyzer",
    "standby_analyzer": "its id at the standby",
    "target_analyzer": "its id at the target",
    "age_seconds": "age of the copy",
    "phase": "how far a failover is",
    "since": "since when",
    "at": "when",
    "on": "whether it is on",
    "changed_at": "when it was changed",
    "resource": "name of the resource",
    "observation": "what a look at it found",
    "name": "its name",
    "detail": "what was found",
    "tries": "how often it was tried",
    "created": "analyzers that were made",
    "deleted": "analyzers that were deleted",
    "left": "analyzers that could not be deleted",
    "kind": "its kind",
    "severity": "how serious it is",
    "reasons": "why, in sentences or with what to do",
    "requested_by": "who asked",
    "policy": "the plan's failover policy at that time",
    "automation": "the off switch at that time",
    "recorded_at": "when it was recorded",
    "version": "version of Standby that wrote it",
    "case": "everything the decision was made from",
    "decision": "the decision",
    "divergence": "how primary and standby differ",
    "count": "how many",
    "usable": "how many could serve",
    "fidelity": "how many are how true to their original",
    "copies": "age of each copy",
    "guard": "name of the guard",
    "verdict": "what was found",
    "text": "the same in words",
    "missed": "what is older than the RPO",
    "observer": "who looked",
    "checks": "each call, with its answer",
    "summary": "the same in a sentence",
    "outcome": "how it ended",
    "active": "the resource that serves",
    "points": "the recovery point of each analyzer",
    "rto": "how long a recovery is expected to take",
    "retirements": "models that end soon",
    "last_drill": "the last drill",
    "assessed_at": "when that was found",
    "bucket": "the kind of reason",
    "format": "number of the format",
    "sequence": "number of the line",
    "deed": "what was done",
    "action": "what would be done",
    "plans": "each plan, by its name",
    "epochs": "epoch of each plan whose runs wrote it",
    "verified_at": "when the copy was last compared with its source",
    "written_at": "when it was written",
    "report": "the report",
    "history": "ids of the vault",
    "signature": "the signature",
    "facts": "what the action was about",
    "until": "until when it counts",
    "primary": "the primary",
    "planned": "whether it was asked for as a planned one",
    "attempts": "how often its calls were tried",
    "deployment": "the deployment",
    "doubt": "why it may be less true than its original",
    "include": "globs of ids that are copied",
    "exclude": "globs of ids that are left out",
    "failed": "what failed",
    "model": "the model",
    "operation_id": "the operation at the target",
    "readable": "whether it could be read",
    "required": "whether a failover waits for it",
    "retires_at": "when it ends",
    "seen_at": "when it was seen",
    "snapshot_id": "id of the snapshot",
    "snapshots": "each snapshot",
    "status": "how it ended",
    "target_id": "id of a copy",
    "warnings": "what is right and may be unexpected",
}
"""What keys mean that say the same wherever they stand; what differs is said beside the field."""


class _Shape(BaseModel):
    """A document that a command makes in its place; a test holds it against what is printed."""

    model_config = ConfigDict(extra="forbid")


class Records(_Shape):
    """Whether the records of a plan are those that were written last."""

    epoch: int | None = Field(description="Epoch of the fence in the vault.")
    known_epoch: int | None = Field(description="The highest epoch that any witness knows.")
    witnesses: dict[str, int | None] = Field(description="The epoch that each witness knows.")
    snapshots: str = Field(description="What is wrong with the list of snapshots; empty where nothing is.")
    unread: list[str] = Field(description="Witnesses that could not be read.")
    problem: str = Field(description="What is lost or older; empty where nothing is.")
    next_action: str = Field(description="What to do about it.")


class PlannedItem(_Shape):
    """One analyzer at one target, and what would be done."""

    source: str
    target: str
    analyzer: str
    target_analyzer: str
    verdict: str
    action: str
    reason: str | None
    warnings: list[str]


class CheckedItem(PlannedItem):
    """One analyzer at one target, and where it differs."""

    differences: list[str] = Field(description="JSON paths that differ.")
    recovery_point: dict[str, Any] = Field(
        description="How old what the target has is, and whether that meets the RPO."
    )


class PlanDocument(_Shape):
    """What a replication would do."""

    plan: str = Field(description="Name of the plan.")
    made_at: str = Field(description="When the resources were looked at.")
    added_defaults: dict[str, dict[str, str]] = Field(description="Defaults that a run would add, by target.")
    items: list[PlannedItem] = Field(description="One for each analyzer and target, as in a report of replicate.")
    forecast: dict[str, Any] | None = Field(description="How long it is expected to take.")
    fence: Records = Field(description="Whether the records are those written last.")
    unseen: dict[str, str] = Field({}, description="Resources that could not be looked at, with the reason.")


class CheckDocument(_Shape):
    """Where the targets differ."""

    plan: str = Field(description="Name of the plan.")
    checked_at: str = Field(description="When the resources were looked at.")
    in_sync: bool = Field(description="Whether nothing differs.")
    rpo_seconds: float | None = Field(description="The plan's RPO.")
    items: list[CheckedItem] = Field(description="One for each analyzer and target.")
    fence: Records = Field(description="Whether the records are those written last.")
    unseen: dict[str, str] = Field({}, description="Resources that could not be looked at, with the reason.")


class StatusDocument(_Shape):
    """Whether each target could take over."""

    plan: str = Field(description="Name of the plan.")
    fence: Records = Field(description="Whether the records are those written last.")
    pairs: list[Readiness] = Field(description="Readiness of each primary and target.")
    sinks: list[SinkView] = Field(description="What the applications of each sink see.")
    told: dict[str, Told] = Field(description="What people were told of outages that are not settled, by resource.")
    concerns: list[Concern] = Field(description="What lessens the protection and cannot be seen by this command.")
    approvals: list[Approval] = Field(description="Approvals of a failover that wait for another person's.")
    replica: ReplicaState | None = Field(description="How far the replica of the vault is; null where there is none.")


class DoctorCheck(_Shape):
    """One thing that was checked."""

    subject: str = Field(description="What it is about: a resource, the vault, Prefect.")
    name: str = Field(description="What was checked.")
    well: bool | None = Field(description="Whether it is right; null where it could not be checked.")
    detail: str = Field(description="What was found.")
    next_action: str = Field(description="What to do.")
    warns: bool = Field(description="Whether it works and should be changed all the same.")


class DoctorDocument(_Shape):
    """What was checked."""

    checks: list[DoctorCheck] = Field(description="Each check, in order.")


class SnapshotsDocument(_Shape):
    """The snapshots of a plan."""

    plan: str = Field(description="Name of the plan.")
    snapshots: list[SnapshotEntry] = Field(description="Newest first.")
    fence: Records = Field(description="Whether the records are those written last.")
    verification: Verification | None = Field(description="What --verify found.")


class RestoreProposal(_Shape):
    """What a restore would do (--dry-run)."""

    snapshot: str = Field(description="Id of the snapshot.")
    taken_at: str = Field(description="When it was taken.")
    to: str = Field(description="The target.")
    totals: dict[str, int] = Field(description="How many would end in which way.")
    added_defaults: dict[str, str] = Field(description="Defaults that the target would get.")
    problems: list[str] = Field(description="What would go wrong.")
    items: list[RestoreItem] = Field(description="Each analyzer, with what would be done and how true it would be.")
    forecast: dict[str, Any] | None = Field(description="Seconds that it is expected to take: median and slow.")


class AlreadyServing(_Shape):
    """A failover to what serves already."""

    plan: str = Field(description="Name of the plan.")
    serving: str = Field(description="The resource that serves.")
    problems: list[str] = Field(description="What was gone on without.")


class AutomationDocument(_Shape):
    """The off switch of automatic failover."""

    format: int = Field(description="Format of the stored file.")
    on: bool = Field(description="Whether an outage may start a failover.")
    changed_at: str | None = Field(description="When it was set.")
    by: str = Field(description="Who set it.")
    reason: str = Field(description="Why.")
    where: str = Field(description="The file that says so.")
    plans: dict[str, Any] = Field(description="Whether each plan is `automatic`.")


class AuditPlan(_Shape):
    """The audit log of one plan."""

    model_config = ConfigDict(extra="allow")

    plan: str = Field(description="Name of the plan.")


class AuditDocument(_Shape):
    """Whether the audit logs are whole."""

    whole: bool = Field(description="Whether every line is as it was written, and none is missing.")
    key_id: str | None = Field(description="The key that signatures are checked with.")
    problems: list[str] = Field(description="What is wrong beside the logs.")
    plans: list[AuditPlan] = Field(description="Each plan, with its problems and, for show, its lines.")


class EvidenceDocument(_Shape):
    """Whether the evidence of a drill is genuine (--verify)."""

    where: str = Field(description="The file.")
    sha256: str = Field(description="Digest of the file.")
    genuine: bool = Field(description="Whether it is as it was written.")
    signed_with: str | None = Field(description="The key of its signature.")
    problems: list[str] = Field(description="What is wrong with it.")
    notes: list[str] = Field(description="What could not be checked.")
    report: DrillReport | None = Field(description="The report in it.")


class PagePair(_Shape):
    """The state of a pair."""

    home: str = Field(description="The primary.")
    target: str = Field(description="The target.")
    state: str = Field(description="ready, not ready or unknown.")


class PageDocument(_Shape):
    """What the page of one plan says."""

    file: str = Field(description="Where the page is.")
    plan: str = Field(description="Name of the plan.")
    pairs: list[PagePair] = Field(description="The state of each primary and target.")
    fence: Records = Field(description="Whether the records are those written last.")
    audit_whole: bool = Field(description="Whether the audit log is whole.")


class MovedDocument(Moved):
    """What was copied to another place."""

    next_action: str = Field(description="What to change in standby.yaml before anything else runs.")


class BootstrapDocument(_Shape):
    """What was saved on the Prefect server."""

    changes: list[str] = Field(description="Each change, in a sentence.")


class FileDocument(_Shape):
    """A file that was written."""

    file: str = Field(description="Its path.")


class GatewayDocument(_Shape):
    """Where the gateway serves; printed once it does."""

    url: str = Field(description="Its URL.")


class ErrorCause(_Shape):
    """What went wrong."""

    kind: str = Field(description="Name of the error, as in [Errors](errors.md).")
    cause: str = Field(description="What happened.")
    next_action: str = Field(description="What to do.")
    approvals: list[Approval] = Field(
        default=[], description="Only where a failover waits for another person: who approves it, and until when."
    )


class ErrorDocument(_Shape):
    """Printed instead, by any command, where it ends by an error."""

    error: ErrorCause = Field(description="The error.")


DOCUMENTS: dict[str, tuple[type[BaseModel], ...]] = {
    "doctor": (DoctorDocument,),
    "plan": (PlanDocument,),
    "replicate": (Report,),
    "check": (CheckDocument,),
    "status": (StatusDocument,),
    "snapshot": (SnapshotTaken,),
    "snapshots": (SnapshotsDocument,),
    "restore": (RestoreReport, RestoreProposal),
    "failover": (FailoverReport, AlreadyServing),
    "commit": (CommitReport,),
    "failback": (FailbackReport, DivergenceReport),
    "drill": (DrillReport, CleanUpReport, EvidenceDocument),
    "automation": (AutomationDocument,),
    "explain": (Explanation,),
    "audit": (AuditDocument,),
    "vault": (MovedDocument,),
    "report": (PageDocument,),
    "gateway": (GatewayDocument,),
    "bootstrap": (BootstrapDocument,),
}
"""What each command prints; a command that is not named prints no document of its own."""


def schema_of(model: type[BaseModel]) -> JsonObject:
    """Give the JSON schema of a document."""
    made: dict[str, JsonValue] = model.model_json_schema(mode="serialization")
    return {"$schema": DIALECT, **made}


def schemas() -> dict[str, JsonObject]:
    """Give the schema of each document by its name."""
    every: list[type[BaseModel]] = [ErrorDocument, *(model for models in DOCUMENTS.values() for model in models)]
    return {model.__name__: schema_of(model) for model in every}


def documents_page() -> str:
    """Write the page."""
    text = [
        "# JSON of commands",
        "With `--json` a command prints one JSON document on stdout and nothing else. A later version may add keys: "
        "ignore what you do not know. Times are UTC in ISO 8601, durations are seconds.",
    ]
    told: dict[str, type[BaseModel]] = {}
    for command, models in DOCUMENTS.items():
        text.append(f"## standby {command} {{#{command}}}")
        text.extend(part for model in models for part in _told(model, told))
    text += ["## Errors {#errors}", *_told(ErrorDocument, told), "## Parts {#parts}"]
    done = {model.__name__ for models in DOCUMENTS.values() for model in models} | {"ErrorDocument"}
    while missing := [name for name in told if name not in done]:
        for name in sorted(missing):
            done.add(name)
            text.extend(_fields(told[name], told))
    return "\n\n".join(text) + "\n"


def _told(model: type[BaseModel], told: dict[str, type[BaseModel]]) -> Iterator[str]:
    yield from _fields(model, told)
    yield f"[JSON schema](schemas/{model.__name__}.json)"


def _fields(model: type[BaseModel], told: dict[str, type[BaseModel]]) -> Iterator[str]:
    known = {each.__name__: each for each in _models_below(model)}
    told |= {
        name: known[name] for name in model.model_json_schema(mode="serialization").get("$defs", {}) if name in known
    }
    yield f"### {model.__name__} {{#{model.__name__.lower()}}}"
    yield as_sentence(summary(model))
    yield fields_table(model, "")


def fields_table(model: type[BaseModel], link: str = "json.md") -> str:
    """Write each key of a document with its type and its meaning; its parts have their sections on the page `link`."""
    schema: dict[str, Any] = model.model_json_schema(mode="serialization")
    properties = schema.get("properties") or schema["$defs"][model.__name__]["properties"]
    said = meanings(model)
    names = {field.serialization_alias or field.alias or name: name for name, field in model.model_fields.items()}
    computed = {name: as_sentence(summary(each.wrapped_property)) for name, each in model.model_computed_fields.items()}
    enums = {name: each for name, each in schema.get("$defs", {}).items() if "enum" in each}
    rows = []
    for key, value in properties.items():
        meaning = said.get(names.get(key, key)) or computed.get(key) or as_sentence(COMMON.get(key, ""))
        words = type_words(_inlined(value, enums), link) if not link else type_words(_without_parts(value, enums))
        rows.append((f"`{key}`", words, meaning))
    return table(("key", "type", "meaning"), rows)


def _without_parts(schema: Any, enums: dict[str, Any]) -> Any:
    """Put a mapping where a part has a section elsewhere."""
    if isinstance(schema, list):
        return [_without_parts(each, enums) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return enums.get(schema["$ref"].rsplit("/", 1)[-1], {"type": "object"})
    return {key: _without_parts(value, enums) for key, value in schema.items()}


def _inlined(schema: Any, enums: dict[str, Any]) -> Any:
    """Put the values of an enum where its name stands."""
    if isinstance(schema, list):
        return [_inlined(each, enums) for each in schema]
    if not isinstance(schema, dict):
        return schema
    name = str(schema.get("$ref", "")).rsplit("/", 1)[-1]
    return enums[name] if name in enums else {key: _inlined(value, enums) for key, value in schema.items()}


def _models_below(model: type[BaseModel]) -> Iterator[type[BaseModel]]:

    seen: list[type[BaseModel]] = [model]
    for each in seen:
        for field in each.model_fields.values():
            seen.extend(found for found in models_in(field.annotation) if found not in seen)
        yield each
