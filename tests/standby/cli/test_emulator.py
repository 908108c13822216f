from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from tests.standby.cli.conftest import Workspace

FILE = """
service_time: 0
resources:
  east: {region: eastus, key: k, analyzers: [{analyzerId: invoice}]}
"""


def test_announces_one_line_serves_and_ends_when_interrupted(workspace: Workspace) -> None:
    (workspace.folder / "emulator.yaml").write_text(FILE, encoding="utf-8")

    process = workspace.start("emulator", "--config", "emulator.yaml")
    assert process.stdout is not None
    announced = json.loads(process.stdout.readline())
    east = announced["resources"]["east"]
    answer = httpx.get(
        f"{east['endpoint']}/contentunderstanding/analyzers/invoice",
        params={"api-version": "2025-11-01"},
        headers={"Ocp-Apim-Subscription-Key": east["key"]},
    )
    process.send_signal(signal.SIGINT)
    ran = workspace.ended(process)

    assert set(east) == {"endpoint", "region", "resource_id", "key"}
    assert httpx.URL(announced["control"]).host == "127.0.0.1"
    assert answer.json()["analyzerId"] == "invoice"
    assert (ran.status, ran.out) == (130, "")
    assert "Traceback" not in ran.err


def test_a_file_that_is_wrong_says_where(workspace: Workspace) -> None:
    file = workspace.folder / "emulator.yaml"
    file.write_text(FILE.replace("region: eastus", "regoin: eastus"), encoding="utf-8")

    ran = workspace.run("emulator", "--config", str(file))

    assert ran.status == 1
    assert ran.out == ""
    assert "resources.east.regoin: this key is not known" in ran.err


def test_a_file_that_is_missing_says_so(workspace: Workspace) -> None:
    ran = workspace.run("emulator", "-c", str(workspace.folder / "nowhere.yaml"), "--json")

    assert ran.status == 1
    assert "nowhere.yaml cannot be read" in ran.document["error"]["cause"]
