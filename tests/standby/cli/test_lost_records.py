"""A fence, an audit log or a whole vault that is lost or an older copy: every command says so, none goes by it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.standby.cli.conftest import Cloud, Workspace

PLAN = "invoices"


class Site:
    """A plan whose standby serves, with an edit there that is nowhere else; and copies of its vault of before."""

    def __init__(self, workspace: Workspace, cloud: Cloud) -> None:
        self.workspace, self.cloud = workspace, cloud
        self.vault, self.before, self.uncommitted = (workspace.folder / name for name in ("vault", "before", "later"))
        workspace.once(self.prepare)

    def prepare(self, workspace: Workspace) -> None:
        cloud = self.cloud
        workspace.edit("targets: [west, north]", "targets: [west]")
        with workspace.file.open("a", encoding="utf-8") as file:
            file.write("vault: {path: ./vault}\nactivation: [{kind: file, path: ./active.json}]\n")
        self.done("replicate", PLAN)
        self.done("commit", PLAN, "--yes")
        self.done("snapshot", PLAN)
        shutil.copytree(self.vault, self.before)
        self.done("failover", PLAN, "--yes", "--to", "west")
        self.done("commit", PLAN, "--yes")
        shutil.copytree(self.vault, self.uncommitted)
        cloud.tell("edit", resource="west", analyzer="invoice", changes={"description": "edited at west"})
        cloud.tell("edit", resource="east", analyzer="invoice", changes={"description": "edited at east"})
        self.done("snapshot", PLAN)

    def done(self, *args: str) -> None:
        ran = self.workspace.run(*args)
        assert ran.status == 0, (args, ran.out, ran.err)

    def file(self, name: str) -> Path:
        return self.vault / name

    def put_back(self, *names: str) -> None:
        for name in names:
            older = self.before / name
            shutil.copy(older, self.file(name)) if older.exists() else self.file(name).unlink()

    def at_west(self) -> Any:
        served = self.cloud.emulator.resources["west"]
        answer = httpx.get(
            f"{served.endpoint}/contentunderstanding/analyzers/invoice?api-version=2025-11-01",
            headers={"Ocp-Apim-Subscription-Key": "canary-key-of-west-0123456789"},
            trust_env=False,
        )
        return answer.json()["description"]


FENCE, SWITCH = f"recovery/{PLAN}/fence.json", f"recovery/{PLAN}/switch.json"
LOG, HEAD = f"audit/{PLAN}.jsonl", f"audit/{PLAN}.head.json"


def fence_deleted(site: Site) -> None:
    site.file(FENCE).unlink()


def fence_emptied(site: Site) -> None:
    site.file(FENCE).write_bytes(b"")


def fence_put_back(site: Site) -> None:
    site.put_back(FENCE)


def vault_not_mounted(site: Site) -> None:
    site.vault.rename(site.workspace.folder / "elsewhere")
    site.vault.mkdir()


def vault_of_before(site: Site) -> None:
    site.vault.rename(site.workspace.folder / "elsewhere")
    shutil.copytree(site.before, site.vault)


def log_and_head_gone(site: Site) -> None:
    site.file(LOG).unlink()
    site.file(HEAD).unlink()


def log_and_head_put_back(site: Site) -> None:
    site.put_back(LOG, HEAD)


def log_cut(site: Site) -> None:
    lines = site.file(LOG).read_bytes().splitlines(keepends=True)
    site.file(LOG).write_bytes(b"".join(lines[:-1]))


def log_cut_with_its_head(site: Site) -> None:
    lines = site.file(LOG).read_bytes().splitlines(keepends=True)
    last = json.loads(lines[-3])
    site.file(LOG).write_bytes(b"".join(lines[:-2]))
    head = {"plan": PLAN, "sequence": last["sequence"], "digest": last["digest"]}
    site.file(HEAD).write_text(json.dumps(head), encoding="utf-8")


OF_THE_FENCE = [fence_deleted, fence_emptied, fence_put_back, vault_not_mounted, vault_of_before]
OF_THE_LOG = [log_and_head_gone, log_and_head_put_back, log_cut, log_cut_with_its_head]


@pytest.fixture
def site(workspace: Workspace, cloud: Cloud) -> Site:
    return Site(workspace, cloud)


@pytest.mark.parametrize("lose", [*OF_THE_FENCE, *OF_THE_LOG], ids=lambda lose: lose.__name__)
def test_every_command_says_so_and_none_changes_anything(site: Site, lose: Callable[[Site], None]) -> None:
    lose(site)
    run = site.workspace.run

    status = run("status", PLAN, "--json")
    assert status.status == 2
    assert status.document["fence"]["problem"]
    assert "--force fence" in status.document["fence"]["next_action"]
    verified = run("audit", "verify", "--json")
    assert (verified.status, verified.document["whole"]) == (1, False)
    for reading in (("plan", PLAN), ("check", PLAN), ("snapshots", PLAN)):
        ran = run(*reading)
        assert ran.status in {2, 3}, (reading, ran.out)
        assert "--force fence" in ran.out
    page = run("report", PLAN, "--html", str(site.workspace.folder / "page.html"))
    assert "--force fence" in page.out
    doctor = run("doctor", PLAN)
    assert doctor.status == 1
    assert "--force fence" in doctor.out

    for changing in (
        ("replicate", PLAN, "--on-existing", "replace", "--force", "invoice"),
        ("restore", PLAN, "--to", "west"),
        ("failback", PLAN, "--yes"),
        ("failover", PLAN, "--to", "west", "--unplanned", "--yes"),
        ("commit", PLAN, "--yes"),
        ("drill", PLAN, "--to", "west"),
        ("snapshot", PLAN),
        ("failback", PLAN, "--yes", "--force", "fence"),
        ("commit", PLAN, "--yes", "--force", "fence", "--reason", " "),
    ):
        ran = run(*changing)
        assert ran.status == 4, (changing, ran.out, ran.err)
    assert site.at_west() == "edited at west"


@pytest.mark.parametrize("lose", OF_THE_FENCE, ids=lambda lose: lose.__name__)
def test_by_force_and_with_a_reason_the_fence_is_what_is_still_known(site: Site, lose: Callable[[Site], None]) -> None:
    lose(site)
    run = site.workspace.run
    forced = ("--force", "fence", "--reason", "the disk burnt")

    ran = run("replicate", PLAN, "--on-existing", "replace", *forced)

    # West serves, as active.json says: nothing is copied over it.
    assert ran.status == 4, ran.out
    assert "west serves for east" in ran.err
    assert site.at_west() == "edited at west"
    fence = json.loads(site.file(FENCE).read_bytes())
    assert fence["epoch"] > 1
    assert fence["sides"]["east"]["active"] == "west"
    lines = [json.loads(each) for each in site.file(LOG).read_bytes().splitlines()]
    (line,) = (each for each in lines if each["deed"] == "fence.forced")
    assert (line["epoch"], line["facts"]["reason"]) == (fence["epoch"], "the disk burnt")
    assert max(line["facts"]["known"].values()) == fence["epoch"] - 1
    verified = run("audit", "verify")
    assert verified.status == 0, verified.out
    assert run("status", PLAN, "--json").document["fence"]["problem"] == ""
    assert run("failback", PLAN, "--yes", "--keep", "invoice=standby").status == 0
    assert run("replicate", PLAN).status == 0


@pytest.mark.parametrize("lose", OF_THE_LOG, ids=lambda lose: lose.__name__)
def test_by_force_and_with_a_reason_the_log_goes_on_and_says_what_is_lost(
    site: Site, lose: Callable[[Site], None]
) -> None:
    before = len(site.file(LOG).read_bytes().splitlines())
    lose(site)
    run = site.workspace.run

    ran = run("failover", PLAN, "--to", "east", "--planned", "--yes", "--force", "fence", "--reason", "it burnt")

    assert ran.status == 4  # What is refused is only that a failover leads back to the primary: failback does.
    assert "standby failback" in ran.err
    lines = [json.loads(each) for each in site.file(LOG).read_bytes().splitlines()]
    (line,) = (each for each in lines if each["deed"] == "fence.forced")
    # The last line, that a snapshot was taken, may be known to the log alone.
    assert line["sequence"] in {before, before + 1}
    assert line["facts"]["reason"] == "it burnt"
    assert "continues" in line["facts"]
    verified = run("audit", "verify", "--json")
    assert verified.status == 0, verified.out
    assert verified.document["plans"][0]["gaps"] == [line["sequence"]]
    assert run("failback", PLAN, "--yes", "--keep", "invoice=standby").status == 0
    assert run("audit", "verify").status == 0


def test_what_serves_already_by_what_is_still_known_is_done_when_it_is_ordered(site: Site) -> None:
    fence_deleted(site)

    ran = site.workspace.run("failover", PLAN, "--to", "west", "--yes", "--force", "fence", "--reason", "lost")

    assert ran.status == 0, ran.err
    assert "west already serves for east" in ran.out
    assert site.workspace.run("status", PLAN, "--json").document["pairs"][0]["active"] == "west"


def test_where_nothing_knows_what_serves_the_order_decides_and_says_so(workspace: Workspace, cloud: Cloud) -> None:
    site = Site(workspace, cloud)
    shutil.rmtree(site.vault)
    maps = json.loads((workspace.folder / "active.json").read_bytes())
    maps["plans"][PLAN]["sources"]["east"] = None
    (workspace.folder / "active.json").write_text(json.dumps(maps), encoding="utf-8")

    ran = workspace.run("replicate", PLAN, "--force", "fence", "--reason", "lost")

    assert "no record says what serves for east, so east counts as serving, as you asked" in ran.err
    assert json.loads(site.file(FENCE).read_bytes())["epoch"] == 2


def test_a_fresh_plan_on_a_fresh_vault_is_no_lost_one(workspace: Workspace, cloud: Cloud) -> None:
    with workspace.file.open("a", encoding="utf-8") as file:
        file.write("vault: {path: ./vault}\nactivation: [{kind: file, path: ./active.json}]\n")
    others = {"plan": "others", "epoch": 7, "changed_at": "2026-01-01T00:00:00Z", "run_id": "r", "sources": {}}
    (workspace.folder / "active.json").write_text(json.dumps({"plans": {"others": others}}), encoding="utf-8")
    workspace.edit("targets: [west, north]", "targets: [west]")
    for command in (
        ("commit", PLAN, "--yes"),
        ("replicate", PLAN),
        ("check", PLAN),
        ("snapshot", PLAN),
        ("audit", "verify"),
    ):
        ran = workspace.run(*command)
        assert ran.status == 0, (command, ran.err)
        assert "force fence" not in ran.out + ran.err


def test_an_older_list_of_snapshots_is_named_and_repaired_from_the_manifests(site: Site) -> None:
    before = site.workspace.run("snapshots", PLAN, "--json").document["snapshots"]
    site.put_back(f"snapshots/{PLAN}/index.jsonl")

    listed = site.workspace.run("snapshots", PLAN, "--json").document["snapshots"]
    assert {each["id"] for each in listed} == {each["id"] for each in before}
    newest = next(each for each in listed if each["id"] == before[0]["id"])
    assert any("index.jsonl" in problem for problem in newest["problems"])
    assert "Run standby snapshot invoices, which lists it again" in site.workspace.run("status", PLAN).out
    assert site.workspace.run("snapshot", PLAN).status == 3
    assert site.workspace.run("snapshot", PLAN).status == 0
    assert "list of snapshots" not in site.workspace.run("status", PLAN).out


def test_no_older_snapshot_is_restored_unasked_where_the_newest_is_gone(site: Site) -> None:
    run = site.workspace.run
    newest = site.file(f"snapshots/{PLAN}/{run('snapshots', PLAN, '--json').document['snapshots'][0]['id']}.json")
    site.put_back(f"snapshots/{PLAN}/index.jsonl")
    newest.unlink()

    listed = run("snapshots", PLAN)
    assert listed.status == 3
    assert newest.stem in listed.out
    assert run("status", PLAN).status == 2
    refused = run("restore", PLAN, "--to", "west", "--dry-run")
    assert refused.status == 4
    assert newest.stem in refused.err
    assert run("restore", PLAN, "--to", "west", "--as-of", "2030-01-01T00:00", "--dry-run").status in {0, 2}


def test_the_off_switch_works_and_its_line_begins_no_new_log(site: Site) -> None:
    log_and_head_gone(site)

    ran = site.workspace.run("automation", "off", "--reason", "maintenance")

    assert ran.status == 1
    assert "Automation is off now, but that could not be recorded" in ran.err
    assert not site.file(LOG).exists()
    assert site.workspace.run("automation", "--json").document["on"] is False


def test_a_log_that_is_gone_is_missed_also_where_the_plan_never_failed_over(workspace: Workspace, cloud: Cloud) -> None:
    with workspace.file.open("a", encoding="utf-8") as file:
        file.write("vault: {path: ./vault}\n")
    for _ in range(2):
        assert workspace.run("snapshot", PLAN).status == 0
    audit = workspace.folder / "vault" / "audit"
    for path in audit.iterdir():
        path.unlink()

    ran = workspace.run("audit", "verify")

    assert ran.status == 1
    assert "invoices.jsonl is gone: " in ran.out
    assert workspace.run("snapshot", PLAN).status == 4
    assert workspace.run("commit", PLAN, "--yes", "--force", "fence", "--reason", "lost").status == 0
    assert workspace.run("audit", "verify").status == 0
    assert workspace.run("snapshot", PLAN).status == 0
    assert workspace.run("audit", "verify").status == 0
