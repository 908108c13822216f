"""The fingerprint: the meaning of an analyzer as one hash, and the differences between two analyzers.

Two definitions have the same meaning exactly when the service would treat them alike: read-only fields, the service's
own `_` keys, what it fills in where it is known to, signatures in URLs, nulls and key order carry none.

A base's configuration is inherited, and an analyzer's own settings override it. So a value that equals a default of
the service can be an override: it is left out only for a base that is known to have it, and always sent.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from standby.document import JsonObject, JsonValue, digest_of, digest_of_json
from standby.service.models import READ_ONLY

FIELD_MAPS = frozenset({"fields", "properties", "definitions", "$defs"})
NAMED_BY_USERS = FIELD_MAPS | {"contentCategories", "enumDescriptions", "tags"}
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

FILLED_IN: Mapping[JsonValue, Mapping[str, JsonValue]] = {"prebuilt-document": SERVICE_DEFAULTS}
"""What the service fills in, by base: of others nothing was recorded, and a custom one may override anything."""

RULES = "2"  # Begins each fingerprint; those of the first rules were a hash and nothing else
_EXACT_INTEGERS = 2**53


@dataclass(frozen=True)
class Difference:
    """One place where two definitions differ; `None` means absent."""

    path: str
    source: JsonValue
    target: JsonValue


Definition = Mapping[str, JsonValue]
FilledIn = Callable[[JsonValue], Mapping[str, JsonValue]]  # What the service fills in for a base


def sendable(definition: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Give what is sent to build an analyzer again: all that the service sent, but what only the service writes."""
    # A setting that is null is not sent either: nothing was set.
    return _analyzer(definition, None)


def writable(definition: Definition, ignore: Sequence[str] = (), text: bytes | None = None) -> dict[str, JsonValue]:
    """Reduce a definition to what it means, without paths such as `tags.projectId`; `*` is anything."""
    # Most have nothing that the slower steps would take out, as their texts show: JSON, but for what only the service
    # writes.
    shown = definition
    if text is None or (b"?" in text and _MAY_GIVE_ACCESS.search(text)):
        shown = without_access(shown)
    if text is None or b"null" in text:
        shown = _without_nulls(shown)
    return _but_ignored(_analyzer(shown, _filled_in), ignore)


def fingerprint(definition: Mapping[str, JsonValue], ignore: Sequence[str] = ()) -> str:
    """Hash the meaning of a definition: the number of the rules, and SHA-256 over its RFC 8785 form."""
    # Where these say something else than the first rules did, the hashes that those gave follow: stored fingerprints of
    # an earlier version are compared with them.
    shown, safe = _without_nulls(definition), _without_nulls(without_access(definition))
    hashed = [_but_ignored(_analyzer(safe, _filled_in), ignore)]
    for each in (safe,) if safe == shown else (safe, shown):
        # Every base was taken for one that fills in the same.
        earlier = _but_ignored(_analyzer(each, lambda _: SERVICE_DEFAULTS, "first analyzer"), ignore)
        if earlier not in hashed:
            hashed.append(earlier)
    return ":".join((RULES, *map(_hash, hashed)))


def present_fingerprint(definition: JsonObject, text: bytes, ignore: Sequence[str] = ()) -> str:
    """Hash the meaning of a definition by the present rules only, with the help of its text."""
    return f"{RULES}:{_hash(writable(definition, ignore, text))}"


def is_by_first_rules(stored: str) -> bool:
    """Say whether a fingerprint is of an earlier version, and can only be compared with one that has its hash, too."""
    return not stored.startswith(f"{RULES}:")


def same_meaning(one: str, other: str) -> bool:
    """Say whether two fingerprints are of one meaning; an earlier version may have stored either of them."""
    ours, theirs = one.split(":"), other.split(":")
    if ours[0] == theirs[0] == RULES:
        return ours[1] == theirs[1]
    return not set(ours).isdisjoint(theirs)


BY_PEOPLE = frozenset(  # Fields that no service fills in by itself
    {"baseAnalyzerId", "contentCategories", "description", "fieldSchema", "fields", "knowledgeSources", "tags"}
)

