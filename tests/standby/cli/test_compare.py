"""`standby compare` as an operator meets it: asked, within its budget, true, and with no result left behind."""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.standby.cli.conftest import Cloud, Workspace

Until = Callable[[Callable[[], bool]], None]
CANARY = "Bartholomew"


@pytest.fixture
def site(workspace: Workspace, cloud: Cloud) -> Workspace:
    """Copies in west and north, and eight documents of one analyzer."""
    cloud.tell("settings", generate_noise=0.0)
    return workspace.once(prepare)


def prepare(site: Workspace) -> None:
    assert site.run("replicate", "invoices", "--analyzer", "invoice", "--analyzer", "contract").status == 0
    samples = site.folder / "samples" / "invoice"
    samples.mkdir(parents=True)
    for number in range(8):
        text = f"%PDF-1.4\n<< /Type /Page >>\n({CANARY} {number}) Tj\n"
        (samples / f"{number}.pdf").write_text(text, encoding="utf-8")
    site.edit("    deadlines:", "    samples: {path: ./samples, each: 8, deadline: 2s}\n    deadlines:")


def compare(site: Workspace, *args: str) -> Any:
    return site.run("compare", "invoices", "--to", "west", "--yes", *args)


def analyses(cloud: Cloud) -> int:
    return sum(sum(cloud.stats(name)["analyses"].values()) for name in ("east", "west", "north"))


def left(cloud: Cloud) -> int:
    return sum(cloud.stats(name)["results"] for name in ("east", "west", "north"))


def test_a_faithful_copy_agrees_and_every_result_is_deleted(site: Workspace, cloud: Cloud) -> None:
    ran = compare(site, "--json")
    assert ran.status == 0, ran.out + ran.err
    document = ran.document
    assert (document["plan"], document["target"]) == ("invoices", "west")
    assert document["totals"] == {"agrees": 1, "differs": 0, "no_verdict": 0, "too_few": 0}
    item = document["items"][0]
    assert (item["analyzer"], item["target_analyzer"], item["verdict"]) == ("invoice", "invoice", "agrees")
    assert (item["samples"], item["agreement"], item["layout"], item["reason"]) == (8, 1.0, "identical", "")
    assert item["by_method"] == {"extract": 1.0}
    assert document["without_samples"] == ["claim", "contract", "receipt", "router"]
    assert document["analyses"] == document["deleted"] == analyses(cloud) == 24
    assert left(cloud) == 0
    assert sum(document["tokens"].values()) > 0

    ran = compare(site)
    assert "✓ agrees: invoice at west: 8 of 8 samples analysed, agreement 100 % (east with itself: 100 %)" in ran.out
    assert ran.out.splitlines()[-1] == "Plan invoices: 1 agreeing; 24 of 24 results deleted."


def test_few_documents_tell_nothing_and_that_is_said(site: Workspace) -> None:
    ran = compare(site, "--samples", "2")
    assert ran.status == 3
    assert "? too few: invoice at west: 2 of 2 samples analysed" in ran.out


def test_nothing_is_analysed_where_nobody_can_be_asked(site: Workspace, cloud: Cloud) -> None:
    ran = site.run("compare", "invoices")
    assert ran.status == 4
    assert "32 analyses, 32 pages" in ran.err.partition("error:")[0]
    assert "Add --yes" in ran.err
    assert analyses(cloud) == 0


@pytest.mark.parametrize("budget", ["run: 14", "month: 14"], ids=["in a run", "in a month"])
def test_what_does_not_fit_into_the_budget_at_all_is_refused_and_either_advice_works(
    site: Workspace, cloud: Cloud, budget: str
) -> None:
    site.edit("path: ./samples", f"path: ./samples, budget: {{{budget}}}")
    ran = compare(site)
    assert ran.status == 4
    assert "Not even one copy fits: it takes 24 analyses, and plan invoices may make 14 more now" in ran.err
    assert analyses(cloud) == 0
    assert "or take fewer documents with --samples 4" in ran.err
    assert compare(site, "--samples", "4").status in {0, 3}
    assert analyses(cloud) == 12
    ran = compare(site)
    assert ran.status == 4
    advice = re.search("Give the plan samples.(budget: {.*?})", ran.err)
    assert advice is not None
    site.edit(f"budget: {{{budget}}}", advice[1])
    assert compare(site).status == 0


