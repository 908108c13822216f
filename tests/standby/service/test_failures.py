"""Which error an answer, or the lack of one, becomes, and what it tells."""

from __future__ import annotations

import errno
import os
import pickle
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import httpx
import pytest

from standby.errors import StandbyError
from standby.service import errors
from standby.service.errors import (
    CORRECT_KEY,
    AnalyzerNotFound,
    AnswerUnreadable,
    Conflict,
    DefaultsNotSet,
    DeploymentMissing,
    EmbeddingMismatch,
    GrantVoid,
    InvalidRequest,
    NotAuthorized,
    NotConnected,
    NotFromHere,
    OperationFailed,
    ProtocolError,
    ResourceNotFound,
    ServiceError,
    ServiceUnavailable,
    Throttled,
    TokenUnavailable,
    Unreachable,
    UntrustedCertificate,
    operation_failed,
)
from standby.service.models import Operation
from standby.service.retries import HttpRetries

if TYPE_CHECKING:
    from tests.standby.service.conftest import Connect, Failure, Service

ONCE = HttpRetries(attempts=1)
TREE = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, ServiceError)]
every_error = pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)


async def failed(
    connect: Connect, service: Service, answer: httpx.Response | Exception, analyzer: str | None = "invoice"
) -> ServiceError:
    """The error of a call that was answered so."""
    client = connect(service, retries=ONCE)
    service.will(answer)
    with pytest.raises(ServiceError) as caught:
        await (client.get_defaults() if analyzer is None else client.get_analyzer(analyzer))
    return caught.value


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (401, NotAuthorized),
        (403, NotAuthorized),
        (404, AnalyzerNotFound),
        (408, ServiceUnavailable),
        (409, Conflict),
        (412, InvalidRequest),
        (413, InvalidRequest),
        (429, Throttled),
        (500, ServiceUnavailable),
        (503, ServiceUnavailable),
        (599, ServiceUnavailable),
        (300, ProtocolError),
        (304, ProtocolError),
    ],
)
async def test_a_status_has_its_error(
    connect: Connect, service: Service, failure: Failure, status: int, kind: type[ServiceError]
) -> None:
    error = await failed(connect, service, failure(status, "Code", "Said.", inner=("Inner", "Cause.")))
    assert type(error) is kind
    assert (error.status, error.code, error.inner_code) == (status, "Code", "Inner")
    assert (error.request_id, error.resource, error.analyzer) == ("r-1", "west", "invoice")
    advice = CORRECT_KEY if kind is NotAuthorized else kind.advice
    assert str(error) == f"invoice at west: Cause (HTTP {status}, Code/Inner, request r-1). {advice}."


async def test_without_an_analyzer_a_404_is_about_the_resource(
    connect: Connect, service: Service, failure: Failure
) -> None:
    error = await failed(connect, service, failure(404), analyzer=None)
    assert type(error) is ResourceNotFound
    assert error.analyzer is None


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("DefaultsNotSet", DefaultsNotSet),
        ("DeploymentNotFound", DeploymentMissing),
        ("ModelDeploymentNotFound", DeploymentMissing),
        ("EmbeddingModelMismatch", EmbeddingMismatch),
    ],
)
@pytest.mark.parametrize("level", [0, 1, 2])
async def test_a_code_says_more_than_a_status_however_deep_it_lies(
    connect: Connect, service: Service, code: str, kind: type[ServiceError], level: int
) -> None:
    chain: dict[str, object] = {"code": code}
    for outer in range(level):
        chain = {"code": f"Outer{outer}", "innererror": chain}
    error = await failed(connect, service, httpx.Response(400, json={"error": chain}))
    assert type(error) is kind


@pytest.mark.parametrize("level", [0, 1])
async def test_a_void_grant_is_known_by_its_words_however_deep_they_lie(
    connect: Connect, service: Service, failure: Failure, level: int
) -> None:
    words = "The resource 'r' has not granted the necessary permissions."
    answer = failure(404, "NotFound", words) if level == 0 else failure(404, inner=("ModelNotFound", words))
    assert type(await failed(connect, service, answer)) is GrantVoid


