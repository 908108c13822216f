"""JSON, and the base of every model that is written or printed as a JSON document."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, JsonValue

__all__ = ["Document", "JsonObject", "JsonValue"]

JsonObject = dict[str, JsonValue]


class Document(BaseModel):
    """A value that crosses a boundary: frozen, read by a field's name or by the key that it has in JSON."""

    model_config = ConfigDict(frozen=True, validate_by_name=True, serialize_by_alias=True)
