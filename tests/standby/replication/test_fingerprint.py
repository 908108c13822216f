"""Same fingerprint, same meaning: nothing meaningful goes unseen, nothing meaningless is reported."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.replication.fingerprint import READ_ONLY, SERVICE_DEFAULTS, differences, fingerprint, writable

NAMES = st.text("abcdefgh", min_size=1, max_size=6)
SCALARS = st.booleans() | st.integers(-(10**20), 10**20) | st.floats(-1e6, 1e6) | st.text(max_size=8)

FIELDS = st.dictionaries(
    NAMES,
    st.fixed_dictionaries(
        {"type": st.sampled_from(["string", "number", "date"]), "description": st.text(max_size=12)},
        optional={"method": st.sampled_from(["extract", "generate", "classify"]), "enum": st.lists(NAMES)},
    ),
    min_size=1,
    max_size=4,
)
ANALYZERS = st.fixed_dictionaries(
    {
        "analyzerId": NAMES,
        "baseAnalyzerId": st.sampled_from(["prebuilt-document", "prebuilt-audio", "mine"]),
        "description": st.text(min_size=1, max_size=20),
        "fieldSchema": st.fixed_dictionaries({"name": NAMES, "fields": FIELDS}),
        "config": st.fixed_dictionaries(
            {"returnDetails": st.booleans(), "estimateFieldSourceAndConfidence": st.booleans()},
            optional={
                "contentCategories": st.dictionaries(
                    NAMES,
                    st.fixed_dictionaries({"description": NAMES}, optional={"analyzerId": NAMES}),
                    min_size=1,
                    max_size=3,
                )
            },
        ),
    },
    optional={
        "tags": st.dictionaries(NAMES, NAMES, min_size=1, max_size=3),
        "models": st.fixed_dictionaries({"completion": st.sampled_from(["gpt-4.1", "gpt-4o"])}),
    },
)


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict) and value:
        return [leaf for key, inner in value.items() for leaf in _leaves(inner, (*path, key))]
    if isinstance(value, list) and value:
        return [leaf for index, inner in enumerate(value) for leaf in _leaves(inner, (*path, index))]
    return [path]


def _put(definition: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(definition)
    place: Any = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return changed


def _shuffled(value: Any, draw: Any) -> Any:
    if isinstance(value, dict):
        keys = draw(st.permutations(list(value)))
        return {key: _shuffled(value[key], draw) for key in keys}
    if isinstance(value, list):
        return [_shuffled(inner, draw) for inner in value]
    return value


@given(ANALYZERS, st.data())
def test_every_change_of_a_meaningful_leaf_at_any_depth_is_seen(definition: dict[str, Any], data: Any) -> None:
    meaning = writable(definition)
    path = data.draw(st.sampled_from(_leaves(meaning)))
    changed = _put(meaning, path, data.draw(SCALARS.filter(lambda new: new not in ("", None))))
    old: Any = meaning
    for step in path:
        old = old[step]
    new: Any = changed
    for step in path:
        new = new[step]
    same = json.dumps(old) == json.dumps(new) or (
        isinstance(old, bool) is isinstance(new, bool) and isinstance(old, int | float) and old == new
    )
    if writable(changed) == meaning and not same:
        # Only a value that equals the service's default may disappear.
        assert path[0] in SERVICE_DEFAULTS
        return
    assert (fingerprint(changed) == fingerprint(definition)) == same
    assert bool(differences(definition, changed)) != same


@given(ANALYZERS, st.data())
def test_a_field_that_is_taken_away_is_seen(definition: dict[str, Any], data: Any) -> None:
    fields = definition["fieldSchema"]["fields"]
    name = data.draw(st.sampled_from(sorted(fields)))
    fewer = _put(definition, ("fieldSchema", "fields"), {key: value for key, value in fields.items() if key != name})
    assert fingerprint(fewer) != fingerprint(definition)
    assert f"$.fieldSchema.fields.{name}" in {found.path for found in differences(definition, fewer)}


@given(ANALYZERS, st.data())
def test_what_means_nothing_is_not_seen(definition: dict[str, Any], data: Any) -> None:
    noisy = copy.deepcopy(definition)
    for name in READ_ONLY:
        noisy[name] = data.draw(SCALARS)
    noisy["_mark"] = noisy["config"]["_experimental"] = {"_x": 1}
    noisy["dynamicFieldSchema"] = None
    noisy["config"]["chartFormat"] = "chartjs"
    noisy["processingLocation"] = "geography"
    noisy.setdefault("models", {})["embedding"] = "text-embedding-3-large"
    noisy["knowledgeSources"] = []
    noisy = _shuffled(noisy, data.draw)
    assert fingerprint(noisy) == fingerprint(definition)
    assert differences(definition, noisy) == ()


@given(ANALYZERS)
def test_reducing_twice_changes_nothing_more(definition: dict[str, Any]) -> None:
    assert writable(writable(definition)) == writable(definition)


def test_a_default_value_of_another_type_is_a_difference() -> None:
    assert fingerprint({"config": {"enableOcr": 1}}) != fingerprint({"config": {"enableOcr": True}})


def test_large_integers_that_differ_in_the_last_digit_differ() -> None:
    one: dict[str, Any] = {"fieldSchema": {"max": 2**60}}
    other: dict[str, Any] = {"fieldSchema": {"max": 2**60 + 1}}
    assert fingerprint(one) != fingerprint(other)


def test_a_users_field_that_begins_with_an_underscore_is_the_users() -> None:
    with_field: dict[str, Any] = {"fieldSchema": {"fields": {"_total": {"type": "number"}}}}
    assert fingerprint(with_field) != fingerprint({"fieldSchema": {"fields": {}}})


def test_the_services_marks_inside_a_users_field_are_not() -> None:
    marked: dict[str, Any] = {"fieldSchema": {"fields": {"total": {"type": "number", "_score": 1}}}}
    assert fingerprint(marked) == fingerprint({"fieldSchema": {"fields": {"total": {"type": "number"}}}})


def test_an_inline_analyzer_is_reduced_like_any_other() -> None:
    def router(inner: dict[str, Any]) -> dict[str, Any]:
        return {"config": {"contentCategories": {"invoice": {"analyzer": inner}}}}

    plain = router({"baseAnalyzerId": "prebuilt-document", "description": "a"})
    noisy = router(
        {
            "analyzerId": "generated",
            "baseAnalyzerId": "prebuilt-document",
            "description": "a",
            "status": "ready",
            "config": {"enableOcr": True},
        }
    )
    assert fingerprint(plain) == fingerprint(noisy)
    assert fingerprint(plain) != fingerprint(router({"baseAnalyzerId": "prebuilt-document", "description": "b"}))


@pytest.mark.parametrize(
    ("rule", "same"),
    [
        ("tags.projectId", True),
        ("tags.*", True),
        ("tags", True),
        ("tags.project", False),
        ("description", False),
    ],
)
def test_an_ignore_rule_covers_exactly_the_paths_it_matches(rule: str, same: bool) -> None:
    one: dict[str, Any] = {"description": "d", "tags": {"projectId": "1"}}
    other: dict[str, Any] = {"description": "d", "tags": {"projectId": "2"}}
    assert (fingerprint(one, [rule]) == fingerprint(other, [rule])) is same


def test_differences_name_paths_and_both_values() -> None:
    found = differences(
        {"description": "a", "fieldSchema": {"fields": {"x": {"enum": ["a", "b"]}}}},
        {"fieldSchema": {"fields": {"x": {"enum": ["a", "c"]}}}},
    )
    assert [(f.path, f.source, f.target) for f in found] == [
        ("$.description", "a", None),
        ("$.fieldSchema.fields.x.enum[1]", "b", "c"),
    ]


def test_a_recorded_copy_has_the_fingerprint_of_its_recorded_source() -> None:
    folder = Path(__file__).parents[2] / "emulator" / "recordings"
    (recording,) = folder.glob("net_GrantCopyAuth*.json")
    exchanges = json.loads(recording.read_text(encoding="utf-8"))["exchanges"]
    source = exchanges[4]["ResponseBody"]
    target = exchanges[9]["ResponseBody"]["result"]
    assert source["analyzerId"] != target["analyzerId"]
    assert fingerprint(source) == fingerprint(target)
    # What was sent to create it means the same as what the service made of it.
    assert fingerprint(exchanges[0]["RequestBody"]) == fingerprint(source)