async def test_the_innermost_message_is_told(connect: Connect, service: Service) -> None:
    body = {
        "error": {
            "code": "A",
            "message": "Outer.",
            "innererror": {"code": "B", "innererror": {"code": "C", "message": "Cause."}},
        }
    }
    error = await failed(connect, service, httpx.Response(400, json=body))
    assert error.cause == "invoice at west: Cause"
    assert (error.code, error.inner_code) == ("A", "C")


async def test_the_outer_message_is_told_where_the_inner_one_has_none(connect: Connect, service: Service) -> None:
    body = {"error": {"code": "A", "message": "Outer.", "innererror": {"code": "B"}}}
    error = await failed(connect, service, httpx.Response(400, json=body))
    assert error.cause == "invoice at west: Outer"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>Bad gateway</html>",
        b"null",
        b"[]",
        b'"error"',
        b"{}",
        b'{"error": null}',
        b'{"error": "text"}',
        b'{"error": {"code": 5}}',
        b'{"error": {"innererror": []}}',
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"error":' + b'{"innererror":' * 200_000,
        b'{"error":' + b'{"innererror":' * 400 + b"{}" + b"}" * 401,
    ],
    ids=lambda content: content[:32].decode("latin-1"),
)
async def test_an_answer_in_other_words_leaves_the_status_to_tell(
    connect: Connect, service: Service, content: bytes
) -> None:
    error = await failed(connect, service, httpx.Response(502, content=content))
    assert type(error) is ServiceUnavailable
    assert error.cause == "invoice at west answered HTTP 502"


async def test_the_code_in_the_header_stands_in_for_a_body(connect: Connect, service: Service) -> None:
    answer = httpx.Response(400, headers={"x-ms-error-code": "InvalidArgument"})
    assert (await failed(connect, service, answer)).code == "InvalidArgument"


async def test_codes_that_are_none_are_left_out(connect: Connect, service: Service) -> None:
    body = {"error": {"code": "two words", "innererror": {"code": "line\nend"}}}
    answer = httpx.Response(400, json=body, headers={"apim-request-id": "<script>"})
    error = await failed(connect, service, answer)
    assert (error.code, error.inner_code, error.request_id) == (None, None, None)
    assert str(error) == "invoice at west answered HTTP 400 (HTTP 400). Correct what the message names."


async def test_how_long_the_service_wants_us_to_wait_is_kept(
    connect: Connect, service: Service, failure: Failure
) -> None:
    assert (await failed(connect, service, failure(429, retry_after="9"))).retry_after == 9.0


@pytest.mark.parametrize(
    ("problem", "kind", "words"),
    [
        (httpx.ConnectError, NotConnected, ""),
        (httpx.ConnectTimeout, NotConnected, "the connection was not accepted in time"),
        (httpx.PoolTimeout, NotConnected, "it did not come in time"),
        (httpx.ProxyError, NotConnected, ""),
        (httpx.UnsupportedProtocol, NotConnected, ""),
        (httpx.ReadError, Unreachable, ""),
        (httpx.ReadTimeout, Unreachable, "it did not come in time"),
        (httpx.WriteError, Unreachable, ""),
        (httpx.WriteTimeout, Unreachable, "it did not come in time"),
        (httpx.CloseError, Unreachable, ""),
        (httpx.RemoteProtocolError, Unreachable, ""),
        (httpx.LocalProtocolError, ProtocolError, ""),
        (httpx.DecodingError, Unreachable, ""),
    ],
)
async def test_no_answer_is_told_by_what_went_wrong(
    connect: Connect, service: Service, problem: type[httpx.RequestError], kind: type[ServiceError], words: str
) -> None:
    error = await failed(connect, service, problem("canary: see https://user:canary@host"))
    assert type(error) is kind
    assert error.cause.endswith(words or problem.__name__)
    assert "west (https://west.services.ai.azure.com)" in error.cause
    assert (error.status, error.resource, error.analyzer) == (None, "west", "invoice")


