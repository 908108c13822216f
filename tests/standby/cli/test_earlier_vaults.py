"""A vault that an earlier version wrote goes on under this one; what a newer version wrote is left alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.standby.cli.conftest import Cloud, Ran, Workspace
from tests.standby.vault.earlier import KEY, PLAN, formats_in, laid_out, renumbered, resources_of, stored_files

Continued = Callable[[str], Workspace]


@pytest.fixture
def continued(tmp_path: Path, authority_file: Path) -> Iterator[Continued]:
    """Lays out the vault of an earlier version, and serves the resources as they were then."""
    with ExitStack() as stack:

        def begin(story: str) -> Workspace:
            cloud = Cloud(resources_of(story))
            cloud.start()
            stack.callback(cloud.stop)
            environment = {
                "VAULT_KEY": KEY,
                "COLUMNS": "80",
                "PREFECT_API_URL": "",
                "PREFECT_HOME": str(tmp_path / "prefect"),
                "SSL_CERT_FILE": str(authority_file),
            }
            for name, place in cloud.emulator.resources.items():
                environment |= {
                    f"{name.upper()}_ENDPOINT": place.endpoint,
                    f"{name.upper()}_ID": place.resource_id,
                    f"{name.upper()}_KEY": place.key,
                }
            return Workspace(laid_out(story, tmp_path / story).parent, environment, cloud)

        yield begin


def files(workspace: Workspace) -> dict[str, Path]:
    return stored_files(workspace.folder / "vault")


def contents(workspace: Workspace) -> dict[str, bytes]:
    return {name: file.read_bytes() for name, file in files(workspace).items()}


def ran(workspace: Workspace, *args: str, status: int = 0) -> Ran:
    ended = workspace.run(*args)
    assert ended.status == status, f"{args} ended with {ended.status}:\n{ended.out}\n{ended.err}"
    return ended


def test_a_whole_vault_goes_on_and_is_written_in_the_present_formats(continued: Continued) -> None:
    workspace = continued("whole")
    before = contents(workspace)

    ran(workspace, "audit", "verify")
    ran(workspace, "snapshots", PLAN, "--verify")
    drill = json.loads(before[f"drills/{PLAN}/latest.json"])["drills"]["west"]["run_id"]
    ran(workspace, "drill", PLAN, "--verify", drill)
    assert "Last drill: passed" in ran(workspace, "status", PLAN, status=2).out
    replicated = json.loads(ran(workspace, "--json", "replicate", PLAN, "--target", "west").out)
    assert {(item["verdict"], item["status"]) for item in replicated["items"]} == {("in_sync", "skipped")}
    ran(workspace, "replicate", PLAN, status=3)
    ran(workspace, "snapshot", PLAN)
    ran(workspace, "automation", "off")
    ran(workspace, "restore", PLAN, "--to", "west")
    ran(workspace, "drill", PLAN, "--to", "west")
    failed_over = json.loads(ran(workspace, "--json", "failover", PLAN, "--to", "west", "--planned", "--yes").out)
    ran(workspace, "commit", PLAN, "--yes")
    ran(workspace, "failback", PLAN, "--yes")
    ran(workspace, "audit", "verify")
    ran(workspace, "snapshots", PLAN, "--verify")

    assert failed_over["epoch"] == 5
    for name, file in files(workspace).items():
        if before.get(name) != file.read_bytes():
            # Lines of the audit log keep the digest that they were written with.
            assert formats_in(file) - ({None} if name.startswith(f"audit/{PLAN}.jsonl") else set()), name
            assert None not in formats_in(file) or file.suffix == ".jsonl", name


def test_a_failover_that_is_not_committed_goes_on(continued: Continued) -> None:
    workspace = continued("serving")

    assert "west serves" in ran(workspace, "status", PLAN).out
    ran(workspace, "replicate", PLAN, status=4)
    ran(workspace, "drill", PLAN, "--clean-up")
    ran(workspace, "commit", PLAN, "--yes")
    back = json.loads(ran(workspace, "--json", "failback", PLAN, "--yes").out)
    ran(workspace, "replicate", PLAN)
    ran(workspace, "audit", "verify")

    assert [item["analyzer"] for item in back["sync"]["items"] if item["status"] == "succeeded"] == ["receipt"]


def test_a_failover_that_was_killed_is_taken_up(continued: Continued) -> None:
    workspace = continued("switching")

    ended = json.loads(ran(workspace, "--json", "failover", PLAN, "--to", "west", "--planned", "--yes").out)
    ran(workspace, "audit", "verify")

    assert (ended["state"], ended["epoch"]) == ("activated", 2)


def test_a_failback_that_was_killed_goes_on_with_what_was_decided(continued: Continued) -> None:
    workspace = continued("failing-back")

    ended = json.loads(ran(workspace, "--json", "failback", PLAN, "--yes").out)
    ran(workspace, "audit", "verify")

    assert ended["state"] == "failed_back"


NEWER: dict[str, tuple[str, ...]] = {
    "audit/invoices.jsonl": ("audit", "verify"),
    "audit/invoices.head.json": ("audit", "verify"),
    "decisions/*.json": ("explain", "{stem}"),
    "drills/invoices/*/evidence.json": ("drill", PLAN, "--verify", "{folder}"),
    "drills/invoices/*/evidence.json.sig": ("drill", PLAN, "--verify", "{folder}"),
    "drills/invoices/latest.json": ("status", PLAN),
    "drills/invoices/open.json": ("drill", PLAN, "--to", "west"),
    "durations/invoices.json": ("status", PLAN),
    "ledger/2025-11-01/*.jsonl": ("replicate", PLAN),
    "readiness/invoices.json": ("status", PLAN),
    "rebuilt/north.json": ("status", PLAN),
    "recovery/automation.json": ("automation", "off"),
    "recovery/invoices/failback-east.json": ("failback", PLAN, "--yes"),
    "recovery/invoices/fence.json": ("replicate", PLAN),
    "recovery/invoices/switch.json": ("failover", PLAN, "--to", "west", "--planned", "--yes"),
    "snapshots/invoices/index.jsonl": ("snapshot", PLAN),
    "../active.json": ("failover", PLAN, "--to", "west", "--planned", "--yes"),
}
"""A command that reads each file, and that would have written it or what depends on it."""


@pytest.mark.parametrize("name", NEWER)
def test_what_a_newer_version_wrote_is_refused_and_not_overwritten(continued: Continued, name: str) -> None:
    workspace = continued("whole")
    [file, *_] = sorted((workspace.folder / "vault").glob(name))
    renumbered(file, 99)
    written = file.read_bytes()

    ended = workspace.run(*(word.format(stem=file.stem, folder=file.parent.name) for word in NEWER[name]))

    assert ended.status not in (0, 2, 130)
    assert "written by a newer version of Standby, in format 99" in " ".join((ended.out + ended.err).split())
    assert file.read_bytes() == written


READ_BY_FLOWS = {"recovery/invoices/readiness.json"}

OF_ONE_DRILL_ONLY = {"drills/invoices/*/told.json"}

SIGNED_OR_IN_THE_LOG = {"snapshots/invoices/*.json", "snapshots/invoices/*.sig"}
"""Their digests are looked at first, and a snapshot that cannot be read is told beside the others."""


def test_every_file_is_among_those_that_are_refused(continued: Continued) -> None:
    known = {*NEWER, *READ_BY_FLOWS, *OF_ONE_DRILL_ONLY, *SIGNED_OR_IN_THE_LOG}
    of_a_drill = "drills/invoices/*/"

    unknown = [
        name
        for name in files(continued("whole"))
        if not any(Path(name).match(each) for each in known)
        and not any(Path(name).match(of_a_drill + each) for each in known)
    ]

    assert unknown == []
