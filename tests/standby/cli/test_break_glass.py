"""With no Prefect, no database and no source region, all of a recovery works from the vault."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.standby.cli.conftest import WITHOUT_PREFECT, Cloud, Ran, Workspace


@pytest.fixture
def stripped(workspace: Workspace) -> Workspace:
    """A workspace whose commands cannot import Prefect, and are led to a server that is not there."""
    workspace.edit("targets: [west, north]", "targets: [west]")
    text = workspace.file.read_text(encoding="utf-8")
    more = (
        "vault:\n  path: ./vault\n  signing: {kind: hmac, key: ${VAULT_KEY}}\n"
        "activation:\n  - {kind: file, path: ./active.json}\n"
    )
    workspace.file.write_text(text + more, encoding="utf-8")
    workspace.environment["VAULT_KEY"] = "a key of the tests, long enough"
    workspace.environment["PREFECT_API_URL"] = "http://127.0.0.1:9/api"
    return workspace


@pytest.fixture
def shell(stripped: Workspace) -> Iterator[subprocess.Popen[str]]:
    """One process that runs command after command, and cannot import what was taken away."""
    with subprocess.Popen(
        [sys.executable, "-c", WITHOUT_PREFECT],
        cwd=stripped.folder,
        env={**os.environ, **stripped.environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.communicate()
    assert process.returncode == 0


def expect(shell: subprocess.Popen[str], status: int, *arguments: str) -> Any:
    assert shell.stdin is not None
    assert shell.stdout is not None
    shell.stdin.write(json.dumps([*arguments, "--json"]) + "\n")
    shell.stdin.flush()
    ran = Ran(*json.loads(shell.stdout.readline()))
    assert ran.status == status, ran.out + ran.err
    return ran.document


def test_every_recovery_command_works_with_everything_else_taken_away(
    stripped: Workspace, shell: subprocess.Popen[str], cloud: Cloud
) -> None:
    expect(shell, 0, "replicate", "invoices")
    expect(shell, 0, "snapshot", "invoices")
    calls = cloud.stats("east")["calls"]
    cloud.tell("outages", resource="east", kind="refuse")
    # Of one analyzer the vault alone is left.
    place = cloud.emulator.resources["west"]
    httpx.delete(
        f"{place.endpoint}/contentunderstanding/analyzers/contract?api-version=2025-11-01",
        headers={"Ocp-Apim-Subscription-Key": place.key},
    ).raise_for_status()

    assert expect(shell, 2, "status", "invoices")
    assert len(expect(shell, 0, "snapshots", "invoices", "--verify")) > 0
    restored = expect(shell, 0, "restore", "invoices", "--to", "west")
    assert [each["analyzer"] for each in restored["items"] if each["status"] == "succeeded"] == ["contract"]
    assert expect(shell, 0, "drill", "invoices", "--to", "west")["passed"] is True
    order = ("failover", "invoices", "--yes", "--to", "west", "--unplanned", "--reason", "the lights went out")
    switched = expect(shell, 0, *order)
    assert (switched["side"], switched["state"], switched["via"]) == ("west", "activated", "direct")
    assert expect(shell, 0, "commit", "invoices", "--yes")["sides"] == {"east": "west"}
    told = json.loads((stripped.folder / "active.json").read_text(encoding="utf-8"))
    assert told["plans"]["invoices"]["sources"]["east"]["resource"] == "west"
    expect(shell, 0, "explain", switched["decision_id"])
    expect(shell, 0, "automation", "off", "--reason", "until the morning")
    expect(shell, 0, "report", "invoices", "--html", "page.html")
    expect(shell, 0, "audit", "verify")
    assert cloud.stats("east")["calls"] == calls

    cloud.tell("outages", resource="east", kind="none")
    assert expect(shell, 0, "failback", "invoices", "--yes")["state"] == "failed_back"
    assert {item["status"] for item in expect(shell, 0, "replicate", "invoices")["items"]} == {"skipped"}
    expect(shell, 0, "audit", "verify")
