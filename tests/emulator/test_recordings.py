"""The emulator answers as the real service did: every recorded exchange is replayed and compared."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from standby.emulator.config import EmulatorConfig
from standby.emulator.serve import Emulator, running
from standby.emulator.world import Place

RECORDINGS = Path(__file__).parent / "recordings"
CONDENSED = "net_create_with_labels_2026-05-09.json"
REGIONS = {"East US": "eastus", "Sweden Central": "swedencentral"}
SUBSTANCE = {
    "api-supported-versions",
    "content-type",
    "strict-transport-security",
    "transfer-encoding",
    "x-content-type-options",
    "x-ms-error-code",
    "x-ms-region",
}
SCHEMA = {"name": "receipt", "fields": {"MerchantName": {"type": "string"}}}


def recording(name: str) -> Any:
    return json.loads((RECORDINGS / name).read_text(encoding="utf-8"))


def config_of(name: str, has_defaults: bool) -> EmulatorConfig:
    exchanges = recording(name)["exchanges"]
    patched = {name_of(each) for each in exchanges if each["RequestMethod"] == "PATCH"} - {""}
    return EmulatorConfig.model_validate(
        {
            "service_time": 0.5,
            "resources": {
                region: {
                    "region": region,
                    "api_versions": ["2025-05-01-preview", "2025-11-01"],
                    "defaults": {"gpt-4.1": "chat"} if has_defaults else None,
                    # What the recording takes for granted.
                    "analyzers": [{"analyzerId": analyzer, "description": "Before"} for analyzer in patched],
                }
                for region in REGIONS.values()
            },
        }
    )


def name_of(exchange: Any) -> str:
    found = re.search(r"/analyzers/([^/:?]+)", exchange["RequestUri"])
    return found[1] if found else ""


class Replay:
    """One recording, played against a running emulator."""

    def __init__(self, emulator: Emulator, client: httpx.AsyncClient) -> None:
        self.emulator = emulator
        self.client = client
        self.operations: dict[str, str] = {}

    def served(self, exchange: Any) -> Place:
        return self.emulator.resources[REGIONS[exchange["ResponseHeaders"]["x-ms-region"]]]

    def here(self, text: str, exchange: Any) -> str:
        parts = urlsplit(text)
        path = re.sub(r"(?<=/operations/)[^/?]+", lambda found: self.operations[found[0]], parts.path)
        return f"{self.served(exchange).endpoint}{path}?{parts.query}"

    def sent(self, exchange: Any) -> Any:
        """The request's body, with what was sanitized or condensed in the recording put back."""
        body = exchange["RequestBody"]
        if body is None:
            return None
        source, target = (self.emulator.resources[region] for region in REGIONS.values())
        values = {
            "targetAzureResourceId": target.resource_id,
            "targetRegion": target.region,
            "sourceAzureResourceId": source.resource_id,
            "sourceRegion": source.region,
        }
        put_back = {key: values[key] for key in body if body[key] == "Sanitized"}
        schema = {"fieldSchema": SCHEMA} if isinstance(body.get("fieldSchema"), str) else {}
        return {**body, **put_back, **schema}

    async def send(self, exchange: Any) -> httpx.Response:
        content = self.sent(exchange)
        headers = {"Ocp-Apim-Subscription-Key": self.served(exchange).key}
        if content is not None:
            headers["Content-Type"] = exchange["RequestHeaders"]["Content-Type"]
        return await self.client.request(
            exchange["RequestMethod"],
            self.here(exchange["RequestUri"], exchange),
            headers=headers,
            content=None if content is None else json.dumps(content),
        )

    async def answered(self, exchange: Any) -> httpx.Response:
        """The answer; where the recorded operation is over, this one gets the time to be over, too."""
        wanted = (exchange["ResponseBody"] or {}).get("status")
        while True:
            answer = await self.send(exchange)
            if wanted != "Succeeded" or answer.json().get("status") != "Running":
                return answer

    def compare_headers(self, exchange: Any, answer: httpx.Response) -> None:
        recorded: dict[str, str] = exchange["ResponseHeaders"]
        spelled = {name.decode(): value.decode() for name, value in answer.headers.raw}
        assert set(recorded) <= set(spelled)
        for name, value in recorded.items():
            if name.lower() in SUBSTANCE:
                assert spelled[name] == value, name
            if name == "Content-Length":
                assert spelled[name] == value
        assert spelled["apim-request-id"] == spelled["request-id"] == spelled["x-ms-request-id"]
        for name in ("Operation-Location", "operation-location"):
            if name in recorded:
                self.operations[recorded["apim-request-id"]] = spelled["apim-request-id"]
                assert spelled[name] == self.here(recorded[name], exchange)

    def compare_bodies(self, exchange: Any, answer: httpx.Response, *, condensed: bool) -> None:
        recorded = exchange["ResponseBody"]
        if recorded is None:
            assert answer.content == b""
            return
        body = answer.json()
        if condensed:
            body = {key: value for key, value in body.items() if key in recorded}
            recorded = {key: value for key, value in recorded.items() if not key.startswith("(")}
        assert self.normal(body) == self.normal(recorded)

    def normal(self, value: Any, key: str = "") -> Any:
        """A value without what differs between two runs of the same calls."""
        if isinstance(value, dict):
            return {inner: self.normal(part, inner) for inner, part in value.items()}
        if isinstance(value, list):
            # Added to the service between the recordings of 2025 and those of 2026.
            return [self.normal(part) for part in value if part != "gpt-5.2"]
        if key in {"createdAt", "lastModifiedAt"}:
            return "date" if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value) else value
        if key == "expiresAt":
            return "date" if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{5,7}\+00:00", value) else value
        if key in {"targetAzureResourceId", "targetRegion"}:
            return "sanitized"
        return self.operations.get(value, value) if key == "id" else value


@pytest.mark.parametrize("name", sorted(path.name for path in RECORDINGS.glob("*.json")))
async def test_every_exchange_of_a_recording_is_answered_the_same(name: str) -> None:
    config = config_of(name, has_defaults="update_defaults" not in name)
    async with running(config) as emulator, httpx.AsyncClient() as client:
        replay = Replay(emulator, client)
        for exchange in recording(name)["exchanges"]:
            answer = await replay.answered(exchange)
            assert answer.status_code == exchange["StatusCode"], answer.text
            replay.compare_headers(exchange, answer)
            replay.compare_bodies(exchange, answer, condensed=name == CONDENSED)


async def test_a_patched_analyzer_changes_although_the_recorded_answer_does_not_show_it() -> None:
    name = "js_patch_analyzer_2026-03-25.json"
    exchange = recording(name)["exchanges"][0]
    async with running(config_of(name, has_defaults=True)) as emulator, httpx.AsyncClient() as client:
        replay = Replay(emulator, client)
        await replay.send(exchange)
        answer = await replay.send({**exchange, "RequestMethod": "GET", "RequestBody": None})
        assert answer.json()["description"] == "Updated test analyzer"
        assert "baseAnalyzerId" not in answer.json()