def test_what_the_budget_has_no_room_for_waits_for_its_turn(site: Workspace, cloud: Cloud) -> None:
    documents = site.folder / "samples"
    shutil.copytree(documents / "invoice", documents / "contract")
    site.edit("path: ./samples", "path: ./samples, budget: {run: 30}")
    ran = compare(site, "--json")
    assert (ran.status, analyses(cloud)) == (0, 24)
    (first,), (waiting,) = ran.document["items"], ran.document["waiting"]
    assert waiting == {"source": "east", "target": "west", "analyzer": "invoice", "comes": "the next run"}
    assert first["analyzer"] == "contract"
    assert "invoice waits for the next run, because of the budget." in ran.err
    one_run = "All take 48 analyses, in 2 runs; in one with samples.budget: {run: 48, month: 2000}."
    assert one_run in " ".join(ran.err.split())

    ran = compare(site)
    assert ran.status == 0
    assert "✓ agrees: invoice at west" in ran.out
    assert "contract waits for the next run, because of the budget." in ran.out
    assert ran.out.splitlines()[-1] == "Plan invoices: 1 agreeing; 24 of 24 results deleted; 1 waiting for their turn."

    site.edit("{run: 30}", "{run: 48, month: 2000}")
    assert compare(site, "--json").document["waiting"] == []


def test_a_target_that_is_not_there_is_named_by_an_option_that_there_is(site: Workspace) -> None:
    ran = site.run("compare", "invoices", "--to", "nowhere", "--yes")
    assert ran.status == 1
    assert "leave out --target" in ran.err
    assert site.run("compare", "invoices", "--target", "west", "--yes").status == 0


def test_without_the_folder_of_samples_nobody_is_asked_to_confirm(site: Workspace) -> None:
    site.edit("path: ./samples", "path: ./nothing")
    ran = site.run("compare", "invoices")
    assert ran.status == 1
    assert "is no folder" in ran.err


def test_a_plan_without_samples_says_how_to_add_them(site: Workspace, cloud: Cloud) -> None:
    ran = compare(site, "--analyzer", "contract")
    assert ran.status == 1
    assert "has no samples for any analyzer that was asked for" in ran.err
    assert analyses(cloud) == 0


@pytest.mark.parametrize("via", ["direct", "prefect"])
def test_a_plan_that_names_no_samples_says_so_however_it_is_run(site: Workspace, via: str) -> None:
    site.edit("samples: {path: ./samples", "ignore: [] #")
    ran = site.run("compare", "invoices", "--yes", "--via", via)
    assert ran.status == 1
    assert "Plan invoices has no samples" in ran.err
    assert "add samples: {path: ./samples} to the plan" in ran.err


def test_a_copy_that_is_missing_differs_without_an_analysis(site: Workspace, cloud: Cloud) -> None:
    (site.folder / "samples" / "invoice").rename(site.folder / "samples" / "receipt")
    ran = compare(site)
    assert ran.status == 2
    assert "It is not there at west. Copy it with standby replicate invoices --analyzer receipt." in ran.out
    assert analyses(cloud) == 0


def test_no_document_goes_where_no_copy_may_go(site: Workspace, cloud: Cloud) -> None:
    site.edit("    residency: {allow: [north]}\n", "")
    ran = site.run("compare", "invoices", "--to", "north", "--yes")
    assert ran.status == 3
    assert "data of east stays in" in " ".join(ran.out.split())
    assert analyses(cloud) == 0


