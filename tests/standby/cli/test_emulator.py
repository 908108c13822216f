from __future__ import annotations

import json
import os
import shlex
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from standby.emulator.serve import bound, port_of
from tests.docs.folder import Folder, bare_environment, free_ports
from tests.docs.pages import Command

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


def test_an_example_that_is_written_twice_stays_and_what_was_changed_is_not_overwritten_unasked(
    workspace: Workspace,
) -> None:
    folder = workspace.folder / "example"
    first = workspace.run("emulator", "--example", "--folder", str(folder))
    again = workspace.run("emulator", "--example", "--folder", str(folder))
    (folder / "standby.yaml").write_text("mine", encoding="utf-8")
    refused = workspace.run("emulator", "--example", "--folder", str(folder))
    kept = (folder / "standby.yaml").read_text(encoding="utf-8")
    meant = workspace.run("emulator", "--example", "--folder", str(folder), "--yes")

    assert sorted(file.name for file in folder.iterdir()) == ["emulator.env", "emulator.yaml", "standby.yaml"]
    assert (first.status, again.status, refused.status, meant.status) == (0, 0, 4, 0)
    assert kept == "mine"
    assert str(folder / "standby.yaml") in refused.err.replace("\n    ", " ")
    assert "emulator.yaml" not in refused.err
    assert (folder / "standby.yaml").read_text(encoding="utf-8") != "mine"


def test_a_port_that_is_taken_is_named_and_another_can_be_chosen(workspace: Workspace) -> None:
    file = workspace.folder / "emulator.yaml"
    with bound() as others:
        others.listen()
        taken = port_of(others)
        file.write_text(FILE.replace("key: k", f"key: k, port: {taken}"), encoding="utf-8")
        refused = workspace.run("emulator", "-c", str(file), "--json")
        first = free_ports()
        process = workspace.start("emulator", "-c", str(file), "--port", str(first))
        assert process.stdout is not None
        announced = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        workspace.ended(process)

    assert refused.status == 1
    assert f"cannot serve east on port {taken}" in refused.document["error"]["cause"]
    assert "--port" in refused.document["error"]["next_action"]
    assert announced["control"] == f"http://127.0.0.1:{first}"
    assert announced["resources"]["east"]["endpoint"] == f"http://127.0.0.1:{first + 1}"


def test_the_commands_that_the_example_names_next_end_as_they_should(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "example"
    first = free_ports()
    written = workspace.run("emulator", "--example", "--folder", str(folder), "--port", str(first), "--json")
    serve, load, *then = (command.partition("  #")[0] for command in written.document["next"])
    there = Folder(folder, bare_environment(tmp_path, Path(os.environ["SSL_CERT_FILE"])), first)
    try:
        there.run(Command(serve, serves=True))
        there.run(Command(load))
        ended = [there.standby(shlex.split(command)[1:])[0] for command in then]
    finally:
        there.close()
    assert ended == [0, 2, 0, 0]
