"""The stage of the demo: emulated regions, a Prefect server with workers, and a configuration."""

import os
import secrets
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from standby.config.configuration import Configuration, load_configuration
from standby.config.resource import ApiVersion
from standby.emulator.config import load_emulator_config
from standby.emulator.serve import Emulator, running
from standby.orchestrator import Orchestrator, load_orchestrator

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Stage:
    """Everything that runs; the configuration takes `variables`, and the emulator takes faults at `control`."""

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
    """Start everything, and stop it at the end; all that is written goes to the folder."""
    orchestrator = load_orchestrator()
    file = folder / "standby.yaml"
    shutil.copyfile(HERE / "standby.yaml", file)
    async with (
        running(load_emulator_config(HERE / "emulator.yaml")) as emulator,
        orchestrator.own_server(folder / "prefect") as ui,
    ):
        variables = _variables(emulator)
        # This process becomes what it would be in Azure: one that has a managed identity and no other.
        for name in [name for name in os.environ if name.startswith("AZURE_")]:
            del os.environ[name]
        os.environ.update({name: value for name, value in variables.items() if name.startswith("IDENTITY_")})
        stage = Stage(file, variables, emulator.control, ui, orchestrator)
        async with orchestrator.own_workers(folder):
            # Not before: Prefect writes the environment of a worker into a file for each run.
            os.environ.update(variables)
            await orchestrator.bootstrap(stage.configuration())
            # The story starts the flows itself, and this machine may have few cores.
            await orchestrator.pause_schedules()
            yield stage


def _variables(emulator: Emulator) -> dict[str, str]:
    found = {
        "API_VERSION": "2025-11-01",
        "ARM_ENDPOINT": emulator.arm,
        "VAULT_KEY": secrets.token_urlsafe(32),
        "IDENTITY_ENDPOINT": emulator.identity.endpoint,
        "IDENTITY_HEADER": emulator.identity.header,
    }
    for name, served in emulator.resources.items():
        found[f"{name.upper()}_ENDPOINT"] = served.endpoint
        found[f"{name.upper()}_ID"] = served.resource_id
        found[f"{name.upper()}_KEY"] = served.key
    return found
