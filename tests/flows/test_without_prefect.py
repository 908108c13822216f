"""Flows and commands keep one vault in object storage, and go on from each other's records when Prefect is gone."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from standby.config.configuration import Configuration
from standby.config.resource import KeyCredentials
from standby.config.sinks import FileSink
from standby.config.vault import VaultSettings
from standby.fencing import read_fence
from standby.flows.automation import automation
from standby.flows.commit import commit
from standby.flows.failover import failover
from standby.flows.orchestrator import Prefect
from standby.flows.replicate import replicate
from standby.flows.snapshot import snapshot
from standby.recovery.audit import verify_audit
from standby.recovery.failover.report import FailoverReport
from standby.vault.vault import open_vault
from tests.conftest import Scene
from tests.standby.cli.conftest import WITHOUT_PREFECT
from tests.storage.azurite import KEY, Azurite


@dataclass
class Shell:
    """A process that runs command after command, and cannot import Prefect."""

    process: asyncio.subprocess.Process

    async def expect(self, status: int, *arguments: str) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{json.dumps([*arguments, '--json'])}\n".encode())
        ended, out, err = json.loads(await self.process.stdout.readline())
        assert ended == status, (arguments, out, err)
        return json.loads(out)


@asynccontextmanager
async def shell_in(folder: Path, configuration: Configuration) -> AsyncIterator[Shell]:
    """Start one in a folder with nothing but a standby.yaml, and with nothing but secrets in its environment."""
    settings = configuration.model_dump(mode="json", include={"resources", "plans", "vault", "activation"})
    for name, resource in settings["resources"].items():
        resource["credentials"] = {"kind": "key", "key": f"${{{name.upper()}_KEY}}"}
        del resource["name"]
    settings["plans"]["p"].pop("name")
    settings["vault"]["credentials"] = {"kind": "key", "key": "${VAULT_KEY}"}
    (folder / "standby.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    keys = {f"{name.upper()}_KEY": each.credentials for name, each in configuration.resources.items()}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WITHOUT_PREFECT),
        cwd=folder,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT")},
            **{name: key.key.get_secret_value() for name, key in keys.items() if isinstance(key, KeyCredentials)},
            "VAULT_KEY": KEY,
            "PREFECT_API_URL": "http://127.0.0.1:9/api",
        },
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=10_000_000,
    )
    try:
        yield Shell(process)
    finally:
        await process.communicate(b"")
    assert process.returncode == 0


async def read(scene: Scene, resource: str, analyzer: str) -> Any:
    return (await call(scene, "GET", resource, analyzer)).json()


async def call(scene: Scene, method: str, resource: str, analyzer: str) -> httpx.Response:
    found = scene.emulator.resources[resource]
    async with httpx.AsyncClient(headers={"Ocp-Apim-Subscription-Key": found.key}) as http:
        url = f"{found.endpoint}/contentunderstanding/analyzers/{analyzer}?api-version=2025-11-01"
        answer = await http.request(method, url)
        return answer.raise_for_status()


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def epoch(configuration: Configuration) -> int:
    async with open_vault(configuration.vault) as vault:
        return (await read_fence(vault, configuration.plan("p"))).epoch


@pytest.fixture
def laptop(tmp_path: Path) -> Path:
    """An empty folder."""
    (tmp_path / "laptop").mkdir()
    return tmp_path / "laptop"


async def test_commands_and_flows_go_on_from_each_others_records_in_object_storage(
    make_scene: Any,
    make_analyzer: Any,
    run_replicate: Any,
    tmp_path: Path,
    laptop: Path,
    azurite: Azurite,
    blob_container: str,
) -> None:
    policy = {"automatic": True, "cool_down": "1s", "probe_every": "1s", "quorum": 2, "minimum_outage": "1s"}
    analyzers = [make_analyzer(name) for name in ("invoice", "contract")]
    async with make_scene(analyzers, targets=("west",), failover=policy) as made:
        place = azurite.place(blob_container, "standby/prod").model_dump()
        configuration = made.configuration.model_copy(
            update={
                "vault": VaultSettings.model_validate(place),
                "activation": (FileSink(path=tmp_path / "active.json"),),
            }
        )
        scene = Scene(made.emulator, configuration)

        # Flows keep their records by what blocks say of the vault.
        assert (await run_replicate(configuration)).is_completed()
        assert (await snapshot(plan="p", return_state=True)).is_completed()
        assert (await automation(plan="p", on=False, reason="works at night", return_state=True)).name == "Off"
        await scene.control("/outages", {"resource": "east", "kind": "refuse"})
        assert "works at night" in str((await failover(plan="p", outage_of="east", return_state=True)).message)
        order = {"to": "west", "mode": "unplanned", "reason": "east is dark"}
        report = FailoverReport.model_validate(await Prefect().recover(configuration, "p", "failover", order))
        assert (report.state, report.via) == ("activated", "prefect")
        await scene.control("/outages", {"resource": "east", "kind": "none"})
        change = {"resource": "west", "analyzer": "invoice", "changes": {"description": "edited while west serves"}}
        await scene.control("/edit", change)

        # Prefect is gone: a laptop has the configuration and the keys.
        async with shell_in(laptop, configuration) as shell:
            (pair,) = (await shell.expect(0, "status", "p"))["pairs"]
            assert (pair["active"], pair["epoch"]) == ("west", report.epoch)
            (log,) = (await shell.expect(0, "audit", "show", "p"))["plans"]
            assert (log["epoch"], log["lines"][-1]["run_id"]) == (report.epoch, report.run_id)
            assert {line["via"] for line in log["lines"]} == {"prefect"}
            assert (await shell.expect(0, "explain", str(report.decision_id)))["same"] is True
            switch = await shell.expect(0, "automation")
            assert (switch["on"], switch["reason"]) == (False, "works at night")
            for reading in ("plan", "check"):
                items = (await shell.expect(2, reading, "p"))["items"]
                assert {item["analyzer"]: item["verdict"] for item in items} == {
                    "invoice": "target_ahead",
                    "contract": "in_sync",
                }
            over = await shell.expect(4, "replicate", "p", "--via", "direct", "--on-existing", "replace")
            assert f"failed over to west (epoch {report.epoch})" in over["error"]["cause"]
            assert (await read(scene, "west", "invoice"))["description"] == "edited while west serves"
            assert len((await shell.expect(0, "snapshots", "p", "--verify"))["snapshots"]) == 1
            assert (await shell.expect(0, "commit", "p", "--yes"))["sides"] == {"east": "west"}
            back = await shell.expect(0, "failback", "p", "--yes")
            assert (back["state"], back["via"]) == ("failed_back", "direct")
            assert (await read(scene, "east", "invoice"))["description"] == "edited while west serves"
            items = (await shell.expect(0, "replicate", "p"))["items"]
            assert {item["verdict"] for item in items} == {"in_sync"}
            await shell.expect(0, "snapshot", "p")
            await call(scene, "DELETE", "west", "contract")
            restored = await shell.expect(0, "restore", "p", "--to", "west")
            assert [each["analyzer"] for each in restored["items"] if each["status"] == "succeeded"] == ["contract"]
            assert (await shell.expect(0, "drill", "p", "--to", "west"))["passed"] is True
            await scene.control("/outages", {"resource": "east", "kind": "refuse"})
            again = await shell.expect(0, "failover", "p", "--to", "west", "--unplanned", "--yes", "--reason", "x")
            assert (again["state"], again["via"]) == ("activated", "direct")
            await shell.expect(0, "automation", "on", "--reason", "works are over")
            await shell.expect(0, "report", "p", "--html", "page.html")
            await shell.expect(0, "audit", "verify")
        await scene.control("/outages", {"resource": "east", "kind": "none"})

        assert files(laptop) == {"standby.yaml", "page.html"}

        # Prefect is back, and its flows see what was done.
        assert again["epoch"] > report.epoch
        assert await epoch(configuration) == again["epoch"]
        assert (await automation(plan="p", return_state=True)).name == "On"
        over = await replicate(plan="p", on_existing="replace", return_state=True)
        assert over.name == "Refused", over
        assert f"failed over to west (epoch {again['epoch']})" in str(over.message)
        assert (await commit(plan="p", return_state=True)).name == "Committed"
        async with open_vault(configuration.vault) as vault:
            check = await verify_audit(vault, "p", None)
        assert not check.problems
        ends = [(line.via, line.epoch) for line in check.lines if line.action == "failover.activated"]
        assert ends == [("prefect", report.epoch), ("direct", report.epoch + 1), ("direct", again["epoch"])]
        active = json.loads((tmp_path / "active.json").read_text(encoding="utf-8"))["plans"]["p"]
        assert (active["epoch"], active["sources"]["east"]["resource"]) == (again["epoch"], "west")
