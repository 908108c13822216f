"""Which error an answer, or the lack of one, stands for."""

from __future__ import annotations

import errno
import json
import os
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import httpx
from pydantic import ValidationError

from standby.config.resource import LASTING, PREVIEW_2025
from standby.service import errors
from standby.service.auth import KEY_HEADER
from standby.service.calls import Call
from standby.service.models import ErrorDetail
from standby.service.redaction import code_of, one_line
from standby.service.retries import clock_skew, parse_retry_after
from standby.text import utc

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

_VOID_GRANT = "has not granted"  # A missing grant has the codes of a missing analyzer, and other words (REFERENCE)


def error_of_answer(response: httpx.Response, call: Call, resource: str, now: datetime) -> errors.ServiceError:
    """Make the error that a refusing answer stands for."""
    detail = _detail(response)
    message = (detail.innermost.message or detail.message or "") if detail else ""
    kind = _kind(response.status_code, detail, call)
    text = one_line(message)
    about = f"{call.analyzer} at {resource}" if call.analyzer else resource
    if response.status_code in {401, 403} and (skew := clock_skew(response.headers.get("date"), now)):
        about = f"{about} (the clock of this machine is {skew} its own)"
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


class DeadProxy(httpx.ProxyError):
    """No connection to the proxy came about."""


@dataclass(frozen=True)
class Way:
    """How a request should have come to its endpoint: perhaps through a proxy."""

    endpoint: str
    now: datetime
    proxy: str = ""


CORRECT_PROXY = "Correct that proxy, or name the host in NO_PROXY, by which it is called without one"
OF_THIS_MACHINE = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.ENETDOWN}
"""Failures of a connection that are the same whoever is called."""

OUT_OF_DATE = {9, 10}  # OpenSSL's numbers of certificates that are not yet valid, or no longer
PASSED_ON = {"502", "503", "504"}  # What a proxy answers that has found nobody itself


def error_of_transport(error: httpx.HTTPError, call: Call, resource: str, way: Way) -> errors.ServiceError:
    """Make the error that a missing answer stands for; httpx's own message is left out, as it may hold a URL."""
    where, what = f"{resource} ({way.endpoint})", _words(error)
    kind: type[errors.ServiceError]
    advice = None
    causes = list(_causes(error))
    untrusted = next((cause for cause in causes if isinstance(cause, ssl.SSLCertVerificationError)), None)
    refusal = str(error)[:3] if isinstance(error, httpx.ProxyError) and str(error)[:3].isdigit() else ""
    if getattr(untrusted, "verify_code", 0) in OUT_OF_DATE:
        kind, cause = errors.UntrustedCertificate, f"The certificate of {where} is not valid at {utc(way.now)}"
        advice = "Set the clock of this machine by NTP if that is not the time; else have the certificate renewed"
    elif untrusted is not None:
        kind, cause = errors.UntrustedCertificate, f"The certificate of {where} is not trusted"
    elif isinstance(error, DeadProxy):
        kind, cause = errors.NotFromHere, f"No connection to {way.proxy}, by which {where} is called: {what}"
        advice = CORRECT_PROXY
    elif refusal and refusal not in PASSED_ON:
        kind, cause = errors.NotFromHere, f"HTTP {refusal} of {way.proxy}, so {where} cannot be called"
        advice = CORRECT_PROXY
    elif any(isinstance(each, OSError) and each.errno in OF_THIS_MACHINE for each in causes):
        kind, cause = errors.NotFromHere, f"This machine makes no connection to {where}: {what}"
        advice = "Free what this machine lacks, such as open files (ulimit -n), then run again"
    elif isinstance(error, NEVER_SENT):
        by = f" through {way.proxy}" if way.proxy else ""
        kind, cause = errors.NotConnected, f"No connection to {where}{by}: {what}"
    elif isinstance(error, httpx.LocalProtocolError):
        kind, cause = errors.ProtocolError, f"The answer of {where} cannot be read: {what}"
    else:
        kind, cause = errors.Unreachable, f"No answer from {where}: {what}"
    return kind(cause, advice, resource=resource, analyzer=call.analyzer)


def _words(error: httpx.HTTPError) -> str:
    """Say what happened in the words of the system, where it has any."""
    for cause in reversed(list(_causes(error))):
        if isinstance(cause, socket.gaierror):
            return f"the name of the host is not found ({cause.strerror})"
        if isinstance(cause, OSError) and cause.errno and not isinstance(cause, ssl.SSLError):
            return os.strerror(cause.errno)
    return type(error).__name__


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
    if version not in {*LASTING, PREVIEW_2025}:
        return "Install a newer Standby, which asks by another one"
    others = " or ".join(each for each in LASTING if each != version)
    return f"Set api_version: {others} for {resource} and for what it copies from or to, then copy again"


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
        if isinstance(error, BaseExceptionGroup):
            for each in error.exceptions:
                yield from _causes(each)
        error = error.__cause__ or error.__context__
