"""Same fingerprint, same meaning: nothing meaningful goes unseen, nothing meaningless is reported."""

from __future__ import annotations

import copy
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from standby.document import as_text, digest_of_json
from standby.replication.fingerprint import (
    FILLED_IN,
    SERVICE_DEFAULTS,
    comparison,
    fingerprint,
    present_fingerprint,
    same_meaning,
    sendable,
    without_access,
    writable,
)
from standby.service.models import READ_ONLY

DEFAULTS: dict[str, Any] = dict(SERVICE_DEFAULTS)

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


JSON = st.recursive(
    SCALARS | st.none() | st.sampled_from(["https://x/l?sv=1&sig=a", "https://x/l?b", "\ue000", "😀", "a:1.5e3"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(NAMES | st.sampled_from(["containerUrl", "_own", "tags", "\ue000", "😀"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(ANALYZERS, st.dictionaries(st.sampled_from(["config", "fieldSchema", "more", "containerUrl"]), JSON))
def test_what_is_worked_out_with_the_help_of_a_text_is_the_same(
    definition: dict[str, Any], more: dict[str, Any]
) -> None:
    sent = {**definition, **more}
    own = {key: value for key, value in sent.items() if key not in READ_ONLY}
    for ignore in ((), ("tags.*", "config.a*")):
        present = present_fingerprint(sent, as_text(own), ignore)
        assert same_meaning(present, fingerprint(sent, ignore))
        assert fingerprint(sent, ignore).split(":")[:2] == present.split(":")


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
    assert bool(comparison(definition, changed).differences()) != same


@given(ANALYZERS, st.data())
def test_a_field_that_is_taken_away_is_seen(definition: dict[str, Any], data: Any) -> None:
    fields = definition["fieldSchema"]["fields"]
    name = data.draw(st.sampled_from(sorted(fields)))
    fewer = _put(definition, ("fieldSchema", "fields"), {key: value for key, value in fields.items() if key != name})
    assert fingerprint(fewer) != fingerprint(definition)
    assert f"$.fieldSchema.fields.{name}" in {found.path for found in comparison(definition, fewer).differences()}


@given(ANALYZERS, st.data())
def test_what_means_nothing_is_not_seen(definition: dict[str, Any], data: Any) -> None:
    noisy = copy.deepcopy(definition)
    for name in READ_ONLY:
        noisy[name] = data.draw(SCALARS)
    noisy["_mark"] = noisy["config"]["_experimental"] = {"_x": 1}
    noisy["dynamicFieldSchema"] = None
    if noisy["baseAnalyzerId"] in FILLED_IN:
        noisy["config"]["chartFormat"] = "chartjs"
        noisy["processingLocation"] = "geography"
        noisy.setdefault("models", {})["embedding"] = "text-embedding-3-large"
    noisy["knowledgeSources"] = []
    noisy = _shuffled(noisy, data.draw)
    assert fingerprint(noisy) == fingerprint(definition)
    assert comparison(definition, noisy).differences() == ()


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


OF_PEOPLE: dict[str, Any] = {
    "fields": {"fieldSchema": {"fields": {"_x": {"type": "string"}}}},
    "properties": {"fieldSchema": {"fields": {"a": {"type": "object", "properties": {"_x": {"type": "string"}}}}}},
    "properties of items": {"fieldSchema": {"fields": {"a": {"items": {"properties": {"_x": {}}}}}}},
    "definitions": {"fieldSchema": {"definitions": {"_x": {"type": "string"}}}},
    "$defs": {"fieldSchema": {"$defs": {"_x": {"type": "string"}}}},
    "fields of a definition": {"fieldSchema": {"$defs": {"D": {"properties": {"_x": {"type": "string"}}}}}},
    "descriptions of values": {"fieldSchema": {"fields": {"a": {"enumDescriptions": {"_x": "none of these"}}}}},
    "descriptions of a definition": {"fieldSchema": {"definitions": {"D": {"enumDescriptions": {"_x": "y"}}}}},
    "dynamic fields": {"dynamicFieldSchema": {"fields": {"_x": {"type": "string"}}}},
    "categories": {"config": {"contentCategories": {"_x": {"description": "d"}}}},
    "fields of an inline analyzer": {
        "config": {"contentCategories": {"c": {"analyzer": {"fieldSchema": {"fields": {"_x": {"type": "date"}}}}}}}
    },
    "tags": {"tags": {"_x": "y"}},
    "a map that nobody knows yet": {"fieldSchema": {"fields": {"a": {"labels": {"_x": "y"}}}}},
    "a field that is called like a part of the service": {
        "fieldSchema": {"fields": {"config": {"properties": {"_x": {}}}}}
    },
}
"""Where people choose names, which may begin with an underscore."""

OF_THE_SERVICE: dict[str, Any] = {
    "the analyzer": {"_x": 1, "description": "d"},
    "its configuration": {"config": {"_x": {"_y": 1}, "returnDetails": True}},
    "a part of its configuration": {"config": {"chunking": {"size": 1, "_x": 2}}},
    "a schema": {"fieldSchema": {"name": "n", "_x": 1}},
    "a field": {"fieldSchema": {"fields": {"a": {"type": "string", "_x": 1}}}},
    "an item": {"fieldSchema": {"fields": {"a": {"items": {"type": "string", "_x": 1}}}}},
    "a category": {"config": {"contentCategories": {"c": {"description": "d", "_x": 1}}}},
    "an inline analyzer": {"config": {"contentCategories": {"c": {"analyzer": {"description": "d", "_x": 1}}}}},
    "a source": {"knowledgeSources": [{"kind": "labeledData", "_x": 1}]},
    "models": {"models": {"completion": "gpt-4.1", "_x": "y"}},
}
"""Where only the service chooses names."""


def _without_mark(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_mark(each) for each in value]
    return (
        {key: _without_mark(each) for key, each in value.items() if key != "_x"} if isinstance(value, dict) else value
    )


@pytest.mark.parametrize("place", OF_PEOPLE)
def test_a_name_that_begins_with_an_underscore_is_kept_where_people_choose_names(place: str) -> None:
    definition = OF_PEOPLE[place]
    assert sendable(definition) == definition
    assert not same_meaning(fingerprint(definition), fingerprint(_without_mark(definition)))
    assert comparison(definition, _without_mark(definition)).differences()


@pytest.mark.parametrize("place", OF_THE_SERVICE)
def test_a_mark_of_the_service_is_neither_sent_nor_compared(place: str) -> None:
    definition = OF_THE_SERVICE[place]
    assert sendable(definition) == _without_mark(definition)
    assert same_meaning(fingerprint(definition), fingerprint(_without_mark(definition)))
    assert comparison(definition, _without_mark(definition)).differences() == ()


@pytest.mark.parametrize("base", ["mine", "prebuilt-audio", "prebuilt-documentSearch", None])
@pytest.mark.parametrize(
    "setting", ["config.enableOcr", "config.chartFormat", "processingLocation", "models.embedding"]
)
def test_a_value_like_a_default_is_a_setting_where_the_base_may_say_something_else(
    base: str | None, setting: str
) -> None:
    bare: dict[str, Any] = {"description": "d"} | ({"baseAnalyzerId": base} if base else {})
    part, _, key = setting.rpartition(".")
    own = {**bare, **({part: {key: DEFAULTS[part][key]}} if part else {key: DEFAULTS[key]})}

    for wrap in (dict[str, Any], _inline):
        assert sendable(wrap(own)) == wrap(own)
        assert not same_meaning(fingerprint(wrap(own)), fingerprint(wrap(bare)))
        known, shown = ({**each, "baseAnalyzerId": "prebuilt-document"} for each in (bare, own))
        assert same_meaning(fingerprint(wrap(known)), fingerprint(wrap(shown)))


def _inline(definition: dict[str, Any]) -> dict[str, Any]:
    return {"config": {"contentCategories": {"c": {"analyzer": definition}}}}


OTHER = {False: True, True: False, "chartjs": "markdown", "html": "markdown", "markdown": "none", "geography": "global"}


@pytest.mark.parametrize("key", [*DEFAULTS["config"], "processingLocation"])
def test_only_the_very_default_of_a_known_base_means_nothing(key: str) -> None:
    bare: dict[str, Any] = {"baseAnalyzerId": "prebuilt-document", "description": "d"}
    value = DEFAULTS.get(key, DEFAULTS["config"].get(key))

    def saying(said: Any) -> dict[str, Any]:
        return {**bare, **({"config": {key: said}} if key in DEFAULTS["config"] else {key: said})}

    assert same_meaning(fingerprint(saying(value)), fingerprint(bare))
    assert not same_meaning(fingerprint(saying(OTHER[value])), fingerprint(bare))
    assert not same_meaning(fingerprint(saying([value])), fingerprint(bare))


@pytest.mark.parametrize("name", sorted(READ_ONLY))
def test_what_is_called_like_a_read_only_field_elsewhere_is_kept(name: str) -> None:
    definition: dict[str, Any] = {
        "fieldSchema": {"fields": {name: {name: "x", "items": {"properties": {name: {}}}}}, name: "x"},
        "config": {"contentCategories": {name: {name: "x"}}, name: "x", "part": {name: "x"}},
        "tags": {name: "x"},
    }
    assert sendable({**definition, name: "x"}) == definition


SIGNED = "https://a.blob.core.windows.net/c?sv=1&sig=x"


def test_a_signature_is_no_difference_and_another_container_is_one() -> None:
    def learns_from(url: str) -> dict[str, Any]:
        return {"knowledgeSources": [{"kind": "labeledData", "containerUrl": url, "fileListPath": ""}]}

    signed, bare = learns_from(SIGNED), learns_from(SIGNED.partition("?")[0])
    assert same_meaning(fingerprint(signed), fingerprint(bare))
    assert same_meaning(fingerprint(signed), fingerprint(learns_from(SIGNED.replace("sig=x", "sig=y"))))
    assert comparison(signed, bare).differences() == ()
    assert not same_meaning(fingerprint(signed), fingerprint(learns_from(SIGNED.replace("/c?", "/d?"))))
    assert sendable(signed) == signed
    assert without_access(signed) == bare


def test_only_what_gives_access_is_cut() -> None:
    fields = {
        "containerUrl": {
            "description": f"Is it {SIGNED} or not? Say which.",
            "enumDescriptions": {"containerUrl": "a?b"},
        }
    }
    definition: dict[str, Any] = {"tags": {"containerUrl": "why?"}, "fieldSchema": {"fields": fields}}
    cut = copy.deepcopy(definition)
    cut["fieldSchema"]["fields"]["containerUrl"]["description"] = (
        "Is it https://a.blob.core.windows.net/c or not? Say which."
    )
    assert without_access(definition) == cut


STORED: dict[str, tuple[dict[str, Any], set[str]]] = {
    "plain": (
        {
            "baseAnalyzerId": "prebuilt-document",
            "description": "d",
            "config": {"enableOcr": True},
            "models": {"completion": "gpt-4.1"},
        },
        {"2a65b2db03544972fc246f01f3a51fba1829a139b18f31b505db4e8b32305255"},
    ),
    "large numbers": (
        {
            "baseAnalyzerId": "prebuilt-document",
            "fieldSchema": {"a": 2**53 - 1, "b": 2**53, "c": -(2**53), "d": 1 - 2**53, "e": 1.5, "f": True},
        },
        {"ad8cae4f4d6df9f8cde60e8d5dc463960b24d4a0d06577ec327e8f9edce2457f"},
    ),
    "parts that are called like read-only ones": (
        {"baseAnalyzerId": "mine", "config": {"about": {"status": "x"}, "analyzer": {"status": "x"}}},
        {"bb580f4867b7f73aa6a55fbc3a53fb61917031a700da41426da7840fcab95a0f"},
    ),
    "another base": (
        {
            "baseAnalyzerId": "prebuilt-audio",
            "processingLocation": "geography",
            "config": {"enableOcr": True, "locales": ["en-US"]},
        },
        {"baea464d02e6f3e167c84531a73104bc1a7df742af2597653c08bcdcd790ed1a"},
    ),
    "names of people": (
        {
            "baseAnalyzerId": "prebuilt-document",
            "fieldSchema": {
                "fields": {"a": {"enumDescriptions": {"_none": "n", "x": "y"}}},
                "$defs": {"_D": {"type": "string"}},
            },
        },
        {"ad07df3e36b75751fb080ab459e5de57bbbafa32fbcf45262affb12c578695ce"},
    ),
    # With its signature in a ledger, without it in a snapshot and in what was rebuilt.
    "a signature": (
        {
            "baseAnalyzerId": "prebuilt-document",
            "knowledgeSources": [{"kind": "labeledData", "containerUrl": SIGNED, "fileListPath": ""}],
        },
        {
            "3f4214f1b04fefde0b4afc3ea8a8d2de30bd77737541e5f35ab291a0683ecbad",
            "debcd5be82eea1c47b6691bfac2ec770e7c4ec9726bbec571871befc1f1ff813",
        },
    ),
}
"""Definitions, and the fingerprints that the first rules gave them, as vaults of earlier versions have them."""


@pytest.mark.parametrize("kind", STORED)
def test_a_stored_fingerprint_of_an_earlier_version_still_compares(kind: str) -> None:
    definition, stored = STORED[kind]
    now, edited = fingerprint(definition), fingerprint({**definition, "description": "edited"})
    for earlier in stored:
        assert same_meaning(now, earlier)
        assert same_meaning(earlier, now)
        assert same_meaning(earlier, earlier)
        assert not same_meaning(edited, earlier)


@pytest.mark.parametrize("digit", ["0", "f"])
def test_no_other_stored_fingerprint_is_taken_for_the_same(digit: str) -> None:
    now = fingerprint(STORED["plain"][0])
    assert not same_meaning(now, digit * 64)
    assert not same_meaning(digit * 64, now)


def test_what_the_first_rules_did_not_see_is_seen_of_what_this_version_stored() -> None:
    definition = STORED["names of people"][0]
    before = copy.deepcopy(definition)
    del before["fieldSchema"]["$defs"]["_D"]
    del before["fieldSchema"]["fields"]["a"]["enumDescriptions"]["_none"]
    stored = fingerprint(before)
    assert not same_meaning(stored, fingerprint(definition))
    assert not same_meaning(fingerprint(definition), stored)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_the_quick_way_to_hash_gives_what_rfc_8785_says(value: Any) -> None:
    assert digest_of_json(value) == sha256(rfc8785.dumps(value)).hexdigest()


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
    found = comparison(
        {"description": "a", "fieldSchema": {"fields": {"x": {"enum": ["a", "b"]}}}},
        {"fieldSchema": {"fields": {"x": {"enum": ["a", "c"]}}}},
    ).differences()
    assert [(f.path, f.source, f.target) for f in found] == [
        ("$.description", "a", None),
        ("$.fieldSchema.fields.x.enum[1]", "b", "c"),
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (True, 1),
        (0, False),
        ([1], [True]),
        (["a"], ["a", "a"]),
        (["a", "a"], ["a"]),
        ([], ["a"]),
        (["a"], "a"),
        ("a", ["a"]),
        ({"a": "b"}, ["a"]),
        (["a"], {"a": "b"}),
        (["a"] * 300, ["a"] * 301),
        (["a"] * 300, ["a"] * 299 + ["b"]),
    ],
)
def test_values_that_are_alike_for_python_and_not_for_the_service_differ(one: Any, other: Any) -> None:
    left, right = ({"fieldSchema": {"examples": value}} for value in (one, other))
    assert comparison(left, right).differences()
    assert comparison(left, left).differences() == ()
    assert not same_meaning(fingerprint(left), fingerprint(right))
    assert not comparison(left, right).is_filled_in(as_copied=True)
    assert comparison(left, copy.deepcopy(left)).is_filled_in()


FILLED: dict[str, Any] = {
    "baseAnalyzerId": "mine",
    "config": {"returnDetails": True, "contentCategories": {"c": {"description": "d"}}},
    "fieldSchema": {"fields": {"a": {"type": "array", "items": {"examples": [{"b": 1}, {"c": 2}]}}}},
}


@pytest.mark.parametrize(
    ("place", "name", "value", "by_itself", "as_copied"),
    [
        ((), "newPart", {"x": {"y": [1]}}, True, True),
        ((), "newPart", {"x": {"enableMore": True}}, False, True),
        ((), "newPart", {"x": {"tags": {"a": "b"}}}, False, False),
        (("config",), "newSetting", 1, True, True),
        (("fieldSchema", "fields", "a"), "newSetting", 1, True, True),
        (("fieldSchema", "fields", "a", "items", "examples", 0), "newSetting", 1, True, True),
        (("config",), "enableOcr", False, False, True),
        (("config",), "segmentationMode", "custom", False, True),
        ((), "mode", "pro", False, True),
        ((), "processingLocation", "global", False, True),
        (("fieldSchema",), "$defs", {"d": {}}, False, False),
        ((), "description", "edited", False, False),
        ((), "tags", {"a": "b"}, False, False),
        ((), "knowledgeSources", [{"kind": "labeledData"}], False, False),
        (("fieldSchema", "fields"), "b", {"type": "string"}, False, False),
        (("config", "contentCategories"), "d", {"description": "d"}, False, False),
    ],
)
def test_what_a_service_filled_in_is_told_from_what_people_set(
    place: tuple[Any, ...], name: str, value: Any, by_itself: bool, as_copied: bool
) -> None:
    more = _put(FILLED, (*place, name), value)
    assert comparison(FILLED, more).is_filled_in() is by_itself
    assert comparison(FILLED, more).is_filled_in(as_copied=True) is as_copied
    assert comparison(more, FILLED).is_filled_in(as_copied=True) is False
    assert comparison(more, FILLED, [".".join(map(str, (*place, name)))]).is_filled_in()


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
