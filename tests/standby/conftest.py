"""A resource, for every test of the library that needs nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from standby.config.resource import Resource

MakeResource: TypeAlias = Callable[..., Resource]

RESOURCE_ID = "/subscriptions/1/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/{}"


@pytest.fixture(scope="session")
def make_resource() -> MakeResource:
    """Makes a resource that signs in with a key, changed as is said."""

    def make(name: str = "west", **changes: Any) -> Resource:
        return Resource.model_validate(
            {
                "name": name,
                "endpoint": f"https://{name}.services.ai.azure.com",
                "region": f"{name}us",
                "resource_id": RESOURCE_ID.format(name),
                "credentials": {"kind": "key", "key": f"canary-key-of-{name}"},
                **changes,
            }
        )

    return make
