from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from standby.config.plan import FreshKey, GivenKey, NoEncryption
from standby.service.errors import DeploymentMissing, EmbeddingMismatch, InvalidRequest, ProtocolError

if TYPE_CHECKING:
    from tests.standby.service.conftest import Failure, Pair

VERSION = "2025-05-01-preview"
EAST = "https://east.services.ai.azure.com/contentunderstanding/analyzers"
WEST = "https://west.services.ai.azure.com/contentunderstanding/analyzers"


async def test_the_page_locks_the_token_to_the_target_analyzer(seed: Pair) -> None:
    leave = await seed.granted(NoEncryption())
    assert seed.sent() == {"target": f"{WEST}/invoice-copy"}
    assert (leave.source_url, leave.target_analyzer) == (f"{EAST}/invoice", "invoice-copy")
    assert leave.expires_at == datetime(2026, 1, 2, 3, 4, 5, 123456, UTC)


async def test_the_token_is_handed_to_the_target_as_the_page_has_it(seed: Pair) -> None:
    leave = await seed.granted(NoEncryption())
    seed.service.will(seed.taken())
    started = await seed.copy(leave)
    request = seed.service.requests[-1]
    assert str(request.url) == f"{WEST}/invoice-copy:copy?api-version={VERSION}"
    assert seed.sent() == {"source": f"{EAST}/invoice", "authorizationToken": "canary-token"}
    assert (started.operation_id, started.analyzer.status) == ("op-1", "creating")


async def test_every_copy_gets_a_key_of_its_own(seed: Pair) -> None:
    keys = set()
    for _ in range(3):
        leave = await seed.granted(FreshKey())
        encrypted_with = seed.sent()["encryptionKey"]
        seed.service.will(seed.taken())
        await seed.copy(leave)
        assert seed.sent()["decryptionKey"] == encrypted_with
        keys.add(encrypted_with)
    assert len(keys) == 3
    assert min(len(key) for key in keys) >= 32


async def test_a_given_key_is_used_on_both_sides(seed: Pair) -> None:
    leave = await seed.granted(GivenKey.model_validate({"key": "canary-encryption"}))
    assert seed.sent()["encryptionKey"] == "canary-encryption"
    seed.service.will(seed.taken())
    await seed.copy(leave)
    assert seed.sent()["decryptionKey"] == "canary-encryption"


@pytest.mark.parametrize(
    ("overrides", "sent"),
    [
        ({"chatCompletion": "gpt41-west"}, {"chatCompletion": "gpt41-west"}),
        ({"embedding": "emb-west"}, {"embedding": "emb-west"}),
        ({"chatCompletion": "a", "embedding": "b"}, {"chatCompletion": "a", "embedding": "b"}),
    ],
)
async def test_deployments_of_the_target_stand_in_under_the_names_of_the_page(
    seed: Pair, overrides: dict[str, str], sent: dict[str, str]
) -> None:
    leave = await seed.granted(NoEncryption())
    seed.service.will(seed.taken())
    await seed.copy(leave, overrides=overrides)
    assert seed.sent()["deployments"] == sent


async def test_warnings_of_a_copy_are_carried_without_what_is_secret(seed: Pair) -> None:
    leave = await seed.granted(GivenKey.model_validate({"key": "canary-encryption"}))
    seed.service.will(
        seed.taken(
            warnings=[
                {"code": "ChatCompletionModelMismatch", "message": "gpt-4o is\nnot gpt-4.1."},
                "The token canary-token and canary-encryption were used.",
            ]
        )
    )
    assert (await seed.copy(leave)).warnings == (
        "ChatCompletionModelMismatch: gpt-4o is not gpt-4.1.",
        "The token *** and *** were used.",
    )


async def test_the_page_knows_no_replacement(seed: Pair) -> None:
    leave = await seed.granted()
    with pytest.raises(InvalidRequest, match="cannot replace invoice-copy"):
        await seed.copy(leave, replace=True)
    assert len(seed.service.requests) == 1


@pytest.mark.parametrize(
    "changes",
    [{"authorizationToken": None}, {"authorizationToken": ""}, {"source": None}, {"source": ""}],
)
async def test_a_grant_without_its_token_is_an_error(seed: Pair, changes: dict[str, Any]) -> None:
    seed.service.will(seed.grant(**changes))
    with pytest.raises(ProtocolError, match="without a token"):
        await seed.authorize()


@pytest.mark.parametrize(
    "target", [f"{WEST}/another", f"{EAST}/invoice-copy", "https://elsewhere.example/invoice-copy", ""]
)
async def test_a_token_for_another_target_is_refused(seed: Pair, target: str) -> None:
    seed.service.will(seed.grant(target=target))
    with pytest.raises(ProtocolError, match="east granted the copy to another target"):
        await seed.authorize()


@pytest.mark.parametrize("target", [None, f"{WEST}/invoice-copy".upper()])
async def test_a_token_may_leave_its_target_unsaid_or_spell_it_otherwise(seed: Pair, target: str | None) -> None:
    seed.service.will(seed.grant(target=target))
    assert (await seed.authorize()).token is not None


@pytest.mark.parametrize(
    ("code", "error"),
    [("DeploymentNotFound", DeploymentMissing), ("EmbeddingModelMismatch", EmbeddingMismatch)],
)
async def test_the_refusals_of_the_page_are_told_apart(
    seed: Pair, failure: Failure, code: str, error: type[Exception]
) -> None:
    leave = await seed.granted()
    seed.service.will(failure(400, inner=(code, "Not at the target.")))
    with pytest.raises(error):
        await seed.copy(leave)
