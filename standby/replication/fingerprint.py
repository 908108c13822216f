"""The fingerprint: the meaning of an analyzer as one hash, and the differences between two analyzers.

Two definitions have the same fingerprint exactly when the service would treat them alike: read-only fields,
the service's own `_` keys, its defaults written out, nulls and key order carry no meaning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from standby.document import JsonValue, digest_of_json

READ_ONLY = frozenset({"analyzerId", "status", "createdAt", "lastModifiedAt", "warnings", "supportedModels"})
"""Fields only the service writes (REFERENCE, *The analyzer*)."""

NAMED_BY_USERS = frozenset({"fields", "properties", "definitions", "contentCategories", "tags"})
"""Maps whose keys the analyzer's author chose: a leading `_` there is a name, not the service's mark."""

SERVICE_DEFAULTS: Mapping[str, JsonValue] = {
    "processingLocation": "geography",
    "models": {"embedding": "text-embedding-3-large"},
    "config": {
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
    },
}
"""Values that the service fills in where a definition has none (recordings: create, create with labels, classifier)."""

_EXACT_INTEGERS = 2**53


@dataclass(frozen=True)
class Difference:
    """One place where two definitions differ; `None` stands for absent."""

    path: str
    source: JsonValue
    target: JsonValue


def writable(definition: Mapping[str, JsonValue], ignore: Sequence[str] = ()) -> dict[str, JsonValue]:
    """Reduce a definition to what its author decided, without paths such as `tags.projectId`; `*` is anything."""
    kept = _authored(definition)
    if not ignore:
        return kept
    return _without_empty(
        {key: _without_ignored(value, key, ignore) for key, value in kept.items() if not _is_ignored(key, ignore)}
    )


def fingerprint(definition: Mapping[str, JsonValue], ignore: Sequence[str] = ()) -> str:
    """Hash the meaning of a definition: SHA-256 in hex over its RFC 8785 form."""
    return digest_of_json(_exact(writable(definition, ignore)))


def differences(
    source: Mapping[str, JsonValue], target: Mapping[str, JsonValue], ignore: Sequence[str] = ()
) -> tuple[Difference, ...]:
    """List where two definitions differ in meaning, by JSON path, in order of path."""
    found = _compare("$", writable(source, ignore), writable(target, ignore))
    return tuple(sorted(found, key=lambda difference: difference.path))


def _authored(definition: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    own = {
        key: _stripped(value, key)
        for key, value in definition.items()
        if key not in READ_ONLY and not key.startswith("_") and value is not None
    }
    return _without_empty(_without_defaults(own, SERVICE_DEFAULTS))


def _without_empty(fields: dict[str, JsonValue]) -> dict[str, JsonValue]:
    return {key: value for key, value in fields.items() if value not in ({}, [])}


def _stripped(value: JsonValue, key: str) -> JsonValue:
    if isinstance(value, list):
        return [_stripped(element, "") for element in value]
    if not isinstance(value, dict):
        return value
    if key == "analyzer":
        return _authored(value)
    return {
        name: _stripped(inner, "" if key in NAMED_BY_USERS else name)
        for name, inner in value.items()
        if inner is not None and (key in NAMED_BY_USERS or not name.startswith("_"))
    }


def _without_defaults(value: dict[str, JsonValue], defaults: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    kept: dict[str, JsonValue] = {}
    for key, inner in value.items():
        default = defaults.get(key)
        if isinstance(default, dict) and isinstance(inner, dict):
            kept[key] = _without_defaults(inner, default)
        elif default is None or type(inner) is not type(default) or inner != default:
            kept[key] = inner
    return kept


def _without_ignored(value: JsonValue, path: str, ignore: Sequence[str]) -> JsonValue:
    if isinstance(value, list):
        return [_without_ignored(inner, f"{path}.{index}", ignore) for index, inner in enumerate(value)]
    if not isinstance(value, dict):
        return value
    return {
        key: _without_ignored(inner, f"{path}.{key}", ignore)
        for key, inner in value.items()
        if not _is_ignored(f"{path}.{key}", ignore)
    }


def _is_ignored(path: str, ignore: Sequence[str]) -> bool:
    return any(fnmatchcase(path, rule) for rule in ignore)


def _exact(value: JsonValue) -> JsonValue:
    # RFC 8785 numbers are doubles: an integer beyond them would be refused, or lose its last digits.
    if isinstance(value, dict):
        return {key: _exact(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_exact(inner) for inner in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _EXACT_INTEGERS:
        return {"integer": str(value)}
    return value


def _compare(path: str, source: JsonValue, target: JsonValue) -> Iterator[Difference]:
    if isinstance(source, dict) and isinstance(target, dict):
        for key in source.keys() | target.keys():
            yield from _compare(f"{path}.{key}", source.get(key), target.get(key))
    elif isinstance(source, list) and isinstance(target, list) and len(source) == len(target):
        for index, (left, right) in enumerate(zip(source, target, strict=True)):
            yield from _compare(f"{path}[{index}]", left, right)
    elif isinstance(source, bool) is not isinstance(target, bool) or source != target:
        yield Difference(path, source, target)


_SIGNED_URL = re.compile(r"""(?i)(https?://[^\s?#'"<>]+)\?[^\s'"<>]*\bsig=[^\s'"<>]*""")
"""A URL that anybody who has it may use: its query holds a signature."""


def without_access(definition: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Give a definition whose URLs have no signature, and its containers' no query at all."""
    return {key: _cut(value, key) for key, value in definition.items()}


def _cut(value: JsonValue, key: str) -> JsonValue:
    if isinstance(value, dict):
        return {name: _cut(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_cut(inner, key) for inner in value]
    if not isinstance(value, str):
        return value
    return value.partition("?")[0] if key == "containerUrl" else _SIGNED_URL.sub(r"\1", value)
