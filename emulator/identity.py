"""Tokens: who gives them out, and which are good for what."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

DATA_PLANE = "https://cognitiveservices.azure.com"
MANAGEMENT = "https://management.azure.com"
API_VERSION = "2019-08-01"


@dataclass(frozen=True)
class _Token:
    audience: str
    expires_on: float


class TokenIssuer:
    """Gives out opaque tokens and remembers them.

    Attributes:
        seconds: how long new tokens last.
    """

    def __init__(self, seconds: int) -> None:
        self.header = secrets.token_urlsafe(24)
        self.seconds = seconds
        self._tokens: dict[str, _Token] = {}

    def issue(self, audience: str) -> tuple[str, int]:
        """Give a new token and the Unix time of its end."""
        token = secrets.token_urlsafe(32)
        expires_on = int(time.time()) + self.seconds
        self._tokens[token] = _Token(audience.rstrip("/"), expires_on)
        return token, expires_on

    def audience(self, token: str) -> str | None:
        """Say what a token is good for; `None` where it is unknown, revoked or over."""
        known = self._tokens.get(token)
        return known.audience if known is not None and time.time() < known.expires_on else None

    def revoke_all(self) -> None:
        """End all tokens now."""
        self._tokens.clear()

    async def endpoint(self, request: Request) -> Response:
        """Answer as the managed identity of an App Service does.

        Source: what azure-identity's App Service credential sends and reads, and Microsoft's page
        "How to use managed identities for App Service".
        """
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
    """Give the token of an `Authorization` header, where there is one."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _refused(status: int, message: str) -> JSONResponse:
    return JSONResponse({"statusCode": status, "message": message}, status)
