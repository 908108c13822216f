"""The body of a delivery: JSON, bounded in size, time and depth, also where it is escaped inside JSON."""

import asyncio
import json
import re
from typing import Annotated, TypeVar

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, StringConstraints, ValidationError
from starlette.requests import ClientDisconnect, Request

from standby.config.errors import summary
from standby.document import JsonValue
from standby.gateway.errors import Malformed, NotJson, TooLarge, TooSlow

MOST_BYTES = 256 * 1024  # Azure Monitor cuts alerts there; Event Grid's deliveries are smaller by default
BODY_SECONDS = 5.0  # Seconds in which a body must have come
DEEPEST = 32  # Levels of lists and objects; what Azure sends has about ten
ESCAPES = 4  # Times that JSON may be escaped inside JSON
CONTENT_TYPES = frozenset({"application/json", "application/cloudevents+json", "application/cloudevents-batch+json"})
_NOT_JSON = f"it cannot be parsed, or has more than {DEEPEST} levels"
_STRINGS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)

M = TypeVar("M", bound=BaseModel)


class Part(BaseModel):
    """A part of a delivery; only what is needed of it is read."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True, defer_build=True)


def _written(value: object) -> object:
    # A number would be taken for seconds since 1970.
    if not isinstance(value, str):
        raise ValueError("must be a date and time")  # noqa: TRY004 - pydantic reports ValueError only
    return value


Text = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
Moment = Annotated[AwareDatetime, BeforeValidator(_written)]


async def read_json(request: Request) -> JsonValue:
    _check_headers(request)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MOST_BYTES:
                    raise TooLarge(MOST_BYTES)
    except TimeoutError:
        raise TooSlow(BODY_SECONDS) from None
    except ClientDisconnect:
        raise Malformed("delivery", "the sender closed the connection before the end") from None
    try:
        return parse(body.decode("utf-8"))
    except ValueError as error:
        # Never the codec's or the parser's own words, which may quote the body.
        raise Malformed("JSON document", "it is not UTF-8" if isinstance(error, UnicodeError) else _NOT_JSON) from None


def _check_headers(request: Request) -> None:
    content_type, _, parameters = request.headers.get("content-type", "").partition(";")
    charset = parameters.replace(" ", "").replace('"', "").lower()
    if (
        content_type.strip().lower() not in CONTENT_TYPES
        or charset not in {"", "charset=utf-8"}
        or request.headers.get("content-encoding", "identity").lower() != "identity"
    ):
        raise NotJson
    length = request.headers.get("content-length", "0")
    if length.isascii() and length.isdigit() and int(length[:20]) > MOST_BYTES:
        raise TooLarge(MOST_BYTES)


def parse(text: str) -> JsonValue:
    """Parse JSON that is not nested too deeply; a `ValueError` for anything else."""
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", _STRINGS.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > DEEPEST:
            raise ValueError
    found: JsonValue = json.loads(text, parse_constant=_no_number)
    return found


def _no_number(_constant: str) -> None:
    raise ValueError


def unescaped(value: object) -> object:
    """Give the JSON that a text holds, however often it was escaped; anything else is given as it is."""
    for _ in range(ESCAPES):
        if not isinstance(value, str):
            return value
        try:
            value = parse(value)
        except ValueError:
            raise ValueError("must be JSON, perhaps escaped") from None
    if isinstance(value, str):
        raise ValueError("is escaped too often")  # noqa: TRY004 - pydantic reports ValueError only
    return value


def validated(model: type[M], value: object, what: str) -> M:
    """Read a part of a delivery as a model; no error quotes its content."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise Malformed(what, summary(error)) from None
