"""What an error of the service says about its health, and what it says about us."""

from __future__ import annotations

from dataclasses import dataclass

from standby.service.errors import (
    DefaultsNotSet,
    ServiceError,
    ServiceUnavailable,
    Throttled,
    TokenUnavailable,
    Unreachable,
)


@dataclass(frozen=True)
class Meaning:
    """What one answer, or the lack of one, says.

    Attributes:
        ok: whether the service did its work; `None` where that cannot be told.
        detail: as a sentence without its full stop.
        code: the service's innermost error code, or else the kind of failure.
    """

    ok: bool | None
    detail: str
    code: str


def meaning_of(error: ServiceError) -> Meaning:
    """Say what a failed call says about the service.

    No answer and 5xx are an outage. To be refused is none: the service answers, and may have good reasons. A
    missing token, an untrusted certificate or an answer of something else in between say nothing about it.
    """
    code = error.inner_code or error.code or type(error).__name__
    match error:
        case DefaultsNotSet():
            return Meaning(True, "answers; no defaults are set", code)
        case Throttled():
            return Meaning(True, "answers; it is asked too often (HTTP 429)", code)
        case TokenUnavailable():
            return Meaning(None, error.cause, code)
        case Unreachable():
            return Meaning(False, error.cause, code)
        case ServiceUnavailable():
            return Meaning(False, f"HTTP {error.status} ({code})", code)
        case _:
            return Meaning(None, error.cause, code)
