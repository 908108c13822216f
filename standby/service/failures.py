"""Which error an answer, or the lack of one, stands for."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from datetime import datetime
from typing import get_args

import httpx
from pydantic import ValidationError

from standby.config.resource import PREVIEW_2025, ApiVersion
from standby.service import errors
from standby.service.auth import KEY_HEADER
from standby.service.calls import Call
from standby.service.models import ErrorDetail
from standby.service.redaction import code_of, one_line
from standby.service.retries import parse_retry_after

NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)
"""Failures before the first byte of a request left."""

_BY_STATUS: dict[int, type[errors.ServiceError]] = {
    # A missing data-plane role is a 401 here, not a 403 (REFERENCE, *Other calls*).
    401: errors.NotAuthorized,
    403: errors.NotAuthorized,
    408: errors.ServiceUnavailable,
    409: errors.Conflict,
    410: errors.ApiVersionRetired,
    429: errors.Throttled,
}

# Inferred: the codes of the two refusals of `2025-05-01-preview` are not recorded anywhere.
_BY_CODE: dict[str, type[errors.ServiceError]] = {
    "ApiVersionRetired": errors.ApiVersionRetired,
    "DefaultsNotSet": errors.DefaultsNotSet,
    "DeploymentNotFound": errors.DeploymentMissing,
    "ModelDeploymentNotFound": errors.DeploymentMissing,
    "EmbeddingModelMismatch": errors.EmbeddingMismatch,
}

_VOID_GRANT = "has not granted"
"""A missing grant has the codes of a missing analyzer; only its words differ (REFERENCE)."""


def error_of_answer(response: httpx.Response, call: Call, resource: str, now: datetime) -> errors.ServiceError:
    """Make the error that a refusing answer stands for."""
    detail = _detail(response)
    message = (detail.innermost.message or detail.message or "") if detail else ""
    kind = _kind(response.status_code, detail, call)
    text = one_line(message)
    about = f"{call.analyzer} at {resource}" if call.analyzer else resource
    # A role is nothing that a key could have.
    has_key = kind is errors.NotAuthorized and KEY_HEADER in response.request.headers
    next_action = errors.CORRECT_KEY if has_key else None
    if kind is errors.ApiVersionRetired:
        version = code_of(response.request.url.params.get("api-version")) or "of this call"
        about, next_action = f"{resource} no longer speaks api-version {version}", _other_version(version, resource)
    return kind(
        f"{about}: {text}" if text else f"{about} answered HTTP {response.status_code}",
        next_action,
        status=response.status_code,
        code=code_of(detail.code) if detail else code_of(response.headers.get("x-ms-error-code")),
        inner_code=code_of(detail.innermost.code) if detail and detail.innererror else None,
        request_id=code_of(response.headers.get("apim-request-id")),
        resource=resource,
        analyzer=call.analyzer,
        retry_after=parse_retry_after(response.headers.get("retry-after"), date=response.headers.get("date"), now=now),
    )


def error_of_transport(error: httpx.HTTPError, call: Call, resource: str, endpoint: str) -> errors.ServiceError:
    """Make the error that a missing answer stands for; httpx's own message is left out, as it may hold a URL."""
    where, what = f"{resource} ({endpoint})", type(error).__name__
    kind: type[errors.ServiceError]
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error)):
        kind, cause = errors.UntrustedCertificate, f"The certificate of {where} is not trusted"
    elif isinstance(error, NEVER_SENT):
        kind, cause = errors.NotConnected, f"No connection to {where}: {what}"
    elif isinstance(error, httpx.LocalProtocolError):
        kind, cause = errors.ProtocolError, f"The answer of {where} cannot be read: {what}"
    else:
        kind, cause = errors.Unreachable, f"No answer from {where}: {what}"
    return kind(cause, resource=resource, analyzer=call.analyzer)


def _kind(status: int, detail: ErrorDetail | None, call: Call) -> type[errors.ServiceError]:
    levels = list(_chain(detail))
    for level in levels:
        if level.code in _BY_CODE:
            return _BY_CODE[level.code]
    # Inferred: that it is a 404, from its code (REFERENCE, *Not established*), so other refusals count too.
    if 400 <= status < 500 and any(_VOID_GRANT in (level.message or "") for level in levels):
        return errors.GrantVoid
    if status == 404:
        return errors.AnalyzerNotFound if call.analyzer else errors.ResourceNotFound
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if 400 <= status < 500:
        return errors.InvalidRequest
    return errors.ServiceUnavailable if status >= 500 else errors.ProtocolError


def _other_version(version: str, resource: str) -> str:
    known = get_args(ApiVersion)
    others = " or ".join(each for each in known if each not in {version, PREVIEW_2025})
    if version not in known:
        return "Install a newer Standby, which asks by another one"
    return f"Set api_version: {others} for {resource} and for every resource it copies from or to, then copy again"


def _detail(response: httpx.Response) -> ErrorDetail | None:
    try:
        body = json.loads(response.content)
        return ErrorDetail.model_validate(body["error"])
    except (ValueError, KeyError, TypeError, ValidationError, RecursionError):
        # A gateway in between answers in its own words; the status has to be enough.
        return None


def _chain(detail: ErrorDetail | None) -> Iterator[ErrorDetail]:
    while detail is not None:
        yield detail
        detail = detail.innererror


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
