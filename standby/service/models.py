"""The service's answers as values: unknown fields are kept, and nothing is added."""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any, Self, TypeGuard
from weakref import WeakValueDictionary

from pydantic import (
    AliasPath,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import from_json

from standby.document import Document, JsonObject, as_text, oddity
from standby.service.redaction import code_of, hidden, one_line
from standby.text import clean, sentence

MOST_WARNING_CHARACTERS = 300  # A warning of the service is cut there before it is carried into reports


def read_timestamp(text: str) -> datetime:
    """Read a timestamp of the service as an aware UTC datetime, to the microsecond; `ValueError` where it is none.

    `expiresAt` has 5 to 7 fractional digits and `+00:00`, `createdAt` whole seconds and `Z` (recordings).
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("out of range") from error


def _timestamp(value: object) -> object:
    if value is not None and not isinstance(value, str):
        raise ValueError("no timestamp")
    return None if value is None else read_timestamp(value)


def _timestamp_or_none(value: object) -> object:
    # One analyzer with an odd date must not cost the whole listing; `to_json` still has what was sent.
    try:
        return value if isinstance(value, datetime) else _timestamp(value)
    except ValueError:
        return None


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def operation_status(value: object) -> object:
    """Give the status of an operation in lower case and in one spelling."""
    return "canceled" if _lower(value) == "cancelled" else _lower(value)


def _strings(value: object) -> object:
    return _only(value, lambda _, item: item is not None)


def _readable(value: object) -> object:
    # One that cannot be read costs itself only: what needs it finds none.
    return _only(value, lambda key, item: isinstance(item, str) and not oddity({key: item}))


def _only(value: object, wanted: Callable[[str, Any], bool]) -> object:
    if not isinstance(value, dict):
        return {} if value is None else value
    return {key: item for key, item in value.items() if wanted(key, item)}


def _texts(value: object) -> object:
    return tuple(text for item in value if (text := _text(item))) if isinstance(value, list) else ()


def _text(item: object) -> str:
    if isinstance(item, dict):
        item = ": ".join(str(item[key]) for key in ("code", "message") if item.get(key))
    return clean(" ".join(clean(hidden(str(item or ""))).split()), MOST_WARNING_CHARACTERS)


TextOrEmpty = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]
Timestamp = Annotated[datetime | None, BeforeValidator(_timestamp_or_none)]


class _Wire(BaseModel):
    """A JSON object of the service, of which some is read."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True, defer_build=True)


class ErrorDetail(_Wire):
    """The service's error object, `{code, message, innererror?}` (recording: get not found)."""

    code: str | None = None
    message: str | None = None
    innererror: ErrorDetail | None = None

    @property
    def chain(self) -> tuple[ErrorDetail, ...]:
        """Give it and what is inside of it: the innermost, which has the cause, is the last."""
        return (self, *(self.innererror.chain if self.innererror else ()))

    @property
    def innermost(self) -> ErrorDetail:
        return self.chain[-1]

    @property
    def words(self) -> str:
        return self.innermost.message or self.message or ""

    @property
    def codes(self) -> tuple[str | None, str | None]:
        """Give its own code and the innermost one, where they can be shown."""
        return code_of(self.code), code_of(self.innermost.code) if self.innererror else None


UNREADABLE = "unreadable"  # The status of an analyzer of which something cannot be read; also stands for what cannot
PREBUILT = "prebuilt-"  # So begin the ids of analyzers that every resource has; they are never copied
NAMELESS = "no id "  # How the names begin of what a list of analyzers has and nothing names: no id begins so
_ID = re.compile(r"[a-zA-Z0-9._-]{1,64}")  # What the service allows an id to be (REFERENCE, *The analyzer*)
_STATUSES = {"creating", "ready", "deleting", "failed", "undefined", UNREADABLE}
_MOST_OF_A_NAME = 80


READ_ONLY = frozenset({"analyzerId", "status", "createdAt", "lastModifiedAt", "warnings", "supportedModels"})
"""Fields only the service writes (REFERENCE, *The analyzer*)."""


class Written:
    """What people wrote of an analyzer, as JSON: as one object for all that have the same."""

    __slots__ = ("__weakref__", "text")

    def __init__(self, text: bytes) -> None:
        self.text = text


@dataclass(frozen=True, slots=True)
class _Told:
    """What an analyzer was read from: as text, of many thousands each byte counts, unless anything about it is odd."""

    only_read: bytes = b"{}"
    written: Written | None = None
    wrong: str = ""
    odd: frozenset[str] = frozenset()
    sent: JsonObject | None = None  # where it cannot be kept as text


_NOTHING = _Told()
_WRITTEN: WeakValueDictionary[bytes, Written] = WeakValueDictionary()
"""By its text, for as long as any analyzer has it: a copy has what its source has, and may be one of many thousands."""


class Analyzer(_Wire):
    """One analyzer, as far as it is read here: where something of it cannot be, its status is `UNREADABLE`."""

    analyzer_id: str = Field(alias="analyzerId")
    status: Annotated[str, BeforeValidator(_lower)] = "undefined"  # one of `_STATUSES`
    created_at: Timestamp = Field(None, alias="createdAt")  # `None` where it was not sent, or cannot be read
    last_modified_at: Timestamp = Field(None, alias="lastModifiedAt")
    description: str | None = None
    base_analyzer_id: str | None = Field(None, alias="baseAnalyzerId")
    models: Annotated[dict[str, str], BeforeValidator(_strings)] = Field(default_factory=dict)
    tags: Annotated[dict[str, str], BeforeValidator(_strings)] = Field(default_factory=dict)
    warnings: Annotated[tuple[str, ...], BeforeValidator(_texts)] = ()

    _told: _Told = PrivateAttr(default_factory=lambda: _NOTHING)

    @model_validator(mode="wrap")
    @classmethod
    def _keep_what_was_sent(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Let what of it cannot be read cost itself only."""
        if not has_id(data):
            made = handler(data)
            made._told = _Told(sent=data if isinstance(data, dict) else None)
            return made
        name = str(data["analyzerId"])
        only_read = written = b""
        odd: dict[str, str] = {}
        try:
            only_read = as_text({key: value for key, value in data.items() if key in READ_ONLY})
            written = as_text({key: value for key, value in data.items() if key not in READ_ONLY})
        except ValueError:
            odd = {key: why for key in data if (why := oddity({key: data[key]}))}
        wrong = odd if _ID.fullmatch(name) else {"analyzerId": "is not a valid id"} | odd
        try:
            made = handler(data)
            if made.status not in _STATUSES:
                wrong |= {"status": f"is {one_line(made.status)}, which is unknown"}
        except ValidationError as error:
            wrong = {str(found["loc"][0]): "has the wrong type" for found in error.errors()} | wrong
        words = ", ".join(f"its field {one_line(key)} {why}" for key, why in wrong.items())
        if wrong:
            rest = {key: value for key, value in data.items() if key not in wrong}
            made = handler({**rest, "analyzerId": _shown(name), "status": UNREADABLE})
        if written:
            made._told = _Told(only_read, _WRITTEN.setdefault(written, Written(written)), words)
        else:
            made._told = _Told(wrong=words, odd=frozenset(odd), sent=data)
        made.model_fields_set.clear()  # Nobody asks, and it is as large as all else together.
        return made

    @classmethod
    def nameless(cls, what: str, wrong: str) -> Analyzer:
        """Represent what a list has and nothing names, such as an entry without an id, so that it is not lost."""
        made = cls.model_validate({"analyzerId": f"{NAMELESS}({what})"})
        made._told = replace(made._told, wrong=wrong)
        return made

    def to_json(self) -> JsonObject:
        """Give exactly what the service sent, as a copy of its own."""
        told = self._told
        kept: JsonObject = from_json(told.only_read) | (from_json(told.written.text) if told.written else {})
        return deepcopy(told.sent) if told.sent is not None else kept

    @property
    def written(self) -> Written | None:
        """What of it people wrote; `None` where anything about it is odd."""
        return self._told.written

    def definition(self) -> JsonObject:
        """Give what the service sent, but for what no hash can be made of: that is only seen to be there."""
        if not self._told.odd:
            return self.to_json()
        return {one_line(key): UNREADABLE if key in self._told.odd else inner for key, inner in self.to_json().items()}

    @property
    def is_prebuilt(self) -> bool:
        return self.analyzer_id.startswith(PREBUILT)

    @property
    def is_nameless(self) -> bool:
        return self.analyzer_id.startswith(NAMELESS)

    @property
    def wrong(self) -> str:
        """What of it cannot be read, and why; empty where all of it can."""
        return self._told.wrong if self.status == UNREADABLE or self.is_nameless else ""

    @property
    def is_whole(self) -> bool:
        """Whether its definition can be kept, and built again, whatever else of it cannot be read."""
        return not self._told.odd and _ID.fullmatch(self.analyzer_id) is not None

    def unreadable(self, where: str, advice: str = "Correct it there, or exclude it from the plan") -> str:
        """Say in a sentence or two that it cannot be read at a resource, why, and what to do."""
        cause = sentence(f"It cannot be read at {where}: {self._told.wrong}")
        return cause if self.is_nameless else f"{cause} {sentence(advice)}"


def _shown(name: str) -> str:
    """Give an id as it is, or where it breaks the rules as far as it can be shown: never as the id of another one."""
    if _ID.fullmatch(name):
        return name
    shown = one_line(name)[:_MOST_OF_A_NAME]
    return f"{NAMELESS}like {shown}" if not shown or _ID.fullmatch(shown) else shown


def has_id(entry: object) -> TypeGuard[JsonObject]:
    """Say whether an entry of a listing can be named."""
    return isinstance(entry, dict) and isinstance(name := entry.get("analyzerId"), str) and bool(name)


class Operation(_Wire):
    """A long-running operation; where it failed, `error` says why, and the answer is HTTP 200 (REFERENCE)."""

    id: str
    status: Annotated[str, BeforeValidator(operation_status)]
    error: ErrorDetail | None = None
    result: Annotated[Analyzer | None, BeforeValidator(lambda value: value if has_id(value) else None)] = None

    @property
    def done(self) -> bool:
        return self.status in {"succeeded", "failed", "canceled"}


class Defaults(_Wire):
    """Which deployment serves which model name at a resource."""

    # An answer that does not name them says nothing of them, rather than that there are none.
    model_deployments: Annotated[dict[str, str], BeforeValidator(_readable)] = Field(alias="modelDeployments")


class Grant(_Wire):
    """The source's answer to a request for a copy authorization; token and source: `2025-05-01-preview` only."""

    # Decisions depend on this date, unlike on an analyzer's: unreadable, it is an error.
    expires_at: Annotated[datetime | None, BeforeValidator(_timestamp)] = Field(None, alias="expiresAt")
    token: SecretStr | None = Field(None, alias="authorizationToken")
    source: str | None = None
    target: str | None = None
    target_resource_id: str | None = Field(None, alias="targetAzureResourceId")


class _ArmPart(Document):
    """A JSON object of Azure's management plane, as far as it is read; what is `null` or not there is empty."""

    model_config = ConfigDict(hide_input_in_errors=True)


class Deployment(_ArmPart):
    """A model deployment of a resource, as ARM answers it; `capacity` is in units of its SKU."""

    name: str
    model: TextOrEmpty = Field("", validation_alias=AliasPath("properties", "model", "name"))
    version: TextOrEmpty = Field("", validation_alias=AliasPath("properties", "model", "version"))
    capacity: int | None = Field(None, validation_alias=AliasPath("sku", "capacity"))
    state: TextOrEmpty = Field("", validation_alias=AliasPath("properties", "provisioningState"))


class CatalogModel(_ArmPart):
    """A version of a model that Azure offers to a resource; when it retires may be put off, or is not named."""

    name: str = ""
    version: TextOrEmpty = ""
    retires_at: Timestamp = Field(None, validation_alias=AliasPath("deprecation", "inference"))


class Account(_ArmPart):
    """A resource, as ARM answers it; the service compares its id by case (REFERENCE), in this spelling."""

    id: str
    location: str


class ListedAccount(Account):
    """A resource in the list of a subscription; `endpoints` are by the name of what is served there."""

    name: str
    kind: TextOrEmpty = ""
    endpoint: TextOrEmpty = Field("", validation_alias=AliasPath("properties", "endpoint"))
    endpoints: Annotated[dict[str, str], BeforeValidator(_readable)] = Field(
        default_factory=dict, validation_alias=AliasPath("properties", "endpoints")
    )
    subdomain: TextOrEmpty = Field("", validation_alias=AliasPath("properties", "customSubDomainName"))
    public_access: TextOrEmpty = Field("", validation_alias=AliasPath("properties", "publicNetworkAccess"))
    others_may: TextOrEmpty = Field("", validation_alias=AliasPath("properties", "networkAcls", "defaultAction"))
    keys_disabled: bool | None = Field(None, validation_alias=AliasPath("properties", "disableLocalAuth"))


class Subscription(_ArmPart):
    """A subscription that the identity can see."""

    id: str = Field(validation_alias="subscriptionId")
    name: TextOrEmpty = Field("", validation_alias="displayName")


@dataclass(frozen=True)
class StartedOperation:
    """What begins and takes a while: where to poll, and the `apim-request-id` of the call (recordings)."""

    operation_url: str
    operation_id: str
    analyzer: Analyzer
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class PollAnswer:
    operation: Operation
    retry_after: float | None
