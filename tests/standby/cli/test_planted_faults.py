"""Faults behind copies that are `ready`: each is found by `standby compare`, and nothing beside it is suspected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.documents import document
from tests.standby.cli.conftest import MODELS, Cloud, Workspace, deployments, emulated
from tests.standby.cli.test_trained import call

FIELDS = {
    **{name: {"type": "string", "method": "extract"} for name in ("Vendor", "Customer", "City", "Order", "Terms")},
    **{name: {"type": "number", "method": "extract"} for name in ("Total", "Tax", "Freight")},
    "Due": {"type": "date", "method": "extract", "description": "When it has to be paid"},
    **{name: {"type": "string", "method": "generate"} for name in ("Summary", "Advice", "Subject")},
}
LABELS = {"kind": "labeledData", "containerUrl": "https://x.blob.core.windows.net/labels", "fileListPath": "files"}
SAMPLES = 10


def analyzer(name: str, **more: Any) -> dict[str, Any]:
    return {
        "analyzerId": name,
        "baseAnalyzerId": "prebuilt-document",
        "models": {"completion": "gpt-4.1"},
        "fieldSchema": {"name": name, "fields": FIELDS},
        **more,
    }


ROUTER = {"enableSegment": True, "contentCategories": {"bill": {"analyzerId": "bill"}, "slip": {"analyzerId": "slip"}}}


@pytest.fixture(scope="module")
def own_regions() -> Iterator[Cloud]:
    made = Cloud(
        emulated(
            [
                analyzer("bill"),
                analyzer("slip"),
                analyzer("taught", knowledgeSources=[LABELS]),
                analyzer("router", fieldSchema=None, config=ROUTER),
            ]
        )
    )
    made.start()
    yield made
    made.stop()


@pytest.fixture
def cloud(own_regions: Cloud) -> Cloud:
    own_regions.tell("reset")
    return own_regions


@pytest.fixture
def site(workspace: Workspace) -> Workspace:
    """Everything was copied to west, and each analyzer but for a child has samples."""
    return workspace.once(copied)


def copied(workspace: Workspace) -> None:
    workspace.edit("targets: [west, north]", "targets: [west]")
    workspace.edit("    deadlines:", "    samples: {path: samples, each: 10, at_once: 20}\n    deadlines:")
    for name in ("bill", "taught", "router"):
        folder = workspace.folder / "samples" / name
        folder.mkdir(parents=True)
        for number in range(SAMPLES):
            (folder / f"{number}.pdf").write_bytes(document(number, "bill", "slip", name))
    assert workspace.run("replicate", "invoices").status == 0


def compared(workspace: Workspace) -> tuple[int, dict[str, Any]]:
    ran = workspace.run("compare", "invoices", "--yes", "--json")
    return ran.status, {item["analyzer"]: item for item in ran.document["items"]}


def missing_deployment(cloud: Cloud) -> None:
    """The default still names it."""
    cloud.tell("settings", resource="west", deployments=deployments(MODELS[1:]))


def missing_default(cloud: Cloud) -> None:
    cloud.tell("settings", resource="west", defaults={name: name for name in MODELS[1:]})


def wrong_model(cloud: Cloud) -> None:
    cloud.tell("settings", resource="west", defaults=dict.fromkeys(MODELS, MODELS[1]))


def rebuilt(cloud: Cloud) -> None:
    """Made from the definition with the labels, which the service trains anew."""
    definition = call(cloud, "GET", "east", "taught")
    call(cloud, "DELETE", "west", "taught")
    settable = ("baseAnalyzerId", "models", "config", "fieldSchema", "knowledgeSources")
    call(cloud, "PUT", "west", "taught", json={name: definition[name] for name in settable if name in definition})
    while call(cloud, "GET", "west", "taught")["status"] != "ready":
        pass


def missing_child(cloud: Cloud) -> None:
    call(cloud, "DELETE", "west", "slip")


def changed_description(cloud: Cloud) -> None:
    other = {"fieldSchema": {"fields": {"Due": {"description": "When it was written"}}}}
    cloud.tell("edit", resource="west", analyzer="bill", changes=other)


EACH = {"bill", "taught", "router"}
LATE, AT_ONCE, QUIET = "late", "at_once", "quiet"  # How the service shows what an analyzer lacks is not established


@pytest.mark.parametrize(
    ("plant", "form", "found", "words"),
    [
        (missing_deployment, LATE, EACH, "gpt-4.1"),
        (missing_default, AT_ONCE, EACH, "gpt-4.1"),
        (wrong_model, LATE, EACH, "Check the models of west"),
        (rebuilt, LATE, {"taught"}, "agree"),
        (missing_child, LATE, {"router"}, "slip"),
        (missing_child, AT_ONCE, {"router"}, "slip"),
        (missing_child, QUIET, {"router"}, "slip"),
        (changed_description, LATE, {"bill", "router"}, "Due"),
    ],
)
def test_what_was_planted_is_found_and_nothing_beside_it(
    plant: Callable[[Cloud], None], form: str, found: set[str], words: str, site: Workspace, cloud: Cloud
) -> None:
    plant(cloud)
    cloud.tell("settings", resource="west", analysis_failures=form)
    status, items = compared(site)
    assert {name for name, item in items.items() if item["verdict"] != "agrees"} == found
    assert {item["verdict"] for name, item in items.items() if name in found} == {"differs"}
    assert {name for name in found if words not in items[name]["reason"]} == set(), items
    assert status == 2
    assert_nothing_is_left(cloud)


def test_a_noisy_copy_that_is_faithful_agrees(site: Workspace, cloud: Cloud) -> None:
    status, items = compared(site)
    assert {name: item["verdict"] for name, item in items.items()} == dict.fromkeys(
        ("bill", "taught", "router"), "agrees"
    )
    assert {item["layout"] for item in items.values()} == {"identical"}
    assert any(item["self_agreement"] < 1 for item in items.values()), "the source agreed with itself in everything"
    assert status == 0
    assert_nothing_is_left(cloud)


def assert_nothing_is_left(cloud: Cloud) -> None:
    for name in ("east", "west"):
        stats = cloud.stats(name)
        assert stats["calls"]["analyze"], name
        assert (stats["results"], stats["analyses_in_flight"]) == (0, 0), name
