"""Documents are analysed by the client: what is sent, what is read, what is told of it, and that nothing leaks."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import pickle
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.document import canonical, read_json
from standby.service import errors
from standby.service.analysis import Analysis, AnalyzedField

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.standby.service.conftest import Connect, Failure, FastTime, Service

RECORDINGS = Path(__file__).parents[2] / "emulator" / "recordings" / "analyze"
URL = "https://west.services.ai.azure.com/contentunderstanding/analyzerResults/op-1?api-version=2025-11-01"
TAKEN = httpx.Response(202, json={"id": "op-1", "status": "Running"}, headers={"Operation-Location": URL})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)
KEYS = st.sampled_from(
    [
        *("id", "status", "error", "result", "usage", "contents", "warnings", "path", "category", "analyzerId"),
        *("markdown", "fields", "segments", "type", "valueString", "valueNumber", "valueArray", "valueObject"),
        *(
            "code",
            "message",
            "innererror",
            "tokens",
            "documentPagesBasic",
            "contextualizationTokens",
            "value",
            "items",
            "members",
            "pages",
        ),
    ]
)
SHAPED = st.recursive(
    JSON, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=20
)


def bodies() -> Iterator[Any]:
    for path in sorted(RECORDINGS.glob("*.json")):
        for number, exchange in enumerate(json.loads(path.read_text(encoding="utf-8"))["exchanges"]):
            if isinstance(exchange["ResponseBody"], dict) and "result" in exchange["ResponseBody"]:
                yield pytest.param(exchange, id=f"{path.stem}-{number}")


def leaves(field: AnalyzedField) -> Iterator[AnalyzedField]:
    inner = [*field.items, *field.members.values()]
    yield from (leaf for each in inner for leaf in leaves(each)) if inner else [field]


@pytest.mark.parametrize("exchange", bodies())
async def test_every_recorded_analysis_is_read(connect: Connect, service: Service, exchange: dict[str, Any]) -> None:
    sent = exchange["ResponseBody"]
    service.will(httpx.Response(200, json=sent))
    analysis, wait = await connect(service).get_analysis(URL)
    assert (analysis.status, wait) == (sent["status"].lower(), None)
    assert analysis.done == analysis.succeeded == (sent["status"] == "Succeeded")
    assert [each.path for each in analysis.contents] == [each["path"] for each in sent["result"]["contents"]]
    text = json.dumps(sent["result"]["contents"])
    for content, each in zip(analysis.contents, sent["result"]["contents"], strict=True):
        assert content.markdown == each["markdown"]
        assert content.fields.keys() == each.get("fields", {}).keys()
        assert [(one.segment_id, one.category) for one in content.segments] == [
            (one["segmentId"], one["category"]) for one in each.get("segments", [])
        ]
        found = [leaf.value for field in content.fields.values() for leaf in leaves(field)]
        assert sum(value is not None for value in found) == sum(text.count(f'"value{kind}"') for kind in KINDS)
    assert analysis.usage.tokens == sent.get("usage", {}).get("tokens", {})
    assert analysis.usage.pages == sum(
        count for name, count in sent.get("usage", {}).items() if name.startswith("documentPages")
    )


KINDS = ("String", "Number", "Integer", "Boolean", "Date", "Time", "Json")


@given(SHAPED, st.sampled_from(["Succeeded", "failed", "Running"]))
def test_nothing_odd_in_an_analysis_costs_more_than_itself(body: Any, status: str) -> None:
    good = {"path": "input1", "markdown": "text", "fields": {"Total": {"type": "number", "valueNumber": 3}}}
    result = {"contents": [body, good], "warnings": body}
    read = Analysis.model_validate({"status": status, "result": result, "usage": body, "error": body})
    content = read.contents[-1]
    assert (content.path, content.markdown, content.fields["Total"].value) == ("input1", "text", 3)
    for each in read.contents:
        each.markdown.encode()
        for name, field in each.fields.items():
            canonical({name: [leaf.value for leaf in leaves(field)]})
    assert str(read.failure("west", "invoice"))


def test_what_cannot_be_hashed_stays_a_value_that_differs_from_others() -> None:
    fields = b'{"a": {"valueString": "\xff"}, "b": {"valueNumber": 1e999}}'
    sent = b'{"status": "Succeeded", "result": {"contents": [{"fields": %b}]}}' % fields
    (content,) = Analysis.model_validate(read_json(sent)).contents
    values = [field.value for field in content.fields.values()]
    assert canonical(values)
    assert None not in values
    assert values[0] != values[1]


async def test_a_document_is_sent_and_its_result_deleted_as_recorded(connect: Connect, service: Service) -> None:
    def recorded(name: str, method: str) -> Any:
        exchanges = json.loads((RECORDINGS / name).read_text(encoding="utf-8"))["exchanges"]
        return next(each for each in exchanges if each["RequestMethod"] == method)

    sent = recorded("net_analyzeBinary_classifier_segments_2025-12-11.json", "POST")
    gone = recorded("js_delete_result_2026-03-25.json", "DELETE")
    location = sent["ResponseHeaders"]["Operation-Location"]
    service.will(httpx.Response(202, json=sent["ResponseBody"], headers={"Operation-Location": location}))
    service.will(httpx.Response(204))
    client = connect(service, "sanitized")
    analyzer = sent["RequestUri"].partition("/analyzers/")[2].partition(":")[0]
    assert await client.start_analysis(analyzer, b"%PDF", sent["RequestHeaders"]["Content-Type"]) == location
    await client.delete_analysis(gone["RequestUri"])
    # The encoding is for who slices the markdown, and has a default.
    assert str(service.requests[0].url) == sent["RequestUri"].replace("&stringEncoding=utf16", "")
    assert service.requests[0].headers["content-type"] == sent["RequestHeaders"]["Content-Type"]
    assert (service.requests[1].method, str(service.requests[1].url)) == ("DELETE", gone["RequestUri"])


async def test_a_document_is_sent_as_its_bytes(connect: Connect, service: Service) -> None:
    service.will(TAKEN)
    assert await connect(service).start_analysis("invoice", b"%PDF \xff", "application/pdf") == URL
    (request,) = service.requests
    assert request.url.path == "/contentunderstanding/analyzers/invoice:analyzeBinary"
    assert (request.content, request.headers["content-type"]) == (b"%PDF \xff", "application/pdf")


async def test_the_older_preview_is_sent_it_as_text_and_says_that_nothing_was_deleted(
    connect: Connect, service: Service, failure: Failure
) -> None:
    client = connect(service, api_version="2025-05-01-preview")
    service.will(TAKEN, failure(404, "NotFound"))
    await client.start_analysis("invoice", b"%PDF \xff", "application/pdf")
    given = {"data": base64.b64encode(b"%PDF \xff").decode(), "mimeType": "application/pdf"}
    assert json.loads(service.requests[0].content) == {"inputs": [given]}
    assert service.requests[0].url.path.endswith("/invoice:analyze")
    with pytest.raises(errors.AnalyzerNotFound):
        await client.delete_analysis(URL)


async def test_a_result_is_deleted_and_one_that_is_gone_is_no_error(
    connect: Connect, service: Service, failure: Failure
) -> None:
    service.will(httpx.Response(204), failure(503), failure(404, "NotFound"), failure(401), httpx.Response(202))
    client = connect(service)
    await client.delete_analysis(URL)
    await client.delete_analysis(URL)
    with pytest.raises(errors.NotAuthorized):
        await client.delete_analysis(URL)
    assert {(each.method, str(each.url)) for each in service.requests} == {("DELETE", URL)}
    with pytest.raises(errors.ForeignOrigin):
        await client.delete_analysis("https://elsewhere.example/analyzerResults/op-1")


async def test_a_document_is_sent_again_only_where_none_was_taken(
    connect: Connect, service: Service, failure: Failure
) -> None:
    service.will(httpx.ConnectError("x"), failure(429, retry_after="0"), TAKEN)
    assert await connect(service).start_analysis("invoice", b"%PDF", "application/pdf") == URL
    assert len(service.requests) == 3


@pytest.mark.parametrize("lost", [httpx.ReadError("x"), httpx.ReadTimeout("x"), 500, 503, 202])
async def test_where_no_answer_says_whether_it_was_taken_it_is_not_sent_again(
    connect: Connect, service: Service, failure: Failure, lost: Any
) -> None:
    nameless = httpx.Response(202, json={})
    service.will(nameless if lost == 202 else failure(lost) if isinstance(lost, int) else lost)
    with pytest.raises(errors.AnalysisOutcomeUnknown) as caught:
        await connect(service).start_analysis("invoice", b"%PDF", "application/pdf")
    assert (caught.value.resource, caught.value.analyzer, len(service.requests)) == ("west", "invoice", 1)


def test_a_large_document_has_the_time_that_it_needs(connect: Connect, service: Service, fast_time: FastTime) -> None:
    async def slowly(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(40)
        return TAKEN

    async def send(size: int) -> str:
        service.always(slowly)
        return await connect(service).start_analysis("invoice", bytes(size), "application/pdf")

    assert fast_time(send(30 * 2**20)) == URL
    with pytest.raises(errors.AnalysisOutcomeUnknown, match="within 15 s"):
        fast_time(send(2**10))


ENDINGS: list[tuple[dict[str, Any] | None, type[errors.ServiceError]]] = [
    ({"code": "InvalidRequest", "innererror": {"code": "InvalidContent"}}, errors.InvalidRequest),
    ({"code": "InvalidRequest", "innererror": {"code": "DefaultsNotSet"}}, errors.DefaultsNotSet),
    ({"code": "InvalidRequest", "innererror": {"code": "DeploymentNotFound"}}, errors.DeploymentMissing),
    ({"code": "InvalidRequest", "innererror": {"code": "ModelNotFound"}}, errors.AnalyzerNotFound),
    ({"code": "X", "message": "It needs a 'completion' model deployment but none was resolved"}, errors.DefaultsNotSet),
    ({"code": "TooManyRequests"}, errors.Throttled),
    ({"code": "InternalServerError", "message": "No."}, errors.OperationFailed),
    ({"code": 5}, errors.OperationFailed),
    (None, errors.OperationFailed),
]


PASSING = (errors.Throttled, errors.OperationFailed)  # As a status they have one of their own


@pytest.mark.parametrize(("detail", "kind"), ENDINGS)
def test_an_analysis_that_failed_is_the_error_that_a_refused_call_would_be(
    detail: dict[str, Any] | None, kind: type[errors.ServiceError]
) -> None:
    failed = Analysis.model_validate({"id": "op-1", "status": "Failed", "error": detail}).failure("west", "invoice")
    assert type(failed) is kind
    assert (failed.request_id, failed.resource, failed.analyzer) == ("op-1", "west", "invoice")
    assert failed.cause.startswith("The analysis by invoice at west ended as failed")
    assert failed.next_action


@pytest.mark.parametrize(("detail", "kind"), [each for each in ENDINGS if each[1] not in PASSING])
async def test_one_that_is_refused_at_once_is_the_same_error(
    connect: Connect, service: Service, detail: dict[str, Any], kind: type[errors.ServiceError]
) -> None:
    service.will(httpx.Response(400, json={"error": detail}))
    with pytest.raises(kind) as refused:
        await connect(service).start_analysis("invoice", b"%PDF", "application/pdf")
    failed = Analysis.model_validate({"status": "Failed", "error": detail}).failure("west", "invoice")
    assert (type(refused.value), refused.value.next_action) == (kind, failed.next_action)


@pytest.fixture
def _all_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


SECRET = b"%PDF canary"
TOLD = {"error": {"code": "InvalidRequest", "message": "canary", "innererror": {"code": "X", "message": "canary"}}}
WAYS = [
    *(httpx.Response(status, json=TOLD) for status in (400, 409, 413, 500)),
    *(httpx.Response(400, text="canary"), httpx.Response(500, text="canary"), httpx.ReadError("canary"), TAKEN),
]


@pytest.mark.usefixtures("_all_is_logged")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("version", ["2025-11-01", "2025-05-01-preview"])
async def test_no_document_is_told_by_what_sends_it(
    connect: Connect, service: Service, caplog: pytest.LogCaptureFixture, way: Any, version: str
) -> None:
    service.will(way)
    client = connect(service, api_version=version)
    try:
        await client.start_analysis("invoice", SECRET, "application/pdf")
    except errors.ServiceError as error:
        told = [repr(error), str(error), repr(vars(error)), *traceback.format_exception(error)]
        assert "canary" not in "".join(told)
        assert b"canary" not in pickle.dumps(error)
        assert "Y2FuYXJ5" not in "".join(told)
    assert "canary" not in "".join(repr(vars(record)) + record.getMessage() for record in caplog.records)


@pytest.mark.usefixtures("_all_is_logged")
@pytest.mark.parametrize("status", ["Succeeded", "Failed", 7])
async def test_no_value_is_told_by_what_reads_it(
    connect: Connect, service: Service, caplog: pytest.LogCaptureFixture, status: Any
) -> None:
    fields = {"a": {"valueString": "canary"}, "b": {"valueArray": [{"valueObject": {"c": {"valueDate": "canary"}}}]}}
    content = {"markdown": "canary", "fields": fields}
    detail = {"code": "InvalidRequest", "message": "canary", "innererror": {"code": "Odd canary", "message": "canary"}}
    warnings = [{"code": "W1", "message": "canary"}, "canary text"]
    body = {"status": status, "result": {"contents": [content], "warnings": warnings}, "error": detail}
    service.always(lambda _: httpx.Response(200, json=body))
    try:
        analysis, _ = await connect(service).get_analysis(URL)
        assert analysis.warnings == ("W1",)
        told = [repr(analysis), str(analysis), repr(analysis.contents[0].fields), str(analysis.failure("west", "i"))]
    except errors.ServiceError as error:
        told = [str(error), repr(vars(error)), *traceback.format_exception(error)]
        assert error.__cause__ is None
    assert "canary" not in "".join(told)
    assert "canary" not in "".join(repr(vars(record)) + record.getMessage() for record in caplog.records)
