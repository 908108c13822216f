"""Whether two plans may write one analyzer, decided from their globs alone."""

from __future__ import annotations

from fnmatch import fnmatchcase
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.config.globs import Write, common_name
from standby.config.plan import RecoveryPlan

FEW = "ab-"
NAMES = ["".join(letters) for length in range(6) for letters in product(FEW, repeat=length)]
"""Every name of up to five of those characters."""

globs = st.lists(st.sampled_from(["a", "b", "*", "?", "[ab]", "[!a]", "[a-b]", "[b-a]", "[]", "]", "["]), max_size=5)
lists_of_globs = st.lists(globs.map("".join), min_size=1, max_size=3)


def matches(name: str, group: list[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in group)


@given(wanted=st.lists(lists_of_globs, min_size=1, max_size=3), unwanted=st.lists(lists_of_globs, max_size=2))
def test_a_common_name_is_found_where_one_is_and_nowhere_else(
    wanted: list[list[str]], unwanted: list[list[str]]
) -> None:
    found = common_name(wanted, unwanted, characters=FEW, longest=5)
    all_of_them = [
        name
        for name in NAMES
        if all(matches(name, group) for group in wanted) and not any(matches(name, group) for group in unwanted)
    ]
    assert (found in all_of_them) if all_of_them else found is None
    assert found is None or len(found) == len(all_of_them[0])


def test_what_would_take_too_long_to_decide_counts_as_in_common() -> None:
    assert common_name([["*a" + "?" * 40], ["*"]], [["*b" + "?" * 40]]) is not None


def test_lists_of_ids_as_long_as_they_come_are_decided() -> None:
    ids = [f"invoice-{number:04}" for number in range(3000)]
    assert common_name([ids[::2], ids[1::2]]) is None
    assert common_name([ids[::2], [*ids[1::2], ids[0]]]) == ids[0]
    assert common_name([["invoice-[0-2][0-9][0-9][0-9]"], ["*"]], [ids]) is None


def write(source: str = "east", **fields: Any) -> Write:
    plan = RecoveryPlan.model_validate({"name": "p", "pairs": [{"source": source, "targets": ["hub"]}], **fields})
    return Write(plan, plan.pairs[0])


APART: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"include": ["inv*"]}, {"include": ["con*"]}),
    ({"include": ["inv*", "rec*"]}, {"include": ["con*", "in[!v]*"]}),
    ({"include": ["inv*"]}, {"exclude": ["inv*"]}),
    ({"include": ["inv*", "con?"]}, {"exclude": ["con*", "i*"]}),
    ({"include": ["a", "b"], "exclude": ["b"]}, {"include": ["b"]}),
    ({"target_id": "east_{id}"}, {"target_id": "north_{id}"}),
    ({"target_id": "{id}-a"}, {"target_id": "{id}-b"}),
    ({"target_id": "{id}-dr", "exclude": ["*-dr"]}, {"include": ["inv*"], "exclude": ["*-dr"]}),
    # An id has 64 characters at most.
    ({"include": ["?" * 64]}, {"target_id": "{id}-dr", "include": ["?" * 62]}),
]
SHARING: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({}, {}, "a"),
    ({"include": ["inv*"]}, {"include": ["*ice"]}, "invice"),
    ({"include": ["inv*"]}, {"exclude": ["invoice"]}, "inv"),
    ({"target_id": "{id}-dr"}, {}, "a-dr"),
    ({"target_id": "east_{id}", "include": ["b"]}, {"include": ["east*"], "exclude": ["east?"]}, "east_b"),
]


@pytest.mark.parametrize("source", ["east", "north"])
@pytest.mark.parametrize(("one", "other"), APART)
def test_filters_and_names_keep_two_plans_apart(one: dict[str, Any], other: dict[str, Any], source: str) -> None:
    assert write(**one).shares_with(write(source, **other)) is None
    assert write(source, **other).shares_with(write(**one)) is None


@pytest.mark.parametrize("source", ["east", "north"])
@pytest.mark.parametrize(("one", "other", "example"), SHARING)
def test_what_two_plans_may_both_write_has_an_example(
    one: dict[str, Any], other: dict[str, Any], example: str, source: str
) -> None:
    assert write(**one).shares_with(write(source, **other)) == example
    assert write(source, **other).shares_with(write(**one)) == example


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"tags": ["team=legal"]}, {"tags": ["team=sales"]}),
        ({"tags": ["team=l*"]}, {"tags": ["size=big", "team=[!l]*"]}),
        ({"tags": ["team=ä*"]}, {"tags": ["team=ö*"]}),
        ({"base": ["prebuilt-*"]}, {"base": ["my-*"]}),
    ],
)
def test_tags_and_base_tell_analyzers_of_one_source_apart_but_not_ids_of_two(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert write(**one).shares_with(write(**other)) is None
    assert write(**one).shares_with(write("north", **other)) == "a"
    # Under another name the copy of one can get the id that another analyzer has.
    assert write(**one).shares_with(write(target_id="{id}-dr", **other)) == "a-dr"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"tags": ["team=legal"]}, {"tags": ["team=l*"]}),
        ({"tags": ["team=[!a-z]"]}, {"tags": ["team=[!A-Z]"]}),
        ({"tags": ["team=[α-γ]"]}, {"tags": ["team=[β-δ]"]}),
        ({"tags": ["team=legal"]}, {"tags": ["size=big"]}),
        ({"base": ["prebuilt-*"]}, {"base": ["*-document"]}),
        ({"modified_since": "30d"}, {}),
    ],
)
def test_tags_and_base_that_one_analyzer_can_have_together_keep_nothing_apart(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert write(**one).shares_with(write(**other)) == "a"
