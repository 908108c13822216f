"""A command with `--via prefect` asks its flow for exactly what it is asked for itself: no less, and no more."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer

from standby.cli.app import COMMANDS, app
from standby.config.configuration import Configuration
from standby.errors import StandbyError
from standby.replication.items import Selection
from standby.replication.report import Ended
from tests.standby.cli.conftest import Ran, Workspace

NOT_FOR_THE_FLOW = {
    "--via": "the flow is chosen by it",
    "--yes": "it is about the person at the terminal",
    "--dry-run": "it needs no Prefect, and runs here",
    "--clean-up": "it runs no drill",
    "--verify": "it runs no drill",
}

CASES: dict[str, tuple[str, list[str], dict[str, Any]]] = {
    "failover": (
        "failover",
        ["invoices", "--to", "west", "--primary", "east", "--unplanned", "--reason", "why", "--force", "sinks"],
        {"to": "west", "home": "east", "mode": "unplanned", "reason": "why", "force": ["sinks"]},
    ),
    "commit": (
        "commit",
        ["invoices", "--primary", "east", "--reason", "why", "--force", "fence"],
        {"home": "east", "reason": "why", "force": ["fence"]},
    ),
    "failback": (
        "failback",
        ["invoices", "--primary", "east", "--keep", "invoice=standby", "--force", "invoice", "--reason", "why"],
        {"home": "east", "keep": {"invoice": "standby"}, "force": ["invoice"], "reason": "why"},
    ),
    "drill": (
        "drill",
        ["invoices", "--to", "west", "--primary", "east", "--scratch", "north", "--force", "fence", "--reason", "why"],
        {"to": "west", "home": "east", "scratch": "north", "force": ["fence"], "reason": "why"},
    ),
    "restore": (
        "restore",
        [
            "invoices",
            "--to",
            "west",
            "--as-of",
            "2026-01-31T12:00",
            "--analyzer",
            "i*",
            "--force",
            "fence",
            "--reason",
            "why",
        ],
        {
            "to": "west",
            "as_of": "2026-01-31T12:00:00+00:00",
            "analyzers": ["i*"],
            "force": ["fence"],
            "reason": "why",
        },
    ),
    "compare": (
        "compare",
        ["invoices", "--to", "west", "--analyzer", "i*", "--samples", "3"],
        {"targets": ["west"], "analyzers": ["i*"], "samples": 3},
    ),
    "snapshot": ("snapshot", ["invoices"], {}),
    "automation": ("automation", ["off", "--reason", "why"], {"on": False, "reason": "why"}),
    "replicate": (
        "replicate",
        [
            "invoices",
            "--analyzer",
            "i*",
            "--target",
            "west",
            "--on-existing",
            "replace",
            "--force",
            "invoice",
            "--force",
            "fence",
            "--reason",
            "why",
        ],
        {
            "analyzers": ["i*"],
            "targets": ["west"],
            "on_existing": "replace",
            "force": ["invoice", "fence"],
            "reason": "why",
            "apply": None,
        },
    ),
}
NEEDED = {"failover": ["--to", "west"], "drill": ["--to", "west"], "restore": ["--to", "west"], "automation": ["off"]}
"""What must be said in any case."""

each_command = pytest.mark.parametrize("name", CASES)


class Stopped(StandbyError):
    """Where the flow would begin."""


class Asked:
    """An orchestrator that only remembers what it is asked for."""

    flow: str
    parameters: Mapping[str, Any]

    async def recover(
        self, _configuration: Configuration, _plan: str, flow: str, parameters: Mapping[str, Any]
    ) -> dict[str, Any]:
        self.flow, self.parameters = flow, parameters
        raise Stopped("asked")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    orchestrator = Asked()
    import_module("standby.cli.replicate")  # It keeps the function that it finds as it is imported.
    monkeypatch.setattr("standby.orchestrator.load_orchestrator", lambda: orchestrator)

    async def run_here(_wanted: Configuration, flow: str, parameters: Mapping[str, Any], *_: Any) -> Ended:
        orchestrator.flow = flow
        orchestrator.parameters = {key: value for key, value in parameters.items() if key != "plan"}
        raise Stopped("asked")

    # Replicate has a method of its own, which makes the flow's parameters.
    monkeypatch.setattr("standby.flows.orchestrator._run_here", run_here)
    return orchestrator


def ran(workspace: Workspace, name: str, *options: str) -> Ran:
    yes = ["--yes"] if "--yes" in spellings(name) else []
    workspace.edit("    deadlines:", "    samples: {}\n    deadlines:")  # Without any, `compare` asks no flow.
    found = workspace.run(name, *options, *yes, "--via", "prefect")
    assert "asked" in found.err, found.err
    return found


def spellings(name: str) -> set[str]:
    group: Any = typer.main.get_command(app)
    return {
        next(opt for opt in each.opts if opt.startswith("--"))
        for each in group.get_command(None, name).params
        if each.opts[0].startswith("--")
    }


def parameters_of(flow: str) -> dict[str, inspect.Parameter]:
    run: Any = getattr(import_module(f"standby.flows.{flow}"), flow)
    return dict(inspect.signature(run.fn).parameters)


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def test_every_command_that_can_go_by_prefect_is_looked_at() -> None:
    assert {name for name in COMMANDS if "--via" in spellings(name)} == set(CASES)


@each_command
def test_every_option_reaches_the_flow(workspace: Workspace, asked: Asked, name: str) -> None:
    flow, options, expected = CASES[name]
    ran(workspace, name, *options)
    assert (asked.flow, asked.parameters) == (flow, expected)
    assert expected.keys() <= parameters_of(flow).keys()
    apply = {"--apply"} if name == "replicate" else set()
    left = spellings(name) - set(options) - NOT_FOR_THE_FLOW.keys() - apply - {"--planned", "--help"}
    assert not left, "an option that this test does not give: does it reach the flow?"


@each_command
def test_what_nobody_asks_for_is_what_the_flow_does_by_itself(workspace: Workspace, asked: Asked, name: str) -> None:
    flow, _, _ = CASES[name]
    needed = NEEDED.get(name, [])
    ran(workspace, name, *([] if name == "automation" else ["invoices"]), *needed)
    known = parameters_of(flow)
    more = {
        key: value
        for key, value in asked.parameters.items()
        if key not in {"to", "on"} and plain(known[key].default) != plain(value)
    }
    assert not more


def test_a_saved_plan_reaches_the_flow(workspace: Workspace, asked: Asked, tmp_path: Path) -> None:
    saved = tmp_path / "plan.json"
    ran(workspace, "replicate", "invoices", "--apply", str(saved))
    assert asked.parameters["apply"] == str(saved)
    assert asked.parameters["analyzers"] == list(Selection().analyzers)
