"""Analyzers to copy, to plan and to fingerprint."""

from __future__ import annotations

from standby.service.models import JsonObject, JsonValue

FIELDS = 12
"""What a document analyzer of some use extracts."""

COMPLETION = "gpt-4.1"
EMBEDDING = "text-embedding-3-large"

CREATED = "2026-01-05T08:00:00Z"
COPIED = "2026-01-06T08:00:00Z"


def name_of(number: int) -> str:
    """Give the id of one analyzer."""
    return f"analyzer-{number:04}"


def written(number: int) -> JsonObject:
    """Write an analyzer as its author does."""
    fields: JsonObject = {f"Field{field:02}": _field(field) for field in range(FIELDS)}
    return {
        "analyzerId": name_of(number),
        "description": f"Documents of kind {number}, as scanned or sent by mail",
        "baseAnalyzerId": "prebuilt-document",
        "models": {"completion": COMPLETION, "embedding": EMBEDDING},
        "tags": {"team": f"team-{number % 7}"},
        "config": {"returnDetails": True, "estimateFieldSourceAndConfidence": True},
        "fieldSchema": {"name": "document", "fields": fields},
    }


def listed(number: int, created: str = CREATED, **changes: JsonValue) -> JsonObject:
    """Write an analyzer as a resource lists it."""
    return {
        **written(number),
        "status": "ready",
        "createdAt": created,
        "lastModifiedAt": created,
        "warnings": [],
        **changes,
    }


def _field(number: int) -> JsonObject:
    kind = ("string", "number", "date")[number % 3]
    return {"type": kind, "method": "extract", "description": f"What is said of matter {number}"}
