"""`standby failover` as an operator meets it: planned, in the dark, interrupted, and back."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.standby.cli.conftest import Cloud, Workspace

Until = Callable[[Callable[[], bool]], None]


def in_sync(workspace: Workspace) -> None:
    workspace.edit("targets: [west, north]", "targets: [west]")
    with workspace.file.open("a", encoding="utf-8") as file:
        file.write("activation: [{kind: file, path: active.json}, {kind: file, path: other.json}]\n")
    assert workspace.run("replicate", "invoices").status == 0
    assert workspace.run("commit", "invoices", "--yes").status == 0
    assert active(workspace) == ["east", "east"]


@pytest.fixture
def site(workspace: Workspace) -> Workspace:
    """Copies in sync everywhere, and two files that name the active side."""
    return workspace.once(in_sync)


def active(workspace: Workspace) -> list[str | None]:
    """What the two files name."""
    found = []
    for name in ("active.json", "other.json"):
        book = json.loads((workspace.folder / name).read_text(encoding="utf-8"))
        endpoint = book["plans"]["invoices"]["sources"]["east"]
        found.append(endpoint["resource"] if endpoint else None)
    return found


def fence(workspace: Workspace) -> Any:
    path = workspace.folder / "vault" / "recovery" / "invoices" / "fence.json"
    content = path.read_text(encoding="utf-8") if path.exists() else ""
    return json.loads(content or '{"epoch": 0}')


def dark(cloud: Cloud, kind: str) -> None:
    cloud.tell("outages", resource="east", kind=kind)


def test_a_planned_failover_takes_along_the_last_edits(site: Workspace, cloud: Cloud) -> None:
    cloud.tell("edit", resource="east", analyzer="invoice", changes={"description": "edited"})
    ran = site.run("failover", "invoices", "--yes", "--to", "west", "--reason", "maintenance", "--json")
    assert ran.status == 0, ran.err
    report = ran.document
    assert (report["mode"], report["state"], report["side"], report["epoch"]) == (
        "planned",
        "activated",
        "west",
        1,
    )
    assert [sink["status"] for sink in report["sinks"]] == ["told", "told"]
    assert report["decision_id"].startswith("invoices-")
    assert active(site) == ["west", "west"]
    assert site.run("explain", report["decision_id"]).status == 0


@pytest.mark.parametrize("kind", ["refuse", "hang"])
def test_in_the_dark_it_switches_within_seconds_and_says_what_is_next(site: Workspace, cloud: Cloud, kind: str) -> None:
    dark(cloud, kind)
    begun = time.monotonic()
    ran = site.run("failover", "invoices", "--yes", "--to", "west", "--unplanned", "--reason", "east is dark")
    assert ran.status == 0, ran.out + ran.err
    assert time.monotonic() - begun < 60
    assert "west serves now for east (plan invoices, epoch 1)." in ran.out
    assert "standby commit invoices" in ran.out
    assert active(site) == ["west", "west"]


def test_without_being_told_so_it_gives_up_no_source_that_is_dark(site: Workspace, cloud: Cloud) -> None:
    dark(cloud, "refuse")
    ran = site.run("failover", "invoices", "--yes", "--to", "west")
    assert ran.status == 4
    assert "NO source-answers" in ran.out
    assert "use --unplanned" in ran.err
    assert active(site) == ["east", "east"]
    assert fence(site)["epoch"] == 0


def refuse_without(site: Workspace) -> None:
    """Let the plan refuse a failover that cannot have everything."""
    site.edit("    deadlines:", "    failover: {missing: refuse}\n    deadlines:")


def test_what_concerns_single_analyzers_leaves_these_out_and_says_so(site: Workspace, cloud: Cloud) -> None:
    cloud.tell("edit", resource="west", analyzer="invoice", changes={"status": "failed"})
    dark(cloud, "refuse")
    ran = site.run("failover", "invoices", "--yes", "--to", "west", "--unplanned")
    told = " ".join(ran.out.split())
    assert ran.status == 3, ran.out + ran.err
    assert "ok readiness: west serves without 2 of 5 analyzers, which are left out: invoice is at west" in told
    assert "2 analyzers are left out at west: invoice, router (invoice is at west but cannot be used" in told
    assert "standby restore invoices --to west, which adds it to the active map" in told
    assert active(site) == ["west", "west"]
    shown = " ".join(site.run("status", "invoices").out.split())
    assert "2 analyzers are left out at west: invoice, router" in shown
    assert site.run("audit", "verify", "invoices").status == 0


def test_a_target_that_is_not_ready_is_refused_with_its_reasons_and_forced(site: Workspace, cloud: Cloud) -> None:
    refuse_without(site)
    cloud.tell("edit", resource="west", analyzer="invoice", changes={"description": "somebody's own"})
    refused = site.run("failover", "invoices", "--yes", "--to", "west", "--unplanned")
    assert refused.status == 4
    assert "NO readiness: west is not ready" in refused.out
    assert "invoice" in refused.out
    assert "--force readiness" in refused.err
    forced = site.run("failover", "invoices", "--yes", "--to", "west", "--unplanned", "--force", "readiness")
    assert forced.status == 0
    assert "passed by force" in forced.out
    assert active(site) == ["west", "west"]


def test_while_west_serves_a_scheduled_replication_to_it_is_refused(site: Workspace) -> None:
    assert site.run("failover", "invoices", "--yes", "--to", "west").status == 0
    ran = site.run("replicate", "invoices")
    assert ran.status == 4
    assert "has failed over to west (epoch 1)" in ran.err
    assert site.run("commit", "invoices", "--yes").status == 0
    assert site.run("replicate", "invoices").status == 4


def test_until_the_commit_it_is_taken_back_by_naming_the_old_side(site: Workspace) -> None:
    assert site.run("failover", "invoices", "--yes", "--to", "west").status == 0
    back = site.run("failover", "invoices", "--yes", "--to", "east", "--json")
    assert back.status == 0, back.err
    assert (back.document["mode"], back.document["state"], back.document["side"]) == (
        "rollback",
        "rolled_back",
        "east",
    )
    assert active(site) == ["east", "east"]
    assert fence(site)["epoch"] == 2


def test_it_is_not_taken_back_to_a_side_that_is_dark(site: Workspace, cloud: Cloud) -> None:
    assert site.run("failover", "invoices", "--yes", "--to", "west").status == 0
    dark(cloud, "refuse")
    refused = site.run("failover", "invoices", "--yes", "--to", "east")
    assert refused.status == 4
    assert "not known to be healthy" in refused.err
    assert active(site) == ["west", "west"]
    assert site.run("failover", "invoices", "--yes", "--to", "east", "--force", "standby-health").status == 0
    assert active(site) == ["east", "east"]


def test_after_the_commit_the_way_back_is_a_failback(site: Workspace) -> None:
    assert site.run("failover", "invoices", "--yes", "--to", "west").status == 0
    assert site.run("commit", "invoices", "--yes").status == 0
    ran = site.run("failover", "invoices", "--yes", "--to", "east")
    assert ran.status == 4
    assert "standby failback invoices" in ran.err


def test_what_serves_already_is_refused(site: Workspace) -> None:
    ran = site.run("failover", "invoices", "--yes", "--to", "east")
    assert ran.status == 4
    assert "east already serves in plan invoices" in ran.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--to", "nowhere"], "nowhere is not a target of plan invoices"),
        (["--to", "west", "--primary", "north"], "north is not a primary of plan invoices"),
        (["--to", "west", "--force", "everything"], "everything is not a guard"),
    ],
)
def test_what_cannot_be_meant_is_told(site: Workspace, arguments: list[str], told: str) -> None:
    ran = site.run("failover", "invoices", "--yes", *arguments)
    assert ran.status == 1
    assert told in ran.err
    assert active(site) == ["east", "east"]


def test_a_sink_that_cannot_be_told_is_named_and_forced(site: Workspace) -> None:
    (site.folder / "other.json").write_text("somebody else's", encoding="utf-8")
    refused = site.run("failover", "invoices", "--yes", "--to", "west")
    assert refused.status == 1
    assert "other.json" in refused.err
    assert fence(site)["epoch"] == 0
    forced = site.run("failover", "invoices", "--yes", "--to", "west", "--force", "sinks", "--json")
    assert forced.status == 3
    assert [sink["status"] for sink in forced.document["sinks"]] == ["told", "failed"]
    (site.folder / "other.json").unlink()
    assert site.run("commit", "invoices", "--yes").status == 0
    assert active(site) == ["west", "west"]


def test_a_variable_is_deferred_where_there_is_no_prefect(site: Workspace) -> None:
    site.edit("{kind: file, path: other.json}", "{kind: variable, name: active_side}")
    ran = site.run("failover", "invoices", "--yes", "--to", "west")
    assert ran.status == 3
    assert "variable active_side" in ran.out
    assert "standby commit invoices --via prefect" in ran.out
    assert "west serves now" in ran.out


def lose(cloud: Cloud, resource: str, analyzer: str) -> None:
    place = cloud.emulator.resources[resource]
    httpx.delete(
        f"{place.endpoint}/contentunderstanding/analyzers/{analyzer}?api-version=2025-11-01",
        headers={"Ocp-Apim-Subscription-Key": place.key},
    ).raise_for_status()


def test_what_is_missing_is_restored_from_the_snapshot_without_the_source_and_without_force(
    site: Workspace, cloud: Cloud
) -> None:
    assert site.run("snapshot", "invoices").status == 0
    for analyzer in ("router", "receipt", "contract"):
        lose(cloud, "west", analyzer)
    dark(cloud, "refuse")
    ran = site.run("failover", "invoices", "--yes", "--to", "west", "--unplanned", "--json")
    assert ran.status == 0, ran.err
    assert sorted(ran.document["restored"]["created"]) == ["contract", "receipt", "router"]
    assert active(site) == ["west", "west"]
    told = site.run("explain", ran.document["decision_id"])
    assert told.status == 0
    assert "west lacks 3 analyzers, which snapshot" in " ".join(told.out.split())
    assert "3 to be restored" in " ".join(told.out.split())


def test_what_is_missing_and_in_no_snapshot_is_refused_and_says_so(site: Workspace, cloud: Cloud) -> None:
    refuse_without(site)
    lose(cloud, "west", "contract")
    dark(cloud, "refuse")
    refused = site.run("failover", "invoices", "--yes", "--to", "west", "--unplanned")
    assert refused.status == 4
    told = " ".join(refused.out.split())
    assert "contract is not at west; Nothing can be restored: The vault has no snapshot" in told
    assert "Fix that, as standby status invoices says" in refused.err
    assert active(site) == ["east", "east"]


@pytest.mark.parametrize(
    ("harm", "why"),
    [("tampered", "Nothing can be restored: Snapshot "), ("damaged", "contract cannot be restored: ")],
)
def test_a_snapshot_that_cannot_be_trusted_restores_nothing(site: Workspace, cloud: Cloud, harm: str, why: str) -> None:
    refuse_without(site)
    assert site.run("snapshot", "invoices").status == 0
    vault = site.folder / "vault"
    files = (
        sorted((vault / "snapshots").rglob("*.json"))
        if harm == "tampered"
        else [path for path in sorted((vault / "objects").rglob("*")) if path.is_file()]
    )
    for path in files:
        if "index" not in path.name:
            path.write_bytes(path.read_bytes() + b" ")
    lose(cloud, "west", "contract")
    dark(cloud, "refuse")
    refused = site.run("failover", "invoices", "--yes", "--to", "west", "--unplanned")
    assert refused.status == 4, refused.out
    told = " ".join(refused.out.split())
    assert f"NO readiness: west is not ready: contract is not at west; {why}" in told
    assert "was changed after it was written" in told
    assert active(site) == ["east", "east"]


def test_after_a_restore_nothing_has_to_be_forced(site: Workspace, cloud: Cloud) -> None:
    assert site.run("snapshot", "invoices").status == 0
    lose(cloud, "west", "contract")
    dark(cloud, "refuse")
    assert site.run("restore", "invoices", "--to", "west").status == 0
    ran = site.run("failover", "invoices", "--yes", "--to", "west", "--unplanned")
    assert ran.status == 0, ran.out + ran.err


class Stall:
    """Keeps a file from being told: a lock that another writer holds."""

    def __init__(self, workspace: Workspace, name: str) -> None:
        import fcntl  # noqa: PLC0415

        self.file = (workspace.folder / f"{name}.lock").open("ab")
        fcntl.flock(self.file, fcntl.LOCK_EX)

    def end(self) -> None:
        self.file.close()


@pytest.mark.parametrize("again", ["west", "east"])
@pytest.mark.parametrize("sinks", [("active.json",), ("active.json", "other.json")])
def test_killed_while_the_sinks_are_told_it_is_gone_on_with_or_taken_back(
    site: Workspace, until: Until, sinks: tuple[str, ...], again: str
) -> None:
    stalls = [Stall(site, name) for name in sinks]
    process = site.start("failover", "invoices", "--to", "west", "--yes")
    until(lambda: fence(site)["epoch"] == 1)
    if len(sinks) == 1:
        until(lambda: active(site)[1] is None)
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    for stall in stalls:
        stall.end()
    assert len({side for side in active(site) if side is not None}) <= 1
    refused = site.run("replicate", "invoices")
    assert refused.status == 4
    ran = site.run("failover", "invoices", "--yes", "--to", again, "--json")
    assert ran.status == 0, ran.err
    assert ran.document["side"] == again
    assert active(site) == [again, again]
    assert fence(site)["sides"]["east"]["active"] == again
    assert site.run("audit", "verify", "invoices").status == 0


def test_ctrl_c_leaves_a_report_that_says_how_to_go_on(site: Workspace, until: Until) -> None:
    stall = Stall(site, "active.json")
    process = site.start("failover", "invoices", "--to", "west", "--yes", "--json")
    until(lambda: active(site)[1] is None)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert any("Stopping." in line for line in process.stderr)
    stall.end()
    ran = site.ended(process)
    assert ran.status == 130, ran.err
    assert (ran.document["state"], ran.document["side"], ran.document["interrupted"]) == (
        "fenced",
        "east",
        True,
    )
    assert "standby failover invoices --to west" in ran.document["next_action"]
    assert site.run("failover", "invoices", "--yes", "--to", "west").status == 0
    assert active(site) == ["west", "west"]