async def test_a_certificate_is_told_apart_however_deep_its_error_lies(connect: Connect, service: Service) -> None:
    problem = httpx.ConnectError("outer")
    problem.__cause__ = OSError("between")
    problem.__cause__.__context__ = ssl.SSLCertVerificationError("self-signed")
    error = await failed(connect, service, problem)
    assert type(error) is UntrustedCertificate
    assert not error.transient


@pytest.mark.parametrize("number", [9, 10])
async def test_a_certificate_that_is_out_of_date_may_be_a_wrong_clock(
    connect: Connect, service: Service, number: int
) -> None:
    problem = httpx.ConnectError("outer")
    problem.__cause__ = cause = ssl.SSLCertVerificationError("canary")
    cause.verify_code = number
    error = await failed(connect, service, problem)
    assert type(error) is UntrustedCertificate
    assert " UTC" in error.cause
    assert "set the clock" in error.next_action


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS])
async def test_what_this_machine_lacks_is_told_as_such(connect: Connect, service: Service, number: int) -> None:
    problem = httpx.ConnectError("All connection attempts failed")
    problem.__cause__ = OSError("All connection attempts failed")
    problem.__cause__.__cause__ = ExceptionGroup("both", [OSError(number, "canary"), OSError(number, "canary")])
    error = await failed(connect, service, problem)
    assert type(error) is NotFromHere
    assert os.strerror(number) in error.cause


@pytest.mark.parametrize(
    ("days", "words"), [(2, "2d ahead of"), (-2, "2d behind"), (0, "")], ids=["ahead", "behind", "right"]
)
async def test_a_refusal_says_that_the_clock_of_this_machine_is_wrong(
    connect: Connect, service: Service, caplog: pytest.LogCaptureFixture, days: int, words: str
) -> None:
    there = format_datetime(datetime.now(UTC) - timedelta(days=days), usegmt=True)
    service.will(*(httpx.Response(401, headers={"Date": there}) for _ in range(2)))
    with pytest.raises(NotAuthorized) as caught:
        await connect(service).get_analyzer("invoice")
    assert (words in caught.value.cause and words in caplog.text) if words else "clock" not in str(caught.value)


def test_a_failed_operation_tells_its_cause_and_its_request() -> None:
    operation = Operation.model_validate(
        {
            "id": "op-1",
            "status": "Failed",
            "error": {"code": "A", "message": "Outer.", "innererror": {"code": "B", "message": "Cause."}},
        }
    )
    error = operation_failed(operation, resource="west", analyzer="invoice")
    assert str(error) == (
        "The operation on invoice at west ended as failed: Cause (A/B, request op-1). "
        "Run again; if it fails again, give the request id to the service's support."
    )
    assert (error.code, error.inner_code, error.request_id) == ("A", "B", "op-1")


def test_an_operation_that_ends_without_a_word_is_an_error_too() -> None:
    operation = Operation.model_validate({"id": "<b>", "status": "Cancelled"})
    error = operation_failed(operation, resource="west")
    assert type(error) is OperationFailed
    assert error.cause == "The operation at west ended as canceled"
    assert (error.code, error.inner_code, error.request_id) == (None, None, None)


@every_error
def test_every_error_survives_its_way_to_another_process(kind: type[ServiceError]) -> None:
    error = kind("It is so", status=400, code="A", inner_code="B", request_id="r", resource="west")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (str(again), vars(again)) == (str(error), vars(error))


@every_error
def test_every_error_has_an_order_for_the_operator(kind: type[ServiceError]) -> None:
    error = kind("It is so")
    assert isinstance(error, StandbyError)
    if kind is not ServiceError:
        assert str(error) == f"It is so. {error.next_action}."
        assert error.next_action and not error.next_action.endswith(".")


def test_only_what_passes_is_transient() -> None:
    assert {kind for kind in TREE if kind.transient} == {
        Throttled,
        TokenUnavailable,
        Unreachable,
        NotConnected,
        NotFromHere,
        ServiceUnavailable,
        AnswerUnreadable,
    }


def test_the_tree_in_the_module_is_the_tree_there_is() -> None:
    lines = (errors.__doc__ or "").splitlines()
    told = {line.partition("── ")[2].split()[0] for line in lines if "── " in line}
    assert told == {kind.__name__ for kind in TREE} - {"ServiceError"}