def test_a_copy_that_hangs_has_no_verdict_and_leaves_no_result(site: Workspace, cloud: Cloud) -> None:
    site.edit("deadline: 2s", "deadline: 1s")
    cloud.fault("analyze", "analysis_hangs", resource="west", times=None)
    ran = compare(site, "--samples", "3", "--json")
    assert ran.status == 3
    item = ran.document["items"][0]
    assert (item["verdict"], len(item["failed"])) == ("no_verdict", 3)
    # By digest: the name of a file may say whose document it is.
    assert all(re.fullmatch("[0-9a-f]{8}", each) for each in item["failed"])
    assert "did not end within 1 s" in item["reason"]
    assert left(cloud) == 0


def test_a_source_that_is_dark_is_compared_by_its_baseline(site: Workspace, cloud: Cloud) -> None:
    assert compare(site).status == 0
    cloud.tell("outages", resource="east", kind="refuse")
    before = analyses(cloud)
    document = compare(site, "--json").document
    item = document["items"][0]
    assert (item["verdict"], item["against"], item["samples"]) == ("agrees", "baseline", 8)
    assert item["baseline_at"] < item["compared_at"]
    assert analyses(cloud) - before == 8
    assert left(cloud) == 0


def test_what_cannot_be_deleted_or_was_never_answered_is_named(site: Workspace, cloud: Cloud) -> None:
    cloud.fault("delete_result", "status", resource="west", status=403, code="Forbidden")
    cloud.fault("analyze", "drop", resource="east", process=True)
    ran = compare(site, "--json")
    document = ran.document
    assert len(document["left"]) == left(cloud) == 2
    assert any("/analyzerResults/" in each for each in document["left"])
    assert any(each.startswith("perhaps one of invoice at east") for each in document["left"])
    assert document["next_action"].startswith("Send DELETE")
    assert document["deleted"] == 22


def test_ctrl_c_leaves_a_true_report_and_no_result(site: Workspace, cloud: Cloud, until: Until) -> None:
    cloud.tell("settings", service_time=1.0)
    process = site.start("compare", "invoices", "--to", "west", "--yes", "--json")
    until(lambda: cloud.stats("west")["results"] > 0)
    process.send_signal(signal.SIGINT)
    ran = site.ended(process)
    assert ran.status == 130, ran.err
    document = json.loads(ran.out)
    assert document["interrupted"]
    assert document["items"][0]["verdict"] == "no_verdict"
    assert document["analyses"] == document["deleted"] < 24
    assert left(cloud) == 0
    # What was not begun does not count for the month.
    spent = json.loads((site.folder / "vault" / "recovery" / "invoices" / "proofs.json").read_text(encoding="utf-8"))
    assert [*spent["spent"].values()] == [document["analyses"]]
    assert spent["proofs"] == []


def edited(cloud: Cloud) -> None:
    """The description of a field of `invoice` is another one at west."""
    changes = {"fieldSchema": {"fields": {"Total": {"description": "Another one"}}}}
    cloud.tell("edit", resource="west", analyzer="invoice", changes=changes)


def test_a_definition_that_was_edited_at_the_target_is_overwritten_by_what_the_reason_says(
    site: Workspace, cloud: Cloud
) -> None:
    edited(cloud)
    (item,) = compare(site, "--json").document["items"]
    assert item["verdict"] == "differs"
    assert "$.fieldSchema.fields.Total.description" in item["reason"]
    assert "overwrite it with --force invoice" in item["reason"]
    assert site.run("replicate", "invoices", "--analyzer", "invoice", "--force", "invoice").status == 0
    assert compare(site).status == 0


def test_a_router_differs_by_the_definition_of_its_child(site: Workspace, cloud: Cloud) -> None:
    assert site.run("replicate", "invoices").status in {0, 3}
    (site.folder / "samples" / "invoice").rename(site.folder / "samples" / "router")
    edited(cloud)
    (item,) = compare(site, "--json").document["items"]
    assert (item["analyzer"], item["verdict"]) == ("router", "differs")
    assert "invoice: $.fieldSchema.fields.Total.description" in item["reason"]
    assert analyses(cloud) == 0
