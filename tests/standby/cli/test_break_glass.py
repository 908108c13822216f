"""With no Prefect, no database and no source region, all of a recovery works from the vault."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import httpx
import pytest

from tests.standby.cli.conftest import DEADLINE, Cloud, Ran, Workspace

WITHOUT_PREFECT = """
import sys

class Gone:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"prefect", "flows", "tasks", "blocks", "sqlalchemy"}:
            raise ImportError(f"{name} was taken away")

sys.meta_path.insert(0, Gone())
from standby.cli.app import main
main()
"""


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


def run(workspace: Workspace, *arguments: str) -> Ran:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PREFECT, *arguments, "--json"],
        cwd=workspace.folder,
        env={**os.environ, **workspace.environment},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def expect(workspace: Workspace, status: int, *arguments: str) -> Any:
    ran = run(workspace, *arguments)
    assert ran.status == status, ran.out + ran.err
    return ran.document


def test_every_recovery_command_works_with_everything_else_taken_away(stripped: Workspace, cloud: Cloud) -> None:
    expect(stripped, 0, "replicate", "invoices")
    expect(stripped, 0, "snapshot", "invoices")
    calls = cloud.stats("east")["calls"]
    cloud.tell("outages", resource="east", kind="refuse")
    # Of one analyzer the vault alone is left.
    place = cloud.emulator.resources["west"]
    httpx.delete(
        f"{place.endpoint}/contentunderstanding/analyzers/contract?api-version=2025-11-01",
        headers={"Ocp-Apim-Subscription-Key": place.key},
    ).raise_for_status()

    assert expect(stripped, 2, "status", "invoices")
    assert len(expect(stripped, 0, "snapshots", "invoices", "--verify")) > 0
    restored = expect(stripped, 0, "restore", "invoices", "--to", "west")
    assert [each["analyzer"] for each in restored["items"] if each["status"] == "succeeded"] == ["contract"]
    assert expect(stripped, 0, "drill", "invoices", "--to", "west")["passed"] is True
    order = ("failover", "invoices", "--to", "west", "--unplanned", "--reason", "the lights went out")
    switched = expect(stripped, 0, *order)
    assert (switched["side"], switched["state"], switched["via"]) == ("west", "activated", "direct")
    assert expect(stripped, 0, "commit", "invoices")["sides"] == {"east": "west"}
    told = json.loads((stripped.folder / "active.json").read_text(encoding="utf-8"))
    assert told["plans"]["invoices"]["sources"]["east"]["resource"] == "west"
    expect(stripped, 0, "explain", switched["decision_id"])
    expect(stripped, 0, "automation", "off", "--reason", "until the morning")
    expect(stripped, 0, "report", "invoices", "--html", "page.html")
    expect(stripped, 0, "audit", "verify")
    assert cloud.stats("east")["calls"] == calls

    cloud.tell("outages", resource="east", kind="none")
    assert expect(stripped, 0, "failback", "invoices")["state"] == "failed_back"
    assert {item["status"] for item in expect(stripped, 0, "replicate", "invoices")["items"]} == {"skipped"}
    expect(stripped, 0, "audit", "verify")
