from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from standby.recovery.snapshots.id_mapping import Naming, keep_names, renamed

ids = st.text("abcXYZ019._-", min_size=1, max_size=64)


@given(analyzer=ids)
def test_ids_stay_what_they_are_without_a_prefix(analyzer: str) -> None:
    assert keep_names.of(analyzer) == analyzer


@given(some=st.sets(ids, min_size=2, max_size=20), prefix=st.text("dril-0123", min_size=1, max_size=40))
def test_under_a_prefix_ids_are_short_enough_and_apart(some: set[str], prefix: str) -> None:
    naming = Naming(prefix)

    names = {naming.of(analyzer) for analyzer in some}

    assert len(names) == len(some)
    assert all(name.startswith(prefix) and len(name) <= 64 for name in names)


def test_every_reference_gets_the_new_name_at_any_depth() -> None:
    inner = {"baseAnalyzerId": "base", "config": {"contentCategories": {"z": {"analyzerId": "child"}}}}
    definition: dict[str, Any] = {
        "baseAnalyzerId": "base",
        "config": {"contentCategories": {"x": {"analyzerId": "child"}, "y": {"analyzer": inner}, "n": None}},
    }

    told = renamed(definition, {"base": "d-base", "child": "d-child"}, {})

    assert told == {
        "baseAnalyzerId": "d-base",
        "config": {
            "contentCategories": {
                "x": {"analyzerId": "d-child"},
                "y": {
                    "analyzer": {
                        "baseAnalyzerId": "d-base",
                        "config": {"contentCategories": {"z": {"analyzerId": "d-child"}}},
                    }
                },
                "n": None,
            }
        },
    }
    assert definition["baseAnalyzerId"] == "base"


def test_prebuilt_analyzers_and_those_that_do_not_come_along_are_referred_to_as_before() -> None:
    definition: dict[str, Any] = {
        "baseAnalyzerId": "prebuilt-document",
        "config": {"contentCategories": {"x": {"analyzerId": "stays"}}},
    }

    assert renamed(definition, {"other": "d-other"}, {}) == definition


def test_tags_that_are_too_many_give_way_to_ours() -> None:
    own: dict[str, Any] = {f"tag{number}": "value" for number in range(10)}

    told = renamed({"tags": own}, {}, {"standby-drill": "7", "tag3": "ours"})

    assert isinstance(told["tags"], dict)
    assert len(told["tags"]) == 10
    assert (told["tags"]["standby-drill"], told["tags"]["tag3"]) == ("7", "ours")
