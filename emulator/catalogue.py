"""What the service knows by itself: api-versions, models, regions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from emulator.analyzers import Stored
from standby.document import JsonObject

ApiVersion = Literal["2025-05-01-preview", "2025-11-01", "2026-06-01-preview"]

API_VERSIONS: tuple[ApiVersion, ...] = get_args(ApiVersion)

RELEASED: ApiVersion = "2025-11-01"

PREVIEW_2025: ApiVersion = "2025-05-01-preview"
"""The api-version whose copy protocol hands a token to the caller."""

SUPPORTED_MODELS: JsonObject = {
    "completion": ["gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano", "gpt-5.2"],
    "embedding": ["text-embedding-3-small", "text-embedding-3-large", "text-embedding-ada-002"],
}
"""As the recordings of 2026 have them; those of 2025 lack `gpt-5.2`."""

DEFAULT_EMBEDDING = "text-embedding-3-large"
"""Filled in where only a completion model was named (recording: classifier)."""

_REGION_NAMES = {
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


def region_name(region: str) -> str:
    """Give a region's name as the header `x-ms-region` spells it, such as `East US` (recordings)."""
    return _REGION_NAMES.get(region, region)


def same_region(one: str, other: str) -> bool:
    """Say whether two spellings, such as `eastus` and `East US`, mean the same region."""
    return _plain(one) == _plain(other)


def _plain(region: str) -> str:
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
