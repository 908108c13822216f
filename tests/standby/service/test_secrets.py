"""Nothing secret is in an error, in its causes, or in a log: canaries go through every way to fail."""

from __future__ import annotations

import json
import logging
import pickle
import traceback
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest

from standby.config.plan import GivenKey
from standby.config.resource import EntraCredentials
from standby.errors import StandbyError
from standby.service.auth import EntraAuth, auth_for
from standby.service.calls import Answer, Call
from standby.service.errors import NotAuthorized, ServiceError, operation_failed
from standby.service.models import Grant
from standby.service.protocols import CopyAuthorization

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from typing import TypeAlias

    from tests.standby.service.conftest import Connect, Heard, Identity, Listen, Pair, Service

    Way: TypeAlias = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]

LOOKS_SECRET = "see ?sig=canary and eyJjYW5hcnk.eyJjYW5hcnk.canary"

ENTRA = {"kind": "entra"}
GIVEN = GivenKey.model_validate({"key": "canary-encryption"})


def echo(headers: Mapping[str, str], content: bytes) -> str:
    """What a service might say that quotes all the secrets it was sent."""
    body = json.loads(content) if content else {}
    given = [headers.get(name, "") for name in ("ocp-apim-subscription-key", "authorization")]
    given += [str(body[name]) for name in ("authorizationToken", "encryptionKey", "decryptionKey") if name in body]
    return f"Refused: {' '.join(given)} {quote(' '.join(given))} {LOOKS_SECRET}"


def refusal(request: httpx.Request, status: int) -> httpx.Response:
    told = echo(request.headers, request.content)
    quoted = told.split()[1]
    body = {"error": {"code": quoted, "message": told, "innererror": {"code": f"B-{quoted}", "message": told}}}
    headers = {"x-canary": "canary", "Retry-After": "0", "apim-request-id": quoted, "x-ms-error-code": quoted}
    return httpx.Response(status, json=body, headers=headers)


def ways_to_fail() -> Iterator[Any]:
    """Answers, and lacks of one, that end a call."""
    for status in (300, 302, 400, 401, 403, 404, 408, 409, 418, 429, 500, 503):
        yield pytest.param(partial(refusal, status=status), id=str(status))
    for problem in (
        *(httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError),
        *(httpx.ReadError, httpx.ReadTimeout, httpx.WriteError, httpx.RemoteProtocolError),
        *(httpx.LocalProtocolError, httpx.DecodingError),
    ):
        yield pytest.param(problem("canary"), id=problem.__name__)
    for content in ("canary {", '["canary"]', '{"canary": "canary", "analyzerId": ["canary"]}', '"canary"'):
        yield pytest.param(httpx.Response(200, text=content), id=content)
    location = {"Location": "https://canary:canary@elsewhere.example/?canary#canary"}
    yield pytest.param(httpx.Response(307, headers=location), id="led elsewhere")
    elsewhere = {"Operation-Location": "https://elsewhere.example/canary?canary=canary"}
    answer = {"analyzerId": "a", "value": [], "nextLink": "https://elsewhere.example/canary"}
    yield pytest.param(httpx.Response(200, json=answer, headers=elsewhere), id="goes on elsewhere")


