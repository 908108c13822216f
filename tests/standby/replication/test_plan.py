"""From what all resources hold to what a run would do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.config.plan import RecoveryPlan
from standby.replication.errors import NothingSelected
from standby.replication.fingerprint import fingerprint
from standby.replication.inventory import Inventory
from standby.replication.items import PlanItem, ReplicationPlan, Selection, selected_pairs
from standby.replication.plan import make_plan
from standby.replication.verdict import ACTING, Action, CopyRecord, Sighting, Verdict
from tests.standby.replication.world import (
    DEFAULTS,
    MODELS,
    PREVIEW_2025,
    START,
    definition,
    deployment,
    inventory,
    labelled,
    record,
    recovery_plan,
    resource,
    serving,
    sighting,
)


def plan(
    *inventories: Inventory,
    recovery: RecoveryPlan | None = None,
    selection: Selection | None = None,
    records: Mapping[tuple[str, str], Mapping[str, CopyRecord]] | None = None,
) -> ReplicationPlan:
    taken = {each.serving.resource.name: each for each in inventories}
    return make_plan(recovery or recovery_plan(), selection or Selection(), taken, records or {}, START)


def items(made: ReplicationPlan) -> dict[str, PlanItem]:
    assert len({item.key for item in made.items}) == len(made.items)
    return {item.analyzer: item for item in made.items}


def at(*definitions: Mapping[str, Any]) -> Inventory:
    return inventory("west", *definitions)


def test_what_is_missing_is_copied_and_what_is_equal_is_left() -> None:
    made = plan(inventory("east", definition("a"), definition("b")), at(definition("b")))
    told = {name: (item.verdict, item.action, item.reason) for name, item in items(made).items()}
    assert told == {
        "a": (Verdict.MISSING, Action.COPY, "west does not have it."),
        "b": (Verdict.IN_SYNC, Action.SKIP, "west has the same."),
    }


def test_nothing_at_the_target_that_the_source_does_not_have_is_touched() -> None:
    assert plan(inventory("east"), at(definition("theirs"))).items == ()


# Which analyzers.


def test_include_and_exclude_choose_and_exclude_wins() -> None:
    recovery = recovery_plan(include=["inv-*", "x"], exclude=["*-old"])
    source = inventory("east", *map(definition, ["inv-1", "inv-old", "x", "y"]))
    assert set(items(plan(source, at(), recovery=recovery))) == {"inv-1", "x"}


def test_a_selection_narrows_the_plan_and_never_widens_it() -> None:
    recovery = recovery_plan(include=["inv-*"])
    source = inventory("east", *map(definition, ["inv-1", "inv-2", "other"]))
    made = plan(source, at(), recovery=recovery, selection=Selection(analyzers=("*1", "inv-2")))
    assert set(items(made)) == {"inv-1", "inv-2"}
    with pytest.raises(NothingSelected, match="No analyzer of the plan matches other: there is inv-1 and inv-2"):
        plan(source, at(), recovery=recovery, selection=Selection(analyzers=("other",)))


def test_patterns_regard_case_as_ids_do() -> None:
    source = inventory("east", definition("Invoice"), definition("invoice"))
    assert set(items(plan(source, at(), selection=Selection(analyzers=("inv*",))))) == {"invoice"}


def test_an_unknown_analyzer_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(NothingSelected, match="did you mean invoice"):
        plan(inventory("east", definition("invoice")), at(), selection=Selection(analyzers=("invioce",)))


def test_an_unknown_analyzer_that_is_near_to_none_is_refused_with_the_known_ones() -> None:
    source = inventory("east", definition("b"), definition("a"))
    with pytest.raises(NothingSelected, match="zzz: there is a and b"):
        plan(source, at(), selection=Selection(analyzers=("zzz",)))


def test_an_unknown_target_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(NothingSelected, match="No target of the plan matches wset: did you mean west"):
        plan(inventory("east"), at(), selection=Selection(targets=("wset",)))


def test_a_source_without_analyzers_is_no_error() -> None:
    assert plan(inventory("east"), at()).items == ()


def test_only_the_targets_that_are_asked_for_are_planned() -> None:
    recovery = recovery_plan(targets=("west", "north"))
    selection = Selection(targets=("north",))
    assert list(selected_pairs(recovery, selection)) == [("east", "north")]
    source = inventory("east", definition("a"))
    made = plan(source, inventory("north"), recovery=recovery, selection=selection)
    assert [item.target for item in made.items] == ["north"]


def test_a_child_that_a_filter_leaves_out_comes_along_and_this_is_said() -> None:
    source = inventory(
        "east",
        definition("router", "inner"),
        definition("inner", "leaf"),
        definition("leaf"),
        definition("x"),
    )
    made = items(plan(source, at(), recovery=recovery_plan(exclude=["inner", "leaf", "x"])))
    assert set(made) == {"router", "inner", "leaf"}
    assert made["inner"].warnings == ("Not selected, but needed by router.",)
    assert made["leaf"].warnings == ("Not selected, but needed by inner.",)
    assert made["router"].warnings == ()
    assert made["router"].needs == ("inner",)


# What forbids a copy.


def test_a_cycle_blocks_its_members_with_its_path_and_its_parents_by_name() -> None:
    source = inventory(
        "east",
        definition("top", "a", "free"),
        definition("a", "b"),
        definition("b", "a", "below"),
        definition("below"),
        definition("free"),
    )
    made = items(plan(source, at()))
    assert {name for name, item in made.items() if item.verdict is Verdict.BLOCKED} == {"a", "b", "top"}
    for member in ("a", "b"):
        assert "through a → b → a" in made[member].reason or "through b → a → b" in made[member].reason
    assert made["top"].reason == "Its child a is blocked. Fix that first."
    assert made["below"].action is made["free"].action is Action.COPY


def test_a_cycle_that_somebody_is_copying_is_blocked_too() -> None:
    """Nobody can wait for each of two that wait for each other."""
    source = inventory("east", definition("a", "b"), definition("b", "a"))
    made = plan(source, at(definition("a", "b", status="creating"), definition("b", "a", status="creating")))
    assert {item.action for item in made.items} == {Action.REFUSE}


def test_a_cycle_that_is_at_the_target_already_is_left_alone() -> None:
    source = inventory("east", definition("a", "b"), definition("b", "a"))
    made = plan(source, at(definition("a", "b"), definition("b", "a")))
    assert {item.action for item in made.items} == {Action.SKIP}


def test_a_child_that_the_source_lacks_blocks_its_parents_all_the_way_up() -> None:
    source = inventory("east", definition("top", "middle"), definition("middle", "gone", "lost"), definition("other"))
    made = items(plan(source, at()))
    assert (
        made["middle"].reason
        == "It refers to gone, lost, which east does not have. Create it there, or remove the reference."
    )
    assert made["top"].reason == "Its child middle is blocked. Fix that first."
    assert made["other"].action is Action.COPY


@pytest.mark.parametrize("status", ["creating", "failed", "deleting", "undefined"])
def test_an_analyzer_that_is_not_ready_at_the_source_is_not_copied(status: str) -> None:
    (item,) = plan(inventory("east", definition("a", status=status)), at()).items
    assert item.verdict is Verdict.BLOCKED
    assert item.reason.startswith(f"It is {status} at east, and only a ready analyzer can be copied. ")


def test_an_analyzer_that_is_being_deleted_at_the_target_is_waited_for() -> None:
    (item,) = plan(inventory("east", definition("a")), at(definition("a", status="deleting"))).items
    assert (item.verdict, item.action) == (Verdict.BLOCKED, Action.REFUSE)
    assert item.reason == "It is being deleted at west. Run again when it is gone."


def test_a_refused_child_blocks_the_copy_of_its_parents() -> None:
    source = inventory("east", definition("top", "child"), definition("child"))
    made = items(plan(source, at(definition("child", description="theirs"))))
    assert (made["child"].verdict, made["child"].action) == (Verdict.FOREIGN, Action.REFUSE)
    assert made["top"].verdict is Verdict.BLOCKED
    assert made["top"].reason == "Its child child is refused. Fix that first."


def test_a_parent_that_is_there_is_left_but_its_childs_trouble_is_said() -> None:
    source = inventory("east", definition("top", "child"), definition("child"))
    made = items(plan(source, at(definition("top", "child"), definition("child", description="theirs"))))
    assert made["top"].action is Action.SKIP
    assert made["top"].warnings == ("Its child child is refused.",)


def test_a_parent_that_somebody_is_copying_is_blocked_by_a_refused_child() -> None:
    source = inventory("east", definition("top", "child"), definition("child"))
    made = items(plan(source, at(definition("top", status="creating"), definition("child", description="theirs"))))
    assert made["top"].action is Action.REFUSE


def test_a_version_of_a_child_refuses_its_parents_because_they_keep_the_old_name() -> None:
    source = inventory("east", definition("top", "child"), definition("child"))
    target = at(definition("child", description="theirs"))
    made = items(plan(source, target, selection=Selection(on_existing="version")))
    assert made["child"].action is Action.COPY_AS_VERSION
    assert made["child"].target_analyzer == "child_v2"
    assert made["top"].verdict is Verdict.BLOCKED
    assert made["top"].reason == ("It refers to child, and the copy of that is called child_v2. Fix that first.")


# What is there already.


def test_the_policy_of_the_plan_decides_and_that_of_the_selection_before_it() -> None:
    source, target = inventory("east", definition("a")), at(definition("a", description="theirs"))
    recovery = recovery_plan(on_existing="replace")
    (by_plan,) = plan(source, target, recovery=recovery).items
    (asked,) = plan(source, target, recovery=recovery, selection=Selection(on_existing="version")).items
    assert (by_plan.action, asked.action) == (Action.REPLACE, Action.COPY_AS_VERSION)


def test_versions_are_numbered_after_those_that_are_taken_at_either_side() -> None:
    source = inventory("east", definition("a"), definition("a_v3", description="a name like a version"))
    target = at(definition("a", description="1"), definition("a_v2", description="2"))
    made = items(plan(source, target, selection=Selection(on_existing="version")))
    assert made["a"].target_analyzer == "a_v4"
    assert made["a_v3"].target_analyzer == "a_v3"


def test_a_version_that_equals_the_source_stands_for_it() -> None:
    source = inventory("east", definition("a", description="new"))
    target = at(definition("a", description="old"), definition("a_v2", description="new"), definition("a_vx"))
    (item,) = plan(source, target, selection=Selection(on_existing="version")).items
    assert (item.verdict, item.action, item.target_analyzer) == (Verdict.IN_SYNC, Action.SKIP, "a_v2")


def test_a_version_that_is_being_made_is_adopted() -> None:
    source = inventory("east", definition("a", description="new"))
    being_made = definition("a_v2", description="new", status="creating", createdAt=START.isoformat())
    target = at(definition("a", description="old"), being_made)
    (item,) = plan(source, target, selection=Selection(on_existing="version")).items
    assert (item.action, item.target_analyzer) == (Action.ADOPT, "a_v2")


def test_a_version_that_failed_does_not_stand_for_anything() -> None:
    source = inventory("east", definition("a", description="new"))
    target = at(definition("a", description="old"), definition("a_v2", description="new", status="failed"))
    (item,) = plan(source, target, selection=Selection(on_existing="version")).items
    assert (item.action, item.target_analyzer) == (Action.COPY_AS_VERSION, "a_v3")
    (item,) = plan(source, target, selection=Selection(on_existing="replace")).items
    assert (item.action, item.target_analyzer) == (Action.REPLACE, "a")


def test_an_analyzer_of_the_source_that_is_called_like_a_version_is_none() -> None:
    source = inventory("east", definition("a", description="x"), definition("a_v2", description="x"))
    target = at(definition("a", description="old"), definition("a_v2", description="x"))
    assert items(plan(source, target))["a"].verdict is Verdict.FOREIGN


def test_a_retrained_analyzer_gets_one_version_and_not_one_more_at_each_run() -> None:
    source = inventory("east", labelled("a", changed_at="2026-01-05T00:00:00Z"))
    first = labelled("a")
    made = plan(source, at(first), selection=Selection(on_existing="version"))
    assert made.items[0].target_analyzer == "a_v2"
    stamp = "2026-01-06T00:00:00Z"
    second = labelled("a_v2", description=first["description"], createdAt=stamp, changed_at=stamp)
    (item,) = plan(source, at(first, second), selection=Selection(on_existing="version")).items
    assert (item.verdict, item.target_analyzer) == (Verdict.IN_SYNC, "a_v2")


def test_a_version_whose_name_would_be_too_long_is_refused_with_the_way_out() -> None:
    name = "a" * 62
    source, target = inventory("east", definition(name)), at(definition(name, description="theirs"))
    (item,) = plan(source, target, selection=Selection(on_existing="version")).items
    assert item.action is Action.REFUSE
    assert f"too long for an id. Delete {name} at west" in item.reason


def test_the_ledger_of_the_pair_tells_an_old_copy_from_a_foreign_analyzer() -> None:
    source, target = inventory("east", definition("a", description="new")), at(definition("a"))
    copied = plan(inventory("east", definition("a")), target).items[0]
    assert copied.found is not None
    records = {("east", "west"): {"a": record(copied.expected, copied.found)}}
    (known,) = plan(source, target, records=records).items
    (unknown,) = plan(source, target).items
    assert (known.verdict, unknown.verdict) == (Verdict.SOURCE_AHEAD, Verdict.FOREIGN)


def test_differences_are_json_paths_in_order() -> None:
    source = inventory("east", definition("a", description="new", tags={"k": "1"}))
    (item,) = plan(source, at(definition("a", description="old", baseAnalyzerId="prebuilt-audio"))).items
    assert item.differences == ("$.baseAnalyzerId", "$.description", "$.tags")


def test_what_a_plan_ignores_is_no_difference() -> None:
    source = inventory("east", definition("a", tags={"projectId": "1"}))
    target = at(definition("a", tags={"projectId": "2"}))
    (item,) = plan(source, target, recovery=recovery_plan(ignore=["tags.projectId"])).items
    assert (item.verdict, item.differences) == (Verdict.IN_SYNC, ())


AUDIO = {"baseAnalyzerId": "prebuilt-audio", "processingLocation": "geography", "description": "calls"}
"""A definition of which the first rules of fingerprints left something out."""


CREATED = START.replace(day=1, hour=0, minute=0, second=0)


def seen_by_first_rules(**fields: Any) -> Sighting:
    return sighting(fingerprint(definition("a", **fields)).split(":")[-1], created_at=CREATED, changed_at=CREATED)


@pytest.mark.parametrize(
    ("at_source", "at_target", "verdict"),
    [
        ({}, {}, Verdict.IN_SYNC),
        ({"description": "edited"}, {}, Verdict.SOURCE_AHEAD),
        ({}, {"description": "edited"}, Verdict.TARGET_AHEAD),
        ({"description": "edited"}, {"description": "another"}, Verdict.DIVERGED),
    ],
)
def test_the_record_of_an_earlier_version_says_what_was_edited(
    at_source: dict[str, str], at_target: dict[str, str], verdict: Verdict
) -> None:
    then = seen_by_first_rules(**AUDIO)
    source, target = (definition("a", **{**AUDIO, **edit}) for edit in (at_source, at_target))
    (item,) = plan(inventory("east", source), at(target), records={("east", "west"): {"a": record(then, then)}}).items
    assert item.verdict is verdict


# The `2025-05-01-preview` protocol.


def preview_pair(source: Mapping[str, Any], *target: Mapping[str, Any]) -> tuple[Inventory, Inventory]:
    east, west = resource("east", PREVIEW_2025), resource("west", PREVIEW_2025)
    return inventory(east, source), inventory(west, *target)


def test_the_preview_protocol_cannot_replace_and_the_refusal_names_the_way_out() -> None:
    source, target = preview_pair(definition("a"), definition("a", description="old"))
    (item,) = plan(source, target, selection=Selection(on_existing="replace")).items
    assert (item.verdict, item.action) == (Verdict.FOREIGN, Action.REFUSE)
    assert "Allow a copy beside it with --on-existing version, or delete it at west" in item.reason
    (item,) = plan(source, target, selection=Selection(on_existing="version")).items
    assert item.action is Action.COPY_AS_VERSION


def test_a_copy_under_the_preview_protocol_is_expected_with_the_plans_deployments() -> None:
    recovery = recovery_plan(deployments={"west": {"chatCompletion": "gpt-west"}})
    models = {"completion": "gpt-east", "embedding": "emb"}
    source, target = preview_pair(
        definition("a", models=models), definition("a", models=models | {"completion": "gpt-west"})
    )
    (item,) = plan(source, target, recovery=recovery).items
    assert item.verdict is Verdict.IN_SYNC
    (item,) = plan(source, target).items
    assert item.differences == ("$.models.completion",)


@pytest.mark.parametrize("shown", [{"completion": "gpt-west"}, {"completion": "gpt-east"}, {}])
def test_however_a_copy_under_the_preview_protocol_shows_an_override_it_is_what_was_planned(
    shown: dict[str, str],
) -> None:
    recovery = recovery_plan(deployments={"west": {"chatCompletion": "gpt-west"}}, target_id="{id}-dr")
    source = definition("a", description="d", models={"completion": "gpt-east", "embedding": "emb"})
    there = definition("a-dr", description="d", models={"embedding": "emb", **shown})
    expected = [("a-dr", Verdict.IN_SYNC, ())]
    for target in ([there], [definition("a-dr", description="older"), {**there, "analyzerId": "a-dr_v2"}]):
        (item,) = plan(*preview_pair(source, *target), recovery=recovery).items
        assert [(item.target_analyzer, item.verdict, item.differences)] == expected
        expected = [("a-dr_v2", Verdict.IN_SYNC, ())]
    for odd in ({"completion": "another"}, {"completion": "gpt-east", "embedding": "another"}):
        found = definition("a-dr", description="d", models={"embedding": "emb", **odd})
        (item,) = plan(*preview_pair(source, found), recovery=recovery).items
        assert item.verdict is Verdict.FOREIGN


# Models.


def served(name: str, defaults: Mapping[str, str] | None, *deployments: tuple[str, str]) -> Inventory:
    known = [deployment(*each) for each in deployments] if deployments else None
    return inventory(name, serves=serving(resource(name), defaults, known))


def source_with(*names: str) -> Inventory:
    both = [deployment("gpt", "gpt-4.1"), deployment("emb", "text-embedding-3-small")]
    serves = serving(resource("east"), DEFAULTS, both)
    return inventory("east", *(definition(name, models=MODELS) for name in names), serves=serves)


def test_a_model_that_the_target_does_not_serve_blocks_with_the_call_that_mends_it() -> None:
    (item,) = plan(source_with("a"), served("west", {"gpt-4.1": "gpt"})).items
    assert item.verdict is Verdict.BLOCKED
    assert item.reason == (
        "west has no default deployment for model text-embedding-3-small. Fix it with PATCH "
        "https://west.services.ai.azure.com/contentunderstanding/defaults?api-version=2025-11-01 "
        'with {"modelDeployments": {"text-embedding-3-small": "DEPLOYMENT"}}.'
    )


def test_a_model_that_is_not_served_blocks_what_needs_its_analyzer() -> None:
    serves = serving(resource("east"), DEFAULTS)
    source = inventory("east", definition("top", "leaf"), definition("leaf", models=MODELS), serves=serves)
    made = items(plan(source, served("west", None)))
    assert made["top"].reason == "Its child leaf is blocked. Fix that first."


def test_an_analyzer_that_is_there_without_its_models_is_left_and_warned_of() -> None:
    (item,) = plan(
        source_with("a"),
        inventory("west", definition("a", models=MODELS), serves=serving(resource("west"), None)),
    ).items
    assert item.action is Action.SKIP
    assert len(item.warnings) == 2
    assert all("west has no defaults" in warning for warning in item.warnings)


def test_missing_models_are_only_warned_of_where_the_plan_ignores_them() -> None:
    made = plan(source_with("a"), served("west", None), recovery=recovery_plan(missing_defaults="ignore"))
    assert made.items[0].action is Action.COPY
    assert len(made.items[0].warnings) == 2
    assert made.added_defaults == {}


SYNC = recovery_plan(missing_defaults="sync")
WEST = (("gpt", "gpt-4.1"), ("emb-west", "text-embedding-3-small"))


def test_sync_adds_what_is_missing_and_shows_it() -> None:
    made = plan(source_with("a"), served("west", None, *WEST), recovery=SYNC)
    assert made.items[0].action is Action.COPY
    assert made.added_defaults == {"west": {"gpt-4.1": "gpt", "text-embedding-3-small": "emb-west"}}


def test_sync_never_changes_a_name_that_is_there() -> None:
    target = served("west", {"gpt-4.1": "other"}, ("other", "gpt-4o"), *WEST)
    made = plan(source_with("a"), target, recovery=SYNC)
    assert made.added_defaults == {"west": {"text-embedding-3-small": "emb-west"}}


def test_sync_adds_nothing_where_no_deployment_fits_and_blocks() -> None:
    made = plan(source_with("a"), served("west", None, ("gpt", "gpt-4.1")), recovery=SYNC)
    assert made.items[0].verdict is Verdict.BLOCKED
    assert made.added_defaults == {}


def test_sync_adds_nothing_for_what_is_not_copied_anyway() -> None:
    serves = serving(resource("west"), None, [deployment(*each) for each in WEST])
    target = inventory("west", definition("a", description="theirs"), serves=serves)
    made = plan(source_with("a"), target, recovery=SYNC)
    assert made.items[0].action is Action.REFUSE
    assert made.added_defaults == {}


def test_sync_completes_the_defaults_under_a_copy_that_is_there_already() -> None:
    serves = serving(resource("west"), None, [deployment(*each) for each in WEST])
    made = plan(source_with("a"), inventory("west", definition("a", models=MODELS), serves=serves), recovery=SYNC)
    assert made.items[0].action is Action.SKIP
    assert made.items[0].warnings == ()
    assert made.added_defaults["west"].keys() == DEFAULTS.keys()


def test_sync_adds_one_deployment_for_a_name_that_two_sources_need() -> None:
    pairs = [{"source": "east", "targets": ["west"]}, {"source": "north", "targets": ["west"]}]
    recovery = RecoveryPlan.model_validate({"name": "both", "pairs": pairs, "missing_defaults": "sync"})
    north = inventory(
        "north",
        definition("b", models={"completion": "gpt-4.1"}),
        serves=serving(resource("north"), {"gpt-4.1": "gpt-north"}, [deployment("gpt-north", "gpt-4.1")]),
    )
    target = served("west", None, *WEST, ("gpt-north", "gpt-4.1"))
    made = plan(source_with("a"), north, target, recovery=recovery)
    assert made.added_defaults["west"]["gpt-4.1"] == "gpt"


# Any graph.


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    count = draw(st.integers(1, 200))
    edges = draw(st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count + 1)), max_size=2 * count))
    graph: dict[str, list[str]] = {f"n{number}": [] for number in range(count)}
    for parent, child in edges:
        # The two beyond the last one are references that lead nowhere.
        graph[f"n{parent}"].append(f"n{child}")
    return graph


@given(graphs(), st.randoms(use_true_random=False))
def test_any_graph_is_planned_so_that_nothing_is_copied_before_or_without_its_children(
    graph: dict[str, list[str]], chance: Any
) -> None:
    chosen = set(chance.sample(sorted(graph), chance.randint(1, len(graph))))
    present = [definition(name, *graph[name]) for name in graph if chance.random() < 0.3]
    foreign = {each["analyzerId"] for each in present if chance.random() < 0.3}
    for each in present:
        if each["analyzerId"] in foreign:
            each["description"] = "theirs"
    source = inventory("east", *(definition(name, *children) for name, children in graph.items()))
    made = items(plan(source, at(*present), selection=Selection(tuple(sorted(chosen)))))

    reachable, waiting = set(chosen), list(chosen)
    while waiting:
        new = {child for child in graph[waiting.pop()] if child in graph} - reachable
        reachable |= new
        waiting.extend(new)
    assert made.keys() == reachable
    for name, item in made.items():
        if item.action in ACTING:
            assert set(graph[name]) <= made.keys()
            assert all(made[child].action is not Action.REFUSE for child in graph[name])
        elif item.verdict is Verdict.BLOCKED:
            gone = set(graph[name]) - graph.keys()
            refused = {child for child in graph[name] if child in made and made[child].action is Action.REFUSE}
            assert gone or refused or "through" in item.reason
        if item.warnings and item.warnings[0].startswith("Not selected"):
            assert name not in chosen


def test_only_the_analyzer_that_is_forced_by_name_is_overwritten() -> None:
    source = [definition("edited"), definition("other")]
    target = [definition("edited", description="another"), definition("other", description="another")]
    inventories = {"east": inventory("east", *source), "west": inventory("west", *target)}
    plan = make_plan(recovery_plan(), Selection(force=("edited",)), inventories, {}, START)
    assert {item.analyzer: item.action for item in plan.items} == {
        "edited": Action.REPLACE,
        "other": Action.REFUSE,
    }


def test_an_id_to_force_that_nobody_has_is_refused_with_the_nearest() -> None:
    inventories = {"east": inventory("east", definition("invoice")), "west": inventory("west")}
    with pytest.raises(NothingSelected, match="invoice"):
        make_plan(recovery_plan(), Selection(force=("invoce",)), inventories, {}, START)
