"""A source's leave to copy."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydantic import SecretStr

from standby.service.resource import Resource


@dataclass(frozen=True)
class CopyAuthorization:
    """The source's leave to copy one analyzer to one target; never stored anywhere.

    Attributes:
        source: the resource that gave it.
        analyzer: id at the source.
        target_analyzer: id the copy gets.
        expires_at: UTC; `None` where the service did not say.
        source_url: the source analyzer as the service names it; only in the seed page's protocol.
        token: likewise.
        decryption_key: key without which the token is of no use, where one was asked for.
    """

    source: Resource
    analyzer: str
    target_analyzer: str
    expires_at: datetime | None
    source_url: str | None = None
    token: SecretStr | None = None
    decryption_key: SecretStr | None = None
