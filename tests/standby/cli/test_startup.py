"""What a command imports by its end, as counts: how long that takes is in `benchmarks`."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.standby.cli.conftest import Workspace

SHOW_MODULES = """
import json, sys
from standby.cli.app import main
try:
    main()
except SystemExit as end:
    print(json.dumps({"status": end.code, "modules": sorted(sys.modules)}), file=sys.stderr)
"""

HEAVY = frozenset(
    {
        "aiohttp",
        "azure",
        "click",
        "cryptography",
        "httpcore",
        "httpx",
        "jinja2",
        "prefect",
        "pydantic",
        "pygments",
        "rich",
        "sqlalchemy",
        "standby.emulator",
        "standby.flows",
        "starlette",
        "uvicorn",
        "yaml",
    }
)
"""Packages that take long to import, and are for those only who need them."""

OFFLINE = frozenset({"httpx", "pydantic", "rich", "yaml"})
CALLS = OFFLINE | {"aiohttp"}
PAGES = CALLS | {"jinja2"}

# In an order in which each has what it needs: how many modules of ours it imports at most, and which of the heavy.
COMMANDS: tuple[tuple[str, int, frozenset[str]], ...] = (
    ("plan invoices", 80, CALLS),
    ("replicate invoices --via direct", 86, CALLS),
    ("check invoices", 80, CALLS),
    ("status invoices", 105, CALLS),
    ("report invoices --html page.html", 105, PAGES),
    ("snapshot invoices", 118, CALLS),
    ("snapshots invoices", 118, OFFLINE),
    ("restore invoices --to west --analyzer receipt", 118, CALLS),
    ("failover invoices --to west --reason test --yes --via direct", 123, CALLS),
    ("commit invoices --yes", 123, OFFLINE),
    ("failback invoices --reason test --yes --via direct", 126, CALLS),
    ("drill invoices --to west --via direct", 125, PAGES),
    ("audit verify", 77, OFFLINE),
    ("automation", 80, OFFLINE),
)


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
    assert ended["status"] in {0, 2, 3}, f"{' '.join(args)}: {ran.stderr.splitlines()[:-1]}"
    return set(ended["modules"])


def ours(modules: set[str]) -> int:
    return sum(name.partition(".")[0] == "standby" for name in modules)


def test_help_imports_nothing_that_commands_use(workspace: Workspace) -> None:
    modules = imported(workspace, "--help")

    assert not modules & HEAVY
    assert ours(modules) <= 4


def test_a_command_imports_what_it_is_about_and_nothing_of_prefect(workspace: Workspace) -> None:
    wrong = []
    for line, most, needed in COMMANDS:
        modules = imported(workspace, *line.split())
        if ours(modules) > most or (modules & HEAVY) != needed:
            wrong.append(f"{line}: {ours(modules)} of ours, {sorted((modules & HEAVY) ^ needed)}")

    assert not wrong


def test_prefect_is_not_imported_before_the_demo_has_started_a_server_for_it() -> None:
    """Prefect reads as it is imported which server it uses."""
    load = "import standby.cli.demo, standby.orchestrator, sys; standby.orchestrator.load_orchestrator()"
    ran = subprocess.run(
        [sys.executable, "-c", f"{load}; print('prefect' in sys.modules)"], text=True, capture_output=True, check=True
    )

    assert (ran.stdout, ran.stderr) == ("False\n", "")
