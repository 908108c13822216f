"""Definitions as objects: canonical JSON of what the service sent, without what would give access."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from standby.service.models import JsonValue

_SIGNED_URL = re.compile(r"""(?i)(https?://[^\s?#'"<>]+)\?[^\s'"<>]*\bsig=[^\s'"<>]*""")
"""A URL that whoever has it may use: its query holds a signature."""

_CONTAINER = "containerUrl"


def without_access(definition: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Give a definition whose URLs have no signature, and its containers' no query at all."""
    return {key: _cut(value, key) for key, value in definition.items()}


def to_object(definition: Mapping[str, JsonValue]) -> bytes:
    """Give the bytes of a definition's object; equal definitions have equal ones."""
    return json.dumps(definition, sort_keys=True, separators=(",", ":")).encode()


def from_object(content: bytes) -> dict[str, JsonValue]:
    """Give the definition of an object whose digest was checked."""
    found: dict[str, JsonValue] = json.loads(content)
    return found


def _cut(value: JsonValue, key: str) -> JsonValue:
    if isinstance(value, dict):
        return {name: _cut(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_cut(inner, key) for inner in value]
    if not isinstance(value, str):
        return value
    return value.partition("?")[0] if key == _CONTAINER else _SIGNED_URL.sub(r"\1", value)
