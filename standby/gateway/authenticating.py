"""Who may deliver: whoever has the token. An action group can put it into the URL only."""

from __future__ import annotations

import hashlib
import hmac

from pydantic import SecretStr
from starlette.requests import Request

SCHEME = "bearer"


class Doorkeeper:
    """Knows the token by its digest, so that a comparison tells nothing about it, not even its length."""

    def __init__(self, token: SecretStr) -> None:
        """Take the token."""
        self._digest = _digest(token.get_secret_value())

    def admits(self, request: Request) -> bool:
        """Say whether a request has the token: as a bearer token, or as the parameter `token` of its URL."""
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        given = [bearer.strip()] if scheme.lower() == SCHEME else []
        given += request.query_params.getlist("token")
        # Not `any`, which would stop at the first that is right.
        right = [hmac.compare_digest(_digest(each), self._digest) for each in given[:2]]
        return True in right


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
