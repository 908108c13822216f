"""Fields that a block has in common with a model of the library."""

from __future__ import annotations

from copy import copy
from typing import Any

from pydantic import BaseModel, HttpUrl

DOCUMENTATION = HttpUrl(
    "https://learn.microsoft.com/azure/ai-services/content-understanding/how-to/disaster-recovery"
)
"""The page of the product that the blocks' forms link to."""


def same_as(model: type[BaseModel], name: str) -> Any:
    """Take over a field's description, default and limits, so that they stand in one place."""
    return copy(model.model_fields[name])
