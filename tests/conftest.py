"""What more than one folder of tests needs."""

from __future__ import annotations

import fcntl
import gc
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import trustme
from hypothesis import HealthCheck
from hypothesis import settings as drawing

from standby.config.configuration import Configuration
from standby.emulator.config import EmulatorConfig
from standby.emulator.serve import Emulator, running
from tests import leftovers
from tests.storage.azurite import Azurite, running_azurite

ROOT = Path(__file__).parents[1]
DEPLOYMENTS = [
    {"name": "gpt-4.1", "model": "gpt-4.1", "version": "2025-04-14"},
    {"name": "text-embedding-3-large", "model": "text-embedding-3-large", "version": "1"},
]
"""Called after their models, so that both copy protocols find them."""

# No property depends on how fast the machine is, whichever profile it is drawn under.
drawing.register_profile("standby", max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
drawing.register_profile("chaos", drawing.get_profile("standby"), max_examples=400)
drawing.load_profile("standby")


SERVERS = {
    "second": {"test_bootstrap", "test_chunks", "test_notifications", "test_outage"},
    "third": {"test_failover", "test_recovery"},
}
"""Files in tests/flows that have another Prefect server than all others, so that each serves a third of the time."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `make chaos` ask for everything that other runs take samples of."""
    parser.addoption("--chaos", action="store_true", help="draw much, crash everywhere, run at full size")


def pytest_configure(config: pytest.Config) -> None:
    # Of what is collected nothing is garbage: looking for it takes a third of the time that each worker collects.
    gc.disable()
    config.pluginmanager.register(leftovers)
    # nohup and a shell's `&` let signals be ignored, which processes inherit that tests start and interrupt; what is
    # caught instead, they do not.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    if config.getoption("--chaos"):
        drawing.load_profile("chaos")


@pytest.fixture(scope="session", autouse=True)
def authority_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One authority instead of the hundreds of a machine, which every client and process reads anew."""
    path = tmp_path_factory.mktemp("tls") / "authority.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SSL_CERT_FILE", str(path))
        environment.delenv("SSL_CERT_DIR", raising=False)
        yield path


@pytest.fixture(scope="session")
def chaos(pytestconfig: pytest.Config) -> bool:
    """Say whether to run in full what takes minutes; a test that asks this is marked `chaos`."""
    return bool(pytestconfig.getoption("--chaos"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by the fixtures they ask for; three workers share those that need a Prefect server.

    The other workers never use Prefect, so that what they leave open is never forgiven. First of all plugins, since
    pytest-xdist reads the groups when its own turn comes.
    """
    for item in items:
        needs = getattr(item, "fixturenames", ())
        if "chaos" in needs:
            item.add_marker(pytest.mark.chaos)
        if "prefect_server" in needs:
            item.add_marker(pytest.mark.prefect)
        # Two groups of one test would be a third group, with a server of its own.
        if "prefect_server" in needs and not item.get_closest_marker("xdist_group"):
            file = item.path.stem if item.path.parent.name == "flows" else ""
            server = next((server for server, files in SERVERS.items() if file in files), "first")
            item.add_marker(pytest.mark.xdist_group(f"{server} Prefect server"))


def pytest_collection_finish() -> None:
    """Look for garbage again, but not among thousands of tests."""
    gc.freeze()
    gc.enable()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show how far a test went, where it says so; and what came of faults, as a table, where all were played."""
    cells: list[dict[str, Any]] = []
    for report in (*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")):
        for name, value in getattr(report, "user_properties", ()):
            if name == "matrix":
                cells += value
            else:
                terminalreporter.write_line(f"{report.nodeid}: {value} {name}")
    if cells and terminalreporter.config.getoption("--chaos"):
        from tests.matrix.table import lines  # noqa: PLC0415 - it needs what it tests

        for line in lines(cells):
            terminalreporter.write_line(line)


@dataclass(frozen=True)
class PrefectServer:
    """A Prefect server of the tests' own.

    Attributes:
        database: its SQLite file.
        home: its and our PREFECT_HOME, where persisted results go.
    """

    api_url: str
    database: Path
    home: Path


@dataclass(frozen=True)
class NewDatabase:
    """What Prefect makes of an empty file, which is most of what a start takes: once for all servers of a session."""

    kept: Path

    @contextmanager
    def at(self, file: Path) -> Iterator[None]:
        """Put a database in place for the server that is started meanwhile; the first such server makes it."""
        with self.kept.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if first := not self.kept.exists():
                yield
                self._keep(file)
        if not first:
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.kept, file)
            yield

    def _keep(self, file: Path) -> None:
        """Copy what a server has open, whole."""
        new = self.kept.with_suffix(".new")
        with closing(sqlite3.connect(file)) as made, closing(sqlite3.connect(new)) as copy:
            made.backup(copy)
        new.rename(self.kept)


@pytest.fixture(scope="session")
def new_database(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> NewDatabase:
    """The database of a Prefect server that nobody has used yet, also for several workers."""
    base = tmp_path_factory.getbasetemp()
    return NewDatabase((base if worker_id == "master" else base.parent) / "new-database-of-prefect")


@pytest.fixture(scope="session")
def prefect_server(
    tmp_path_factory: pytest.TempPathFactory, authority_file: Path, new_database: NewDatabase
) -> Iterator[PrefectServer]:
    """One Prefect server for the whole session: it takes some seconds to start."""
    # Importing Prefect takes seconds, which the tests that need no server are spared.
    from prefect import settings  # noqa: PLC0415
    from prefect.testing import utilities  # noqa: PLC0415

    home, folder = tmp_path_factory.mktemp("prefect"), tmp_path_factory.mktemp("server")
    updates = {
        settings.PREFECT_HOME: home,
        # Prefect may have been imported before there was one.
        settings.PREFECT_API_SSL_CERT_FILE: str(authority_file),
        settings.PREFECT_SERVER_ANALYTICS_ENABLED: False,
        # With the defaults the recorder of task runs is seconds behind and loses some when the server ends.
        settings.PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE: 100,
        settings.PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL: 1,
        # Tests wait for events, and for what fires since there were none, five seconds longer by default.
        settings.PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL: 0.5,
        settings.PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY: "PT1S",
    }
    with ExitStack() as stack:
        stack.enter_context(settings.temporary_settings(updates))
        with new_database.at(folder / "prefect-test.db"), pytest.MonkeyPatch.context() as here:
            # Where the harness will have its database.
            here.setattr(utilities, "mkdtemp", lambda: str(folder))
            stack.enter_context(utilities.prefect_test_harness(server_startup_timeout=120))
        url = str(settings.PREFECT_SERVER_DATABASE_CONNECTION_URL.value())
        yield PrefectServer(
            api_url=settings.PREFECT_API_URL.value(),
            database=Path(url.partition("///")[2]),
            home=home,
        )


@pytest.fixture(scope="session")
def built_site(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The site of the documentation, built strictly as `make docs` does it: once, also for several workers."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "site-of-the-documentation"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.with_suffix(".built").exists():
            command = [sys.executable, "-m", "docs.site", str(folder)]
            built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
            assert built.returncode == 0, built.stdout + built.stderr
            folder.with_suffix(".built").touch()
    return folder


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """One Azure Blob for the whole session: it takes two seconds to start."""
    with running_azurite() as azurite:
        yield azurite


@pytest.fixture
def blob_container(azurite: Azurite) -> str:
    """A container of the test's own, by name."""
    name = f"test-{uuid4()}"
    azurite.make_container(name)
    return name


@dataclass(frozen=True)
class Scene:
    """Emulated resources, and a configuration that leads to them."""

    emulator: Emulator
    configuration: Configuration

    async def stats(self, resource: str) -> dict[str, Any]:
        """What one resource has counted."""
        async with httpx.AsyncClient(base_url=self.emulator.control) as control:
            found: dict[str, Any] = (await control.get("/stats")).json()["resources"][resource]
            return found

    async def control(self, path: str, body: object) -> None:
        """Tell the emulator something: a fault, an outage, a setting, an edit."""
        async with httpx.AsyncClient(base_url=self.emulator.control) as control:
            answer = await control.post(path, json=body)
            assert answer.is_success, answer.text


SceneMaker = Callable[..., AbstractAsyncContextManager[Scene]]


def analyzer(name: str, *children: str, **more: Any) -> dict[str, Any]:
    """Write an analyzer that may refer to others."""
    categories = {f"kind {child}": {"description": child, "analyzerId": child} for child in children}
    return {
        "analyzerId": name,
        "description": f"Reads {name}",
        "baseAnalyzerId": "prebuilt-document",
        "models": {"completion": "gpt-4.1", "embedding": "text-embedding-3-large"},
        "config": {"contentCategories": categories} if categories else {},
        "fieldSchema": {"name": "fields", "fields": {"Total": {"type": "number", "method": "extract"}}},
        **more,
    }


@pytest.fixture
def make_scene(tmp_path: Path) -> SceneMaker:
    """Make emulated east, west and north, and the plan `p` that copies from the first to the others."""

    @asynccontextmanager
    async def scene(
        analyzers: list[dict[str, Any]],
        *,
        targets: tuple[str, ...] = ("west", "north"),
        api_version: str = "2025-11-01",
        service_time: float = 0.05,
        service_spread: float = 0.0,
        faults: tuple[dict[str, Any], ...] = (),
        resources: dict[str, Any] | None = None,
        **plan: Any,
    ) -> AsyncIterator[Scene]:
        served = {
            "deployments": DEPLOYMENTS,
            "defaults": {entry["name"]: entry["name"] for entry in DEPLOYMENTS},
        }
        config = EmulatorConfig.model_validate(
            {
                "service_time": service_time,
                "service_spread": service_spread,
                "faults": list(faults),
                "resources": {
                    "east": {"region": "eastus", "analyzers": analyzers, **served},
                    **{name: {"region": f"{name}us", **served} for name in targets},
                },
            }
        )
        async with running(config) as emulator:
            quick = {"poll": 30, "first_interval": 0.05, "longest_interval": 0.2}
            configuration = Configuration.model_validate(
                {
                    "resources": {
                        name: {
                            "endpoint": found.endpoint,
                            "region": found.region,
                            "resource_id": found.resource_id,
                            "api_version": api_version,
                            "credentials": {"kind": "key", "key": found.key},
                            "arm_endpoint": "",
                            **(resources or {}),
                        }
                        for name, found in emulator.resources.items()
                    },
                    "plans": {
                        "p": {
                            "pairs": [{"source": "east", "targets": list(targets)}],
                            "deadlines": quick,
                            **plan,
                        }
                    },
                    "vault": {"path": str(tmp_path / "vault")},
                }
            )
            yield Scene(emulator, configuration)

    return scene


@pytest.fixture
def make_analyzer() -> Callable[..., dict[str, Any]]:
    """Write analyzers."""
    return analyzer
