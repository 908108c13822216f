"""The active endpoint map in a Prefect variable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.exceptions import ObjectNotFound
from prefect.types import MAX_VARIABLE_VALUE_LENGTH
from prefect.variables import Variable
from pydantic import SecretStr

from standby.config.sinks import FileSink, Sink, VariableSink, WebhookSink
from standby.flows import recovery
from standby.flows.limits import ensure_limits
from standby.flows.recovery import VariableActivation
from standby.recovery.activation.sinks import Activation, ActiveEndpoint, SinkAhead, SinkFailed
from standby.recovery.context import open_sinks

NAME = "sink-test"


@pytest.fixture
async def sink(prefect_server: Any) -> AsyncIterator[VariableActivation]:
    """A sink whose variable is not there yet."""
    yield VariableActivation(VariableSink(name=NAME))
    await Variable.aunset(NAME)


def activation(
    epoch: int, resource: str | None = "west", plan: str = "p", analyzers: Mapping[str, str] | None = None
) -> Activation:
    endpoint = resource and ActiveEndpoint(
        resource=resource,
        endpoint=f"https://{resource}.services.ai.azure.com",
        region=f"{resource}us",
        resource_id=f"/subscriptions/s/accounts/{resource}",
        api_version="2025-11-01",
        analyzers=analyzers or {"invoice": "invoice"},
    )
    return Activation(
        plan=plan,
        epoch=epoch,
        changed_at=datetime(2026, 1, 31, tzinfo=UTC),
        run_id="run",
        sources={"east": endpoint or None},
    )


async def test_what_was_told_is_read_back_whole_and_by_others_too(sink: VariableActivation) -> None:
    assert await sink.read("p") is None
    told = activation(1, analyzers={"invoice": "invoice", "receipt": "receipt-dr"})
    await sink.publish(told)
    await sink.publish(told)
    assert await sink.read("p") == told
    other = await VariableActivation(VariableSink(name=NAME)).read("p")
    assert other is not None
    endpoint = other.sources["east"]
    assert endpoint is not None
    assert (other.epoch, endpoint.resource, dict(endpoint.analyzers)) == (
        1,
        "west",
        {"receipt": "receipt-dr"},
    )


async def test_a_lower_epoch_is_refused_and_nobody_may_be_told(sink: VariableActivation) -> None:
    await sink.publish(activation(2, None))
    await sink.publish(activation(2))
    with pytest.raises(SinkAhead):
        await sink.publish(activation(1, "east"))
    with pytest.raises(SinkAhead):
        await sink.publish(activation(2, "north"))
    found = await sink.read("p")
    assert found == activation(2)


async def test_plans_that_share_a_variable_do_not_lose_each_others_maps(sink: VariableActivation) -> None:
    others = [VariableActivation(VariableSink(name=NAME)) for _ in range(3)]
    plans = ["p", "q", "r", "s"]
    await asyncio.gather(
        *(each.publish(activation(1, plan=plan)) for each, plan in zip([sink, *others], plans, strict=True))
    )
    assert [await sink.read(plan) is not None for plan in plans] == [True] * 4


async def test_a_slot_that_a_restarted_server_never_gives_back_holds_up_nothing(
    sink: VariableActivation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "PATIENCE", 1.0)
    name = f"standby-variable-{NAME}"
    async with get_client() as client:
        await ensure_limits(client, [name])
        await client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(active_slots=1))
        try:
            await sink.publish(activation(1))
            with pytest.raises(SinkAhead):
                await sink.publish(activation(0, "east"))
            assert await sink.read("p") == activation(1)
        finally:
            await client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(active_slots=0))


@pytest.mark.parametrize(
    "failure",
    [httpx.ConnectError("x"), ObjectNotFound(OSError("404")), ValueError("another version"), RuntimeError("closed")],
    ids=lambda failure: type(failure).__name__,
)
async def test_however_prefect_fails_it_is_a_sink_that_failed(
    sink: VariableActivation, failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise failure

    monkeypatch.setattr(Variable, "aget", fail)
    with pytest.raises(SinkFailed, match="did not accept it"):
        await sink.publish(activation(1))
    with pytest.raises(SinkFailed, match="did not accept it"):
        await sink.read("p")
    monkeypatch.undo()


async def test_a_thousand_analyzers_called_by_their_own_ids_fit(sink: VariableActivation) -> None:
    many = {f"analyzer-{number}": f"analyzer-{number}" for number in range(1000)}
    await sink.publish(activation(1, analyzers=many))
    found = await sink.read("p")
    assert found is not None
    assert found.sources["east"] is not None
    assert found.sources["east"].analyzers == many


async def test_a_map_that_a_variable_cannot_hold_says_so_and_leaves_it_alone(
    sink: VariableActivation,
) -> None:
    await sink.publish(activation(1, None))
    many = {f"analyzer-{number}": f"analyzer-{number}-dr" for number in range(1000)}
    with pytest.raises(SinkFailed, match=f"a Prefect variable holds {MAX_VARIABLE_VALUE_LENGTH}") as caught:
        await sink.publish(activation(1, analyzers=many))
    assert "Use a file or a webhook instead" in str(caught.value)
    assert await sink.read("p") == activation(1, None)


async def test_somebody_elses_variable_is_not_overwritten(sink: VariableActivation) -> None:
    await Variable.aset(NAME, "something of mine")
    with pytest.raises(SinkFailed, match="is not overwritten"):
        await sink.publish(activation(1))
    assert await Variable.aget(NAME) == "something of mine"


async def test_a_map_of_a_newer_version_is_not_overwritten(sink: VariableActivation) -> None:
    newer = {"format": 2, "plans": {}}
    await Variable.aset(NAME, newer)
    with pytest.raises(SinkFailed, match="was written by a newer version of Standby, in format 2"):
        await sink.publish(activation(1))
    assert await Variable.aget(NAME) == newer


def test_with_prefect_every_kind_of_sink_is_told() -> None:
    kinds: list[Sink] = [
        FileSink(path=Path("active.json")),
        WebhookSink(url="https://a.example/hook", secret=SecretStr("x")),
        VariableSink(name=NAME),
    ]
    assert [type(sink).__name__ for sink in open_sinks(kinds, variable=VariableActivation)] == [
        "FileActivation",
        "WebhookActivation",
        "VariableActivation",
    ]
