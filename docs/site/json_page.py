"""The page about JSON: what each command prints with `--json`, with its keys and its schema."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from docs.site.configuration import models_in
from docs.site.documents import DOCUMENTS, ErrorDocument
from docs.site.markdown import as_sentence, meanings, summary, table, type_words
from standby.document import JsonObject

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
    "sequence": "number of the line",
    "deed": "what was done",
    "action": "what would be done",
    "epochs": "epoch of each plan whose runs wrote it",
    "written_at": "when it was written",
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


def schemas() -> dict[str, JsonObject]:
    """Give the schema of each document by its name."""
    every: list[type[BaseModel]] = [ErrorDocument, *(model for models in DOCUMENTS.values() for model in models)]
    return {each.__name__: {"$schema": DIALECT, **each.model_json_schema(mode="serialization")} for each in every}


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
    yield fields_table(model, has_sections=True)


def fields_table(model: type[BaseModel], *, has_sections: bool = False) -> str:
    """Write each key of a document with its type and its meaning; its parts may have sections on the same page."""
    schema: dict[str, Any] = model.model_json_schema(mode="serialization")
    properties = schema.get("properties") or schema["$defs"][model.__name__]["properties"]
    said = meanings(model)
    names = {field.serialization_alias or field.alias or name: name for name, field in model.model_fields.items()}
    computed = {name: as_sentence(summary(each.wrapped_property)) for name, each in model.model_computed_fields.items()}
    enums = {name: each for name, each in schema.get("$defs", {}).items() if "enum" in each}
    rows = []
    for key, value in properties.items():
        meaning = said.get(names.get(key, key)) or computed.get(key) or as_sentence(COMMON.get(key, ""))
        words = type_words(_put_in(value, enums, None if has_sections else {"type": "object"}))
        rows.append((f"`{key}`", words, meaning))
    return table(("key", "type", "meaning"), rows)


def _put_in(schema: Any, parts: dict[str, Any], otherwise: Any) -> Any:
    """Put a part where its name stands; one that is not among them stays named, or `otherwise` stands for it."""
    if isinstance(schema, list):
        return [_put_in(each, parts, otherwise) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return parts.get(schema["$ref"].rsplit("/", 1)[-1], otherwise or schema)
    return {key: _put_in(value, parts, otherwise) for key, value in schema.items()}


def _models_below(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    seen: list[type[BaseModel]] = [model]
    for each in seen:
        for field in each.model_fields.values():
            seen.extend(found for found in models_in(field.annotation) if found not in seen)
        yield each
