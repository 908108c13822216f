from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from standby.orchestrator import Health

if TYPE_CHECKING:
    from standby.config.configuration import Configuration
    from tests.standby.cli.conftest import Workspace


class Prefect:
    """Stands for a server, and remembers what was put on it."""

    def __init__(self, health: Health, changes: list[str]) -> None:
        self._health = health
        self._changes = changes
        self.saved: list[Configuration] = []

    async def health(self) -> Health:
        return self._health

    async def bootstrap(self, configuration: Configuration) -> list[str]:
        self.saved.append(configuration)
        return self._changes


def use(monkeypatch: pytest.MonkeyPatch, prefect: Prefect) -> Prefect:
    monkeypatch.setattr("standby.cli.doctor.load_orchestrator", lambda: prefect)
    return prefect


def test_says_what_it_changed(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Prefect(Health(True, "it answers"), ["work pool standby"]))

    assert workspace.run("bootstrap").out == "work pool standby\n"
    assert workspace.run("bootstrap", "--json").document == {"changes": ["work pool standby"]}


def test_says_that_nothing_was_to_be_changed(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Prefect(Health(True, "it answers"), []))

    ran = workspace.run("bootstrap")

    assert ran.status == 0
    assert ran.out == "Nothing to change: the server has everything.\n"


def test_refuses_to_make_up_a_server(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    prefect = use(monkeypatch, Prefect(Health(False, "no Prefect server is configured", "Start one"), []))

    ran = workspace.run("bootstrap")

    assert ran.status == 1
    assert ran.err == (
        "error: Bootstrap saves on a Prefect server, but no Prefect server is configured.\n"
        "  → Start one, and run this again.\n"
    )
    assert not prefect.saved
