"""Tokens, as opaque names of what the emulator remembers: of Entra, and of the `2025-05-01-preview` copy."""

import secrets
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote, urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from standby.clock import SystemClock

DATA_PLANE = "https://cognitiveservices.azure.com"
MANAGEMENT = "https://management.azure.com"
API_VERSION = "2019-08-01"

TIME = SystemClock()  # That of everything that is emulated


class TokenIssuer:
    def __init__(self, seconds: int, header: str | None = None) -> None:
        self.header = header or secrets.token_urlsafe(24)
        self.seconds = seconds
        self._tokens: dict[str, tuple[str, int]] = {}  # each with its audience, and the Unix time of its end

    def issue(self, audience: str) -> tuple[str, int]:
        """Give a new token and the Unix time of its end."""
        token = secrets.token_urlsafe(32)
        expires_on = int(TIME.now().timestamp()) + self.seconds
        self._tokens[token] = audience.rstrip("/"), expires_on
        return token, expires_on

    def audience(self, token: str) -> str | None:
        """Say what a token is good for; `None` where it is unknown, revoked or over."""
        audience, expires_on = self._tokens.get(token, (None, 0))
        return audience if TIME.now().timestamp() < expires_on else None

    def revoke_all(self) -> None:
        self._tokens.clear()

    async def endpoint(self, request: Request) -> Response:
        """Answer as the managed identity of an App Service does, as azure-identity's credential expects."""
        sent = request.headers.get("x-identity-header", "")
        if not secrets.compare_digest(sent.encode(), self.header.encode()):
            return _refused(401, "The header X-IDENTITY-HEADER is missing or wrong.")
        audience = request.query_params.get("resource")
        if not audience or request.query_params.get("api-version") != API_VERSION:
            return _refused(400, f"Give resource, and api-version={API_VERSION}.")
        token, expires_on = self.issue(audience)
        return JSONResponse(
            {
                "access_token": token,
                "expires_on": str(expires_on),
                "resource": audience,
                "token_type": "Bearer",
                "client_id": request.query_params.get("client_id", "00000000-0000-0000-0000-000000000000"),
            }
        )


def bearer_of(authorization: str) -> str | None:
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _refused(status: int, message: str) -> JSONResponse:
    return JSONResponse({"statusCode": status, "message": message}, status)


@dataclass(frozen=True)
class TokenGrant:
    """What a token permits; `target` and `encryption_key` are what it is locked to, if it is."""

    resource: str
    analyzer_id: str
    source: str
    target: str | None
    encryption_key: str | None
    expires_at: datetime

    def opens(self, source: str, target: str) -> bool:
        """Say whether it permits a copy now, from and to these URLs."""
        may_go_there = self.target is None or _plain(self.target) == _plain(target)
        return TIME.now() < self.expires_at and _plain(self.source) == _plain(source) and may_go_there


def _plain(url: str) -> tuple[str, str, str]:
    """Give what tells the places of two analyzers apart: not the host's case, the query or a last slash."""
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.netloc.lower(), unquote(parts.path).rstrip("/")
