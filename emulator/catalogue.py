"""What the service knows by itself: api-versions, models, regions."""

from __future__ import annotations

from typing import Literal, get_args

from standby.service.models import JsonObject

ApiVersion = Literal["2025-05-01-preview", "2025-11-01", "2026-06-01-preview"]

API_VERSIONS: tuple[ApiVersion, ...] = get_args(ApiVersion)

RELEASED: ApiVersion = "2025-11-01"

SEED_PAGE: ApiVersion = "2025-05-01-preview"
"""The api-version that speaks the copy protocol of the disaster-recovery page."""

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
