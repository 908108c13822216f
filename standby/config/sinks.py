"""The sinks: where the active endpoint map is published.

A new kind of sink is a model here with its fields in `SinkForm`, a module in `recovery/activation`, and a case
in `recovery/context.py`.
"""

import json
import re
from base64 import b64decode
from collections.abc import Iterable
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    SecretStr,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    field_validator,
)

from standby.config.resource import is_loopback
from standby.document import LocalPath, Strict

VARIABLE_NAME = r"^[a-z0-9_-]+$"  # What Prefect takes for the name of a variable


MODES = frozenset({0o600, 0o640, 0o644, 0o660, 0o664})  # Of a file that nobody executes, and not everybody can change
_MODE = re.compile(r"(0o|0O|0)?([0-7]{3})")


def parse_mode(value: object) -> int:
    """Read the mode of a file as chmod takes it, `0640` or `640`, however YAML understood it; else `ValueError`."""
    # Without quotes YAML makes the number 416 of the one and 640 of the other. No mode in digits is another as a
    # number.
    if isinstance(value, int) and value in MODES:
        return value
    written = _MODE.fullmatch(str(value))
    mode = int(written[2], 8) if written else None
    if mode not in MODES:
        raise ValueError(f"must be one of {', '.join(map(mode_words, sorted(MODES)))}")
    return mode


def mode_words(mode: int) -> str:
    return f"{mode:04o}"


FileMode = Annotated[  # Who may read a file, and who may write it
    int,
    BeforeValidator(parse_mode),
    PlainSerializer(mode_words, when_used="json"),
    WithJsonSchema({"type": "string", "enum": [mode_words(mode) for mode in sorted(MODES)]}),
]

READ_BY_ALL = 0o644
REQUIRED = "Whether a failover waits for this sink; one that is not required and fails is published to later."
Required = Annotated[bool, Field(description=REQUIRED)]


class FileSink(Strict):
    """Activation writes the active endpoint map to a local file."""

    kind: Literal["file"] = "file"
    required: Required = True
    path: LocalPath = Field(description="File to write.")
    mode: FileMode = Field(
        READ_BY_ALL,
        description="Mode of the file: by default every user of the machine reads it.",
        json_schema_extra={"default": mode_words(READ_BY_ALL)},
    )


MARKED = "whsec_"  # What a secret begins with whose rest is the key in base64, as standardwebhooks writes it


def signing_key(secret: SecretStr) -> bytes:
    """Give the key that a webhook's secret means; `ValueError` where what follows `whsec_` is no key in base64."""
    text = secret.get_secret_value()
    if not text.startswith(MARKED):
        return text.encode()
    written = text.removeprefix(MARKED)
    try:
        key = b64decode(written + "=" * (-len(written) % 4), validate=True)
    except ValueError:
        key = b""
    if not key:
        raise ValueError(f"begins with {MARKED}, so the rest must be a key in base64")
    return key


class WebhookSink(Strict):
    """Activation posts the active endpoint map, signed with the secret."""

    kind: Literal["webhook"] = "webhook"
    required: Required = True
    url: str = Field(description="Address to post to: https, or http on loopback.")
    secret: SecretStr = Field(
        min_length=1, description="Key of the signature: any text, or whsec_ and then bytes in base64."
    )

    @field_validator("url")
    @classmethod
    def _https_or_loopback(cls, value: str) -> str:
        parts = urlsplit(value)
        if not parts.hostname or parts.scheme not in {"http", "https"}:
            raise ValueError("must be a URL such as https://HOST/PATH")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ValueError("must be https: plain http is for loopback only")
        if parts.username or parts.password:
            raise ValueError("must have no user or password in it")
        return value

    @field_validator("secret")
    @classmethod
    def _is_a_key(cls, value: SecretStr) -> SecretStr:
        signing_key(value)
        return value


class VariableSink(Strict):
    """Activation sets a Prefect variable."""

    kind: Literal["variable"] = "variable"
    required: Required = True
    name: Annotated[str, StringConstraints(pattern=VARIABLE_NAME, max_length=255)] = Field(
        description="Name of the variable: lower-case letters, digits, dashes and underscores."
    )


Sink = Annotated[FileSink | WebhookSink | VariableSink, Field(discriminator="kind")]
_SINK: TypeAdapter[Sink] = TypeAdapter(Sink)
_KEYS = TypeAdapter(list[str])


class SinkForm(Strict):
    """A sink as a form of Prefect has it: the fields of all kinds, without secrets; those of other kinds stay empty."""

    kind: Literal["file", "webhook", "variable"] = Field(
        description="A local file, an address that is posted to, or a Prefect variable."
    )
    required: Required = True
    path: str = Field("", description="File to write, where the flow runs.")
    mode: str = Field(mode_words(READ_BY_ALL), description="Mode of the file: who may read and write it.")
    url: str = Field("", description="Address to post to: https, or http on loopback.")
    name: str = Field("", description="Name of the Prefect variable.")


def sink_forms(sinks: Iterable[Sink]) -> tuple[SinkForm, ...]:
    return tuple(SinkForm.model_validate(sink.model_dump(mode="json", exclude={"secret"})) for sink in sinks)


def webhook_keys(sinks: Iterable[Sink]) -> SecretStr | None:
    """Put the keys of all webhooks into one secret, a JSON list in their order."""
    keys = [sink.secret.get_secret_value() for sink in sinks if isinstance(sink, WebhookSink)]
    return SecretStr(json.dumps(keys)) if keys else None


def sinks_of(forms: Iterable[SinkForm], keys: SecretStr | None) -> tuple[Sink, ...]:
    """Give the sinks of some forms and of the keys that `webhook_keys` put together; `ValueError` if not valid."""
    written = keys.get_secret_value() if keys else ""
    try:
        left = _KEYS.validate_json(written or "[]")
    except ValidationError:
        raise ValueError('webhook_keys must be a JSON list of texts, such as ["KEY"]') from None
    sinks = []
    for form in forms:
        given: dict[str, object] = form.model_dump(exclude_defaults=True)
        if form.kind == "webhook" and left:
            given["secret"] = left.pop(0)
        sinks.append(_SINK.validate_python(given))
    return tuple(sinks)
