"""Analyzers: facts of the service, how it completes a definition, and what a resource keeps and builds."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import yaml

from standby.document import JsonObject, JsonValue
from standby.emulator.answers import encode, invalid_request
from standby.emulator.faults import OperationFails, Twist

FEWEST_FRACTION_DIGITS = 5


def whole_seconds(moment: datetime) -> str:
    """Write a date as `createdAt` and `lastModifiedAt` have it: whole seconds and `Z` (recordings)."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}Z"


def with_fraction(moment: datetime) -> str:
    """Write a date as `expiresAt` has it: 5 to 7 fractional digits and `+00:00` (recordings)."""
    ticks = f"{moment.microsecond:06d}{secrets.randbelow(10)}"
    fraction = ticks[:FEWEST_FRACTION_DIGITS] + ticks[FEWEST_FRACTION_DIGITS:].rstrip("0")
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction}+00:00"


@dataclass(frozen=True)
class Stored:
    """One analyzer as the service shows it; a change makes another one, so its JSON is made only once."""

    body: Mapping[str, JsonValue]
    operation_id: str | None = None
    training: str = ""  # Which training with labels it has: empty for those that were there from the beginning

    @property
    def status(self) -> str:
        return str(self.body["status"])

    @cached_property
    def encoded(self) -> bytes:
        return encode(self.body)

    def changed(self, **fields: JsonValue) -> Stored:
        return replace(self, body={**self.body, **fields})


def merged(current: Mapping[str, JsonValue], patch: Mapping[str, JsonValue]) -> JsonObject:
    """Apply a JSON merge patch (RFC 7396) and give the result; `null` removes."""
    result = dict(current)
    for key, value in patch.items():
        before = result.get(key)
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = merged(as_object(before), value)
        else:
            result[key] = value
    return result


OperationStatus = Literal["Running", "Succeeded", "Failed"]


@dataclass(frozen=True)
class Operation:
    """One operation as it stands; its id is the `apim-request-id` of the call that began it (recordings)."""

    id: str
    analyzer_id: str
    api_version: str
    analyzer: Stored
    is_copy: bool
    twist: Twist | None
    status: OperationStatus = "Running"
    warnings: tuple[JsonValue, ...] = ()

    @property
    def encoded(self) -> bytes:
        """Its JSON: `result` is there from the first poll (recordings). Inferred: also where it failed."""
        head: JsonObject = {"id": self.id, "status": self.status}
        if self.status == "Failed" and isinstance(self.twist, OperationFails):
            head["error"] = {"code": self.twist.code, "message": self.twist.message}
        if self.warnings:
            head["warnings"] = list(self.warnings)
        return encode(head)[:-1] + b',"result":' + self.analyzer.encoded + b"}"


@dataclass(frozen=True)
class Result:
    """An analysis of documents, which ends at a moment of the monotonic clock, as both are answered."""

    api_version: str
    due: float
    running: bytes
    ended: bytes

    def encoded(self, now: float) -> bytes:
        return self.ended if now >= self.due else self.running


ApiVersion = Literal["2025-05-01-preview", "2025-11-01", "2026-06-01-preview"]
API_VERSIONS: tuple[ApiVersion, ...] = get_args(ApiVersion)
RELEASED: ApiVersion = "2025-11-01"
PREVIEW_2025: ApiVersion = "2025-05-01-preview"  # The api-version whose copy protocol hands a token to the caller

FACTS = yaml.safe_load((Path(__file__).parent / "service.yaml").read_text(encoding="utf-8"))
DEFAULT_EMBEDDING = "text-embedding-3-large"
"""Filled in where only a completion model was named (recording: classifier)."""

REGION_NAMES: Mapping[str, str] = FACTS["regions"]


def same_region(one: str, other: str) -> bool:
    """Say whether two spellings, such as `eastus` and `East US`, mean the same region."""
    return one.replace(" ", "").lower() == other.replace(" ", "").lower()


_IDS = sorted(f"{begins}{name}" for begins, names in FACTS["prebuilt"].items() for name in str(names).split())
PREBUILT_ANALYZERS: Mapping[str, Stored] = {
    name: Stored({"analyzerId": name, "description": f"Prebuilt analyzer {name}.", **FACTS["prebuilt_analyzer"]})
    for name in _IDS
}
"""In alphabetical order; the same objects serve every resource."""

ANALYZER_ID = re.compile(r"[a-zA-Z0-9._-]{1,64}")
MOST_TAGS = 10
LONGEST_TAG_KEY = 64
LONGEST_TAG_VALUE = 256
PREBUILT = "prebuilt-"

EXPERIMENTAL: JsonObject = {"_chunkingStrategy": "noChunking", "_semanticConfigMaxChunkTokens": "250"}
"""The service's own addition (recording: classifier). Inferred: it comes with content categories."""

OBJECTS = ("config", "fieldSchema", "models", "tags")


