"""The page about the vault: each file, what it says, and its format with every field."""

from __future__ import annotations

from pydantic import BaseModel

from docs.site.json_page import fields_table
from docs.site.markdown import as_sentence, summary, table
from standby.fencing import Fence, LastFailover
from standby.recovery.activation.seen import SinkRecord
from standby.recovery.activation.sinks import ActiveMaps
from standby.recovery.chain import AuditHead, AuditLine
from standby.recovery.concerns import Concerns
from standby.recovery.decision.automation import Automation
from standby.recovery.decision.input import Approvals
from standby.recovery.decision.record import DecisionRecord
from standby.recovery.drill.cleanup import OpenDrills
from standby.recovery.drill.findings import Evidence
from standby.recovery.drill.sandbox import Published
from standby.recovery.failback.failback import FailbackProgress
from standby.recovery.failover.attendance import Evaluation
from standby.recovery.failover.state import SwitchRecord
from standby.recovery.proof.records import Baseline, Proofs
from standby.recovery.readiness.document import LastStates
from standby.recovery.runs import Durations, LastRuns, LatestDrills
from standby.recovery.snapshots.manifest import IndexEntry, Manifest
from standby.replication import ledger
from standby.replication.trained import CopyBegun
from standby.vault.documents import Stored
from standby.vault.role import Role
from standby.vault.signing import SealFile

FILES: tuple[tuple[str, str, tuple[type[BaseModel], ...]], ...] = (
    ("role.json", "What this place is: the vault, or its replica.", (Role,)),
    ("automation.json", "The off switch of automatic failover.", (Automation,)),
    ("recovery/PLAN/fence.json", "Which resource serves for each primary, under which epoch.", (Fence,)),
    (
        "recovery/PLAN/switch.json",
        "The last failover, step by step, so that it can be resumed or rolled back.",
        (SwitchRecord, LastFailover),
    ),
    ("recovery/PLAN/sinks.json", "What each sink acknowledged last.", (SinkRecord,)),
    ("recovery/PLAN/concerns.json", "What lessens the protection now, and what people were told of it.", (Concerns,)),
    ("recovery/PLAN/approvals.json", "Who has approved a failover that has not begun.", (Approvals,)),
    ("recovery/PLAN/evaluation.json", "The run that attends to outages of the plan.", (Evaluation,)),
    ("recovery/PLAN/failback-PRIMARY.json", "A failback that has begun and has not ended.", (FailbackProgress,)),
    ("recovery/PLAN/readiness.json", "The state of each target at the last check.", (LastStates,)),
    ("recovery/PLAN/proofs.json", "What the last proof by document of each copy came to.", (Proofs,)),
    (
        "recovery/PLAN/baselines/PRIMARY/ANALYZER.json",
        "What an analyzer answered to the samples, as digests only.",
        (Baseline,),
    ),
    ("readiness/PLAN.json", "What the last run of each analyzer and pair came to.", (LastRuns,)),
    ("durations/PLAN.json", "How long copies, restores and failovers took of late.", (Durations,)),
    ("decisions/ID.json", "A decision about a failover, with everything it was made from.", (DecisionRecord,)),
    ("audit/PLAN.jsonl", "The audit log: one line for each action, chained by digests.", (AuditLine,)),
    ("audit/PLAN.head.json", "Which line of the audit log is the newest.", (AuditHead,)),
    ("snapshots/PLAN/index.jsonl", "The list of snapshots, one a line.", (IndexEntry,)),
    (
        "snapshots/PLAN/ID.json",
        "The manifest of a snapshot: each analyzer with the digest of its definition.",
        (Manifest,),
    ),
    ("snapshots/PLAN/ID.sig, drills/…/evidence.json.sig", "The signature of the file of the same name.", (SealFile,)),
    ("samples/PLAN/ANALYZER/NAME", "A sample document, where `samples` has no `path`; people put it there.", ()),
    ("objects/PLAN/XX/DIGEST", "A definition, as the service gave it, under its SHA-256.", ()),
    (
        "ledger/API_VERSION/SOURCE_TARGET.jsonl",
        "What was last copied from what, one analyzer a line, after a head.",
        (ledger._Head, ledger._Line),
    ),
    ("rebuilt/RESOURCE.json", "What a restore rebuilt at a resource, and is not trained.", (ledger._RebuiltList,)),
    ("begun/API_VERSION/SOURCE_TARGET/ID.json", "A copy that is about to be asked for.", (CopyBegun,)),
    ("replaced/RESOURCE/ID/TIME.json", "The definition of an analyzer that was overwritten.", ()),
    ("drills/PLAN/open.json", "Drills that have begun and are not proven clean.", (OpenDrills,)),
    ("drills/PLAN/latest.json", "The last drill of each target.", (LatestDrills,)),
    ("drills/PLAN/RUN/evidence.json, evidence.html", "What a drill proved, and the same as a page.", (Evidence,)),
    ("drills/PLAN/RUN/published.json", "What the drill published to its own sink.", (Published,)),
    ("report/PLAN.html", "The page of `standby report`, with `report: true`.", ()),
    ("displaced/…", "Files that a replica had and the vault had not, kept when it followed another vault.", ()),
)
"""Each file with what it says and the models that read it; a name in capitals stands for one."""

OF_SINKS: tuple[type[BaseModel], ...] = (ActiveMaps,)
"""Files outside the vault: the active map has a page of its own."""


def documented() -> set[type[Stored]]:
    """Give the models of stored files that are on the page."""
    models = [*OF_SINKS, *(model for _, _, models in FILES for model in models)]
    return {model for model in models if issubclass(model, Stored)}


def vault_files_page() -> str:
    """Write the page."""
    text = [
        "# Files in the vault",
        "Each file says the number of its `format`, and a version reads the last three of each. A file of a newer "
        "version is refused, never overwritten. Keys that are not known are lost: do not add your own. Nothing here "
        "is a secret; who can write here can decide what serves ([Threat model](../explanation/threat-model.md)).",
        table(
            ("file", "what it says", "format"),
            (
                (f"`{path}`", says, ", ".join(f"[{_name(model)}](#{_name(model).lower()})" for model in models))
                for path, says, models in FILES
            ),
        ),
    ]
    for path, says, models in FILES:
        for model in models:
            number = model.model_fields["format"].default if "format" in model.model_fields else 1
            about = as_sentence(summary(model)) or says
            text += [f"## {_name(model)} {{#{_name(model).lower()}}}", f"`{path}`, format `{number}`. {about}"]
            text.append(fields_table(model))
    return "\n\n".join(text) + "\n"


def _name(model: type[BaseModel]) -> str:
    return {"_Head": "LedgerHead", "_Line": "LedgerLine", "_RebuiltList": "RebuiltList"}.get(
        model.__name__, model.__name__
    )
