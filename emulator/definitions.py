"""Facts of the service (api-versions, regions, models, prebuilt analyzers), and how it completes a definition."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal, get_args

from emulator.analyzers import Stored, whole_seconds
from emulator.answers import invalid_request
from standby.document import JsonObject, JsonValue

ApiVersion = Literal["2025-05-01-preview", "2025-11-01", "2026-06-01-preview"]
API_VERSIONS: tuple[ApiVersion, ...] = get_args(ApiVersion)
RELEASED: ApiVersion = "2025-11-01"
PREVIEW_2025: ApiVersion = "2025-05-01-preview"  # The api-version whose copy protocol hands a token to the caller

SUPPORTED_MODELS: JsonObject = {
    "completion": ["gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano", "gpt-5.2"],
    "embedding": ["text-embedding-3-small", "text-embedding-3-large", "text-embedding-ada-002"],
}
"""As the recordings of 2026 have them; those of 2025 lack `gpt-5.2`."""

DEFAULT_EMBEDDING = "text-embedding-3-large"
"""Filled in where only a completion model was named (recording: classifier)."""

REGION_NAMES = {
    "australiaeast": "Australia East",
    "eastus": "East US",
    "eastus2": "East US 2",
    "japaneast": "Japan East",
    "northeurope": "North Europe",
    "southcentralus": "South Central US",
    "southeastasia": "Southeast Asia",
    "swedencentral": "Sweden Central",
    "uksouth": "UK South",
    "westeurope": "West Europe",
    "westus": "West US",
    "westus3": "West US 3",
}
"""As the header `x-ms-region` spells them (recordings)."""


def same_region(one: str, other: str) -> bool:
    """Say whether two spellings, such as `eastus` and `East US`, mean the same region."""
    return _plain_region(one) == _plain_region(other)


def _plain_region(region: str) -> str:
    return region.replace(" ", "").lower()


_GENERAL = (
    "audio audioSearch callCenter document documentFields documentFieldSchema documentSearch image "
    "imageSearch layout layoutWithFigures read video videoSearch videoShot"
)
_BUSINESS = (
    "bankStatement.us check.us contract creditCard creditMemo healthInsuranceCard.us idDocument "
    "idDocument.generic idDocument.passport invoice marriageCertificate.us payStub.us procurement "
    "purchaseOrder receipt receipt.generic receipt.hotel utilityBill"
)
_MORTGAGE = "1003 1004 1005 1008 closingDisclosure"
_TAX = (
    "1040 1040Schedule1 1040Schedule2 1040Schedule3 1040Schedule8812 1040ScheduleA 1040ScheduleB "
    "1040ScheduleC 1040ScheduleD 1040ScheduleE 1040ScheduleEIC 1040ScheduleF 1040ScheduleH 1040ScheduleJ "
    "1040ScheduleR 1040ScheduleSE 1040Senior 1095A 1095C 1098 1098E 1098T 1099A 1099B 1099C 1099CAP "
    "1099Combo 1099DIV 1099G 1099H 1099INT 1099K 1099LS 1099LTC 1099MISC 1099NEC 1099OID 1099PATR 1099Q "
    "1099QA 1099R 1099S 1099SA 1099SB 1099SSA w2 w4"
)

_IDS = sorted(
    [f"prebuilt-{name}" for name in f"{_GENERAL} {_BUSINESS}".split()]
    + ["prebuilt-mortgage.us", "prebuilt-tax.us", "prebuilt-tax.us.1099"]
    + [f"prebuilt-mortgage.us.{form}" for form in _MORTGAGE.split()]
    + [f"prebuilt-tax.us.{form}" for form in _TAX.split()]
)


def _prebuilt(analyzer_id: str) -> Stored:
    return Stored(
        {
            "analyzerId": analyzer_id,
            "description": f"Prebuilt analyzer {analyzer_id}.",
            "createdAt": "2025-11-01T00:00:00Z",
            "lastModifiedAt": "2025-11-01T00:00:00Z",
            "config": {},
            "warnings": [],
            "status": "ready",
            "processingLocation": "geography",
            "models": {},
        }
    )


PREBUILT_ANALYZERS: Mapping[str, Stored] = {analyzer_id: _prebuilt(analyzer_id) for analyzer_id in _IDS}
"""In alphabetical order; the same objects serve every resource."""

ANALYZER_ID = re.compile(r"[a-zA-Z0-9._-]{1,64}")
MOST_TAGS = 10
LONGEST_TAG_KEY = 64
LONGEST_TAG_VALUE = 256
PREBUILT = "prebuilt-"

CONFIG_DEFAULTS: Mapping[str, JsonValue] = {
    "returnDetails": False,
    "enableOcr": True,
    "enableLayout": True,
    "enableFormula": True,
    "enableFigureDescription": False,
    "enableFigureAnalysis": False,
    "chartFormat": "chartjs",
    "tableFormat": "html",
    "enableSegment": False,
    "omitContent": False,
    "segmentPerPage": False,
    "annotationFormat": "markdown",
}
"""Filled in where nothing was said (recordings: create with labels, grant copy)."""

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
        for key, value in _object(sent.get(part)).items():
            if value is not None and not isinstance(value, str):
                raise invalid_request("InvalidParameter", f"'{part}.{key}' must be a string.")
    check_tags(_object(sent.get("tags")))


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
    body["config"] = _completed_config(_object(sent.get("config")), _object(base.get("config")))
    body |= _present(sent, ("fieldSchema", "dynamicFieldSchema", "knowledgeSources", "mode", "scenario"))
    location = sent.get("processingLocation") or "geography"
    body |= {"warnings": [], "status": status, "processingLocation": location, "supportedModels": SUPPORTED_MODELS}
    models = _completed_models(_present(_object(sent.get("models"))), api_version)
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
        "config": _present(_object(sent.get("config"))),
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
    return {role: name for role, name in _object(body.get("models")).items() if isinstance(name, str)}


def _completed_config(sent: Mapping[str, JsonValue], inherited: Mapping[str, JsonValue]) -> JsonObject:
    settings = (*inherited.items(), *sent.items())
    said = {key: value for key, value in settings if value is not None and not key.startswith("_")}
    own: JsonObject = {"_experimental": EXPERIMENTAL} if said.get("contentCategories") else {}
    return {**CONFIG_DEFAULTS, **said, **own}


def _completed_models(sent: JsonObject, api_version: str) -> JsonObject:
    # Inferred: `2025-05-01-preview` names deployments, and which of them embeds cannot be guessed.
    if api_version == PREVIEW_2025 or "completion" not in sent:
        return sent
    return {**sent, "embedding": sent.get("embedding", DEFAULT_EMBEDDING)}


def _present(values: Mapping[str, JsonValue], keys: Iterable[str] | None = None) -> JsonObject:
    return {key: values[key] for key in (keys or values) if values.get(key) is not None}


def _object(value: JsonValue) -> JsonObject:
    return value if isinstance(value, dict) else {}