every_way = pytest.mark.parametrize("way", list(ways_to_fail()))


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and all that it came from, whether it is shown or not."""
    pending, seen = [error], set()
    while pending:
        found = pending.pop()
        if found is not None and id(found) not in seen:
            seen.add(id(found))
            yield found
            pending += [found.__cause__, found.__context__]


def assert_tells_nothing(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    assert isinstance(error, ServiceError)
    assert str(error)
    for link in chain(error):
        # Errors of other libraries hold requests and bodies, so not even a hidden one may hang on.
        assert isinstance(link, StandbyError)
        told = (str(link), repr(link), link.args, vars(link), pickle.dumps(link))
        assert "canary" not in repr(told)
    assert "canary" not in "".join(traceback.format_exception(error))
    assert_logs_nothing(caplog)


def assert_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    for record in caplog.records:
        written = {**vars(record), "message": record.getMessage()}
        assert "canary" not in repr(written), record.name


def forget_azure_identity(caplog: pytest.LogCaptureFixture) -> None:
    """Its own log at DEBUG quotes an answer that it cannot read; that is not ours to mend."""
    caplog.handler.records[:] = [record for record in caplog.records if not record.name.startswith("azure.identity")]


@pytest.fixture(autouse=True)
def _everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


@every_way
@pytest.mark.parametrize("call", ["list", "put", "put over", "defaults"])
async def test_no_call_with_a_key_tells_a_secret_when_it_fails(
    connect: Connect,
    service: Service,
    caplog: pytest.LogCaptureFixture,
    way: Way,
    call: str,
) -> None:
    client = connect(service)
    body: dict[str, Any] = {"description": "canary"}
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "list": client.list_analyzers,
        "put": lambda: client.put_analyzer("a", body),
        "put over": lambda: client.put_analyzer("a", body, allow_replace=True),
        "defaults": lambda: client.patch_defaults({"gpt-4.1": "canary"}),
    }
    service.will(*(way for _ in range(4)))
    try:
        await calls[call]()
    except ServiceError as error:
        assert_tells_nothing(error, caplog)
    else:
        # Some calls have no use for a body or a link that others stumble over.
        assert_logs_nothing(caplog)


@every_way
async def test_no_call_with_a_token_tells_it_when_it_fails(
    connect: Connect,
    service: Service,
    identity: Identity,
    caplog: pytest.LogCaptureFixture,
    way: Way,
) -> None:
    client = connect(service, credentials=ENTRA)
    service.will(*(way for _ in range(8)))
    body: dict[str, Any] = {"description": "canary"}
    with pytest.raises(ServiceError) as caught:
        await client.put_analyzer("a", body)
    assert_tells_nothing(caught.value, caplog)


@every_way
@pytest.mark.parametrize("step", ["authorize", "copy"])
async def test_no_step_of_a_copy_tells_its_token_or_its_key_when_it_fails(
    pair: Pair,
    caplog: pytest.LogCaptureFixture,
    way: Way,
    step: str,
) -> None:
    leave = await pair.granted(GIVEN) if step == "copy" else None
    pair.service.will(*(way for _ in range(4)))
    try:
        await (pair.authorize(GIVEN) if leave is None else pair.copy(leave))
    except ServiceError as error:
        assert_tells_nothing(error, caplog)
    else:
        # A grant without a word in it is still one of the released protocol.
        assert_logs_nothing(caplog)
        assert step == "authorize"


SENT = ("canary-key-of-west", "canary-token", "canary-encryption")


@pytest.mark.parametrize("secret", [*SENT, "x".join(SENT)])
async def test_no_operation_quotes_what_the_service_was_sent_before(
    seed: Pair, caplog: pytest.LogCaptureFixture, secret: str
) -> None:
    leave = await seed.granted(GIVEN)
    operation = f"{seed.target.resource.endpoint}/contentunderstanding/operations/{secret}?api-version=x"
    headers = {"Operation-Location": operation, "apim-request-id": secret}
    body = {"analyzerId": "a", "warnings": [secret, {"code": secret, "message": f"It was {secret}."}]}
    seed.service.will(httpx.Response(200, json=body, headers=headers))
    started = await seed.copy(leave)
    detail = {"code": secret, "message": f"{secret} is void", "innererror": {"code": f"x{secret}", "message": secret}}
    failed = {"id": secret, "status": f"failed {secret}", "error": detail}
    seed.service.will(httpx.Response(200, json=failed, headers=headers))
    answer = await seed.target.poll(started.operation_url, "a")

    assert started.operation_id == ""
    assert "***" in started.warnings[0]
    assert "canary" not in repr(started.warnings)
    assert_tells_nothing(operation_failed(answer.operation, resource="west", analyzer="a"), caplog)


async def test_what_a_service_says_is_told_but_for_what_it_quotes(connect: Connect, service: Service) -> None:
    service.will(partial(refusal, status=400))
    with pytest.raises(ServiceError) as caught:
        await connect(service).get_analyzer("a")
    assert caught.value.cause.startswith("a at west: Refused: *** ")


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(400, json={"error": "canary", "error_description": "canary"}),
        httpx.Response(400, text="canary"),
        httpx.Response(200, text="canary"),
        httpx.Response(200, json={"access_token": "canary", "expires_on": "in an hour", "resource": "r"}),
        httpx.Response(200, json={"access_token": "canary"}),
    ],
    ids=["refused", "refused in words", "no JSON", "no date", "no end"],
)
async def test_no_failure_to_get_a_token_tells_a_secret(
    connect: Connect,
    service: Service,
    identity: Identity,
    caplog: pytest.LogCaptureFixture,
    answer: httpx.Response,
) -> None:
    identity.refusal = answer
    with pytest.raises(NotAuthorized) as caught:
        await connect(service, credentials=ENTRA).get_analyzer("a")
    forget_azure_identity(caplog)
    assert_tells_nothing(caught.value, caplog)


async def test_what_signs_tells_nothing_to_a_client_of_another_kind_either(
    identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    identity.refusal = httpx.Response(400, json={"error": "canary"})
    auth = auth_for(EntraCredentials())
    assert isinstance(auth, EntraAuth)
    with pytest.raises(NotAuthorized) as caught:
        async with httpx.AsyncClient(auth=auth) as http:
            await http.get("https://west.services.ai.azure.com/")
    await auth.aclose()
    forget_azure_identity(caplog)
    assert_tells_nothing(caught.value, caplog)


@pytest.mark.parametrize("status", [200, 401, 503])
async def test_no_library_below_logs_a_secret_either(
    connect: Connect,
    listen: Listen,
    identity: Identity,
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    heard: list[Heard] = []

    async def answer(request: Heard) -> httpx.Response:
        heard.append(request)
        return httpx.Response(status, json={"analyzerId": "canary", "error": {"message": echo(request.headers, b"")}})

    endpoint = await listen(answer)
    for credentials in ({"kind": "key", "key": "canary-key"}, ENTRA):
        try:
            await connect(endpoint=endpoint, credentials=credentials).get_analyzer("a")
        except ServiceError as error:
            assert_tells_nothing(error, caplog)
        else:
            assert_logs_nothing(caplog)
    signed = repr([request.headers for request in heard])
    assert "canary-key" in signed
    assert "Bearer canary-token-1" in signed
    assert {record.name.partition(".")[0] for record in caplog.records} >= {"standby", "azure"}


def test_no_value_shows_what_it_keeps(pair: Pair) -> None:
    token = Grant.model_validate({"authorizationToken": "canary"})
    leave = CopyAuthorization(pair.source.resource, "a", "a", None, token=token.token, decryption_key=GIVEN.key)
    call = Call("POST", "/x", body={"authorizationToken": "canary"})
    answer = Answer(200, httpx.Headers({"x": "canary"}), b"canary", "west", "https://west", "a")
    assert "canary" not in repr([pair.source.resource, token, leave, GIVEN, call, answer])
