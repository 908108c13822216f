"""What the service reads of one document, as values: odd parts cost themselves only, and nothing of it is shown.

An analysis holds the document's text. None of it is in a repr, an error or a log, and nothing keeps what was sent.
Confidence, spans and source are not even read: they differ between two runs of the same analyzer (REFERENCE-analyze).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AliasPath, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from standby.document import JsonValue, oddity
from standby.service import errors
from standby.service.failures import CHECK_DOCUMENT, OF_THE_RESOURCE, kind_of_analysis
from standby.service.models import ErrorDetail, operation_status
from standby.service.redaction import code_of, one_line


def _text(value: object) -> str:
    """Take text as it is, but for halves of characters: these could neither be hashed nor kept."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else ""


def _hashable(value: JsonValue) -> JsonValue:
    return json.dumps(value) if oddity(value) else value


def _entries(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _objects(value: object) -> list[Any]:
    return [entry for entry in _entries(value) if isinstance(entry, Mapping | BaseModel)]


def _named(value: object) -> dict[str, Any]:
    return {_text(name): entry for name, entry in value.items()} if isinstance(value, Mapping) else {}


def _counts(value: object) -> dict[str, int]:
    return {name: count for name, count in _named(value).items() if type(count) is int and count >= 0}


def _codes(value: object) -> tuple[str, ...]:
    return tuple(code for entry in _objects(value) if (code := code_of(entry.get("code"))))


def _error(value: object) -> object:
    try:
        return ErrorDetail.model_validate(value)
    except ValidationError:
        return None


Text = Annotated[str, BeforeValidator(_text)]


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, defer_build=True, validate_by_name=True)


class AnalyzedField(_Read):
    """One field: an array has `items`, an object `members`, and any other one a `value`, or none at all."""

    type: Text = ""  # as in the schema; which is not read, such as `time`, has its text as `value`
    value: Annotated[JsonValue, BeforeValidator(_hashable)] = Field(None, repr=False)
    items: Annotated[tuple[AnalyzedField, ...], BeforeValidator(_entries)] = Field((), repr=False)
    members: Annotated[dict[str, AnalyzedField], BeforeValidator(_named)] = Field(default_factory=dict, repr=False)

    @model_validator(mode="before")
    @classmethod
    def _of_wire(cls, data: Any) -> Any:
        """Take the one `value…` that there is; what cannot be hashed, or is no field, is its text."""
        if isinstance(data, BaseModel) or (isinstance(data, Mapping) and data.keys() & {"value", "items", "members"}):
            return data
        found = data if isinstance(data, Mapping) else {"value": data}
        read = {"type": found.get("type")}
        for name, value in found.items():
            if name == "valueArray" and isinstance(value, list):
                read["items"] = value
            elif name == "valueObject" and isinstance(value, Mapping):
                read["members"] = value
            elif str(name).startswith("value") and value is not None:
                read["value"] = value
        return read


class Segment(_Read):
    """A part of a document that a router found, with its category."""

    segment_id: Text = Field("", alias="segmentId")
    category: Text = ""


class Content(_Read):
    """What was read of one input, or by a child analyzer of one segment of it (`path` is then `input1/segment1`)."""

    path: Text = ""
    category: Text = ""  # empty but for what a router's child read
    analyzer_id: Text = Field("", alias="analyzerId")
    markdown: Text = Field("", repr=False)
    fields: Annotated[dict[str, AnalyzedField], BeforeValidator(_named)] = Field(default_factory=dict, repr=False)
    segments: Annotated[tuple[Segment, ...], BeforeValidator(_objects)] = ()


class Usage(_Read):
    """What an analysis used: pages of every kind, and tokens by model and direction, such as `gpt-4.1-input`."""

    pages: int = 0
    tokens: Annotated[dict[str, int], BeforeValidator(_counts)] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _of_wire(cls, data: Any) -> Any:
        found = _named(data)
        # Minimal, Basic, Standard, and each as `…Inline`, too
        pages = sum(count for name, count in _counts(found).items() if name.startswith(("pages", "documentPages")))
        return data if isinstance(data, BaseModel) else {"pages": pages, "tokens": found.get("tokens")}


class Analysis(_Read):
    """One analysis as it stands; where it failed, `error` says why, and the answer was HTTP 200."""

    id: Text = ""
    status: Annotated[str, BeforeValidator(operation_status)]
    error: Annotated[ErrorDetail | None, BeforeValidator(_error)] = Field(None, repr=False)
    contents: Annotated[tuple[Content, ...], BeforeValidator(_objects)] = Field(
        (), validation_alias=AliasPath("result", "contents")
    )
    # Their codes only: the words of a warning may quote the document.
    warnings: Annotated[tuple[str, ...], BeforeValidator(_codes)] = Field(
        (), validation_alias=AliasPath("result", "warnings")
    )
    usage: Usage = Field(default_factory=Usage)

    @property
    def done(self) -> bool:
        return self.status in {"succeeded", "failed", "canceled"}

    @property
    def succeeded(self) -> bool:
        return self.status == "succeeded"

    def failure(self, resource: str, analyzer: str) -> errors.ServiceError:
        """Make the error of one that ended without a result, as where the service refused the call itself.

        Of the service's message, which may quote the document, it says only what is about the resource.
        """
        error = self.error or ErrorDetail()
        kind = kind_of_analysis(error) or errors.OperationFailed
        said = one_line(error.innermost.message or "") if kind in OF_THE_RESOURCE else ""
        cause = f"The analysis by {analyzer} at {resource} ended as {one_line(self.status)}{said and f': {said}'}"
        action = CHECK_DOCUMENT if kind is errors.InvalidRequest else None
        made = kind(cause, action, request_id=code_of(self.id), resource=resource, analyzer=analyzer)
        made.code, made.inner_code = error.codes
        return made
