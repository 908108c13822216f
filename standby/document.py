"""JSON, and the bases of the models that are read from people or written as JSON."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import rfc8785
from pydantic import AfterValidator, BaseModel, ConfigDict, JsonValue

__all__ = ["Document", "JsonObject", "JsonValue", "LocalPath", "Strict", "digest_of", "digest_of_json", "from_home"]

JsonObject = dict[str, JsonValue]


def from_home(path: Path) -> Path:
    """Put the home folder of who runs this where a path begins with `~`, or that of somebody else for `~name`."""
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError(f"begins with {path.parts[0]}, and nobody of that name has a home folder here") from None


LocalPath = Annotated[Path, AfterValidator(from_home)]  # A path of this machine as people write it


class Document(BaseModel):
    """A value that crosses a boundary: frozen, read by a field's name or by the key that it has in JSON."""

    model_config = ConfigDict(frozen=True, validate_by_name=True, serialize_by_alias=True)


class Strict(BaseModel):
    """A part of what an operator writes: a misspelt key is an error, and no error quotes what was written."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def digest_of(content: bytes) -> str:
    """Give the digest that names a file and proves its content: SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()


def digest_of_json(value: JsonValue) -> str:
    """Give the SHA-256 of a value's canonical JSON (RFC 8785): the same however it was written."""
    return digest_of(rfc8785.dumps(value))
