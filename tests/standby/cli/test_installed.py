"""What the wheel installs works from any folder, also beside flows/, tasks/, blocks/ and emulator/ of another."""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from importlib.util import cache_from_source
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from tests.standby.cli.conftest import Workspace

ROOT = Path(__file__).resolve().parents[3]
MOST_PACKAGES = 48  # Of the break-glass install, Standby included; with all extras there are some 130
NOT_IN_BREAK_GLASS = {"prefect", "sqlalchemy", "fastapi", "starlette", "uvicorn", "trustme", "opentelemetry-sdk"}

EVERY_COMMAND = """
import json, typer
from standby.cli.app import COMMANDS, app
from standby.errors import ExtraMissing
found, group = {}, typer.main.get_command(app)
for name in COMMANDS:
    try:
        found[name] = "" if group.get_command(None, name) else "nothing"
    except ExtraMissing as error:
        found[name] = error.next_action
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel; its commands run in a folder that has packages of our folders' names."""

    environment: Path
    folder: Path

    def run(self, *command: str, status: int = 0, env: Mapping[str, str] | None = None) -> str:
        """Run a program of it, and give what it wrote to both its streams."""
        name, *arguments = command
        ran = subprocess.run(
            [str(self.environment / "bin" / name), *arguments],
            cwd=self.folder,
            env={**os.environ, **(env or {})},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert ran.returncode == status, ran.stdout
        return ran.stdout

    @property
    def packages(self) -> Path:
        (found,) = self.environment.glob("lib/python*/site-packages")
        return found

    def install(self, wheel: Path) -> None:
        python = str(self.environment / "bin" / "python")
        uv("pip", "install", "--offline", "--no-deps", "--python", python, str(wheel))

    def link(self, package: Distribution) -> None:
        """Install a package of the session, which has that of the lock, without the network."""
        listed = [str(file) for file in package.files or () if ".." not in file.parts]
        compiled = [cache_from_source(file) for file in listed if file.endswith(".py")]
        for file in dict.fromkeys([*listed, *compiled]):
            here, there = Path(str(package.locate_file(file))), self.packages / file
            if here.exists():
                there.parent.mkdir(parents=True, exist_ok=True)
                there.symlink_to(here)


def needed_by(name: str) -> list[Distribution]:
    """Give all packages that an installer would add for one, as it would find them out."""
    found: dict[tuple[str, str], Distribution] = {}
    waiting = [(name, "")]
    while waiting:
        package, extra = waiting.pop()
        if (package, extra) not in found:
            found[package, extra] = distribution(package)
            for line in found[package, extra].requires or ():
                needed = Requirement(line)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    waiting += [(canonicalize_name(needed.name), each) for each in ("", *needed.extras)]
    return list({package: each for (package, _), each in found.items() if package != name}.values())


def uv(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "uv", *arguments, "--quiet"], cwd=ROOT, check=True)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    """An empty environment, and a folder in which nothing of ours may be looked for."""
    made = Installed(tmp_path / "environment", tmp_path / "elsewhere")
    for name in ("flows", "tasks", "blocks", "emulator"):
        (made.folder / name).mkdir(parents=True)
        (made.folder / name / "__init__.py").write_text("raise SystemExit('this is not of Standby')")
    uv("venv", "--python", sys.executable, str(made.environment))
    return made


def test_the_break_glass_install_recovers_without_prefect_and_names_what_more_needs(
    wheel: Path, installed: Installed, workspace: Workspace
) -> None:
    installed.install(wheel)
    for needed in needed_by("standby"):
        installed.link(needed)
    workspace.edit("targets: [west, north]", "targets: [west]")
    there = {path.name.partition("-")[0].replace("_", "-").lower() for path in installed.packages.glob("*.dist-info")}
    ours = {path.name for path in installed.packages.iterdir()} & {"standby", "flows", "tasks", "blocks", "emulator"}

    assert len(there) <= MOST_PACKAGES
    assert not there & NOT_IN_BREAK_GLASS
    assert ours == {"standby"}
    # From another folder, and by the environment's own command.
    standby = ("standby", "-c", str(workspace.file))
    environment = workspace.environment
    assert installed.run("standby", "--version").startswith("standby ")
    installed.run(*standby, "plan", "invoices", env=environment, status=2)
    installed.run(*standby, "replicate", "invoices", env=environment)
    installed.run(*standby, "snapshot", "invoices", env=environment)
    installed.run(*standby, "restore", "invoices", "--to", "west", env=environment)
    installed.run(*standby, "report", "invoices", "--html", "page.html", env=environment)
    missing = installed.run(*standby, "replicate", "invoices", "--via", "prefect", env=environment, status=1)
    assert 'Run pip install "standby[prefect]"' in missing
    collector = {**environment, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    measured = installed.run(*standby, "plan", "invoices", env=collector)
    assert "Nothing is measured: OpenTelemetry needs packages that are not installed" in measured
    assert 'Run pip install "standby[metrics]"' in measured
    needs = json.loads(installed.run("python", "-P", "-c", EVERY_COMMAND))
    assert {name: said for name, said in needs.items() if said} == {
        "demo": 'Run pip install "standby[emulator,prefect]"',
        "gateway": 'Run pip install "standby[gateway]"',
        "emulator": 'Run pip install "standby[emulator]"',
    }


async def test_a_worker_elsewhere_runs_what_the_installed_bootstrap_deployed(
    wheel: Path, installed: Installed, workspace: Workspace, prefect_server: Any
) -> None:
    from prefect import get_client  # noqa: PLC0415 - importing it takes seconds

    from tests.flows.working import delete_deployments  # noqa: PLC0415

    # The packages of the session, which are those of the lock; what is not seen there is this Standby's own code.
    installed.install(wheel)
    workspace.edit("targets: [west, north]", "targets: [west]")
    (installed.packages / "session.pth").write_text("\n".join(site.getsitepackages()))
    environment = {
        **workspace.environment,
        "PREFECT_API_URL": prefect_server.api_url,
        "PREFECT_HOME": str(prefect_server.home),
    }
    await delete_deployments()

    told = installed.run("standby", "-c", str(workspace.file), "bootstrap", env=environment)
    async with get_client() as client:
        deployments = await client.read_deployments()
        manual = await client.read_deployment_by_name("replicate/manual")
        run = await client.create_flow_run_from_deployment(manual.id, parameters={"plan": "invoices"})
        # The worker has no more of the configuration than what bootstrap saved.
        work = ("-P", "-m", "prefect", "worker", "start", "--pool", "standby", "--run-once")
        log = installed.run("python", *work, env={**environment, "PATH": "/usr/bin:/bin"})
        ended = await client.read_flow_run(run.id)

    assert "deployment replicate/manual saved" in told
    kept = json.dumps([deployment.model_dump(mode="json") for deployment in deployments])
    places = (ROOT, Path.home(), installed.environment, installed.folder, Path(sys.prefix))
    assert not [str(place) for place in places if str(place) in kept]
    assert ended.state is not None
    assert ended.state.is_completed(), log
