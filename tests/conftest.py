"""What more than one folder of tests needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest


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


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """One Prefect server for the whole session: it takes some 20 s to start."""
    # Importing Prefect takes seconds, which the tests that need no server are spared.
    from prefect import settings  # noqa: PLC0415
    from prefect.testing.utilities import prefect_test_harness  # noqa: PLC0415

    home = tmp_path_factory.mktemp("prefect")
    updates = {
        settings.PREFECT_HOME: home,
        settings.PREFECT_SERVER_ANALYTICS_ENABLED: False,
        # With the defaults the recorder of task runs is seconds behind and loses some when the server ends.
        settings.PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE: 100,
        settings.PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL: 1,
    }
    with settings.temporary_settings(updates), prefect_test_harness(server_startup_timeout=120):
        url = str(settings.PREFECT_SERVER_DATABASE_CONNECTION_URL.value())
        yield PrefectServer(
            api_url=settings.PREFECT_API_URL.value(),
            database=Path(url.partition("///")[2]),
            home=home,
        )
