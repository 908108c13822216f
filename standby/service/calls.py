"""One call to a service as a value, and what it answered."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

import httpx
from pydantic import BaseModel, JsonValue, ValidationError

from standby.document import read_json
from standby.service.errors import ProtocolError, UntrustedCertificate
from standby.service.redaction import code_of, one_line
from standby.service.retries import Repeat

ANSWER_SECONDS = 15.0
"""How long a resource may take to say what it holds: much longer than it needs, and short for a person who waits."""

Origin: TypeAlias = tuple[str, str, int]
_DEFAULT_PORTS = {"http": 80, "https": 443}


def origin_of(url: httpx.URL) -> Origin:
    """Give scheme, host and port, without regard to case and to a port that is the scheme's own.

    httpx reads the URL here as it does for the request, so that both always mean the same host.
    """
    scheme = url.scheme.lower()
    return scheme, url.raw_host.decode("ascii").lower(), url.port or _DEFAULT_PORTS.get(scheme, 0)


def spelled(origin: Origin) -> str:
    """Write an origin for people, without the port that its scheme has anyway."""
    scheme, host, port = origin
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}" if port == _DEFAULT_PORTS.get(scheme) else f"{scheme}://{host}:{port}"


Tls: TypeAlias = ssl.SSLContext


def trusted_certificates() -> Tls:
    """Make the TLS context of a run; it takes some 25 ms, so all clients of a run share one.

    The environment's `SSL_CERT_FILE` and `SSL_CERT_DIR` stand in for the usual authorities (or `UntrustedCertificate`).
    """
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        cause = f"The trusted certificates cannot be read: {type(error).__name__}"
        raise UntrustedCertificate(cause, "Correct SSL_CERT_FILE or SSL_CERT_DIR") from None


M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Call:
    """A request that has not been sent yet."""

    method: str
    url: str  # absolute, or a path below the endpoint
    # Query parameters; none for a URL that the service gave us, which has its own.
    params: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, JsonValue] | None = field(default=None, repr=False)
    merge_patch: bool = False
    analyzer: str | None = None  # id of the analyzer it is about, for errors
    repeat: Repeat = Repeat.ALWAYS
    # Seconds in all, over every attempt, in which there must be an answer of any kind; for what is asked before long
    # work begins, so that a resource that hangs is given up soon.
    patience: float | None = None

    @property
    def content(self) -> bytes | None:
        return None if self.body is None else json.dumps(self.body).encode()

    @property
    def content_type(self) -> str:
        """The body's media type; the service takes merge patches only under their own (recordings)."""
        return "application/merge-patch+json" if self.merge_patch else "application/json"


@dataclass(frozen=True)
class Answer:
    """An answer that says the call was done."""

    status: int
    headers: httpx.Headers = field(repr=False)
    content: bytes = field(repr=False)
    resource: str
    analyzer: str | None
    retry_after: float | None = None

    def read(self, model: type[M]) -> M:
        """Read the body; `ProtocolError`, without a value of it, where it is not what this call answers."""
        try:
            return model.model_validate(read_json(self.content))
        except ValidationError as error:
            where = one_line("; ".join(".".join(map(str, found["loc"])) for found in error.errors()))
            cause = f"An answer of {self.resource} lacks {where or 'an object'}"
        except ValueError:
            cause = f"{self.resource} answered something that is not JSON"
        # Raised here and not above: those errors hold the body, even as a context.
        raise self.protocol_error(cause)

    def protocol_error(self, cause: str) -> ProtocolError:
        """Make the error of an answer that breaks the protocol."""
        return ProtocolError(
            cause,
            status=self.status,
            request_id=code_of(self.headers.get("apim-request-id")),
            resource=self.resource,
            analyzer=self.analyzer,
        )
