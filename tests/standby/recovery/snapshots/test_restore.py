from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.config.errors import UnknownName
from standby.recovery.audit import verify_audit
from standby.recovery.runs import Durations, Kind
from standby.recovery.snapshots.fidelity import Fidelity, RestoreAction
from standby.recovery.snapshots.id_mapping import Naming
from standby.recovery.snapshots.plan import plan_restore
from standby.recovery.snapshots.restore import restore
from standby.recovery.snapshots.snapshot import open_snapshot
from standby.replication.errors import NothingSelected
from standby.replication.items import Progress, Selection, Status
from standby.replication.ledger import read_rebuilt
from standby.replication.replicate import survey
from standby.replication.verdict import Verdict
from standby.service.models import READ_ONLY
from tests.standby.recovery.snapshots.world import Files, World, analyzer, labelled_by, recorded, served
from tests.standby.replication.world import MODELS, START, definition, recovery_plan

HIDDEN = "https://x.blob.core.example/labels"
"""A container that is never asked, so that what it holds is unknown."""


async def kept(*definitions: dict[str, Any], **plan: Any) -> World:
    """A world with a snapshot of the east, which is down since."""
    world = served(World(plan=recovery_plan(targets=("west", "north"), **plan)))
    world.hold("east", *definitions)
    await world.take()
    world.cloud.down.add("east")
    world.cloud.calls.clear()
    return world


names = st.sampled_from([f"a{number}" for number in range(6)])
scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
schemas = st.dictionaries(st.text(min_size=1, max_size=4), scalars, max_size=3)


