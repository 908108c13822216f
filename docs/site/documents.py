"""The documents that commands print with `--json`: those that a command makes in its place, and which prints which."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from standby.recovery.activation.seen import SinkView
from standby.recovery.concerns import Concern
from standby.recovery.decision.input import Approval
from standby.recovery.decision.record import Explanation
from standby.recovery.drill.cleanup import CleanUpReport
from standby.recovery.drill.findings import DrillReport
from standby.recovery.failback.report import DivergenceReport, FailbackReport
from standby.recovery.failover.attendance import Told
from standby.recovery.failover.report import CommitReport, FailoverReport
from standby.recovery.proof.records import CompareReport
from standby.recovery.readiness.document import Readiness
from standby.recovery.snapshots.fidelity import RestoreItem
from standby.recovery.snapshots.restore import RestoreReport
from standby.recovery.snapshots.snapshot import SnapshotEntry, Verification
from standby.recovery.snapshots.take import SnapshotTaken
from standby.replication.report import Report
from standby.vault.replica import ReplicaState
from standby.vault.role import Moved


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
    "compare": (CompareReport,),
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
