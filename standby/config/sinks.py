"""Where an activation is published."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, StringConstraints, field_validator

from standby.config.resource import is_loopback
from standby.document import Strict

VARIABLE_NAME = r"^[a-z0-9_-]+$"
"""What Prefect takes for the name of a variable."""


class FileSink(Strict):
    """Activation writes the active endpoint map to a local file."""

    kind: Literal["file"] = "file"
    path: Path = Field(description="File to write.")


class WebhookSink(Strict):
    """Activation posts the active endpoint map, signed with the secret."""

    kind: Literal["webhook"] = "webhook"
    url: str = Field(description="Address to post to: https, or http on loopback.")
    secret: SecretStr = Field(min_length=1, description="Key of the signature.")

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


class VariableSink(Strict):
    """Activation sets a Prefect variable."""

    kind: Literal["variable"] = "variable"
    name: Annotated[str, StringConstraints(pattern=VARIABLE_NAME, max_length=255)] = Field(
        description="Name of the variable: lower-case letters, digits, dashes and underscores."
    )


Sink = Annotated[FileSink | WebhookSink | VariableSink, Field(discriminator="kind")]
