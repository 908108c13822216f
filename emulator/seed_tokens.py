"""Authorization tokens of the seed page's protocol.

The page says they are encrypted; here they are opaque names of what the emulator remembers.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class SeedGrant:
    """What a token permits.

    Attributes:
        resource: name of the source.
        target: URL of the one target analyzer, where it is locked to one.
        encryption_key: that the copy must have as `decryptionKey`, where there is one.
    """

    resource: str
    analyzer_id: str
    source: str
    target: str | None
    encryption_key: str | None
    expires_at: datetime

    def opens(self, source: str, target: str) -> bool:
        """Say whether it permits a copy now, from and to these URLs."""
        return (
            datetime.now(UTC) < self.expires_at
            and same_place(self.source, source)
            and (self.target is None or same_place(self.target, target))
        )


class SeedTokens:
    """The tokens that were given out."""

    def __init__(self) -> None:
        self._grants: dict[str, SeedGrant] = {}

    def issue(self, grant: SeedGrant) -> str:
        """Give a token for a grant."""
        token = void_token()
        self._grants[token] = grant
        return token

    def find(self, token: str) -> SeedGrant | None:
        """Give what a token stands for, where it stands for anything."""
        return self._grants.get(token)


def void_token() -> str:
    """Make a token that stands for nothing."""
    return secrets.token_urlsafe(96)


def same_place(one: str, other: str) -> bool:
    """Say whether two URLs name the same analyzer, whatever the host's case, the query and a last slash."""
    return _plain(one) == _plain(other)


def _plain(url: str) -> tuple[str, str, str]:
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.netloc.lower(), unquote(parts.path).rstrip("/")
