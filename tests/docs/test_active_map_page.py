"""The page for applications: its reader and its recipe work, and its schema is that of the program."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from standby.config.sinks import WebhookSink
from standby.recovery.activation.file import FileActivation
from standby.recovery.activation.sinks import Activation, ActiveMaps
from standby.recovery.activation.webhook import WebhookActivation
from tests.standby.recovery.activation.test_file import activation, endpoint

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "reference" / "active-map.md").read_text(encoding="utf-8")
SCHEMA = DOCS / "reference" / "active-map.schema.json"
AT = datetime(2026, 11, 24, tzinfo=UTC)


def recipe(name: str) -> Any:
    """Run the block of the page that defines a name, as readers of the page do."""
    (block,) = (block for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL) if f" {name}" in block)
    written: dict[str, Any] = {}
    exec(block, written)  # what the page tells people to run
    return written[name]


class Reader:
    """The reader of the page, with a clock in the test's hand."""

    def __init__(self, path: Path) -> None:
        self.seconds = 0.0
        self.map = recipe("ActiveMap")(path, "p", clock=lambda: self.seconds)

    def where(self, analyzer: str = "invoice", *, later: float = 10.0) -> Any:
        self.seconds += later
        return self.map.where("east", analyzer)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "active.json"


def publish(file: Path, told: Activation) -> None:
    asyncio.run(FileActivation(file).publish(told))


def at(resource: str, called: str = "invoice") -> tuple[str, str, str]:
    return (f"https://{resource}.services.ai.azure.com", "2025-11-01", called)


def test_the_reader_follows_what_is_published_and_waits_while_nobody_serves(file: Path) -> None:
    reader = Reader(file)
    assert reader.where() is None  # There is no map yet.
    for epoch, resource in ((0, "east"), (1, None), (1, "west")):
        publish(file, activation(epoch, resource))
        assert reader.where() == (at(resource) if resource else None)


def test_the_reader_reads_no_more_often_than_it_has_to(file: Path) -> None:
    reader = Reader(file)
    publish(file, activation(0, "east"))
    assert reader.where() == at("east")
    publish(file, activation(1, "west"))
    assert reader.where(later=1.0) == at("east")
    assert reader.where(later=4.0) == at("west")


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"plans": {}}', None])
def test_the_reader_keeps_the_last_map_where_the_file_is_gone_or_damaged(file: Path, damage: str | None) -> None:
    reader = Reader(file)
    publish(file, activation(1, "west"))
    assert reader.where() == at("west")
    if damage is None:
        file.unlink()
    else:
        file.write_text(damage)
    assert reader.where() == at("west")


def test_the_reader_ignores_an_older_epoch(file: Path) -> None:
    reader = Reader(file)
    publish(file, activation(0, "east"))
    old = file.read_bytes()
    publish(file, activation(1, "west"))
    assert reader.where() == at("west")
    file.write_bytes(old)
    assert reader.where() == at("west")


def test_the_reader_gives_the_id_to_call_and_says_what_is_missing(file: Path) -> None:
    changed = {"analyzers": {"invoice": "invoice-dr"}, "missing": ("claim",)}
    there = endpoint("west").model_copy(update=changed)
    told = activation(1, "west").model_copy(update={"sources": {"east": there}})
    publish(file, told)
    reader = Reader(file)
    assert reader.where() == at("west", "invoice-dr")
    assert reader.where("receipt") == at("west", "receipt")
    with pytest.raises(LookupError, match="west cannot serve claim now"):
        reader.where("claim")


@pytest.mark.parametrize("secret", ["any text", "whsec_" + "QSBrZXkgb2YgMjQgYnl0ZXMgb3IgbW9yZQ=="])
async def test_the_recipe_for_receivers_takes_what_is_sent_and_nothing_else(secret: str) -> None:
    is_ours = recipe("is_ours")
    sent: list[httpx.Request] = []

    def receive(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(204)

    settings = WebhookSink(url="https://hooks.example.com/", secret=SecretStr(secret))
    await WebhookActivation(settings, transport=httpx.MockTransport(receive)).publish(activation(1, "west"))
    (request,) = sent
    assert is_ours(request.headers, request.content, secret)
    assert not is_ours(request.headers, request.content, "another")
    assert not is_ours(request.headers, request.content + b" ", secret)
    assert not is_ours({**request.headers, "webhook-timestamp": "1"}, request.content, secret)
    rotated = {**request.headers, "webhook-signature": f"v1,bm8= {request.headers['webhook-signature']}"}
    assert is_ours(rotated, request.content, secret)


def test_the_published_schema_is_that_of_the_model() -> None:
    schema = ActiveMaps.model_json_schema(mode="serialization")
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == {"$schema": DIALECT, **schema}, "write it again"
    of_a_map = schema["$defs"]["Activation"]
    assert set(of_a_map["required"]) == set(of_a_map["properties"])


DIALECT = "https://json-schema.org/draft/2020-12/schema"


def test_the_map_of_the_page_is_one() -> None:
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, flags=re.DOTALL)
    given = json.loads(example)
    found = Activation.model_validate(given)
    assert found.model_dump(mode="json") == given


def test_a_map_of_the_last_version_is_read_and_dated_by_its_change() -> None:
    old = activation(1, "west").model_dump(mode="json", exclude={"as_of"})
    assert Activation.model_validate(old).as_of == activation(1, "west").changed_at


def test_two_maps_that_differ_in_their_time_alone_say_the_same() -> None:
    first = activation(1, "west")
    later = first.model_copy(update={"as_of": AT, "changed_at": AT, "run_id": "another"})
    assert first.says_the_same(later)
    assert not first.says_the_same(activation(2, "west"))
    assert not first.says_the_same(activation(1, None))
