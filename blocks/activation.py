"""Who is told of an activation, as the form of a recovery plan has it.

Prefect (3.8.8) hides secrets nowhere inside lists, so the keys of webhooks lie beside the list of sinks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError

from standby.config.explanation import summary
from standby.config.sinks import FileSink, Sink, VariableSink, WebhookSink

_SINK: TypeAdapter[Sink] = TypeAdapter(Sink)
_KEYS = TypeAdapter(list[str])


class SinkForm(BaseModel):
    """One place that is told which side is active; the fields of the other kinds stay empty."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    kind: Literal["file", "webhook", "variable"] = Field(
        description="A local file, an address that is posted to, or a Prefect variable."
    )
    path: str = Field("", description="File to write, where the flow runs.")
    url: str = Field("", description="Address to post to: https, or http on loopback.")
    name: str = Field("", description="Name of the Prefect variable.")


def sink_forms(sinks: Iterable[Sink]) -> tuple[SinkForm, ...]:
    """Make the forms of some sinks."""
    return tuple(_form(sink) for sink in sinks)


def webhook_keys(sinks: Iterable[Sink]) -> SecretStr | None:
    """Put the keys of all webhooks into one secret, a JSON list in their order."""
    keys = [sink.secret.get_secret_value() for sink in sinks if isinstance(sink, WebhookSink)]
    return SecretStr(json.dumps(keys)) if keys else None


def sinks_of(forms: Iterable[SinkForm], keys: SecretStr | None) -> tuple[Sink, ...]:
    """Give the library's sinks.

    Args:
        forms: as somebody filled them in.
        keys: as `webhook_keys` makes them.

    Raises:
        ValueError: what a sink's kind needs is missing or not valid; no key is told.
    """
    left = iter(_read(keys))
    return tuple(_sink(form, next(left, None) if form.kind == "webhook" else None) for form in forms)


def _form(sink: Sink) -> SinkForm:
    match sink:
        case FileSink():
            return SinkForm(kind="file", path=str(sink.path))
        case WebhookSink():
            return SinkForm(kind="webhook", url=sink.url)
        case VariableSink():
            return SinkForm(kind="variable", name=sink.name)


def _sink(form: SinkForm, key: str | None) -> Sink:
    given: dict[str, object] = form.model_dump(exclude_defaults=True)
    try:
        return _SINK.validate_python(given if key is None else {**given, "secret": key})
    except ValidationError as error:
        raise ValueError(summary(error)) from None


def _read(keys: SecretStr | None) -> list[str]:
    if keys is None or not keys.get_secret_value():
        return []
    try:
        return _KEYS.validate_json(keys.get_secret_value())
    except ValidationError:
        raise ValueError('webhook_keys must be a JSON list of texts, such as ["KEY"]') from None
