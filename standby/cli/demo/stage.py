"""What the demonstration needs around it: emulated regions, a Prefect server, a configuration."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulator.config import load_emulator_config
from emulator.serve import Emulator, running
from standby.cli.output import Output
from standby.cli.progress import show_progress
from standby.cli.render import report_lines
from standby.clock import SystemClock
from standby.config.configuration import Configuration, load_configuration
from standby.config.plan import CopyDeadlines, OnExisting
from standby.config.resource import ApiVersion
from standby.document import JsonValue
from standby.errors import StandbyError
from standby.orchestrator import Orchestrator, load_orchestrator
from standby.replication.engine import pace
from standby.replication.items import Selection
from standby.replication.report import Report
from standby.service.client import ContentUnderstandingClient

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Stage:
    """The scene, ready to be played on.

    Attributes:
        file: the configuration.
        variables: what the configuration takes from the environment.
        control: URL at which the emulator tells what it saw.
        ui: URL of the Prefect UI.
    """

    file: Path
    variables: Mapping[str, str]
    control: str
    ui: str
    orchestrator: Orchestrator

    def configuration(self, api_version: ApiVersion = "2025-11-01") -> Configuration:
        """Give the configuration, with every resource set to one api-version."""
        return load_configuration(self.file, {**self.variables, "API_VERSION": api_version})


@asynccontextmanager
async def set_stage(folder: Path) -> AsyncIterator[Stage]:
    """Start everything, and stop it at the end.

    Args:
        folder: an empty one, for all that is written.
    """
    orchestrator = load_orchestrator()
    file = folder / "standby.yaml"
    shutil.copyfile(HERE / "standby.yaml", file)
    async with (
        running(load_emulator_config(HERE / "emulator.yaml")) as emulator,
        orchestrator.own_server(folder / "prefect") as ui,
    ):
        variables = _variables(emulator)
        _become(variables)
        stage = Stage(file, variables, emulator.control, ui, orchestrator)
        async with orchestrator.own_worker(folder / "worker.log"):
            await orchestrator.bootstrap(stage.configuration())
            # The story has a clock of its own, and this machine few cores.
            await orchestrator.pause_schedules()
            yield stage


def _variables(emulator: Emulator) -> dict[str, str]:
    found = {
        "API_VERSION": "2025-11-01",
        "ARM_ENDPOINT": emulator.arm,
        "VAULT_KEY": secrets.token_urlsafe(32),
    }
    for name, served in emulator.resources.items():
        found[f"{name.upper()}_ENDPOINT"] = served.endpoint
        found[f"{name.upper()}_ID"] = served.resource_id
        found[f"{name.upper()}_KEY"] = served.key
    return {
        **found,
        "IDENTITY_ENDPOINT": emulator.identity.endpoint,
        "IDENTITY_HEADER": emulator.identity.header,
    }


def _become(variables: Mapping[str, str]) -> None:
    """Let this process be what it would be in Azure: a machine with a managed identity and no other."""
    for name in [name for name in os.environ if name.startswith("AZURE_")]:
        del os.environ[name]
    os.environ.update(variables)


PLAN = "documents"


class DemoWentWrong(StandbyError):
    """The demonstration did not come out as it must."""

    def __init__(self, what: str) -> None:
        super().__init__(f"The demonstration went wrong: {what}", "Run it again with -v")
        self.args = (what,)


async def replicate(
    stage: Stage,
    output: Output,
    configuration: Configuration,
    *,
    analyzers: tuple[str, ...] = ("*",),
    targets: tuple[str, ...] = (),
    on_existing: OnExisting | None = None,
) -> Report:
    """Run the replicate flow, and show its report."""
    with show_progress(output.stderr, quiet=output.quiet) as on_progress:
        ended = await stage.orchestrator.replicate(
            configuration,
            PLAN,
            Selection(analyzers, targets, on_existing),
            apply=None,
            on_progress=on_progress,
        )
    if ended.interrupted:
        raise asyncio.CancelledError
    output.results(report_lines(ended.report))
    return ended.report


async def edit(configuration: Configuration, resource: str, analyzer: str, field: str, definition: JsonValue) -> None:
    """Add a field to an analyzer, as its author would."""
    async with ContentUnderstandingClient(configuration.resource(resource)) as client:
        edited = (await client.get_analyzer(analyzer)).to_json()
        schema: Any = edited["fieldSchema"]
        schema["fields"][field] = definition
        started = await client.put_analyzer(analyzer, edited, allow_replace=True)
        async for _ in pace(CopyDeadlines(), SystemClock()):
            if (await client.poll(started.operation_url)).operation.done:
                return


def head(output: Output, title: str) -> None:
    """Begin a scene."""
    output.result("")
    output.result(title)
