from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from standby.cli.doctor import Check, diagnose
from standby.clock import SystemClock
from standby.config.configuration import load_configuration
from standby.config.resource import KeyCredentials
from standby.orchestrator import Health, NoOrchestrator
from standby.service.client import ContentUnderstandingClient

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from standby.config.plan import RecoveryPlan
    from tests.standby.cli.conftest import Cloud, Ran, Workspace
    from tests.storage.azurite import Azurite


class Prefect:
    def __init__(self, health: Health, **parts: Health) -> None:
        self._health = health
        self._parts = parts

    async def health(self) -> Health:
        return self._health

    async def watching(self, plans: Sequence[RecoveryPlan]) -> Mapping[str, Health]:
        return {f"{name} of {plan.name}": part for plan in plans for name, part in self._parts.items()}

    async def notify(self, blocks: Sequence[str]) -> Mapping[str, Health]:
        return {
            block: Health("pager" in block, "as it is", "" if "pager" in block else "Correct it") for block in blocks
        }


@pytest.fixture(autouse=True)
def prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Prefect server that answers, without the seconds that importing Prefect takes."""
    monkeypatch.setattr("standby.cli.doctor.load_orchestrator", lambda: Prefect(Health(True, "it answers")))


@pytest.fixture
def entra(workspace: Workspace, cloud: Cloud) -> Workspace:
    """West signed in by Entra, so that the management plane can be asked about it."""
    workspace.edit(
        '{kind: key, key: ${WEST_KEY}}\n    arm_endpoint: ""',
        f"{{kind: entra}}\n    arm_endpoint: {cloud.emulator.arm}",
    )
    workspace.edit("targets: [west, north]", "targets: [west]")
    return workspace


def found(ran: Ran, subject: str, name: str) -> dict[str, Any]:
    """The one check of this name."""
    (check,) = (check for check in ran.document["checks"] if (check["subject"], check["name"]) == (subject, name))
    assert isinstance(check, dict)
    return check


def test_says_that_all_is_well(entra: Workspace) -> None:
    ran = entra.run("doctor", "invoices")

    assert ran.status == 0
    for name in ("connection", "permission", "defaults", "identity", "deployments", "clock"):
        assert f"  ok {name}: " in ran.out.partition("west\n")[2]
    assert ran.out.endswith(" checks, nothing wrong. 1 could not be checked.\n")


def test_looks_at_what_the_plan_uses_and_without_a_plan_at_everything(entra: Workspace) -> None:
    of_plan = entra.run("doctor", "invoices", "--json").document["checks"]
    of_all = entra.run("doctor", "--json").document["checks"]

    assert {check["subject"] for check in of_plan} == {"east", "west", "vault", "prefect"}
    assert {check["subject"] for check in of_all} == {"east", "west", "north", "vault", "prefect"}


def test_every_check_that_is_not_well_has_one_next_action(entra: Workspace, cloud: Cloud) -> None:
    cloud.tell("settings", resource="west", defaults=None)
    cloud.tell("outages", resource="north", kind="refuse")

    checks = entra.run("doctor", "--json").document["checks"]

    assert all(bool(check["next_action"]) == (check["well"] is not True) for check in checks)


def test_tells_a_resource_that_cannot_be_reached(workspace: Workspace, cloud: Cloud) -> None:
    cloud.tell("outages", resource="west", kind="refuse")

    ran = workspace.run("doctor", "--json")

    assert ran.status == 1
    check = found(ran, "west", "connection")
    assert check["well"] is False
    assert check["detail"].startswith(f"No connection to west ({cloud.emulator.resources['west'].endpoint})")
    assert check["next_action"] == (
        "Check the host and the port of the endpoint: nothing listens there, or a firewall refuses; "
        "if the region is down, fail over"
    )
    assert found(ran, "north", "connection")["well"] is True


def test_does_not_wait_for_ever_for_a_resource_that_never_answers(
    workspace: Workspace, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("standby.cli.doctor.LONGEST", 0.5)
    cloud.tell("outages", resource="west", kind="hang")

    ran = workspace.run("doctor", "--json")

    assert ran.status == 1
    assert found(ran, "west", "connection")["detail"].endswith(" did not answer within 0.5 s")


def test_tells_a_wrong_key_from_a_wrong_connection(workspace: Workspace) -> None:
    workspace.environment["WEST_KEY"] = "canary-wrong"

    ran = workspace.run("doctor", "--json")

    assert ran.status == 1
    assert found(ran, "west", "connection")["well"] is True
    check = found(ran, "west", "permission")
    assert check["well"] is False
    assert "HTTP 401" in check["detail"]
    assert "credentials" in check["next_action"]
    assert "canary" not in ran.out + ran.err


def test_tells_that_no_entra_token_can_be_had(entra: Workspace) -> None:
    entra.environment["IDENTITY_HEADER"] = "wrong"

    ran = entra.run("doctor", "--json", "invoices")

    assert ran.status == 1
    check = found(ran, "west", "permission")
    assert check["detail"].startswith("west: Entra gave no token")
    assert check["next_action"] == "Correct the entra credentials of the resource, or sign in where this runs"


def test_tells_defaults_that_are_not_set(workspace: Workspace, cloud: Cloud) -> None:
    cloud.tell("settings", resource="west", defaults=None)

    ran = workspace.run("doctor", "--json")

    assert ran.status == 1
    check = found(ran, "west", "defaults")
    assert "DefaultsNotSet" in check["detail"]
    assert check["next_action"].startswith("PATCH its /contentunderstanding/defaults")


def test_tells_defaults_that_lead_to_no_deployment(entra: Workspace, cloud: Cloud) -> None:
    defaults = {"gpt-4.1": "gone", "gpt-4o": "gpt-4o", "text-embedding-3-large": "elsewhere/embed"}
    cloud.tell("settings", resource="west", defaults=defaults)

    ran = entra.run("doctor", "--json", "invoices")

    assert ran.status == 1
    check = found(ran, "west", "deployments")
    assert check["detail"] == "its defaults name deployments that it does not have: gone for gpt-4.1"


def test_tells_a_resource_id_that_azure_spells_differently(entra: Workspace) -> None:
    entra.edit("accounts/west", "accounts/West")

    ran = entra.run("doctor", "--json", "invoices")

    assert ran.status == 1
    check = found(ran, "west", "identity")
    assert "spelled differently in Azure" in check["detail"]
    assert check["next_action"].endswith("/accounts/west")


def test_tells_a_wrong_region(entra: Workspace) -> None:
    entra.edit("region: westus3", "region: westus")

    ran = entra.run("doctor", "--json", "invoices")

    assert ran.status == 1
    check = found(ran, "west", "identity")
    assert check["detail"] == "it is in westus3, and the configuration says westus"
    assert check["next_action"] == "Change the configuration to region: westus3"


def test_does_not_call_wrong_what_a_key_cannot_ask(workspace: Workspace) -> None:
    ran = workspace.run("doctor", "--json")

    assert ran.status == 0
    check = found(ran, "west", "deployments")
    assert check["well"] is None
    assert "Entra credentials" in check["next_action"]


LATE = timedelta(minutes=10)


class Late(SystemClock):
    def now(self) -> datetime:
        return super().now() - LATE


async def test_tells_a_clock_that_is_off(workspace: Workspace) -> None:
    configuration = load_configuration(workspace.file, workspace.environment)

    async with ContentUnderstandingClient(configuration.resource("west")) as client:
        checks = {check.name: check async for check in diagnose(client, Late())}

    clock = checks["clock"]
    assert clock.well is False
    told = re.fullmatch(r"the clock of this machine is wrong by (\d+) s", clock.detail)
    assert told
    assert abs(int(told[1]) - LATE.total_seconds()) < 5
    assert clock.next_action == "Set the clock by NTP"


@pytest.mark.parametrize(
    "health",
    [
        Health(False, "no Prefect server is configured", "Start one"),
        Health(False, "The Prefect server at URL does not answer", "Start it"),
    ],
)
def test_a_missing_prefect_is_worth_knowing_but_nothing_wrong(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, health: Health
) -> None:
    monkeypatch.setattr("standby.cli.doctor.load_orchestrator", lambda: Prefect(health))

    ran = workspace.run("doctor", "--json")

    assert ran.status == 0
    check = found(ran, "prefect", "server")
    assert Check(**check) == Check("prefect", "server", None, health.detail, health.next_action)


def test_a_watch_that_does_not_look_is_wrong_and_one_that_is_not_deployed_is_worth_knowing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = Health(False, "it reported last 4m ago", "Check that a worker runs")
    nowhere = Health(None, "it is not on the server", "Run standby bootstrap")
    for health, status in ((silent, 1), (nowhere, 0)):
        there = Prefect(Health(True, "it answers"), watch=health)
        monkeypatch.setattr("standby.cli.doctor.load_orchestrator", lambda there=there: there)
        ran = workspace.run("doctor", "invoices", "--json")
        assert ran.status == status
        check = found(ran, "prefect", "watch of invoices")
        assert Check(**check) == Check("prefect", "watch of invoices", health.well, health.detail, health.next_action)


def test_a_vault_and_its_second_are_written_to_see_whether_they_can_be(workspace: Workspace) -> None:
    workspace.edit("resources:", "vault: {path: vault, second: {path: file/second}}\nresources:")
    (workspace.folder / "file").write_text("no folder")

    ran = workspace.run("doctor", "--json")

    assert ran.status == 1
    assert found(ran, "vault", "vault")["detail"].endswith("vault/doctor/written.txt can be written")
    assert found(ran, "vault", "second")["well"] is False
    assert "Not a directory" in found(ran, "vault", "second")["detail"]


def test_an_installation_without_flows_is_nothing_wrong(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise NoOrchestrator

    monkeypatch.setattr("standby.cli.doctor.load_orchestrator", missing)

    ran = workspace.run("doctor", "--json")

    assert ran.status == 0
    assert found(ran, "prefect", "server")["well"] is None


def test_asked_for_silence_it_shows_only_what_is_wrong(workspace: Workspace, cloud: Cloud) -> None:
    cloud.tell("settings", resource="west", defaults=None)

    ran = workspace.run("doctor", "-q")

    assert ran.out.startswith("west\n  NO defaults: ")
    assert "ok" not in ran.out
    assert "??" not in ran.out
    assert "     → PATCH its" in ran.out


TWO = "vault: {path: vault, second: {path: other}}\nactivation: [{kind: file, path: active.json}]\nresources:"


def lost(folder: Path) -> None:
    shutil.rmtree(folder / "vault")


def emptied(folder: Path) -> None:
    lost(folder)
    (folder / "vault").mkdir(mode=0o700)


@pytest.mark.parametrize("lose", [lost, emptied])
@pytest.mark.parametrize("knows", ["its replica", "active.json"])
def test_a_vault_that_is_not_there_though_something_knows_it_is_wrong_and_not_made_anew(
    workspace: Workspace, lose: Callable[[Path], None], knows: str
) -> None:
    workspace.edit("resources:", TWO)
    workspace.edit("targets: [west, north]", "targets: [west]")
    assert workspace.run("replicate", "invoices").status == 0
    assert workspace.run("failover", "invoices", "--to", "west", "--yes").status == 0
    lose(workspace.folder)
    if knows == "active.json":
        workspace.edit("vault: {path: vault, second: {path: other}}", "vault: {path: vault}")

    ran = workspace.run("doctor", "--json")

    assert ran.status == 1
    check = found(ran, "vault", "vault")
    assert check["well"] is False
    assert "there is nothing in the vault" in check["detail"]
    assert knows in check["detail"]
    assert not list((workspace.folder / "vault").glob("*"))


def test_a_link_that_leads_nowhere_is_wrong(workspace: Workspace) -> None:
    workspace.edit("resources:", "vault: {path: vault, second: {path: other}}\nresources:")
    for name in ("vault", "other"):
        (workspace.folder / name).symlink_to(workspace.folder / "not-mounted" / name)
    ran = workspace.run("doctor", "--json")
    assert ran.status == 1
    for name in ("vault", "second"):
        check = found(ran, "vault", name)
        assert check["well"] is False
        assert "is a link to something that is not there" in check["detail"]
        assert check["next_action"].startswith("Mount the disk that the link leads to")


@pytest.mark.parametrize(
    ("number", "action"),
    [
        (errno.ENOSPC, "Free space on its disk"),
        (errno.EDQUOT, "Free space on its disk"),
        (errno.EROFS, "Mount its disk writable"),
        (errno.EACCES, "Mount its disk writable"),
    ],
)
def test_a_vault_that_is_full_or_read_only_is_wrong(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, number: int, action: str
) -> None:
    def fails(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fails)
    ran = workspace.run("doctor", "--json")
    assert ran.status == 1
    check = found(ran, "vault", "vault")
    assert check["well"] is False
    assert os.strerror(number) in check["detail"]
    assert check["next_action"].startswith(action)


def test_an_automatic_plan_with_its_vault_in_a_folder_is_warned_of(workspace: Workspace) -> None:
    assert "is a folder of this machine" not in workspace.run("doctor").out
    workspace.edit("    deadlines:", "    failover: {automatic: true}\n    deadlines:")
    ran = workspace.run("doctor", "--json")
    assert ran.status == 0
    check = found(ran, "vault", "storage")
    assert (check["well"], check["warns"]) == (True, True)
    assert "standby vault move vault az://" in check["next_action"]
    assert "  !! storage: invoices may fail over automatically" in workspace.run("-q", "doctor").out


def test_a_vault_that_others_may_read_is_warned_of_until_that_is_changed(workspace: Workspace) -> None:
    workspace.run("snapshot", "invoices")
    vault = workspace.folder / "vault"
    (vault / "audit" / "invoices.jsonl").chmod(0o644)
    check = found(workspace.run("doctor", "--json"), "vault", "vault permissions")
    assert check["warns"]
    assert "others may read 1 path" in check["detail"]
    subprocess.run(check["next_action"].removeprefix("Run ").split(), check=True)
    assert "permissions" not in workspace.run("doctor").out


def test_a_worker_with_secrets_in_its_environment_is_warned_of_by_their_names(workspace: Workspace) -> None:
    secret = workspace.environment["EAST_KEY"]
    command = (sys.executable, "-c", "input()", "prefect", "worker", "start")
    environment = {"EAST": f"key={secret}", "HARMLESS": "x"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as worker:
        ran = workspace.run("doctor", "--json")
        worker.terminate()
    check = found(ran, "prefect", "secrets of workers")
    assert (ran.status, check["well"], check["warns"]) == (0, True, True)
    assert check["detail"].startswith(f"1 worker process ({worker.pid}) with secrets in the environment")
    assert check["detail"].endswith(": EAST")
    assert "env -u EAST prefect worker start" in check["next_action"]
    assert secret not in ran.out + ran.err
    assert "secrets of workers" not in workspace.run("doctor").out


def test_a_replica_that_is_behind_is_warned_of_and_one_that_was_promoted_is_wrong(workspace: Workspace) -> None:
    workspace.edit("resources:", TWO)
    workspace.run("snapshot", "invoices")
    assert found(workspace.run("doctor", "--json"), "vault", "replica")["well"] is True
    shutil.rmtree(workspace.folder / "other" / "audit")
    check = found(workspace.run("doctor", "--json"), "vault", "replica")
    assert (check["well"], check["warns"]) == (True, True)
    assert "is behind by 2 files" in check["detail"]
    workspace.run("snapshot", "invoices", "--vault", "second")
    ran = workspace.run("doctor", "--json")
    assert ran.status == 1
    assert found(ran, "vault", "replica")["next_action"].startswith("Exchange vault and vault.second")


@pytest.mark.parametrize(
    ("container", "key", "action"),
    [
        (False, True, "Correct url and endpoint of the vault; a new container has to be created first"),
        (True, False, "Correct the credentials of the vault"),
        (True, True, ""),
    ],
)
def test_object_storage_is_checked_for_its_container_and_the_credentials(
    workspace: Workspace, azurite: Azurite, blob_container: str, container: bool, key: bool, action: str
) -> None:
    place = azurite.place(blob_container if container else "none-of-this-name")
    assert isinstance(place.credentials, KeyCredentials)
    right = place.credentials.key.get_secret_value()
    workspace.environment["STORAGE_KEY"] = right if key else right[::-1].strip("=") + "=="
    workspace.edit(
        "resources:",
        f"vault: {{url: '{place.url}', endpoint: '{place.endpoint}', "
        "credentials: {kind: key, key: '${STORAGE_KEY}'}}\nresources:",
    )
    ran = workspace.run("doctor", "--json")
    check = found(ran, "vault", "vault")
    assert (ran.status, check["well"]) == ((1, False) if action else (0, True)), check
    assert check["next_action"].startswith(action)
    assert right not in ran.out + ran.err


def test_a_version_that_is_due_to_be_retired_is_warned_of_though_all_is_well(workspace: Workspace) -> None:
    for name in ("east", "west", "north"):
        workspace.edit(f"${{{name.upper()}_KEY}}}}", f"${{{name.upper()}_KEY}}}}\n    api_version: 2025-05-01-preview")
    document = workspace.run("doctor", "invoices", "--json").document
    warned = [check for check in document["checks"] if check["name"] == "api_version"]
    assert {check["subject"] for check in warned if check["warns"]} == {"east", "west", "north"}
    assert "was due to be retired on 2026-07-15" in warned[0]["detail"]
    assert "Set api_version: 2025-11-01 or 2026-06-01-preview for" in warned[0]["next_action"]


def test_proves_that_people_can_be_told_by_a_message_through_each_block(workspace: Workspace) -> None:
    workspace.edit("plans:", "notifications: [custom-webhook/pager, slack-webhook/on-call]\nplans:")

    ran = workspace.run("doctor", "--notify", "--json")

    assert ran.status == 1
    assert found(ran, "notifications", "custom-webhook/pager")["well"] is True
    failed = found(ran, "notifications", "slack-webhook/on-call")
    assert (failed["well"], failed["next_action"]) == (False, "Correct it")
    assert "notifications" not in workspace.run("doctor").out, "nobody is disturbed unasked"


def test_nobody_can_be_told_without_a_block_or_a_server(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    none = found(workspace.run("doctor", "--notify", "--json"), "notifications", "blocks")
    assert (none["well"], "no notification is sent" in none["detail"]) == (False, True)
    workspace.edit("plans:", "notifications: [custom-webhook/pager]\nplans:")
    health = Health(False, "the server at http://prefect does not answer", "Start it")
    monkeypatch.setattr("standby.cli.doctor.load_orchestrator", lambda: Prefect(health))
    unsent = found(workspace.run("doctor", "--notify", "--json"), "notifications", "server")
    assert unsent["detail"] == "nothing was sent: the server at http://prefect does not answer"
