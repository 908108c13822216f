"""Addresses that are secrets do not come into httpx's log; others do."""

from __future__ import annotations

import logging

import httpx
import pytest
from pydantic import SecretStr

from standby.service.redaction import keep_secret


async def test_only_an_address_with_a_secret_is_left_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    transport = httpx.MockTransport(lambda _: httpx.Response(200))
    async with httpx.AsyncClient(transport=transport) as http:
        await http.get("https://hook.example/?sig=canary")
        keep_secret(SecretStr("/canary?a"))
        await http.get("https://hook.example/canary?a=1")
        await http.get("https://hook.example/plain")
    assert "canary" not in caplog.text
    assert "https://hook.example/plain" in caplog.text
