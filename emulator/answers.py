"""Answers to a call, and the refusals of the service."""

import asyncio
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from email.utils import format_datetime

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from standby.document import JsonObject, JsonValue
from standby.emulator.tokens import TIME

Header = tuple[str, str]


def encode(value: object) -> bytes:
    """Write JSON as the service does, compact (recording: get not found)."""
    return json.dumps(value, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Answer:
    """An answer before the headers that every answer has."""

    status: int
    body: bytes = b""
    headers: tuple[Header, ...] = ()


def json_answer(value: JsonValue, status: int = 200, headers: tuple[Header, ...] = ()) -> Answer:
    return Answer(status, encode(value), headers)


@dataclass(eq=False)
class Refusal(Exception):
    """The service refuses a call; `inner` has code and message of the inner error, which names the cause."""

    status: int
    code: str
    message: str
    inner: tuple[str, str] | None = None
    headers: tuple[Header, ...] = ()

    @property
    def error(self) -> JsonObject:
        """The error object, as an operation that failed has it, too."""
        error: JsonObject = {"code": self.code, "message": self.message}
        return error | ({"innererror": {"code": self.inner[0], "message": self.inner[1]}} if self.inner else {})

    def answer(self) -> Answer:
        """Give the answer; its header `x-ms-error-code` repeats the outer code (recording: get not found)."""
        return json_answer({"error": self.error}, self.status, (("x-ms-error-code", self.code), *self.headers))


def analyzer_not_found() -> Refusal:
    """There is no such analyzer (recording: get not found)."""
    return _not_found("ModelNotFound", "The requested model was not found.")


def operation_not_found() -> Refusal:
    """There is no such operation. Inferred: the inner code."""
    return _not_found("OperationNotFound", "The requested operation was not found.")


def not_granted(source_id: str, analyzer_id: str) -> Refusal:
    """The source has not granted this copy; the status is a guess by the code (REFERENCE)."""
    return _not_found(
        "ModelNotFound",
        f"The resource '{source_id}' has not granted the necessary permissions for the source analyzer "
        f"'{analyzer_id}' to copy to the target resource.",
    )


def no_such_path() -> Refusal:
    """Nothing is served there under this api-version. Inferred: the body."""
    return Refusal(404, "NotFound", "Resource not found.")


def invalid_request(inner_code: str, message: str) -> Refusal:
    """The request is wrong; the outer words are those a user reported with `DefaultsNotSet`."""
    return Refusal(400, "InvalidRequest", "Invalid request.", (inner_code, message))


def defaults_not_set() -> Refusal:
    """The resource has no model defaults (REFERENCE, *Other calls*)."""
    return invalid_request(
        "DefaultsNotSet", "Defaults have not yet been set. Call 'PATCH /contentunderstanding/defaults' first."
    )


def already_exists(analyzer_id: str) -> Refusal:
    """The id is taken. Inferred: the body of a 409 is not established."""
    inner = ("ModelExists", f"An analyzer with the id '{analyzer_id}' already exists.")
    return Refusal(409, "Conflict", "The request conflicts with the current state of the resource.", inner)


def _not_found(inner_code: str, message: str) -> Refusal:
    return Refusal(404, "NotFound", "Resource not found.", (inner_code, message))


ALWAYS: tuple[Header, ...] = (
    ("Strict-Transport-Security", "max-age=31536000; includeSubDomains; preload"),
    ("X-Content-Type-Options", "nosniff"),
    ("x-envoy-upstream-service-time", "1"),
)
"""On every answer of the data plane (recordings)."""


class SpelledResponse(Response):
    """A response whose header names keep their case, which Starlette's own lower."""

    def __init__(self, status: int, body: bytes, headers: Iterable[Header]) -> None:
        super().__init__(body, status)
        self.raw_headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


class Silence(Response):
    """No answer: waits until the caller has gone."""

    async def __call__(self, _scope: Scope, receive: Receive, _send: Send) -> None:
        await until_gone(receive)


class Hangup(Response):
    """No answer: closes the connection."""

    async def __call__(self, scope: Scope, receive: Receive, _send: Send) -> None:
        scope["state"]["transport"].abort()
        await until_gone(receive)


def data_plane_response(answer: Answer, headers: Iterable[Header]) -> Response:
    """Make the response of a data-plane call, spelled and framed like the recorded ones."""
    failed = answer.status >= 400
    framing: tuple[Header, ...] = ()
    if answer.status == 204 or failed:
        # Other bodies are sent in chunks (recordings).
        framing = (("Content-Length", str(len(answer.body))),)
    if answer.body:
        framing += (("Content-Type", "application/json" + ("; charset=utf-8" if failed else "")),)
    headers = (*headers, ("Date", format_datetime(TIME.now(), usegmt=True)), *ALWAYS, *framing, *answer.headers)
    return SpelledResponse(answer.status, answer.body, headers)


async def pause(seconds: float, receive: Receive) -> None:
    """Wait, but no longer than the caller does; call it only after the body was read."""
    if seconds > 0:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await until_gone(receive)


async def until_gone(receive: Receive) -> None:
    """Wait until the caller has closed the connection, or we have."""
    while (await receive())["type"] != "http.disconnect":
        continue
