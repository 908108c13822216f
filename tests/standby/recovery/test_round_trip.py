"""Definitions as people publish them go from a source to a copy, a snapshot and a restore, and none of it is lost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from standby.cli.replicate import replicate_directly
from standby.recovery.context import RecoveryContext, open_recovery
from standby.recovery.snapshots.plan import plan_restore
from standby.recovery.snapshots.restore import restore
from standby.recovery.snapshots.snapshot import open_snapshot
from standby.recovery.snapshots.take import take_snapshot
from standby.replication.fingerprint import without_access
from standby.replication.inventory import take_inventory
from standby.replication.items import Selection
from standby.replication.replicate import survey
from standby.replication.verdict import Verdict

if TYPE_CHECKING:
    from tests.conftest import Scene, SceneMaker

SEGMENT = {"type": "object", "properties": {"_kind": {"type": "string", "enum": ["Replay", "Other"]}, "Id": {}}}
VALUES = {
    "type": "string",
    "method": "classify",
    "enum": ["_none", "paid"],
    "enumDescriptions": {"_none": "", "paid": "p"},
}
SIGNED = "https://x.blob.core.example/labels?sv=2025-07-05&se=2026-12-31T23%3A59%3A59Z&sp=rl&sig=canary%3D"

SHAPES: list[dict[str, Any]] = [
    {
        "analyzerId": "referring",
        "baseAnalyzerId": "prebuilt-document",
        "fieldSchema": {
            "name": "",
            "fields": {"z_rows": {"type": "array", "items": {"$ref": "#/$defs/_Row"}}, "a": VALUES},
            "definitions": {"_Row": {"type": "object", "properties": {"_b": {"type": "number"}, "a": VALUES}}},
        },
    },
    {"analyzerId": "nothing", "fieldSchema": {}},
    {
        "analyzerId": "pro",
        "baseAnalyzerId": "prebuilt-documentAnalyzer",
        "mode": "pro",
        "processingLocation": "global",
        "fieldSchema": {"fields": {}, "definitions": {}},
    },
    {
        "analyzerId": "highlights",
        "scenario": "videoShot",
        "baseAnalyzerId": "prebuilt-videoAnalyzer",
        "config": {
            "segmentationMode": "custom",
            "segmentationDefinition": "Is it a goal? Then…",
            "returnDetails": False,
        },
        "fieldSchema": {"fields": {"Segments": {"type": "array", "method": "generate", "items": SEGMENT}}},
    },
    {
        "analyzerId": "calls",
        "baseAnalyzerId": "prebuilt-audio",
        "config": {"locales": [], "disableContentFiltering": False, "tableFormat": "html"},
        "fieldSchema": {"fields": {"Topics": {"type": "array", "items": {"type": "string", "examples": ["é", "😀"]}}}},
        "tags": {"_stage": "x", "Stage": ""},
    },
    {
        "analyzerId": "a-derived",
        "baseAnalyzerId": "plain-text",
        "config": {"enableOcr": True, "enableFigureAnalysis": False, "chartFormat": "chartjs"},
        "models": {"completion": "gpt-4.1", "embedding": "text-embedding-3-large"},
    },
    {
        "analyzerId": "plain-text",
        "baseAnalyzerId": "prebuilt-document",
        "config": {"enableOcr": False, "enableFigureAnalysis": True, "chartFormat": "markdown"},
    },
    {
        "analyzerId": "sorting",
        "baseAnalyzerId": "prebuilt-document",
        "config": {
            "enableSegment": True,
            "contentCategories": {
                "_other": {"description": "anything else"},
                "calls": {"description": "c", "analyzerId": "calls"},
                "Bill": {"analyzer": {"baseAnalyzerId": "plain-text", "fieldSchema": {"fields": {"_t": VALUES}}}},
            },
        },
    },
    {
        "analyzerId": "taught",
        "baseAnalyzerId": "prebuilt-document",
        "fieldSchema": {"fields": {"_date": {"type": "date", "description": ""}}},
        "knowledgeSources": [
            {"kind": "labeledData", "containerUrl": SIGNED, "prefix": "set/", "fileListPath": ""},
        ],
    },
]


async def definitions_at(context: RecoveryContext, resource: str) -> dict[str, str]:
    """What a resource holds, written down in its order, but for dates and signatures."""
    held = (await take_inventory(context.connections[resource])).definitions
    dates = ("createdAt", "lastModifiedAt")
    return {
        name: json.dumps(without_access({key: value for key, value in each.items() if key not in dates}))
        for name, each in held.items()
    }


async def verdicts(context: RecoveryContext) -> set[tuple[Verdict, tuple[str, ...]]]:
    return {(item.verdict, item.differences) for item in (await survey(context.run, Selection())).items}


async def copied(scene: Scene) -> None:
    ended = await replicate_directly(scene.configuration, "p", Selection(), None, lambda _: None)
    assert ended.report.complete, ended.report


@pytest.mark.parametrize("api_version", ["2025-11-01", "2025-05-01-preview"])
async def test_published_shapes_survive_a_copy_a_snapshot_and_a_restore(
    make_scene: SceneMaker, api_version: str
) -> None:
    async with make_scene(SHAPES, service_time=0, api_version=api_version) as scene:
        await copied(scene)
        async with open_recovery(scene.configuration, "p") as context:
            at_source = await definitions_at(context, "east")
            assert await definitions_at(context, "west") == at_source
            assert await verdicts(context) == {(Verdict.IN_SYNC, ())}
            await take_snapshot(context)
            for name in at_source:
                await context.connections["north"].delete_analyzer(name)
            report = await restore(context, await plan_restore(context, await open_snapshot(context), "north"))
            assert report.complete, report
            assert await definitions_at(context, "north") == at_source
            assert await verdicts(context) == {(Verdict.IN_SYNC, ())}
            again = await plan_restore(context, await open_snapshot(context), "north")
            assert all(item.met for item in again.items)


async def test_a_restore_keeps_what_an_analyzer_sets_against_its_base(make_scene: SceneMaker) -> None:
    async with (
        make_scene(SHAPES, service_time=0, targets=("west",)) as scene,
        open_recovery(scene.configuration, "p") as context,
    ):
        at_source = await definitions_at(context, "east")
        await take_snapshot(context)
        for name in at_source:
            await context.connections["east"].delete_analyzer(name)
        await restore(context, await plan_restore(context, await open_snapshot(context), "east"))
        assert await definitions_at(context, "east") == at_source
    derived = json.loads(at_source["a-derived"])["config"]
    assert (derived["enableOcr"], derived["enableFigureAnalysis"], derived["chartFormat"]) == (True, False, "chartjs")


@pytest.mark.parametrize("shown", ["gpt-west", "gpt-4.1", None])
async def test_a_restore_finds_its_copies_however_they_show_an_overridden_deployment(
    make_scene: SceneMaker, shown: str | None
) -> None:
    overrides = {"west": {"chatCompletion": "gpt-west"}}
    preview = {"api_version": "2025-05-01-preview", "targets": ("west",)}
    async with make_scene([SHAPES[5], SHAPES[6]], service_time=0, deployments=overrides, **preview) as scene:
        names = {"gpt-west": "gpt-4.1", "text-embedding-3-large": "text-embedding-3-large"}
        deployments = [{"name": name, "model": model} for name, model in names.items()]
        await scene.control("/settings", {"resource": "west", "deployments": deployments})
        await copied(scene)
        edit = {"resource": "west", "analyzer": "a-derived", "changes": {"models": {"completion": shown}}}
        await scene.control("/edit", edit)
        async with open_recovery(scene.configuration, "p") as context:
            await take_snapshot(context)
            assert await verdicts(context) == {(Verdict.IN_SYNC, ())}
            planned = await plan_restore(context, await open_snapshot(context), "west")
    assert all(item.met for item in planned.items), planned.items
