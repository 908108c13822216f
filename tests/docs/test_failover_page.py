"""The page about failovers says what the program does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from standby.cli.failover import GUARDS
from standby.config.sinks import WebhookSink
from standby.recovery.activation.webhook import WebhookActivation
from tests.standby.recovery.activation.test_file import activation

PAGE = Path(__file__).parents[2] / "docs" / "failover.md"


async def test_the_recipe_for_receivers_takes_what_is_sent_and_nothing_else() -> None:
    (recipe,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    written: dict[str, Any] = {}
    exec(recipe, written)  # what the page tells people to run
    sent: list[httpx.Request] = []

    def receive(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(204)

    settings = WebhookSink(url="https://hooks.example.com/", secret=SecretStr("secret"))
    await WebhookActivation(settings, transport=httpx.MockTransport(receive)).publish(activation(1, "west"))
    (request,) = sent
    is_ours = written["is_ours"]
    assert is_ours(request.headers, request.content, b"secret")
    assert not is_ours(request.headers, request.content, b"another")
    assert not is_ours(request.headers, request.content + b" ", b"secret")
    old = {**request.headers, "X-Standby-Timestamp": "1", "X-Standby-Signature": "sha256="}
    assert not is_ours(old, request.content, b"secret")


def test_every_guard_that_the_page_forces_can_be_forced() -> None:
    told = set(re.findall(r"--force ([a-z-]+)", PAGE.read_text(encoding="utf-8")))
    assert told
    assert told <= set(GUARDS)
