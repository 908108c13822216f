"""Addresses that are secrets do not come into httpx's log; others do."""

from __future__ import annotations

import logging

import httpx
import pytest

from standby.service.redaction import secret_address


async def test_only_what_is_called_inside_is_left_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    transport = httpx.MockTransport(lambda _: httpx.Response(200))
    async with httpx.AsyncClient(transport=transport) as http:
        with secret_address():
            await http.get("https://hook.example/?sig=canary")
        await http.get("https://hook.example/plain")
    assert "canary" not in caplog.text
    assert "https://hook.example/plain" in caplog.text
