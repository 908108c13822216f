"""`standby status`: could each target take over, and if not, why."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from standby.recovery.concerns import Concern, Kind, Look, report_concerns
from standby.recovery.proof.records import Proof, add_proofs
from standby.vault.folder import LocalFolder

if TYPE_CHECKING:
    from tests.standby.cli.conftest import Cloud, Workspace


@pytest.fixture
def to_west(workspace: Workspace) -> Workspace:
    """A plan from east to west only, where everything can be served."""
    workspace.edit("targets: [west, north]", "targets: [west]")
    return workspace


def reasons(pair: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {reason["bucket"]: reason for reason in pair["reasons"]}


def test_names_what_is_missing_and_what_to_do_and_ends_with_2(workspace: Workspace) -> None:
    ran = workspace.run("status", "invoices")

    assert ran.status == 2
    assert "east → west: not ready\n" in ran.out
    assert "! claim, contract, invoice and 2 more are not at west.\n" in ran.out
    assert "    → Run standby replicate invoices.\n" in ran.out
    assert "north has no default deployment for model gpt-4o (needed by claim)." in ran.out
    lost = "RTO: claim, contract, invoice and 2 more cannot be recovered: The vault has no snapshot of plan invoices. "
    assert lost in ran.out
    assert ran.out.endswith("Plan invoices: 2 not ready of 2 (epoch 0).\n")


def test_after_a_replication_it_is_ready_and_ends_with_0(to_west: Workspace) -> None:
    to_west.edit("    deadlines:", "    objectives: {rpo: 24h, rto: 15m}\n    deadlines:")
    to_west.run("replicate", "invoices")

    ran = to_west.run("status", "invoices")

    assert ran.status == 0
    assert "east → west: ready\n" in ran.out
    assert "  east serves.\n" in ran.out
    assert "  RPO 1d: met by 5 of 5.\n" in ran.out
    assert "  RTO 15m: no forecast. Not known yet: no failover was measured; a drill measures one.\n" in ran.out
    assert "  Last drill: none.\n" in ran.out
    assert "· No drill has tested a failover to west yet.\n" in ran.out


def test_shows_what_samples_said_of_each_copy_and_what_was_never_compared(to_west: Workspace) -> None:
    to_west.edit("    deadlines:", "    samples: {path: samples}\n    objectives: {proof: 30d}\n    deadlines:")
    for name in ("invoice", "receipt", "claim"):
        (to_west.folder / "samples" / name).mkdir(parents=True)
        (to_west.folder / "samples" / name / "one.pdf").write_bytes(b"%PDF-1.7 /Type /Page")
    to_west.run("replicate", "invoices")
    at, about = datetime.now(UTC), {"source": "east", "target": "west", "samples": 12, "layout": "identical"}
    told = {"invoice": ("agrees", 0.94, ""), "receipt": ("differs", 0.47, "west agrees on 47 % only.")}
    proofs = [
        Proof(
            **{**about, "analyzer": name, "target_analyzer": name, "verdict": verdict, "agreement": share},
            self_agreement=0.91,
            reason=reason,
            compared_at=at,
        )
        for name, (verdict, share, reason) in told.items()
    ]
    asyncio.run(add_proofs(LocalFolder(to_west.folder / "vault"), "invoices", proofs))

    ran = to_west.run("status", "invoices")

    assert ran.status == 0
    assert "  Proof by document: 1 agrees, 1 differs; the oldest 0s ago.\n" in ran.out
    figures = "12 of 12 samples analysed, agreement 94 % (east with itself: 91 %), layout identical"
    assert f"    invoice at west: {figures}\n" in ran.out
    assert "· receipt at west answered sample documents differently from east: west agrees on 47 % only.\n" in ran.out
    assert "· No document has compared claim at west with east since the copy.\n" in ran.out
    assert "Run standby compare invoices --to west.\n" in ran.out
    (pair,) = to_west.run("status", "invoices", "--json").document["pairs"]
    assert [(each["analyzer"], each["verdict"]) for each in pair["proofs"]] == [
        ("invoice", "agrees"),
        ("receipt", "differs"),
    ]
    page = to_west.folder / "report.html"
    to_west.run("report", "invoices", "--html", str(page))
    text = re.sub("<.*?>", "", page.read_text(encoding="utf-8"))
    assert "1 agrees, 1 differs" in text
    assert figures in text


def test_doctor_says_how_many_samples_there_are_or_that_there_is_none(to_west: Workspace) -> None:
    to_west.edit("    deadlines:", "    samples: {path: samples}\n    deadlines:")
    (to_west.folder / "samples" / "invoice").mkdir(parents=True)
    none = to_west.run("doctor", "invoices")
    assert none.status == 1
    assert "invoices: no document was found, so no copy can be proved.\n" in none.out
    for name in "ab":
        (to_west.folder / "samples" / "invoice" / f"{name}.pdf").write_bytes(b"%PDF-1.7 /Type /Page")
    some = to_west.run("doctor", "invoices")
    assert "ok invoices: 1 document of 1 analyzer, 1 page.\n" in some.out
    assert "b.pdf is left out: it has the content of a.pdf.\n" in some.out


def test_says_what_only_the_watch_and_the_schedules_know(to_west: Workspace) -> None:
    to_west.run("replicate", "invoices")
    refused = {"kind": Kind.ACCESS, "about": "east", "summary": "east refuses the key", "next_action": "Renew it"}
    found = Look(frozenset(), (Concern(severity="critical", **refused),))
    began = datetime(2026, 7, 1, tzinfo=UTC)
    asyncio.run(report_concerns(LocalFolder(to_west.folder / "vault"), "invoices", found, began))

    ran = to_west.run("status", "invoices")

    assert "! Since 2026-07-01 00:00:00 UTC: east refuses the key. Renew it.\n" in ran.out
    assert ran.status == 2
    assert to_west.run("status", "invoices", "--json").document["concerns"][0]["about"] == "east"


def test_one_target_that_is_not_ready_is_enough_for_2(workspace: Workspace) -> None:
    workspace.run("replicate", "invoices")

    ran = workspace.run("status", "invoices")

    assert ran.status == 2
    assert ran.out.endswith("Plan invoices: 1 ready, 1 not ready of 2 (epoch 0).\n")


def test_all_analyzers_are_named_with_v(workspace: Workspace) -> None:
    ran = workspace.run("status", "invoices", "-v")

    assert "    (claim, contract, invoice, receipt, router)\n" in ran.out
    assert "    router: cannot be recovered: The vault has no snapshot of plan invoices\n" in ran.out


def test_with_q_only_what_is_wrong_is_shown(workspace: Workspace) -> None:
    workspace.run("replicate", "invoices")

    ran = workspace.run("status", "invoices", "-q")

    assert "west" not in ran.out
    assert "east → north: not ready\n" in ran.out


def test_gives_one_document_as_json(workspace: Workspace) -> None:
    workspace.run("replicate", "invoices")

    ran = workspace.run("status", "invoices", "--json")

    assert ran.status == 2
    west, north = ran.document["pairs"]
    assert (ran.document["plan"], west["target"], north["target"]) == ("invoices", "west", "north")
    assert (west["state"], north["state"], north["missing"]) == ("ready", "not_ready", ["claim"])
    assert west["names"] == {name: name for name in ("claim", "contract", "invoice", "receipt", "router")}
    assert reasons(north)["missing_model"]["analyzers"] == ["claim"]
    assert all(reason["next_action"] for reason in north["reasons"])
    assert west["source_answered"] is True
    assert {point["analyzer"]: point["source_changed"] for point in west["points"]}["router"] is False


@pytest.mark.parametrize("kind", ["refuse", "hang", "unavailable"])
def test_works_within_seconds_while_the_source_region_is_dark(to_west: Workspace, cloud: Cloud, kind: str) -> None:
    to_west.run("replicate", "invoices")
    cloud.tell("outages", resource="east", kind=kind)

    began = time.monotonic()
    ran = to_west.run("status", "invoices", "--wait", "1")
    seconds = time.monotonic() - began

    assert ran.status == 0
    assert seconds < 60
    assert "east → west: ready\n" in ran.out
    assert "· The analyzers of east could not be read, so records are used instead: " in ran.out
    assert "  east serves; judged without an answer from east.\n" in ran.out


def test_says_unknown_where_the_target_does_not_answer(to_west: Workspace, cloud: Cloud) -> None:
    to_west.run("replicate", "invoices")
    cloud.tell("outages", resource="west", kind="refuse")

    ran = to_west.run("status", "invoices", "--wait", "1")

    assert ran.status == 2
    assert "east → west: unknown\n" in ran.out
    assert ran.out.endswith("Plan invoices: 1 unknown of 1 (epoch 0).\n")


def test_changes_nothing(to_west: Workspace, cloud: Cloud) -> None:
    to_west.run("status", "invoices")

    assert not (to_west.folder / "vault").exists()
    assert cloud.stats("west")["calls"].keys() == {"list", "get_defaults"}


def test_a_fence_that_cannot_be_read_is_an_error(to_west: Workspace) -> None:
    fence = to_west.folder / "vault" / "recovery" / "invoices" / "fence.json"
    fence.parent.mkdir(parents=True)
    fence.write_text("{", encoding="utf-8")

    ran = to_west.run("status", "invoices")

    assert ran.status == 1
    assert "which says which resource serves, cannot be read" in ran.err


def test_shows_no_secret(workspace: Workspace) -> None:
    ran = workspace.run("status", "invoices", "--json", "-v")

    assert "canary" not in ran.out + ran.err