SETTINGS = frozenset(  # Fields that people set, and the service where they do not
    {"$*", "annotationFormat", "chartFormat", "definitions", "disable*", "dynamicFieldSchema", "enable*", "enum*"}
    | {"estimate*", "examples", "items", "locales", "method", "mode", "models", "name", "omitContent"}
    | {"processingLocation", "properties", "return*", "scenario", "segment*", "tableFormat", "trainingData", "type"}
)


@dataclass(frozen=True)
class Comparison:
    source: dict[str, JsonValue]
    target: dict[str, JsonValue]

    def differences(self) -> tuple[Difference, ...]:
        """List where they differ, by JSON path, in order of path."""
        return tuple(sorted(_compare("$", self.source, self.target), key=lambda difference: difference.path))

    def is_filled_in(self, *, as_copied: bool = False) -> bool:
        """Say whether the target has what the source has, and beside it only what its service filled in by itself."""
        # Where nobody changed it since it was copied, settings which people can make count as well.
        return _only_fills_in(self.source, self.target, "", BY_PEOPLE if as_copied else BY_PEOPLE | SETTINGS)


def comparison(source: Definition, target: Definition, ignore: Sequence[str] = ()) -> Comparison:
    return Comparison(writable(source, ignore), writable(target, ignore))


def _only_fills_in(source: JsonValue, target: JsonValue, key: str, by_people: frozenset[str]) -> bool:
    if isinstance(source, list) and isinstance(target, list) and len(source) == len(target):
        return all(_only_fills_in(left, right, "", by_people) for left, right in zip(source, target, strict=True))
    if not isinstance(source, dict) or not isinstance(target, dict):
        return isinstance(source, bool) is isinstance(target, bool) and source == target
    added, is_map = target.keys() - source.keys(), key in NAMED_BY_USERS
    if source.keys() - target.keys() or (added and is_map):
        return False
    if any(fnmatchcase(name, each) for name in added for each in by_people):
        return False
    # An object that is all new holds nothing that people set either.
    had = {name: {} if isinstance(target[name], dict) else target[name] for name in added} | source
    return all(_only_fills_in(had[name], value, "" if is_map else name, by_people) for name, value in target.items())


FIRST_RULES = {"analyzer": "first analyzer", "*": "first"} | dict.fromkeys(
    ("fields", "properties", "definitions", "contentCategories", "tags"), "first names"
)

PLACES: Mapping[str, Mapping[str, str]] = {  # What the parts of each part of a definition are; others are not known
    "analyzer": {"config": "config", "fieldSchema": "field", "dynamicFieldSchema": "field"}
    | dict.fromkeys(("knowledgeSources", "models"), "own"),
    "config": {"contentCategories": "categories", "*": "own"},
    "own": {"*": "own"},
    "categories": {"*": "category"},
    "category": {"analyzer": "analyzer"},
    "field": dict.fromkeys(FIELD_MAPS, "fields") | {"items": "field"},
    "fields": {"*": "field"},
    # As an earlier version took them, which knew few maps, and everything else for the service's own.
    "first analyzer": FIRST_RULES,
    "first": FIRST_RULES,
    "first names": {"*": "first"},
}

NAMES = frozenset({"categories", "fields", "first names"})  # Maps that people chose names in
UNSET = frozenset({"analyzer", "config", "own"})  # Parts whose fields are settings; where one is null, nothing was set


def _analyzer(
    definition: Mapping[str, JsonValue], filled_in: FilledIn | None, place: str = "analyzer"
) -> dict[str, JsonValue]:
    kept = _kept(dict(definition), place, filled_in)
    return kept if isinstance(kept, dict) else {}


def _kept(value: JsonValue, place: str, filled_in: FilledIn | None) -> JsonValue:
    """Leave out what only the service writes: read-only fields, and keys that begin with `_` in its own objects."""
    # Of what is not known as a place, all is kept. What is filled in is left out of those written out inside, too.
    if place not in PLACES:
        return value
    if isinstance(value, list):
        return [_kept(each, place, filled_in) for each in value]
    if not isinstance(value, dict):
        return value
    parts, is_analyzer = PLACES[place], place in {"analyzer", "first analyzer"}
    is_ours, is_unset, other = place not in NAMES, place in UNSET, parts.get("*", "")
    kept: dict[str, JsonValue] = {}
    for key, inner in value.items():
        if (is_ours and key.startswith("_")) or (is_unset and inner is None) or (is_analyzer and key in READ_ONLY):
            continue
        # Most are texts, of which there is nothing to leave out.
        kept[key] = inner if isinstance(inner, str) else _kept(inner, parts.get(key, other), filled_in)
    if filled_in is None or not is_analyzer:
        return kept
    return _without_empty(_without_defaults(kept, filled_in(kept.get("baseAnalyzerId"))))


