"""Documents are analysed as the service was seen to do it: what is stable, what varies, and every way to fail."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import httpx
import pytest

from standby.config.resource import Resource
from standby.emulator.config import EmulatorConfig
from standby.emulator.serve import Emulator
from standby.service.client import ContentUnderstandingClient
from standby.service.errors import AnalyzerNotFound
from tests.emulator.conftest import DEPLOYMENTS, Client, Finish

FIELDS = {
    "Company": {"type": "string", "method": "extract"},
    "Total": {"type": "number", "method": "extract"},
    "Due": {"type": "date", "method": "extract"},
    "Kind": {"type": "string", "method": "classify", "enum": ["invoice", "receipt", "letter"]},
    "Summary": {"type": "string", "method": "generate", "description": "A summary"},
    "Items": {"type": "array", "items": {"$ref": "#/$defs/Item"}},
}
DEFINITIONS = {"Item": {"type": "object", "properties": {"Name": {"type": "string"}, "Paid": {"type": "boolean"}}}}
MODELS = {"completion": "gpt-4.1", "embedding": "text-embedding-3-large"}
LABELS = [{"kind": "labeledData", "containerUrl": "https://east.blob.core.windows.net/labels", "fileListPath": ""}]


def pdf(*lines: str, pages: int = 1) -> bytes:
    """A document that is read for its text and its pages."""
    shown = "".join(f"({line}) Tj\n" for line in lines)
    return f"%PDF-1.4\n{'<< /Type /Page >>' * pages}\n<< /Type /Pages >>\n{shown}%%EOF".encode()


INVOICE = pdf("Contoso Ltd.", "Amount due 610")


def analyzer(name: str, **changes: Any) -> dict[str, Any]:
    schema = {"name": name, "fields": FIELDS, "definitions": DEFINITIONS}
    return {"analyzerId": name, "models": MODELS, "fieldSchema": schema, **changes}


@pytest.fixture
def config() -> EmulatorConfig:
    """East with an analyzer, a trained one and a router, and a west that has the same models."""
    served = {"deployments": DEPLOYMENTS, "defaults": {"gpt-4.1": "chat", "text-embedding-3-large": "embed"}}
    router = {
        "analyzerId": "router",
        "models": {"completion": "gpt-4.1"},
        "config": {
            "enableSegment": True,
            "contentCategories": {"Invoice": {"analyzerId": "invoice"}, "Letter": {}, "Receipt": {"analyzerId": "bon"}},
        },
    }
    analyzers = [analyzer("invoice"), analyzer("bon"), analyzer("trained", knowledgeSources=LABELS), router]
    east = {"region": "eastus", "analyzers": analyzers, **served}
    return EmulatorConfig.model_validate(
        {"service_time": 0, "generate_noise": 0, "resources": {"east": east, "west": {"region": "westus3", **served}}}
    )


async def send(
    client: httpx.AsyncClient, name: str, content: bytes = INVOICE, kind: str = "application/pdf"
) -> httpx.Response:
    return await client.post(f"/analyzers/{name}:analyzeBinary", content=content, headers={"Content-Type": kind})


class Analyse:
    """Analyses a document, and gives the last poll."""

    def __init__(self, finish: Finish) -> None:
        self.finish = finish

    async def __call__(self, client: httpx.AsyncClient, name: str, *sent: Any) -> Any:
        return await self.finish(client, await send(client, name, *sent))

    async def values(self, client: httpx.AsyncClient, name: str, *sent: Any) -> dict[str, Any]:
        """The values of the first content, by the path of their field."""
        (content, *_) = (await self(client, name, *sent))["result"]["contents"]
        return flat({"type": "object", "valueObject": content["fields"]})


@pytest.fixture
def analyse(finish: Finish) -> Analyse:
    return Analyse(finish)


@pytest.fixture
async def copied(east: httpx.AsyncClient, west: httpx.AsyncClient, emulator: Emulator, finish: Finish) -> None:
    """West has a copy of each analyzer of east."""
    for name in ("invoice", "bon", "trained", "router"):
        target = emulator.resources["west"]
        body = {"targetAzureResourceId": target.resource_id, "targetRegion": target.region}
        assert (await east.post(f"/analyzers/{name}:grantCopyAuthorization", json=body)).is_success
        source = emulator.resources["east"]
        body = {"sourceAzureResourceId": source.resource_id, "sourceRegion": source.region, "sourceAnalyzerId": name}
        await finish(west, await west.post(f"/analyzers/{name}:copy", json=body))


def flat(found: Any, path: str = "") -> dict[str, Any]:
    parts = found.get("valueObject") or {f"[{at}]": each for at, each in enumerate(found.get("valueArray", []))}
    if parts:
        return {inner: value for name, each in parts.items() for inner, value in flat(each, f"{path}.{name}").items()}
    return {path: next((value for key, value in found.items() if key.startswith("value")), None)}


def differing(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    return {path for path in one | other if one.get(path) != other.get(path)}


@pytest.mark.usefixtures("copied")
async def test_a_copy_reads_what_its_source_reads(
    east: httpx.AsyncClient, west: httpx.AsyncClient, analyse: Analyse
) -> None:
    for name in ("invoice", "trained"):
        for number in range(5):
            document = pdf(f"Contoso {number}")
            assert await analyse.values(east, name, document) == await analyse.values(west, name, document)


async def test_the_text_of_a_document_is_in_markdown_and_values_and_the_same_each_time(
    east: httpx.AsyncClient, analyse: Analyse
) -> None:
    one, other = [(await analyse(east, name))["result"]["contents"][0] for name in ("invoice", "bon")]
    assert one["markdown"] == other["markdown"]
    assert "Contoso Ltd." in one["markdown"]
    assert any("Contoso" in str(value) or "610" in str(value) for value in flat(one["fields"]["Company"]).values())
    changed = (await analyse(east, "invoice", pdf("Contoso Inc.")))["result"]["contents"][0]
    assert changed["markdown"] != one["markdown"]


async def test_generated_fields_vary_by_the_seed_and_extracted_ones_do_not(
    east: httpx.AsyncClient, control: httpx.AsyncClient, analyse: Analyse
) -> None:
    async def runs(seed: int) -> list[dict[str, Any]]:
        await control.post("/reset")
        await control.post("/settings", json={"generate_noise": 0.5, "analysis_seed": seed})
        return [await analyse.values(east, "invoice") for _ in range(12)]

    first, again, other = await runs(1), await runs(1), await runs(2)
    assert first == again
    assert first != other
    assert set().union(*(differing(first[0], each) for each in first)) == {".Summary"}
    assert 2 < len({each[".Summary"] for each in first}) < 12


async def test_a_changed_description_of_a_field_is_another_field(
    east: httpx.AsyncClient, control: httpx.AsyncClient, analyse: Analyse
) -> None:
    before = await analyse.values(east, "invoice")
    fields = {"Summary": {"description": "A summary in French"}}
    edit = {"resource": "east", "analyzer": "invoice", "changes": {"fieldSchema": {"fields": fields}}}
    await control.post("/edit", json=edit)
    assert differing(before, await analyse.values(east, "invoice")) == {".Summary"}


async def test_another_model_behind_the_same_name_answers_differently_where_it_generates(
    east: httpx.AsyncClient, control: httpx.AsyncClient, analyse: Analyse
) -> None:
    before = await analyse.values(east, "invoice")
    defaults = {"gpt-4.1": "chat-mini", "text-embedding-3-large": "embed"}
    await control.post("/settings", json={"resource": "east", "defaults": defaults})
    ended = await analyse(east, "invoice")
    after = flat({"valueObject": ended["result"]["contents"][0]["fields"]})
    assert differing(before, after) == {".Summary"}
    assert set(ended["usage"]["tokens"]) == {"gpt-4.1-mini-input", "gpt-4.1-mini-output"}


@pytest.mark.parametrize("share", [0.25, 1.0])
@pytest.mark.usefixtures("copied")
async def test_what_was_trained_is_kept_by_a_copy_and_lost_by_a_rebuild(
    east: httpx.AsyncClient,
    west: httpx.AsyncClient,
    control: httpx.AsyncClient,
    analyse: Analyse,
    finish: Finish,
    share: float,
) -> None:
    await control.post("/settings", json={"rebuilt_differs": share})
    source = await analyse.values(east, "trained")
    definition = (await east.get("/analyzers/trained")).json()
    await finish(west, await west.put("/analyzers/rebuilt", json=definition))
    again = await analyse.values(west, "rebuilt")
    assert len(differing(source, again)) == -(-len(source) * share // 1)
    plain = (await east.get("/analyzers/invoice")).json()
    await finish(west, await west.put("/analyzers/plain", json=plain))
    assert not differing(await analyse.values(east, "invoice"), await analyse.values(west, "plain"))


async def test_an_analyzer_that_was_trained_again_answers_differently(
    east: httpx.AsyncClient, control: httpx.AsyncClient, analyse: Analyse
) -> None:
    before = await analyse.values(east, "trained")
    await control.post("/edit", json={"resource": "east", "analyzer": "trained", "retrained": True})
    assert differing(before, await analyse.values(east, "trained"))


@pytest.mark.parametrize(
    ("fields", "differ"), [(["Total", "Items"], {".Total", ".Items"}), (0.0, set()), (["Kind"], {".Kind"})]
)
async def test_a_copy_answers_differently_on_demand(
    east: httpx.AsyncClient, control: httpx.AsyncClient, analyse: Analyse, fields: Any, differ: set[str]
) -> None:
    before = await analyse.values(east, "invoice")
    fault = {"kind": "answers_differently", "fields": fields, "markdown": True}
    await control.post("/faults", json={"call": "analyze", "analyzer": "invoice", "times": None, "fault": fault})
    after = await analyse(east, "invoice")
    (content,) = after["result"]["contents"]
    found = differing(before, flat({"valueObject": content["fields"]}))
    assert {"." + path.split(".")[1] for path in found} == differ
    assert "otherwise" in content["markdown"]


async def test_a_share_of_the_fields_is_exactly_that(
    east: httpx.AsyncClient, control: httpx.AsyncClient, analyse: Analyse
) -> None:
    before = await analyse.values(east, "invoice")
    fault = {"kind": "answers_differently", "fields": 0.5}
    await control.post("/faults", json={"fault": fault})
    assert len(differing(before, await analyse.values(east, "invoice"))) == -(-len(before) // 2)


async def test_a_router_gives_a_segment_for_each_category_and_what_its_child_reads(
    east: httpx.AsyncClient, analyse: Analyse
) -> None:
    ended = await analyse(east, "router", pdf("An invoice, a letter and a receipt", pages=3))
    parent, *children = ended["result"]["contents"]
    assert [each["category"] for each in parent["segments"]] == ["Invoice", "Letter", "Receipt"]
    assert [(each["startPageNumber"], each["endPageNumber"]) for each in parent["segments"]] == [(1, 1), (2, 2), (3, 3)]
    found = {each["path"]: (each["category"], each["analyzerId"], bool(each["fields"])) for each in children}
    assert found == {"input1/segment1": ("Invoice", "invoice", True), "input1/segment3": ("Receipt", "bon", True)}
    assert "fields" not in parent
    assert "category" not in parent


async def test_a_router_that_omits_content_gives_only_that_of_its_children(
    east: httpx.AsyncClient, control: httpx.AsyncClient, analyse: Analyse
) -> None:
    edit = {"resource": "east", "analyzer": "router", "changes": {"config": {"omitContent": True}}}
    await control.post("/edit", json=edit)
    ended = await analyse(east, "router", pdf("An invoice"))
    assert [each["path"] for each in ended["result"]["contents"]] == ["input1/segment1"]


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"defaults": None}, "DefaultsNotSet", "none was resolved"),
    ({"defaults": {"gpt-4o": "chat"}}, "ModelNotSet", "none was resolved"),
    ({"deployments": []}, "DeploymentNotFound", "'chat' was not found"),
]


@pytest.mark.parametrize(("change", "code", "words"), WRONG)
@pytest.mark.parametrize("form", ["late", "at_once"])
async def test_a_model_that_is_not_there_fails_in_either_form(
    east: httpx.AsyncClient,
    control: httpx.AsyncClient,
    analyse: Analyse,
    change: dict[str, Any],
    code: str,
    words: str,
    form: str,
) -> None:
    await control.post("/settings", json={"resource": "east", "analysis_failures": form, **change})
    if form == "at_once":
        refused = await send(east, "invoice")
        assert refused.status_code == 400
        error = refused.json()["error"]
    else:
        ended = await analyse(east, "invoice")
        assert (ended["status"], "usage" in ended) == ("Failed", False)
        error = ended["error"]
    assert error["innererror"]["code"] == code
    assert words in error["innererror"]["message"]


@pytest.mark.parametrize("form", ["late", "at_once", "quiet"])
async def test_a_child_that_is_missing_shows_in_each_form(
    east: httpx.AsyncClient, control: httpx.AsyncClient, analyse: Analyse, form: str
) -> None:
    await control.post("/settings", json={"analysis_failures": form})
    await east.delete("/analyzers/bon")
    document = pdf("An invoice and a receipt", pages=2)
    if form == "at_once":
        assert (await send(east, "router", document)).status_code == 400
        return
    ended = await analyse(east, "router", document)
    if form == "late":
        assert (ended["status"], ended["error"]["innererror"]["code"]) == ("Failed", "ModelNotFound")
    else:
        assert [each["path"] for each in ended["result"]["contents"]] == ["input1", "input1/segment1"]
        assert len(ended["result"]["contents"][0]["segments"]) == 2


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"no picture", "image/png"), (b"", "application/pdf"), (b"\0\1", "application/octet-stream"), (b"text", "")],
)
async def test_what_cannot_be_read_is_taken_and_fails_later_unless_it_is_text(
    east: httpx.AsyncClient, analyse: Analyse, content: bytes, kind: str
) -> None:
    ended = await analyse(east, "invoice", content, kind)
    if content == b"text":
        assert ended["usage"]["documentPagesMinimal"] == 1
        return
    assert ended["status"] == "Failed"
    assert ended["error"]["innererror"]["code"] == "InvalidContent"


async def test_an_analysis_hangs_or_fails_on_demand(
    east: httpx.AsyncClient, control: httpx.AsyncClient, analyse: Analyse
) -> None:
    fails = {"kind": "analysis_fails", "code": "InvalidRequest", "inner_code": "InvalidContent", "message": "No."}
    await control.post("/faults", json=[{"fault": fails}, {"fault": {"kind": "analysis_hangs"}}])
    ended = await analyse(east, "invoice")
    inner = {"code": "InvalidContent", "message": "No."}
    assert ended["error"] == {"code": "InvalidRequest", "message": "No.", "innererror": inner}
    started = await send(east, "invoice")
    for _ in range(3):
        assert (await east.get(started.headers["Operation-Location"])).json()["status"] == "Running"
    stats = (await control.get("/stats")).json()["resources"]["east"]
    assert (stats["analyses"], stats["analyses_in_flight"], stats["results"]) == ({"invoice": 2}, 1, 2)


async def test_stats_tell_how_many_were_in_flight_and_which_results_are_left(
    east: httpx.AsyncClient, control: httpx.AsyncClient
) -> None:
    await control.post("/settings", json={"service_time": 60})
    started = await asyncio.gather(*(send(east, "invoice") for _ in range(3)))
    for each in started[:2]:
        assert (await east.delete(each.headers["Operation-Location"])).status_code == 204
        assert (await east.get(each.headers["Operation-Location"])).status_code == 404
        assert (await east.delete(each.headers["Operation-Location"])).status_code == 404
    stats = (await control.get("/stats")).json()["resources"]["east"]
    assert (stats["max_analyses_in_flight"], stats["analyses_in_flight"], stats["results"]) == (3, 1, 1)
    assert (stats["calls"]["analyze"], stats["calls"]["delete_result"]) == (3, 4)


async def test_an_analyzer_that_is_not_there_is_not_found(east: httpx.AsyncClient) -> None:
    answer = await send(east, "nobody")
    assert (answer.status_code, answer.json()["error"]["innererror"]["code"]) == (404, "ModelNotFound")


async def test_bytes_are_sent_as_base64_too_and_one_of_data_and_url_is_needed(
    east: httpx.AsyncClient, analyse: Analyse, finish: Finish
) -> None:
    given = {"data": base64.b64encode(INVOICE).decode(), "mimeType": "application/pdf"}
    ended = await finish(east, await east.post("/analyzers/invoice:analyze", json={"inputs": [given, given]}))
    contents = ended["result"]["contents"]
    assert [each["path"] for each in contents] == ["input1", "input2"]
    assert contents[0]["markdown"] == (await analyse(east, "invoice"))["result"]["contents"][0]["markdown"]
    wrong: list[list[dict[str, str]]] = [[], [{}], [{"data": "?"}], [{**given, "url": "https://a.example/b.pdf"}]]
    for inputs in wrong:
        assert (await east.post("/analyzers/invoice:analyze", json={"inputs": inputs})).status_code == 400


@pytest.mark.parametrize("part", ["60001-", "x"])
async def test_a_range_that_has_nothing_of_the_input_fails(east: httpx.AsyncClient, finish: Finish, part: str) -> None:
    given = {"url": "https://a.example/call.mp3", "range": part}
    ended = await finish(east, await east.post("/analyzers/invoice:analyze", json={"inputs": [given]}))
    assert (ended["status"], ended["error"]["innererror"]["code"]) == ("Failed", "InvalidParameter")


async def test_labelled_documents_are_found_by_the_embedding_model_that_serves(
    east: httpx.AsyncClient, west: httpx.AsyncClient, control: httpx.AsyncClient, analyse: Analyse, finish: Finish
) -> None:
    definition = (await east.get("/analyzers/trained")).json()
    await finish(east, await east.put("/analyzers/taught", json=definition))
    before = await analyse.values(east, "taught")
    defaults = {"gpt-4.1": "chat", "text-embedding-3-large": "chat-mini"}
    await control.post("/settings", json={"resource": "east", "defaults": defaults})
    assert differing(before, await analyse.values(east, "taught"))


async def test_the_deployments_of_a_call_come_before_the_defaults(
    east: httpx.AsyncClient, control: httpx.AsyncClient, finish: Finish
) -> None:
    await control.post("/settings", json={"resource": "east", "defaults": {"gpt-4.1": "gone"}})
    body = {
        "inputs": [{"url": "https://a.example/b.pdf"}],
        "modelDeployments": {"gpt-4.1": "chat-mini", "text-embedding-3-large": "embed"},
    }
    ended = await finish(east, await east.post("/analyzers/invoice:analyze", json=body))
    assert set(ended["usage"]["tokens"]) == {"gpt-4.1-mini-input", "gpt-4.1-mini-output"}


async def test_the_older_preview_has_neither_binary_analysis_nor_deletion(
    emulator: Emulator, client: Client, finish: Finish
) -> None:
    east = client(emulator.resources["east"], "2025-05-01-preview")
    assert (await send(east, "invoice")).status_code == 404
    given = {"data": base64.b64encode(INVOICE).decode()}
    started = await east.post("/analyzers/invoice:analyze", json={"inputs": [given]})
    assert (await finish(east, started))["status"] == "Succeeded"
    assert (await east.delete(started.headers["Operation-Location"])).status_code == 404
    assert (await east.get(started.headers["Operation-Location"])).status_code == 200


@pytest.mark.parametrize("version", ["2025-05-01-preview", "2025-11-01", "2026-06-01-preview"])
async def test_our_client_has_a_document_read_and_deletes_the_result(
    emulator: Emulator, control: httpx.AsyncClient, version: str
) -> None:
    east = emulator.resources["east"]
    given = {"endpoint": east.endpoint, "region": east.region, "resource_id": east.resource_id, "arm_endpoint": ""}
    credentials = {"kind": "key", "key": east.key}
    resource = Resource.model_validate({**given, "name": "east", "api_version": version, "credentials": credentials})
    async with ContentUnderstandingClient(resource) as client:
        url = await client.start_analysis("invoice", INVOICE, "application/pdf")
        analysis, _ = await client.get_analysis(url)
        assert analysis.succeeded
        assert analysis.contents[0].fields.keys() == FIELDS.keys()
        assert analysis.usage.pages == 1
        if version == "2025-05-01-preview":  # Which has no call for that.
            with pytest.raises(AnalyzerNotFound):
                await client.delete_analysis(url)
            return
        await client.delete_analysis(url)
        await client.delete_analysis(url)
        with pytest.raises(AnalyzerNotFound):
            await client.get_analysis(url)
    assert (await control.get("/stats")).json()["resources"]["east"]["results"] == 0


async def test_a_wrong_origin_can_be_named_for_the_result(east: httpx.AsyncClient, control: httpx.AsyncClient) -> None:
    await control.post("/faults", json={"call": "analyze", "fault": {"kind": "foreign_location"}})
    assert (await send(east, "invoice")).headers["Operation-Location"].startswith("https://elsewhere.invalid/")
