"""Object storages on this machine, and a proxy that fails for them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest

from standby.config.vault import Place
from tests.storage.azurite import Azurite
from tests.storage.faulty import Proxy, running_proxy
from tests.storage.s3 import ENVIRONMENT, S3, running_s3


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    with running_s3() as s3:
        yield s3


@pytest.fixture(params=["azure", "s3"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Place:
    """An empty container or bucket of a real storage."""
    name = f"test-{uuid4()}"
    if request.param == "azure":
        azurite: Azurite = request.getfixturevalue("azurite")
        azurite.make_container(name)
        return azurite.place(name)
    s3: S3 = request.getfixturevalue("s3")
    for variable, value in ENVIRONMENT.items():
        monkeypatch.setenv(variable, value)
    s3.make_bucket(name)
    return s3.place(name)


@pytest.fixture
async def proxy(azurite: Azurite) -> AsyncIterator[Proxy]:
    async with running_proxy(azurite.port) as proxy:
        yield proxy