def _filled_in(base: JsonValue) -> Mapping[str, JsonValue]:
    return FILLED_IN.get(base, {}) if isinstance(base, str) else {}


def _without_empty(fields: dict[str, JsonValue]) -> dict[str, JsonValue]:
    return {key: value for key, value in fields.items() if value not in ({}, [])}


def _without_nulls(shown: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    return {key: _but_nulls(inner) for key, inner in shown.items() if inner is not None}


def _but_nulls(value: JsonValue) -> JsonValue:
    if isinstance(value, list):
        return [_but_nulls(each) for each in value]
    return _without_nulls(value) if isinstance(value, dict) else value


def _without_defaults(value: dict[str, JsonValue], defaults: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    kept: dict[str, JsonValue] = {}
    for key, inner in value.items():
        default = defaults.get(key)
        if isinstance(default, dict) and isinstance(inner, dict):
            kept[key] = _without_defaults(inner, default)
        elif default is None or type(inner) is not type(default) or inner != default:
            kept[key] = inner
    return kept


def _but_ignored(kept: dict[str, JsonValue], ignore: Sequence[str]) -> dict[str, JsonValue]:
    return _without_empty(_without_ignored(kept, "", ignore)) if ignore else kept


def _without_ignored(fields: Mapping[str, JsonValue], place: str, ignore: Sequence[str]) -> dict[str, JsonValue]:
    def cut(value: JsonValue, path: str) -> JsonValue:
        if isinstance(value, list):
            return [cut(inner, f"{path}.{index}") for index, inner in enumerate(value)]
        return _without_ignored(value, f"{path}.", ignore) if isinstance(value, dict) else value

    paths = {key: f"{place}{key}" for key in fields}
    return {
        key: cut(value, paths[key])
        for key, value in fields.items()
        if not any(fnmatchcase(paths[key], rule) for rule in ignore)
    }


_ODD_NUMBERS = re.compile(r"[:,\[]-?[0-9]+(?:[.eE]|(?<=[0-9]{16}))")
_LAST_CHARACTERS = re.compile("[\ue000-\U0010ffff]")
"""What RFC 8785 may write, or sort, otherwise than `json.dumps`, or not at all; two are faster than one of both."""

_DUMPS = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def _hash(meaning: dict[str, JsonValue]) -> str:
    text = _DUMPS(meaning)
    is_plain = not _ODD_NUMBERS.search(text) and (text.isascii() or not _LAST_CHARACTERS.search(text))
    return digest_of(text.encode()) if is_plain else digest_of_json(_exact(meaning))


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
            left, right = source.get(key), target.get(key)
            # Nearly all are equal texts; of others there is more to say than `==` knows.
            if not (isinstance(left, str) and left == right):
                yield from _compare(f"{path}.{key}", left, right)
    elif isinstance(source, list) and isinstance(target, list) and len(source) == len(target):
        for index, (left, right) in enumerate(zip(source, target, strict=True)):
            yield from _compare(f"{path}[{index}]", left, right)
    elif isinstance(source, bool) is not isinstance(target, bool) or source != target:
        yield Difference(path, source, target)


_SIGNED_URL = re.compile(r"""(?i)(https?://[^\s?#'"<>]+)\?[^\s'"<>]*\bsig=[^\s'"<>]*""")
"""A URL that anybody who has it may use: its query holds a signature."""

_MAY_GIVE_ACCESS = re.compile(rb"(?i)sig=|containerUrl")  # Is wherever `without_access` takes anything out


def without_access(definition: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Give a definition whose URLs have no signature, and its containers' no query at all."""
    return {key: _cut(value, key) for key, value in definition.items()}


def _cut(value: JsonValue, key: str) -> JsonValue:
    if isinstance(value, dict):
        return {name: _cut(inner, "" if key in NAMED_BY_USERS else name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_cut(inner, key) for inner in value]
    if not isinstance(value, str) or "?" not in value:
        return value
    return value.partition("?")[0] if key == "containerUrl" else _SIGNED_URL.sub(r"\1", value)