@st.composite
def estates(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Analyzers that refer only to earlier ones, with all that the service adds to a definition."""
    made: list[dict[str, Any]] = []
    for number in range(draw(st.integers(1, 5))):
        children = (
            draw(st.lists(st.sampled_from([f"a{each}" for each in range(number)]), unique=True)) if number else []
        )
        inline = {"analyzer": {"baseAnalyzerId": children[0], "status": None}} if children else {"description": "x"}
        extra = {"contentCategories": {**{child: {"analyzerId": child} for child in children}, "inline": inline}}
        config = {"_experimental": {"_a": 1}, "enableOcr": draw(st.booleans()), **extra}
        schema = {"fieldSchema": {"fields": {"_mine": draw(schemas), "Total": {"type": "number"}}}}
        made.append(analyzer(f"a{number}", config=config, description=draw(st.text(max_size=5)), **schema))
    return made


@given(estate=estates())
def test_what_is_restored_means_what_was_kept(estate: list[dict[str, Any]]) -> None:
    async def everything() -> World:
        world = await kept(*estate)
        report = await world.restored()
        assert report.complete, report
        return world

    world = asyncio.run(everything())

    assert world.meanings("west") == world.meanings("east")
    order = [name for _, name in world.cloud.built]
    for each in estate:
        for category in each["config"]["contentCategories"].values():
            if "analyzerId" in category:
                assert order.index(category["analyzerId"]) < order.index(each["analyzerId"])


values = st.recursive(
    scalars | st.floats(allow_nan=False, allow_infinity=False) | st.integers(min_value=2**53),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
of_people = st.dictionaries(st.text(max_size=4), values, max_size=3)


def has_key_of_the_service(category: Any) -> bool:
    """Say whether a category has a key like the service's own, which is not sent."""
    return isinstance(category, dict) and any(key.startswith("_") for key in category)


of_categories = of_people.filter(lambda found: not any(map(has_key_of_the_service, found.values())))


@given(of_people, of_categories, of_people, st.permutations(["fieldSchema", "config", "tags", "description", "models"]))
def test_any_json_survives_the_vault_and_a_restore_in_the_order_in_which_it_was_received(
    descriptions: dict[str, Any], categories: dict[str, Any], unknown: dict[str, Any], order: list[str]
) -> None:
    field = {"type": "string", "enumDescriptions": descriptions, "new": unknown, "examples": [unknown, None]}
    parts: dict[str, Any] = {
        "fieldSchema": {"name": "n", "fields": {"_b": field, "_a": {}}, "$defs": {"_z": field}, "definitions": {}},
        "config": {"locales": [], "contentCategories": categories, "enableOcr": True},
        "tags": {"z": "", "_a": "b"},
        "description": "",
        "models": dict(MODELS),
    }
    shown = {"fieldSchema": {}, **{part: parts[part] for part in order}, "later": unknown}

    async def sent() -> dict[str, Any]:
        world = await kept(definition("a", **shown))
        report = await world.restored()
        assert report.complete, report
        return world.cloud.sent["west", "a"]

    wanted = {key: value for key, value in definition("a", **shown).items() if key not in READ_ONLY}
    assert json.dumps(asyncio.run(sent())) == json.dumps(wanted)


async def test_asks_nobody_but_the_target() -> None:
    world = await kept(analyzer("router", "invoice"), analyzer("invoice"))

    await world.restored()

    assert {where for where, _, _ in world.cloud.calls} == {"west"}


async def test_sends_nothing_that_may_not_be_sent() -> None:
    config = {"_experimental": {"a": 1}, "tableFormat": None, "enableOcr": False}
    world = await kept(analyzer("invoice", config=config, warnings=[], supportedModels={"completion": []}))

    await world.restored()

    sent = world.cloud.sent["west", "invoice"]
    assert sent["config"] == {"enableOcr": False}
    assert sent.keys() == {"baseAnalyzerId", "description", "models", "config"}


async def test_children_are_begun_when_theirs_are_verified_and_others_side_by_side() -> None:
    world = await kept(analyzer("top", "left", "right"), analyzer("left"), analyzer("right"))
    seen: list[Progress] = []
    context = world.context()
    plan = await plan_restore(context, await open_snapshot(context), "west")

    await restore(context, plan, on_progress=seen.append)

    assert [name for _, name in world.cloud.built][-1] == "top"
    assert max(each.in_flight for each in seen) == 2
    assert seen[-1].done == 3


async def test_stays_within_what_the_target_takes_at_once() -> None:
    world = await kept(*(analyzer(f"a{number}") for number in range(30)))
    seen: list[Progress] = []
    context = world.context()
    plan = await plan_restore(context, await open_snapshot(context), "west")

    await restore(context, plan, on_progress=seen.append)

    assert max(each.in_flight for each in seen) == 10


async def test_measures_what_it_built_and_writes_down_what_it_did() -> None:
    world = await kept(analyzer("invoice"))

    report = await world.restored()

    measured = (await Durations.read(world.vault, "invoices")).of(Kind.RESTORE)
    assert measured == tuple(item.seconds for item in report.items)
    assert len(measured) == 1
    lines = (await verify_audit(world.vault, "invoices", world.signer)).lines
    assert [line.action for line in lines] == ["snapshot.taken", "restore.begun", "restore.ended"]


async def test_a_build_that_fails_blocks_only_its_parents() -> None:
    world = await kept(analyzer("top", "bad"), analyzer("bad"), analyzer("good"))
    world.cloud.fails.add("bad")

    report = await world.restored()

    assert {item.analyzer: item.status for item in report.items} == {
        "bad": Status.FAILED,
        "good": Status.SUCCEEDED,
        "top": Status.BLOCKED,
    }
    assert "No training data was found" in report.items[0].reason
    assert report.items[2].reason == "Its child bad failed. Fix that, then run again."
    assert not report.complete


async def test_a_lost_answer_is_settled_by_looking() -> None:
    world = await kept(analyzer("invoice"))

    def lose(when: str, request: httpx.Request) -> httpx.Response | None:
        if when == "after" and request.method == "PUT":
            raise httpx.ReadTimeout("lost", request=request)
        return None

    world.cloud.intervene = lose

    report = await world.restored()

    assert report.complete
    assert world.cloud.built == [("west", "invoice")]


async def test_a_build_that_never_arrived_is_sent_again() -> None:
    world = await kept(analyzer("invoice"))
    lost = [True]

    def lose(when: str, request: httpx.Request) -> httpx.Response | None:
        if when == "before" and request.method == "PUT" and lost:
            lost.clear()
            raise httpx.ReadTimeout("lost", request=request)
        return None

    world.cloud.intervene = lose

    assert (await world.restored()).complete


async def test_what_somebody_else_makes_meanwhile_is_left_alone() -> None:
    world = await kept(analyzer("invoice"))

    def others(when: str, request: httpx.Request) -> httpx.Response | None:
        if when == "before" and request.method == "PUT":
            world.hold("west", analyzer("invoice", description="somebody else's"))
        return None

    world.cloud.intervene = others

    report = await world.restored()

    assert report.items[0].status is Status.FAILED
    assert world.cloud.region("west").analyzers["invoice"]["description"] == "somebody else's"


async def test_what_the_target_fills_in_by_itself_is_nobodys_edit() -> None:
    """This cloud fills in `enableOcr`, which the source does not show, and nothing is known of what the base says."""
    world = await kept(analyzer("calls", baseAnalyzerId="prebuilt-audio"))

    report = await world.restored()

    assert report.complete, report
    assert (await world.planned()).items[0].met
    world.cloud.down.clear()
    [item] = (await survey(world.context().run, Selection(targets=("west",)))).items
    assert item.verdict is Verdict.IN_SYNC
    there = world.cloud.region("west").analyzers["calls"]
    there |= {"config": {"enableOcr": False}, "lastModifiedAt": "2027-01-01T00:00:00Z"}
    assert not (await world.planned()).items[0].met
    [item] = (await survey(world.context().run, Selection(targets=("west",)))).items
    assert item.verdict is Verdict.FOREIGN


async def test_what_becomes_something_else_is_not_called_restored() -> None:
    world = await kept(analyzer("invoice"))

    def settle(when: str, request: httpx.Request) -> httpx.Response | None:
        held = world.cloud.region("west").analyzers.get("invoice")
        if when == "after" and "/operations/" in request.url.path and held:
            held["description"] = "edited"
        return None

    world.cloud.intervene = settle

    report = await world.restored()

    assert report.items[0].status is Status.FAILED
    assert "invoice at west differs from what was sent in $.description: west did not keep" in report.items[0].reason


async def test_a_cancellation_leaves_a_true_report() -> None:
    world = await kept(analyzer("top", "slow"), analyzer("slow"), analyzer("quick"))
    context = world.context()
    plan = await plan_restore(context, await open_snapshot(context), "west")
    task: asyncio.Task[Any]

    def stop(when: str, request: httpx.Request) -> httpx.Response | None:
        if when == "after" and request.method == "PUT" and request.url.path.endswith("slow"):
            task.cancel()
        return None

    world.cloud.intervene = stop
    task = asyncio.create_task(restore(context, plan))

    report = await task

    assert report.interrupted
    assert not report.complete
    told = {item.analyzer: item.reason for item in report.items}
    assert told["slow"].startswith("Interrupted while it was being built at west")
    assert told["top"] == "Interrupted before it began. Run again."
    assert "slow" in await read_rebuilt(world.vault, "west"), "so that it is never taken for a copy"
    world.cloud.settle()
    again = await world.restored()
    assert again.complete


async def test_a_vault_that_fails_at_the_end_does_not_cost_the_report() -> None:
    world = await kept(analyzer("invoice"))

    def fail(when: str, request: httpx.Request) -> httpx.Response | None:
        if request.method == "PUT":
            world.vault.down = True
        return None

    world.cloud.intervene = fail

    report = await world.restored()

    assert report.items[0].status is Status.SUCCEEDED
    assert len(report.problems) == 3


async def test_adds_defaults_where_the_plan_says_so() -> None:
    world = await kept(
        analyzer("invoice"),
        missing_defaults="sync",
        deployments={"west": {"chatCompletion": "c", "embedding": "e"}},
    )
    world.cloud.region("west").defaults = None

    report = await world.restored()

    assert report.complete
    assert world.cloud.region("west").defaults == {"gpt-4.1": "c", "text-embedding-3-small": "e"}


async def test_blocks_everything_where_the_defaults_cannot_be_completed() -> None:
    world = await kept(
        analyzer("invoice"),
        missing_defaults="sync",
        deployments={"west": {"chatCompletion": "c", "embedding": "e"}},
    )
    world.cloud.region("west").defaults = {}

    def refuse(when: str, request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(401) if request.method == "PATCH" else None

    world.cloud.intervene = refuse

    report = await world.restored()

    assert report.items[0].status is Status.BLOCKED
    assert report.items[0].reason.startswith("The defaults of west could not be completed")


async def test_refuses_what_the_target_cannot_serve_with_its_parents() -> None:
    world = await kept(analyzer("top", "invoice"), analyzer("invoice"))
    world.cloud.region("west").defaults = {}

    plan = await world.planned()

    assert [item.action for item in plan.items] == [RestoreAction.REFUSE] * 2
    assert "no default deployment" in plan.items[0].reason


async def test_ignores_models_where_the_plan_says_so() -> None:
    world = await kept(analyzer("invoice"), missing_defaults="ignore")
    world.cloud.region("west").defaults = {}

    plan = await world.planned()

    assert plan.items[0].action is RestoreAction.CREATE
    assert "no default deployment" in plan.items[0].warnings[0]


async def test_a_verified_copy_is_exact() -> None:
    world = await kept(labelled_by(HIDDEN))
    world.hold("west", labelled_by(HIDDEN, createdAt="2026-01-03T00:00:00Z"))
    await recorded(world, "trained")

    [item] = (await world.planned()).items

    assert (item.fidelity, item.action, item.met) == (Fidelity.EXACT, RestoreAction.KEEP, True)


async def test_a_copy_made_before_it_was_trained_again_is_not_exact() -> None:
    world = await kept(labelled_by(HIDDEN, lastModifiedAt="2026-01-02T00:00:00Z"))
    world.hold("west", labelled_by(HIDDEN, createdAt="2026-01-03T00:00:00Z"))
    await recorded(world, "trained", lastModifiedAt="2026-01-01T00:00:00Z")

    [item] = (await world.planned()).items

    assert (item.fidelity, item.met) == (Fidelity.UNFAITHFUL, True)
    assert "before it was trained again" in item.reason


async def test_what_was_made_again_under_the_id_is_no_verified_copy() -> None:
    world = await kept(analyzer("invoice"))
    world.hold("west", analyzer("invoice"))
    await recorded(world, "invoice")
    world.hold("west", analyzer("invoice", createdAt="2026-01-09T00:00:00Z"))

    [item] = (await world.planned()).items

    assert (item.fidelity, item.met) == (Fidelity.EQUIVALENT, True)


async def test_without_labelled_data_a_rebuilt_one_is_equivalent() -> None:
    world = await kept(analyzer("invoice"))

    [item] = (await world.planned()).items

    assert (item.fidelity, item.action) == (Fidelity.EQUIVALENT, RestoreAction.CREATE)


async def test_with_labelled_data_that_is_unknown_it_is_unfaithful_and_built_all_the_same() -> None:
    world = await kept(labelled_by(f"{HIDDEN}?sig=canary"))

    plan = await world.planned()
    report = await world.restored()

    [item] = plan.items
    assert (item.fidelity, item.action) == (Fidelity.UNFAITHFUL, RestoreAction.CREATE)
    assert "could not be listed when the snapshot was taken" in item.reason
    assert item.warnings == (f"Training needs access to {HIDDEN}: the signature in its URL is not stored.",)
    assert report.items[0].status is Status.SUCCEEDED


async def test_never_overwrites() -> None:
    world = await kept(analyzer("invoice"), analyzer("copied"))
    world.hold("west", analyzer("invoice", description="another"), analyzer("copied", description="older"))
    await recorded(world, "copied")

    report = await world.restored()

    assert {item.status for item in report.items} == {Status.REFUSED}
    assert "something else under this id, which is not changed" in report.items[1].reason
    assert "a copy of another version of it" in report.items[0].reason
    assert world.cloud.built == []


@pytest.mark.parametrize(
    ("status", "action", "reason"),
    [
        ("creating", "keep", "Run again when this has ended"),
        ("deleting", "refuse", "Run again when it is gone"),
        ("failed", "create", "It is failed at west and holds nothing, so it is overwritten"),
        ("undefined", "refuse", "first delete it with DELETE https://west"),
        (7, "refuse", "It is unreadable at west, and may hold a training"),
    ],
)
async def test_what_is_not_ready_at_the_target_is_told(status: object, action: str, reason: str) -> None:
    world = await kept(analyzer("invoice"))
    world.hold("west", analyzer("invoice", status=status, createdAt=START.isoformat()))

    [item] = (await world.planned()).items

    assert (item.action, item.met) == (action, False)
    assert reason in item.reason


@pytest.mark.parametrize("status", ["failed", "creating"])
@pytest.mark.parametrize("only_missing", [True, False])
async def test_what_failed_or_is_stuck_is_built_anew_and_its_definition_is_kept(
    status: str, only_missing: bool
) -> None:
    world = await kept(analyzer("invoice"))
    world.hold("west", analyzer("invoice", status=status, description="broken", createdAt="2025-12-01T00:00:00Z"))

    report = await world.restored(only_missing=only_missing)

    assert report.totals[Status.SUCCEEDED] == 1
    assert world.cloud.region("west").analyzers["invoice"]["status"] == "ready"
    [saved] = [json.loads(file) for path, file in world.vault.files.items() if path.startswith("replaced/west/")]
    assert saved["description"] == "broken"


async def test_only_what_is_missing_can_be_asked_for() -> None:
    world = await kept(analyzer("top", "child"), analyzer("child"), analyzer("new"))
    world.hold("west", analyzer("child", description="another"))

    report = await world.restored(only_missing=True)

    assert [item.analyzer for item in report.items] == ["new", "top"]
    assert report.complete


async def test_restores_to_the_source_itself() -> None:
    world = await kept(analyzer("invoice"))
    world.cloud.down.clear()
    world.cloud.region("east").analyzers.clear()

    report = await world.restored("east")

    assert report.complete
    assert world.cloud.built == [("east", "invoice")]


async def test_a_drill_gets_other_ids_and_tags_all_through() -> None:
    world = await kept(analyzer("top", "child", tags={"team": "a"}), analyzer("child"))
    world.hold("west", analyzer("child", description="in use"))

    report = await world.restored(naming=Naming("drill-7-", {"standby-drill": "7"}))

    assert [(item.analyzer, item.target_analyzer) for item in report.items] == [
        ("child", "drill-7-child"),
        ("top", "drill-7-top"),
    ]
    sent = world.cloud.sent["west", "drill-7-top"]
    assert sent["config"]["contentCategories"] == {"child": {"analyzerId": "drill-7-child"}}
    assert sent["tags"] == {"standby-drill": "7", "team": "a"}
    assert world.cloud.region("west").analyzers["child"]["description"] == "in use"


async def test_copies_keep_the_ids_that_the_plan_gives_them() -> None:
    world = await kept(analyzer("top", "child"), analyzer("child"), target_id="{id}-dr")

    report = await world.restored()

    assert [item.target_analyzer for item in report.items] == ["child", "top-dr"]
    world.switch(east="west")
    world.cloud.down.clear()
    world.cloud.region("east").analyzers.clear()
    await world.take()
    back = await world.restored("east")
    assert [(item.analyzer, item.target_analyzer) for item in back.items] == [
        ("child", "child"),
        ("top-dr", "top"),
    ]


async def test_what_it_refers_to_must_be_in_the_snapshot_or_there() -> None:
    world = await kept(analyzer("top", "elsewhere"), analyzer("other", "known"))
    world.hold("west", analyzer("known"))

    plan = await world.planned()

    assert {item.analyzer: item.action for item in plan.items} == {
        "other": RestoreAction.CREATE,
        "top": RestoreAction.REFUSE,
    }
    assert "It refers to elsewhere, not in the snapshot" in plan.items[1].reason


async def test_a_circle_is_refused_with_its_path() -> None:
    world = await kept(analyzer("a", "b"), analyzer("b", "a"), analyzer("good"))

    plan = await world.planned()

    assert [item.action for item in plan.items] == [
        RestoreAction.REFUSE,
        RestoreAction.REFUSE,
        RestoreAction.CREATE,
    ]
    assert "It refers to itself through" in plan.items[0].reason


async def test_a_damaged_definition_costs_only_itself_and_its_parents() -> None:
    world = await kept(analyzer("top", "child"), analyzer("child"), analyzer("good"))
    digest = (await open_snapshot(world.context())).resources["east"].analyzers["child"].digest
    path = f"objects/invoices/{digest[:2]}/{digest}"
    world.vault.files[path] = b"spoilt"

    report = await world.restored()

    assert {item.analyzer: item.status for item in report.items} == {
        "child": Status.REFUSED,
        "good": Status.SUCCEEDED,
        "top": Status.REFUSED,
    }
    assert path in report.items[0].reason
    assert "It refers to child, damaged in the snapshot" in report.items[2].reason


async def test_a_definition_that_the_second_store_has_is_mended_in_the_first() -> None:
    world = served(World(second=Files()))
    world.hold("east", analyzer("invoice"))
    await world.take()
    [path] = [path for path in world.vault.files if path.startswith("objects/")]
    good, world.vault.files[path] = world.vault.files[path], b"spoilt"

    report = await world.restored()

    assert report.complete
    assert world.vault.files[path] == good


async def test_two_sources_with_one_id_do_not_share_a_target() -> None:
    pairs = [{"source": "east", "targets": ["west"]}, {"source": "west", "targets": ["north"]}]
    world = World(plan=recovery_plan().model_validate({"name": "invoices", "pairs": pairs}))
    served(world, "east", "west")
    world.hold("east", analyzer("invoice"))
    world.hold("west", analyzer("invoice", description="another"), analyzer("own"))
    await world.take()
    world.cloud.region("west").analyzers.clear()

    plan = await world.planned()
    only = await world.planned(primary="west")

    assert [(item.resource, item.action) for item in plan.items] == [
        ("east", RestoreAction.CREATE),
        ("west", RestoreAction.REFUSE),
        ("west", RestoreAction.CREATE),
    ]
    assert plan.definitions["invoice"]["description"] == "what invoice is"
    assert [item.resource for item in only.items] == ["west", "west"]


async def test_refuses_an_unknown_target_and_a_glob_that_matches_nothing() -> None:
    world = await kept(analyzer("invoice"))

    with pytest.raises(UnknownName):
        await world.planned("wets")
    with pytest.raises(NothingSelected, match="invoice"):
        await world.planned(analyzers=["invoic"])


async def test_says_that_it_was_not_ready_when_it_was_kept() -> None:
    world = await kept(analyzer("invoice", status="creating"))

    [item] = (await world.planned()).items

    assert item.warnings == ("It was creating when the snapshot was taken.",)
