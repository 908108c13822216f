"""What an analyzer read of a document becomes digests: equal where the values mean the same, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.recovery.proof.reading import AUTOMATIC, methods_of, read_analysis
from standby.recovery.proof.records import Reading
from standby.service.analysis import Analysis

Wire = dict[str, Any]
SALT = b"salt of a test"


def wire(value: Any) -> Wire:
    """Write a value as a field of the service."""
    match value:
        case None:
            return {"type": "string"}
        case bool():
            return {"type": "boolean", "valueBoolean": value}
        case int() | float():
            return {"type": "number", "valueNumber": value}
        case list():
            return {"type": "array", "valueArray": [wire(each) for each in value]}
        case dict():
            return {"type": "object", "valueObject": {name: wire(each) for name, each in value.items()}}
        case _:
            return {"type": "string", "valueString": value, "confidence": 0.4, "source": "D(1,2)"}


def analysis(*contents: Wire) -> Analysis:
    return Analysis.model_validate({"status": "Succeeded", "result": {"contents": list(contents)}})


def read(salt: bytes = SALT, markdown: str = "# Invoice", **fields: Any) -> Reading:
    content = {"path": "input1", "markdown": markdown, "fields": {name: wire(each) for name, each in fields.items()}}
    return read_analysis(analysis(content), salt)


def of(value: Any) -> Reading:
    return read(Field=value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (" Contoso Ltd ", "CONTOSO LTD"),
        ("Straße", "STRASSE"),
        (610, 610.0),
        (0.1 + 0.2, 0.3),
        (1.0000001, 1),
        (-0.0, 0),
        ("", None),
        ("  ", None),
        ([], None),
        ({}, None),
        ({"Amount": None}, None),
        ([{"Amount": None}], None),
        ([" a", 1.00000004], ["A", 1]),
        ({"Amount": 610, "Currency": ""}, {"Amount": 610.0, "Currency": None}),
        (10**30, 10**30),
    ],
)
def test_values_that_mean_the_same_have_the_same_digest(one: Any, other: Any) -> None:
    def told(reading: Reading) -> set[tuple[str, str]]:
        return {(path, digest) for path, digest in reading.contents["input1"].items() if digest}

    assert told(of(one)) == told(of(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("610", 610),
        (True, 1),
        ("yes", "no"),
        (1.00001, 1),
        (10**30, 10**30 + 1),
        (["a", "b"], ["b", "a"]),
        (["a"], ["a", "a"]),
        ([{"a": 1}, {"b": 1}], [{"b": 1}, {"a": 1}]),
        ("a b", "ab"),
    ],
)
def test_values_that_differ_have_other_digests(one: Any, other: Any) -> None:
    assert of(one).contents != of(other).contents


def test_confidence_spans_and_source_count_for_nothing() -> None:
    plain = {"type": "number", "valueNumber": 610}
    grounded = plain | {"confidence": 0.247, "spans": [{"offset": 1, "length": 2}], "source": "D(1,7.3)"}

    def given(field: Wire) -> Reading:
        return read_analysis(analysis({"path": "input1", "fields": {"Total": field}}), SALT)

    assert given(plain) == given(grounded)


def test_a_table_is_read_by_column_so_that_a_word_in_one_does_not_hide_the_others() -> None:
    one, other = (read(Items=[{"Text": text, "Price": 5}, {"Text": "b", "Price": 6}]) for text in ("a", "A cable"))

    assert one.contents["input1"].keys() == {"Items[].Text", "Items[].Price"}
    assert one.contents["input1"]["Items[].Price"] == other.contents["input1"]["Items[].Price"]
    assert one.contents["input1"]["Items[].Text"] != other.contents["input1"]["Items[].Text"]


def test_equal_values_of_two_fields_or_two_baselines_cannot_be_seen_to_be_equal() -> None:
    digests = [
        *read(One="x", Other="x").contents["input1"].values(),
        *read(b"another", One="x").contents["input1"].values(),
    ]

    assert len(set(digests)) == 3


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda it: st.lists(it) | st.dictionaries(st.text(), it)
    )
)
def test_any_value_is_read_and_read_alike_twice(value: Any) -> None:
    assert of(value) == of(value)


@given(st.text(min_size=12))
def test_no_value_and_no_text_is_left_in_a_reading(text: str) -> None:
    canary = f"canary{text}"
    made = read(markdown=canary, Text=canary, Table=[{"Cell": canary}], Json=canary)

    assert "canary" not in made.model_dump_json() + repr(made)


def test_the_text_of_the_document_has_a_digest_of_its_own() -> None:
    assert read(markdown="a").layout == read(markdown="a", Total=1).layout != read(markdown="b").layout
    assert read(markdown="").layout == ""


ROUTED: Wire = {"path": "input1", "markdown": "text", "segments": [{"segmentId": "segment1", "category": "invoice"}]}
PART: Wire = {"path": "input1/segment1", "category": "invoice", "markdown": "part", "fields": {"Total": wire(1)}}
ROUTER: Wire = {
    "config": {"contentCategories": {"invoice": {"analyzerId": "child"}, "other": {"description": "Anything else"}}}
}
CHILD: Wire = {"fieldSchema": {"fields": {"Total": {"type": "number", "method": "extract"}}}}


def test_contents_are_known_by_path_and_category_in_any_order() -> None:
    one, other = (read_analysis(analysis(*contents), SALT) for contents in ((ROUTED, PART), (PART, ROUTED)))

    assert one == other
    assert one.contents.keys() == {"input1", "input1/segment1 invoice"}
    assert one.segments == ("input1/segment1 invoice",)


def test_two_contents_of_one_path_are_both_kept() -> None:
    made = read_analysis(analysis(PART, PART), SALT)

    assert made.contents.keys() == {"input1/segment1 invoice", "input1/segment1#2 invoice"}


def test_the_borders_that_a_model_draws_between_segments_are_no_layout() -> None:
    assert read_analysis(analysis(ROUTED, PART), SALT).layout == read_analysis(analysis(ROUTED), SALT).layout != ""
    assert read_analysis(analysis(PART), SALT).layout == ""


@pytest.mark.parametrize(
    ("contents", "lacking"),
    [
        ((ROUTED, PART), set()),
        ((ROUTED,), {"invoice"}),
        ((ROUTED, PART | {"fields": {}}), {"invoice"}),
        ((ROUTED, PART | {"fields": {"Total": {"type": "number"}}}), set()),
        (({"path": "input1", "segments": [{"segmentId": "segment1", "category": "other"}]},), set()),
        ((), set()),
    ],
)
def test_a_segment_whose_analyzer_did_not_answer_is_seen(contents: tuple[Wire, ...], lacking: set[str]) -> None:
    expected = methods_of(ROUTER, {"child": CHILD})

    assert expected.lacking(read_analysis(analysis(*contents), SALT)) == lacking


def test_a_child_of_which_no_field_is_known_has_to_answer_at_all() -> None:
    expected = methods_of({"config": {"contentCategories": {"invoice": {"analyzerId": "prebuilt-invoice"}}}}, {})

    assert expected.lacking(read_analysis(analysis(ROUTED, PART | {"fields": {}}), SALT)) == frozenset()
    assert expected.lacking(read_analysis(analysis(ROUTED), SALT)) == {"invoice"}


def test_the_method_of_each_field_is_that_of_its_schema() -> None:
    line = {
        "type": "object",
        "properties": {"Text": {"type": "string", "method": "generate"}, "Price": {"$ref": "#/$defs/Money"}},
    }
    schema: Any = {
        "$defs": {"Money": {"type": "object", "properties": {"Amount": {"type": "number", "method": "extract"}}}},
        "fields": {
            "Kind": {"type": "string", "method": "classify"},
            "Lines": {"type": "array", "items": line},
            "Tags": {"type": "array", "method": "generate", "items": {"type": "string"}},
            "Plain": {"type": "string"},
            "Odd": "not a field",
        },
    }
    base: Wire = {"fieldSchema": {"fields": {"Own": {"method": "extract"}, "Kind": {"method": "generate"}}}}
    inline = {"fieldSchema": {"fields": {"Deep": {"method": "extract"}}}}
    definition: Wire = {
        "baseAnalyzerId": "base",
        "fieldSchema": schema,
        "config": {"contentCategories": {"inline": {"analyzer": inline}, "odd": 5}},
    }

    expected = methods_of(definition, {"base": base})

    assert expected.methods[""] == {
        "Own": "extract",
        "Kind": "classify",
        "Lines[].Text": "generate",
        "Lines[].Price.Amount": "extract",
        "Tags[]": "generate",
        "Plain": AUTOMATIC,
        "Odd": AUTOMATIC,
    }
    assert expected.method("input1/segment1 inline", "Deep") == "extract"
    assert expected.method("input1", "Lines[].Text") == "generate"
    assert expected.method("input1/segment1 unknown", "Deep") == AUTOMATIC
    assert expected.categories == {"inline"}


def test_schemas_and_analyzers_that_refer_to_themselves_have_an_end() -> None:
    definition: Wire = {
        "baseAnalyzerId": "me",
        "config": {"contentCategories": {"again": {"analyzerId": "me"}}},
        "fieldSchema": {
            "$defs": {"Me": {"properties": {"me": {"$ref": "#/$defs/Me"}}}},
            "fields": {"A": {"$ref": "#/$defs/Me"}},
        },
    }

    assert methods_of(definition, {"me": definition}).categories == {"again"}
    assert json.dumps(definition)
