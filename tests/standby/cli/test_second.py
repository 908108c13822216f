"""The vault and its replica, as an operator meets them: behind, promoted, exchanged, moved."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.standby.cli.conftest import Cloud, Workspace

FAILOVER = ("failover", "invoices", "--to", "west", "--unplanned", "--yes", "--reason", "east is lost")
READING = [
    ("plan", "invoices"),
    ("status", "invoices"),
    ("snapshots", "invoices"),
    ("audit", "verify"),
    ("automation",),
]


def with_a_replica(workspace: Workspace) -> None:
    workspace.edit(
        "plans:", "vault: {path: first, second: {path: other}}\nactivation: [{kind: file, path: active.json}]\nplans:"
    )
    workspace.edit("targets: [west, north]", "targets: [west]")
    assert workspace.run("replicate", "invoices").status == 0
    assert workspace.run("snapshot", "invoices").status == 0


@pytest.fixture
def two(workspace: Workspace) -> Workspace:
    """A workspace whose vault has a replica, with copies, and a snapshot in both."""
    return workspace.once(with_a_replica)


def files(folder: Path) -> dict[str, bytes]:
    found = {each.relative_to(folder).as_posix(): each.read_bytes() for each in folder.rglob("*") if each.is_file()}
    return {path: content for path, content in found.items() if not path.endswith(".lock") and path != "role.json"}


def role(folder: Path) -> Any:
    return json.loads((folder / "role.json").read_text(encoding="utf-8"))


def exchanged(workspace: Workspace) -> None:
    workspace.edit("vault: {path: first, second: {path: other}}", "vault: {path: other, second: {path: first}}")


def gone(folder: Path) -> None:
    shutil.rmtree(folder / "first")


def emptied(folder: Path) -> None:
    shutil.rmtree(folder / "first")
    (folder / "first").mkdir()


def dangling(folder: Path) -> None:
    shutil.rmtree(folder / "first")
    (folder / "first").symlink_to(folder / "not-mounted")


def a_file(folder: Path) -> None:
    shutil.rmtree(folder / "first")
    (folder / "first").write_bytes(b"")


LOST: list[Callable[[Path], None]] = [gone, emptied, dangling, a_file]


def test_everything_of_the_vault_is_in_its_replica(two: Workspace) -> None:
    assert files(two.folder / "other") == files(two.folder / "first")
    assert (role(two.folder / "first")["kind"], role(two.folder / "other")["kind"]) == ("vault", "replica")
    status = two.run("--json", "status", "invoices")
    assert status.document["replica"]["behind"] == 0
    assert "has everything" in two.run("status", "invoices").out


@pytest.mark.parametrize("lose", LOST)
def test_with_the_vault_gone_an_operator_goes_on_from_the_replica(
    two: Workspace, cloud: Cloud, lose: Callable[[Path], None]
) -> None:
    cloud.tell("outages", resource="east", kind="refuse")
    lose(two.folder)
    left = sorted(two.folder.joinpath("first").rglob("*")) if two.folder.joinpath("first").is_dir() else None

    ran = two.run("--vault", "second", "--json", *FAILOVER)

    assert ran.status == 0, ran.err
    assert ran.document["state"] == "activated"
    assert "may be missing" in ran.document["warnings"][0]
    assert (sorted(two.folder.joinpath("first").rglob("*")) if left is not None else None) == left
    promoted = role(two.folder / "other")
    assert (promoted["kind"], promoted["why"]) == ("vault", "east is lost")
    assert "may be missing" in promoted["behind"]
    assert json.loads((two.folder / "active.json").read_text())["plans"]["invoices"]["epoch"] == 1


@pytest.mark.parametrize(
    "command", [*READING, ("explain", "ID"), ("check", "invoices")], ids=lambda command: command[0]
)
def test_reading_from_the_replica_changes_nothing_and_says_what_may_be_missing(
    two: Workspace, command: tuple[str, ...]
) -> None:
    gone(two.folder)
    before = files(two.folder / "other"), role(two.folder / "other")
    for more in ((), ("--json",)):
        ran = two.run(*command, "--vault", "second", *more)
        if command[0] == "explain":
            assert ran.status == 1
            continue
        assert ran.status in (0, 2), ran.err
        said = ran.out if not more else ran.document["warnings"][0]
        assert "may be missing" in said
    assert (files(two.folder / "other"), role(two.folder / "other")) == before
    assert not (two.folder / "first").exists()


def test_names_what_the_replica_lacks_while_the_vault_can_be_read(two: Workspace) -> None:
    late = two.folder / "first" / "replaced" / "west" / "late.json"
    late.parent.mkdir(parents=True)
    late.write_text("{}")
    ran = two.run("--json", "--vault", "second", "snapshots", "invoices")
    assert "may be missing: replaced/west/late.json" in ran.document["warnings"][0]


@pytest.mark.parametrize(
    "command", [FAILOVER, ("snapshot", "invoices"), ("replicate", "invoices"), ("automation", "off")]
)
def test_once_the_replica_was_promoted_the_first_is_written_no_more(two: Workspace, command: tuple[str, ...]) -> None:
    assert two.run("--vault", "second", "snapshot", "invoices").status == 0
    before = files(two.folder / "first")

    ran = two.run("--json", *command)

    assert ran.status == 4, ran.out
    assert ran.document["error"]["kind"] == "Promoted"
    assert "Exchange vault and vault.second" in ran.document["error"]["next_action"]
    assert files(two.folder / "first") == before


def test_status_of_a_vault_whose_replica_was_promoted_is_not_green(two: Workspace) -> None:
    assert two.run("--vault", "second", "snapshot", "invoices").status == 0
    ran = two.run("--json", "status", "invoices")
    assert ran.status == 2
    assert "was promoted at" in ran.document["replica"]["problem"]
    assert [pair["state"] for pair in ran.document["pairs"]] == ["unknown"]


@pytest.mark.parametrize("lose", [gone, emptied])
@pytest.mark.parametrize("command", ["status", "snapshots"])
def test_reading_a_lost_vault_repairs_nothing_in_it_and_is_not_refused(
    two: Workspace, cloud: Cloud, lose: Callable[[Path], None], command: str
) -> None:
    lose(two.folder)
    cloud.tell("outages", resource="east", kind="refuse")
    ran = two.run("--json", command, "invoices")
    assert ran.status in (2, 3), ran.out
    assert not list((two.folder / "first").glob("*"))


@pytest.mark.parametrize("command", [*READING, ("check", "invoices")], ids=lambda command: command[0])
@pytest.mark.parametrize("why", ["promoted", "lost"])
def test_whoever_reads_what_is_not_the_vault_any_more_is_warned(
    two: Workspace, command: tuple[str, ...], why: str
) -> None:
    if why == "promoted":
        assert two.run("--vault", "second", "snapshot", "invoices").status == 0
    else:
        gone(two.folder)
    ran = two.run("--json", *command)
    assert ("was promoted at" if why == "promoted" else "There is nothing in the vault") in " ".join(ran.err.split())
    if command[0] in ("status", "audit"):
        assert ran.status in (1, 2)


def test_when_they_are_exchanged_the_old_vault_becomes_the_replica(two: Workspace) -> None:
    assert two.run("--vault", "second", "snapshot", "invoices").status == 0
    only_first = two.folder / "first" / "automation.json"
    only_first.write_text('{"on": false}')
    (two.folder / "other" / "automation.json").write_text('{"on": true}')
    exchanged(two)

    assert two.run("snapshot", "invoices").status == 0

    assert role(two.folder / "first")["kind"] == "replica"
    there, here = files(two.folder / "first"), files(two.folder / "other")
    assert here.items() <= there.items()
    displaced = {path: there[path] for path in there.keys() - here.keys()}
    assert [content for path, content in displaced.items() if path.endswith("/automation.json")] == [b'{"on": false}']
    assert two.run("--json", "status", "invoices").document["replica"]["behind"] == 0


def test_a_replica_is_not_made_the_vault_by_exchanging_them_in_the_file_alone(two: Workspace) -> None:
    exchanged(two)
    ran = two.run("--json", "snapshot", "invoices")
    assert (ran.status, ran.document["error"]["kind"]) == (4, "IsReplica")


@pytest.mark.parametrize("lose", [gone, emptied])
def test_a_vault_that_lost_everything_is_not_taken_for_a_new_one(two: Workspace, lose: Callable[[Path], None]) -> None:
    before = files(two.folder / "other")
    lose(two.folder)
    for command in (("replicate", "invoices"), ("snapshot", "invoices"), ("automation", "off")):
        ran = two.run("--json", *command)
        assert (ran.status, ran.document["error"]["kind"]) == (4, "VaultLost"), ran.out
    status = two.run("status", "invoices")
    assert status.status == 2
    assert "There is nothing in the vault" in status.out
    assert files(two.folder / "other") == before


def test_an_error_of_the_vault_says_that_its_replica_can_go_on(two: Workspace) -> None:
    dangling(two.folder)
    ran = two.run("--json", "snapshot", "invoices")
    assert ran.status == 1
    assert "add --vault second" in ran.document["error"]["next_action"]


def test_a_replica_that_cannot_be_written_stops_nothing(two: Workspace) -> None:
    shutil.rmtree(two.folder / "other")
    (two.folder / "other").write_bytes(b"")
    ran = two.run("--json", *FAILOVER)
    assert ran.status == 0, ran.err
    assert ran.err.count("The replica of the vault is behind") == 1
    status = two.run("--json", "status", "invoices")
    assert status.document["replica"]["behind"] is None
    assert status.document["replica"]["problem"]
    assert "? The replica of the vault cannot be kept" in two.run("-q", "status", "invoices").out


def test_a_command_that_cannot_take_the_replica_says_so(two: Workspace) -> None:
    for command in (("bootstrap",), ("doctor",), ("failover", "invoices", "--yes", "--to", "west", "--via", "prefect")):
        ran = two.run("--json", "--vault", "second", *command)
        assert (ran.status, ran.document["error"]["kind"]) == (1, "WrongUsage")
    assert role(two.folder / "other")["kind"] == "replica"


def test_without_a_replica_there_is_nothing_to_go_on_from(workspace: Workspace) -> None:
    ran = workspace.run("--json", "--vault", "second", "status", "invoices")
    assert ran.status == 1
    assert "vault.second is not set" in ran.document["error"]["cause"]


def test_a_replica_to_which_nothing_came_is_not_promoted(workspace: Workspace) -> None:
    workspace.edit("plans:", "vault: {path: first, second: {path: other}}\nplans:")
    ran = workspace.run("--json", "--vault", "second", "replicate", "invoices")
    assert (ran.status, ran.document["error"]["kind"]) == (4, "NothingReplicated")


def test_moves_the_vault_to_another_folder(two: Workspace) -> None:
    before = files(two.folder / "first"), role(two.folder / "first")

    ran = two.run("--json", "vault", "move", "vault", str(two.folder / "new"))

    assert ran.status == 0, ran.err
    assert ran.document["copied"] == len(before[0])
    assert files(two.folder / "new") == before[0]
    assert (files(two.folder / "first"), role(two.folder / "first")) == before
    assert f"write path: {two.folder / 'new'} under vault in standby.yaml" in ran.document["next_action"]
    two.edit("{path: first,", "{path: new,")
    assert two.run("snapshot", "invoices").status == 0
    assert files(two.folder / "other") == files(two.folder / "new")
    two.edit("{path: new,", "{path: first,")
    assert two.run("--json", "snapshot", "invoices").document["error"]["kind"] == "Promoted"


def test_the_replica_brings_back_a_lost_vault(two: Workspace) -> None:
    kept = files(two.folder / "first")
    gone(two.folder)
    assert two.run("vault", "move", "second", "vault").status == 0
    assert files(two.folder / "first") == kept
    assert two.run("snapshot", "invoices").status == 0
    assert role(two.folder / "other")["kind"] == "replica"


def test_moving_again_copies_nothing_twice(two: Workspace) -> None:
    new = str(two.folder / "new")
    first = two.run("--json", "vault", "move", "vault", new).document
    again = two.run("--json", "vault", "move", "vault", new).document
    assert (first["copied"], first["equal"]) == (again["equal"], again["copied"])
    assert again["copied"] == 0


def test_a_place_with_other_records_is_not_moved_to(two: Workspace, cloud: Cloud) -> None:
    other = two.folder / "new" / "recovery" / "orders" / "fence.json"
    other.parent.mkdir(parents=True)
    other.write_text("{}")
    ran = two.run("--json", "vault", "move", "vault", str(two.folder / "new"))
    assert (ran.status, ran.document["error"]["kind"]) == (4, "OtherVault")
    assert list(files(two.folder / "new")) == ["recovery/orders/fence.json"]


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("second", "new", "vault.second is not set"),
        ("nowhere", "new", "nothing was ever written there"),
        ("vault", "vault", "it is the same place as FROM"),
        ("vault", "az://c/f", "needs an endpoint"),
        ("vault", "ftp://c/f", "url"),
    ],
)
def test_says_what_is_wrong_with_the_places(workspace: Workspace, source: str, target: str, said: str) -> None:
    ran = workspace.run(
        "--json", "vault", "move", source, str(workspace.folder / target) if target == "new" else target
    )
    assert ran.status == 1
    assert said in ran.document["error"]["cause"]


def test_a_move_that_was_interrupted_is_continued(two: Workspace, until: Callable[[Callable[[], bool]], None]) -> None:
    for number in range(400):
        path = two.folder / "first" / "replaced" / "west" / f"{number:03}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(2000))
    new = two.folder / "new"
    process = two.start("--json", "-c", str(two.file), "vault", "move", "vault", str(new))
    until(lambda: new.joinpath("role.json").exists())
    process.send_signal(signal.SIGINT)
    ended = two.ended(process)
    assert ended.status in (0, 130), ended.err
    if ended.status == 130:
        assert role(new)["kind"] == "unfinished"
        two.edit("{path: first,", "{path: new,")
        assert two.run("--json", "snapshot", "invoices").document["error"]["kind"] == "Unfinished"
        two.edit("{path: new,", "{path: first,")

    ran = two.run("--json", "vault", "move", "vault", str(new))

    assert ran.status == 0, ran.err
    assert files(new) == files(two.folder / "first")
    assert role(new)["kind"] == "vault"


HOLDER = """
import asyncio, sys
from pathlib import Path
from standby.vault.folder import LocalFolder
async def hold():
    async with LocalFolder(Path(sys.argv[1])).hold(sys.argv[2]):
        print("held", flush=True)
        await asyncio.sleep(600)
asyncio.run(hold())
"""


def test_a_vault_that_a_run_holds_is_not_moved(two: Workspace) -> None:
    held = next(path for path in files(two.folder / "first") if path.startswith("ledger/"))
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(two.folder / "first"), held], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        ran = two.run("--json", "vault", "move", "vault", str(two.folder / "new"))
        holder.kill()
    assert (ran.status, ran.document["error"]["kind"]) == (4, "RunUnderWay")
    assert not (two.folder / "new").exists()
