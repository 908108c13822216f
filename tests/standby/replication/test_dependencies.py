"""What an analyzer refers to, and the closure, order and cycles that follow."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from standby.replication.needs import references, resolve


def router(*children: str, base: str = "prebuilt-document") -> dict[str, Any]:
    categories = {f"category-{child}": {"analyzerId": child} for child in children}
    return {"baseAnalyzerId": base, "config": {"contentCategories": categories}}


def test_references_are_found_in_categories_inline_analyzers_and_the_base() -> None:
    definition = router("invoice", "prebuilt-receipt", base="house-style")
    inline = router("stamp", base="inline-base")
    definition["config"]["contentCategories"]["other"] = {"analyzer": inline}
    assert references(definition) == {"invoice", "house-style", "stamp", "inline-base"}


def test_children_of_children_are_pulled_in() -> None:
    resolved = resolve(["a"], {"a": router("b"), "b": router("c"), "c": router(), "d": router()})
    assert set(resolved.children) == {"a", "b", "c"}
    assert resolved.pulled_in == {"b", "c"}


def test_a_reference_that_leads_nowhere_is_named_with_its_owner() -> None:
    resolved = resolve(["a"], {"a": router("gone", "b"), "b": router()})
    assert resolved.missing == {"a": frozenset({"gone"})}


def test_a_cycle_is_given_with_its_path_and_only_to_its_members() -> None:
    resolved = resolve(["top"], {"top": router("a", "x"), "a": router("b"), "b": router("a"), "x": router()})
    assert set(resolved.cycles) == {"a", "b"}
    path = resolved.cycles["a"]
    assert path[0] == path[-1]
    assert set(path) == {"a", "b"}


def test_an_analyzer_that_refers_to_itself_is_a_cycle_of_one() -> None:
    assert resolve(["a"], {"a": router("a")}).cycles == {"a": ("a", "a")}


@given(st.data())
def test_a_closure_holds_every_child_and_each_cycle_follows_real_references(data: Any) -> None:
    names = [f"n{index}" for index in range(data.draw(st.integers(1, 30)))]
    graph = {name: router(*data.draw(st.sets(st.sampled_from(names), max_size=3))) for name in names}
    selected = data.draw(st.sets(st.sampled_from(names), min_size=1))
    resolved = resolve(selected, graph)
    for name, children in resolved.children.items():
        assert children <= resolved.children.keys()
        assert children == references(graph[name])
    for path in resolved.cycles.values():
        assert all(child in resolved.children[parent] for parent, child in pairwise(path))
