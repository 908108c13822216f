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
PDF = b"%PDF-1.4" + b"/Type /Page\n" * 4
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
        named = re.compile(r"(/operations/|/analyzerResults/)([^/?]+)")
        path = named.sub(lambda found: f"{found[1]}{self.operations[found[2]]}", parts.path)
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
        if isinstance(document := exchange["RequestBody"], str):
            headers = {name: exchange["RequestHeaders"][name] for name in ("Content-Type",)}
            headers["Ocp-Apim-Subscription-Key"] = self.served(exchange).key
            assert document.endswith("of PDF, cut)")
            return await self.client.post(self.here(exchange["RequestUri"], exchange), content=PDF, headers=headers)
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


ANALYSES = sorted(f"analyze/{path.name}" for path in (RECORDINGS / "analyze").glob("*.json"))
MODELS = ("gpt-4.1", "gpt-4.1-mini", "text-embedding-3-large")
OF_ANALYSES = {
    # As the notes of the recordings say.
    "net_analyze_custom_extract_generate_classify_2025-12-11.json": {
        "models": {"completion": "gpt-4.1", "embedding": "text-embedding-3-large"},
        "fieldSchema": {
            "fields": {
                "company_name": {"type": "string", "method": "extract"},
                "total_amount": {"type": "number", "method": "extract"},
                "document_summary": {"type": "string", "method": "generate"},
                "document_type": {"type": "string", "method": "classify", "enum": ["invoice", "receipt"]},
            }
        },
    },
    "net_analyzeBinary_classifier_segments_2025-12-11.json": {
        "models": {"completion": "gpt-4.1"},
        "config": {"contentCategories": {"Invoice": {}}, "enableSegment": True},
    },
}
PREBUILT = "net_analyze_prebuilt_invoice_fields_2025-12-11.json"  # Only its end was recorded
DETAILS = {"spans", "words", "tables", "paragraphs"}  # Only with returnDetails, which the emulator does not heed


def schema_of(field: Any) -> Any:
    """A definition of which a recorded field could come."""
    items = [schema_of(each) for each in field.get("valueArray", [])]
    inner = {name: schema_of(each) for name, each in field.get("valueObject", {}).items()}
    return {"type": field["type"], "items": items[0] if items else {}, "properties": inner}


def analyses_of(name: str) -> EmulatorConfig:
    exchanges = recording(name)["exchanges"]
    analyzers = {name_of(each) for each in exchanges} - {""}
    definition = OF_ANALYSES.get(name.partition("/")[2])
    if name.endswith(PREBUILT):
        (content,) = exchanges[0]["ResponseBody"]["result"]["contents"]
        fields = {field: schema_of(each) for field, each in content["fields"].items()}
        analyzers, definition = {"invoice"}, {"fieldSchema": {"fields": fields}}
    return EmulatorConfig.model_validate(
        {
            "service_time": 0.2,
            "resources": {
                region: {
                    "region": region,
                    # As the service said at that time, though 2024-12-01-preview is not served here.
                    "api_versions": ["2025-05-01-preview", "2025-11-01"],
                    "defaults": {model: model for model in MODELS},
                    "deployments": [{"name": model, "model": model} for model in MODELS],
                    "analyzers": [{"analyzerId": each, **definition} for each in analyzers] if definition else [],
                }
                for region in REGIONS.values()
            },
        }
    )


def assert_has(recorded: Any, answered: Any, where: str = "") -> None:
    """Everything that was recorded is answered, values in the same form; a field may have one or none."""
    if isinstance(recorded, dict):
        assert isinstance(answered, dict), where
        is_field = isinstance(recorded.get("type"), str)
        for key, value in recorded.items():
            if key not in DETAILS and not (is_field and key.startswith(("value", "source", "confidence"))):
                assert key in answered, f"{where}.{key}"
                assert_has(value, answered[key], f"{where}.{key}")
        if is_field:
            assert recorded["type"] == answered["type"], where
            known = {f"value{recorded['type'].capitalize()}", "type", "spans", "source", "confidence"}
            assert recorded.keys() | answered.keys() <= known, where
    elif isinstance(recorded, list):
        assert isinstance(answered, list), where
        for one, other in zip(recorded, answered, strict=False):
            assert_has(one, other, f"{where}[]")
    elif where.endswith((".status", ".apiVersion", ".analyzerId", ".path", ".unit", ".segmentId", ".category")):
        assert recorded == answered, where
    else:
        assert type(recorded) is type(answered) or {int, float} >= {type(recorded), type(answered)}, where


@pytest.mark.parametrize("name", ANALYSES)
async def test_every_exchange_of_a_recorded_analysis_is_answered_in_the_same_form(name: str) -> None:
    exchanges = recording(name)["exchanges"]
    async with running(analyses_of(name)) as emulator, httpx.AsyncClient() as client:
        replay = Replay(emulator, client)
        if "no_value" in name:  # What was behind the URL is no PDF, as the notes say.
            exchanges[0]["RequestBody"] = {"inputs": [{"url": "https://a.example/message.json"}]}
        if name.endswith(PREBUILT):
            url = "https://x/contentunderstanding/analyzers/invoice:analyze?api-version=2025-11-01"
            body = {"inputs": [{"url": "https://a.example/invoice.pdf"}]}
            exchanges[0]["ResponseBody"]["result"]["analyzerId"] = "invoice"
            headers = {**exchanges[0]["ResponseHeaders"], "Content-Type": "application/json"}
            begun = {"RequestUri": url, "RequestMethod": "POST", "RequestBody": body, "RequestHeaders": headers}
            started = await replay.send({**begun, "ResponseHeaders": headers})
            recorded = exchanges[0]["ResponseBody"]["id"]
            replay.operations[recorded] = started.headers["apim-request-id"]
        for exchange in exchanges:
            answer = await replay.answered(exchange)
            assert answer.status_code == exchange["StatusCode"], answer.text
            preview_2024 = {"api-supported-versions"}
            told = {key: value for key, value in exchange["ResponseHeaders"].items() if key not in preview_2024}
            replay.compare_headers({**exchange, "ResponseHeaders": told}, answer)
            sent = exchange["ResponseBody"]
            if sent is None or answer.status_code >= 400 or sent["status"] == "Running":
                replay.compare_bodies(exchange, answer, condensed=False)
            else:
                assert_has(sent, answer.json())


async def test_a_patched_analyzer_changes_although_the_recorded_answer_does_not_show_it() -> None:
    name = "js_patch_analyzer_2026-03-25.json"
    exchange = recording(name)["exchanges"][0]
    async with running(config_of(name, has_defaults=True)) as emulator, httpx.AsyncClient() as client:
        replay = Replay(emulator, client)
        await replay.send(exchange)
        answer = await replay.send({**exchange, "RequestMethod": "GET", "RequestBody": None})
        assert answer.json()["description"] == "Updated test analyzer"
        assert "baseAnalyzerId" not in answer.json()
