from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
import pytest

from standby.config.plan import NoEncryption
from standby.config.resource import DeploymentOverrides
from standby.service.errors import GrantVoid, ProtocolError

if TYPE_CHECKING:
    from tests.standby.service.conftest import Failure, Pair

VERSION = "2025-11-01"
EAST = "https://east.services.ai.azure.com/contentunderstanding/analyzers"
WEST = "https://west.services.ai.azure.com/contentunderstanding/analyzers"


async def test_the_grant_names_the_target_resource_and_its_region(released: Pair) -> None:
    leave = await released.granted()
    target = released.target.resource
    assert released.sent() == {"targetAzureResourceId": target.resource_id, "targetRegion": target.region}
    assert (leave.token, leave.decryption_key, leave.source_url) == (None, None, None)
    assert leave.expires_at == datetime(2026, 1, 2, 3, 4, 5, 123450, UTC)


async def test_a_grant_for_another_resource_is_refused(released: Pair) -> None:
    released.service.will(released.released_grant(released.source.resource.resource_id))
    with pytest.raises(ProtocolError, match="east granted the copy to another target"):
        await released.authorize()


@pytest.mark.parametrize("respelled", [True, False])
async def test_a_grant_may_leave_its_target_unsaid_or_spell_it_in_other_letters(
    released: Pair, respelled: bool
) -> None:
    resource_id = released.target.resource.resource_id.upper() if respelled else None
    released.service.will(released.released_grant(resource_id))
    assert (await released.authorize()).analyzer == "invoice"


@pytest.mark.parametrize("replace", [False, True])
async def test_the_copy_names_its_source_and_whether_it_may_replace(released: Pair, replace: bool) -> None:
    leave = await released.granted()
    released.service.will(released.taken(201))
    started = await released.copy(leave, replace=replace, overrides={"chatCompletion": "not-sent"})
    source = released.source.resource
    assert released.sent() == {
        "sourceAnalyzerId": "invoice",
        "sourceAzureResourceId": source.resource_id,
        "sourceRegion": source.region,
    }
    query = released.service.requests[-1].url.query.decode()
    assert query == f"api-version={VERSION}" + ("&allowReplace=true" if replace else "")
    assert started.operation_url == f"{WEST}/invoice-copy/operations/op-1?api-version=1"


async def test_within_one_resource_only_the_analyzer_is_named(released: Pair) -> None:
    released.service.will(released.released_grant(released.source.resource.resource_id))
    leave = await released.protocol.authorize(
        released.source, "invoice", released.source.resource, "invoice-copy", encryption=NoEncryption()
    )
    released.service.will(
        httpx.Response(201, json={"analyzerId": "invoice-copy"}, headers={"operation-location": f"{EAST}/operations/1"})
    )
    await released.protocol.copy(released.source, leave, overrides=DeploymentOverrides(), allow_replace=False)
    assert released.sent() == {"sourceAnalyzerId": "invoice"}


@pytest.mark.parametrize("status", [400, 403, 404])
async def test_a_missing_grant_is_told_by_its_words(released: Pair, failure: Failure, status: int) -> None:
    leave = await released.granted()
    words = "The resource 'r' has not granted the necessary permissions for the source analyzer 'invoice'."
    released.service.will(failure(status, "NotFound", inner=("ModelNotFound", words)))
    with pytest.raises(GrantVoid, match="has not granted"):
        await released.copy(leave)