def check_id(analyzer_id: str) -> None:
    """Refuse an id that cannot be written to (REFERENCE, *The analyzer*)."""
    # Inferred: the inner code, and that prebuilt ids are refused like malformed ones.
    if not ANALYZER_ID.fullmatch(analyzer_id):
        raise invalid_request(
            "InvalidAnalyzerId", f"The analyzer id '{analyzer_id}' does not match {ANALYZER_ID.pattern}."
        )
    if analyzer_id.startswith(PREBUILT):
        raise invalid_request("InvalidAnalyzerId", f"Ids that begin with '{PREBUILT}' are reserved.")


def check_definition(sent: Mapping[str, JsonValue]) -> None:
    """Refuse a definition with parts of the wrong kind or too many tags. Inferred: the inner codes."""
    for part in OBJECTS:
        if not isinstance(sent.get(part) or {}, dict):
            raise invalid_request("InvalidParameter", f"'{part}' must be an object.")
    for part in ("models", "tags"):
        for key, value in as_object(sent.get(part)).items():
            if value is not None and not isinstance(value, str):
                raise invalid_request("InvalidParameter", f"'{part}.{key}' must be a string.")
    check_tags(as_object(sent.get("tags")))


def check_tags(tags: Mapping[str, JsonValue]) -> None:
    """Refuse more or longer tags than there may be (REFERENCE, *The analyzer*)."""
    if len(tags) > MOST_TAGS:
        raise invalid_request("InvalidTags", f"At most {MOST_TAGS} tags are allowed, and {len(tags)} were sent.")
    for key, value in tags.items():
        if len(key) > LONGEST_TAG_KEY or len(str(value)) > LONGEST_TAG_VALUE:
            raise invalid_request("InvalidTags", f"The tag '{key[:LONGEST_TAG_KEY]}' is too long.")


def completed(
    analyzer_id: str,
    sent: Mapping[str, JsonValue],
    base: Mapping[str, JsonValue],
    *,
    api_version: str,
    now: datetime,
    status: str,
) -> JsonObject:
    """Make the analyzer of a definition, with every default filled in (recordings: create, classifier)."""
    # The configuration of its base is inherited, and its own settings override it (product documentation). Read-only
    # and unknown fields of the definition are ignored.
    moment = whole_seconds(now)
    body: JsonObject = {"analyzerId": analyzer_id}
    body |= _present(sent, ("description", "tags"))
    body |= {"createdAt": moment, "lastModifiedAt": moment}
    body |= _present(sent, ("baseAnalyzerId",))
    settings = (*as_object(base.get("config")).items(), *as_object(sent.get("config")).items())
    said = {key: value for key, value in settings if value is not None and not key.startswith("_")}
    own: JsonObject = {"_experimental": EXPERIMENTAL} if said.get("contentCategories") else {}
    body["config"] = {**FACTS["config"], **said, **own}
    body |= _present(sent, ("fieldSchema", "dynamicFieldSchema", "knowledgeSources", "mode", "scenario"))
    location = sent.get("processingLocation") or "geography"
    body |= {
        "warnings": [],
        "status": status,
        "processingLocation": location,
        "supportedModels": FACTS["supported_models"],
    }
    models = _present(as_object(sent.get("models")))
    # Inferred: `2025-05-01-preview` names deployments, and which of them embeds cannot be guessed.
    if api_version != PREVIEW_2025 and "completion" in models:
        models = {**models, "embedding": models.get("embedding", DEFAULT_EMBEDDING)}
    return body | {"models": models} if models else body


def copied(source: Mapping[str, JsonValue], analyzer_id: str, now: datetime) -> JsonObject:
    """Copy an analyzer: all of its definition, and nothing of its history (recording: grant copy)."""
    moment = whole_seconds(now)
    dates = {"createdAt": moment, "lastModifiedAt": moment}
    return {**source, "analyzerId": analyzer_id, **dates, "warnings": [], "status": "creating"}


def echoed(analyzer_id: str, sent: Mapping[str, JsonValue]) -> JsonObject:
    """Make the odd answer to a PATCH: what was sent, and `undefined` for what was not (recording: patch)."""
    return {
        "analyzerId": analyzer_id,
        **_present(sent, ("description", "tags", "baseAnalyzerId")),
        "config": _present(as_object(sent.get("config"))),
        **_present(sent, ("fieldSchema", "dynamicFieldSchema", "knowledgeSources")),
        "warnings": [],
        "status": "undefined",
        "processingLocation": sent.get("processingLocation") or "geography",
        **_present(sent, ("models",)),
    }


def takes_time(sent: Mapping[str, JsonValue]) -> bool:
    """Say whether building it takes a while; without fields it is ready at once (recording: classifier)."""
    return any(sent.get(part) for part in ("fieldSchema", "dynamicFieldSchema", "knowledgeSources"))


def models_of(body: Mapping[str, JsonValue]) -> dict[str, str]:
    """Give an analyzer's models by role: names of models, or of deployments under `2025-05-01-preview`."""
    return {role: name for role, name in as_object(body.get("models")).items() if isinstance(name, str)}


def _present(values: Mapping[str, JsonValue], keys: Iterable[str] | None = None) -> JsonObject:
    return {key: values[key] for key in (keys or values) if values.get(key) is not None}


def as_object(value: JsonValue) -> JsonObject:
    return value if isinstance(value, dict) else {}
