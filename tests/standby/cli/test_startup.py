from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.standby.cli.conftest import Workspace

SHOW_MODULES = """
import json, sys
from standby.cli.app import app
try:
    app()
except SystemExit as end:
    print(json.dumps({"status": end.code, "modules": sorted(sys.modules)}), file=sys.stderr)
"""


def imported(workspace: Workspace, *args: str) -> set[str]:
    """The modules that a command has imported by its end."""
    ran = subprocess.run(
        [sys.executable, "-c", SHOW_MODULES, *args],
        cwd=workspace.folder,
        env=workspace.environment,
        text=True,
        capture_output=True,
        check=True,
    )
    ended = json.loads(ran.stderr.splitlines()[-1])
    assert ended["status"] in {0, 2}, ran.stderr
    return set(ended["modules"])


def test_help_needs_neither_prefect_nor_the_emulator_nor_a_client(workspace: Workspace) -> None:
    modules = imported(workspace, "--help")

    assert not modules & {"prefect", "emulator", "azure.identity", "httpx", "flows", "uvicorn"}


def test_a_plan_needs_neither_prefect_nor_the_emulator(workspace: Workspace) -> None:
    modules = imported(workspace, "plan", "invoices")

    assert "standby.replication.items" in modules
    assert not modules & {"prefect", "emulator", "flows", "uvicorn"}


def test_prefect_is_not_imported_before_the_demo_has_started_a_server_for_it() -> None:
    """Prefect reads as it is imported which server it uses."""
    load = "import standby.cli.demo, standby.orchestrator, sys; standby.orchestrator.load_orchestrator()"
    ran = subprocess.run(
        [sys.executable, "-c", f"{load}; print('prefect' in sys.modules)"], text=True, capture_output=True, check=True
    )

    assert (ran.stdout, ran.stderr) == ("False\n", "")
