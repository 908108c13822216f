"""What a failed call means: the error that a refusing answer, or a missing one, is to an operator."""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import ssl
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx
from pydantic import ValidationError

from standby.config.durations import roughly
from standby.config.resource import LASTING, PREVIEW_2025
from standby.service import errors
from standby.service.auth import KEY_HEADER
from standby.service.models import ErrorDetail
from standby.service.redaction import code_of, one_line
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
BY_CODE: dict[str, type[errors.ServiceError]] = {
    "ApiVersionRetired": errors.ApiVersionRetired,
    "DefaultsNotSet": errors.DefaultsNotSet,
    "DeploymentNotFound": errors.DeploymentMissing,
    "ModelDeploymentNotFound": errors.DeploymentMissing,
    "EmbeddingModelMismatch": errors.EmbeddingMismatch,
}

_OF_ANALYSES: dict[str, type[errors.ServiceError]] = {
    **BY_CODE,
    # Inferred: all but `InvalidRequest` and `InvalidContent`, which users reported.
    "InvalidRequest": errors.InvalidRequest,
    "InvalidContent": errors.InvalidRequest,
    "NotFound": errors.AnalyzerNotFound,
    "ModelNotFound": errors.AnalyzerNotFound,
    "AnalyzerNotFound": errors.AnalyzerNotFound,
    **dict.fromkeys(("429", "TooManyRequests", "RateLimitExceeded", "RateLimitReached"), errors.Throttled),
}
"""What the codes of an analysis mean that failed, or was refused: which of the two is not established."""

OF_THE_RESOURCE = (
    errors.AnalyzerNotFound,
    errors.DefaultsNotSet,
    errors.DeploymentMissing,
    errors.EmbeddingMismatch,
    errors.NotAuthorized,
)
"""What is said in the service's words also where it was sent a document: other words may quote that."""

_OF_DOCUMENTS = (":analyze", "/analyzerResults/")  # What the paths of these calls have, and no other has
CHECK_DOCUMENT = "Check that the document opens, and that the service reads its kind, or take another sample"

_UNRESOLVED = re.compile(r"model deployment.*none was resolved", re.DOTALL)  # Its code is not established (REFERENCE)
_VOID_GRANT = "has not granted"  # A missing grant has the codes of a missing analyzer, and other words (REFERENCE)


def error_of_answer(
    response: httpx.Response, analyzer: str | None, resource: str, now: datetime
) -> errors.ServiceError:
    detail = _detail(response)
    of_document = any(part in response.request.url.path for part in _OF_DOCUMENTS)
    of_analysis = kind_of_analysis(detail) if of_document and response.status_code == 400 else None
    kind = of_analysis or _kind(response.status_code, detail, analyzer)
    text = "" if of_document and kind not in OF_THE_RESOURCE else one_line(detail.words)
    about = f"{analyzer} at {resource}" if analyzer else resource
    if response.status_code in {401, 403} and (skew := clock_skew(response.headers.get("date"), now)):
        about = f"{about} (the clock of this machine is {skew} its own)"
    # A role is nothing that a key could have.
    has_key = kind is errors.NotAuthorized and KEY_HEADER in response.request.headers
    next_action = errors.CORRECT_KEY if has_key else None
    if of_document and kind is errors.InvalidRequest:
        next_action = CHECK_DOCUMENT
    if kind is errors.ApiVersionRetired:
        version = code_of(response.request.url.params.get("api-version")) or "of this call"
        about, next_action = f"{resource} no longer supports api-version {version}", _other_version(version, resource)
    return kind(
        f"{about}: {text}" if text else f"{about} answered HTTP {response.status_code}",
        next_action,
        status=response.status_code,
        code=detail.codes[0] or code_of(response.headers.get("x-ms-error-code")),
        inner_code=detail.codes[1],
        request_id=code_of(response.headers.get("apim-request-id")),
        resource=resource,
        analyzer=analyzer,
        retry_after=retry_after_of(response, now),
    )


class DeadProxy(httpx.ProxyError):
    """No connection to the proxy came about."""


CORRECT_PROXY = "Correct that proxy, or name the host in NO_PROXY to call it without a proxy"
OF_THIS_MACHINE = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.ENETDOWN}
"""Failures of a connection that are the same whoever is called."""

OUT_OF_DATE = {9, 10}  # OpenSSL's numbers of certificates that are not yet valid, or no longer
PASSED_ON = {"502", "503", "504"}  # What a proxy answers that has found nobody itself


def error_of_transport(
    error: httpx.HTTPError, analyzer: str | None, resource: str, endpoint: str, now: datetime, proxy: str
) -> errors.ServiceError:
    """Make the error of an answer that did not come; httpx's own message is left out, as it may hold a URL."""
    where, what = f"{resource} ({endpoint})", _words(error)
    kind: type[errors.ServiceError]
    advice = None
    causes = list(_causes(error))
    untrusted = next((cause for cause in causes if isinstance(cause, ssl.SSLCertVerificationError)), None)
    refusal = str(error)[:3] if isinstance(error, httpx.ProxyError) and str(error)[:3].isdigit() else ""
    if getattr(untrusted, "verify_code", 0) in OUT_OF_DATE:
        kind, cause = errors.UntrustedCertificate, f"The certificate of {where} is not valid at {utc(now)}"
        advice = "If that time is wrong, set the clock of this machine by NTP; if not, renew the certificate"
    elif untrusted is not None:
        kind, cause = errors.UntrustedCertificate, f"The certificate of {where} is not trusted"
    elif isinstance(error, DeadProxy):
        kind, cause = errors.NotFromHere, f"No connection to {proxy} for calls to {where}: {what}"
        advice = CORRECT_PROXY
    elif refusal and refusal not in PASSED_ON:
        kind, cause = errors.NotFromHere, f"HTTP {refusal} of {proxy}, so {where} cannot be called"
        advice = CORRECT_PROXY
    elif any(isinstance(each, OSError) and each.errno in OF_THIS_MACHINE for each in causes):
        kind, cause = errors.NotFromHere, f"This machine makes no connection to {where}: {what}"
        advice = "Free what this machine lacks, such as open files (ulimit -n), then run again"
    elif isinstance(error, NEVER_SENT):
        by = f" through {proxy}" if proxy else ""
        kind, cause, advice = errors.NotConnected, f"No connection to {where}{by}: {what}", _advice(causes)
    elif isinstance(error, httpx.LocalProtocolError):
        kind, cause = errors.ProtocolError, f"The answer of {where} cannot be read: {what}"
    else:
        kind, cause = errors.Unreachable, f"No answer from {where}: {what}"
    return kind(cause, advice, resource=resource, analyzer=analyzer)


def _words(error: httpx.HTTPError) -> str:
    for cause in reversed(list(_causes(error))):
        if isinstance(cause, socket.gaierror):
            return f"the name of the host is not found ({cause.strerror})"
        if isinstance(cause, OSError) and cause.errno and not isinstance(cause, ssl.SSLError):
            return os.strerror(cause.errno)
        if isinstance(cause, ssl.SSLError):
            reason = getattr(cause, "reason", None) or "no reason given"
            return f"TLS could not be agreed upon ({reason.replace('_', ' ').lower()})"
    if isinstance(error, httpx.ConnectTimeout):
        return "the connection was not accepted in time"
    return "it did not come in time" if isinstance(error, httpx.TimeoutException) else type(error).__name__


def _advice(causes: Sequence[BaseException]) -> str:
    """Say what to do about a connection that did not come about, by what did not work first."""
    what = "whether a firewall or a private network lies between"
    for cause in causes:
        if isinstance(cause, socket.gaierror):
            what = "the spelling of the endpoint, and whether this machine's DNS knows it (nslookup)"
        elif isinstance(cause, ssl.SSLError):
            what = "that the endpoint and its port use https, and which proxy or firewall answers instead"
        elif isinstance(cause, ConnectionRefusedError):
            what = "the host and the port of the endpoint: nothing listens there, or a firewall refuses"
    return f"Check {what}; if the region is down, fail over"


def kind_of_analysis(detail: ErrorDetail) -> type[errors.ServiceError] | None:
    """Say what an analysis without a result means, by its innermost code; `None` where that is not known."""
    if any(_UNRESOLVED.search(level.message or "") for level in detail.chain):
        return errors.DefaultsNotSet
    known = (_OF_ANALYSES[level.code] for level in reversed(detail.chain) if level.code in _OF_ANALYSES)
    return next(known, None)


def _kind(status: int, detail: ErrorDetail, analyzer: str | None) -> type[errors.ServiceError]:
    for level in detail.chain:
        if level.code in BY_CODE:
            return BY_CODE[level.code]
    # Inferred: that it is a 404, from its code (REFERENCE, *Not established*), so other refusals count too.
    if 400 <= status < 500 and any(_VOID_GRANT in (level.message or "") for level in detail.chain):
        return errors.GrantVoid
    if status == 404:
        return errors.AnalyzerNotFound if analyzer else errors.ResourceNotFound
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if 400 <= status < 500:
        return errors.InvalidRequest
    return errors.ServiceUnavailable if status >= 500 else errors.ProtocolError


def _other_version(version: str, resource: str) -> str:
    if version not in {*LASTING, PREVIEW_2025}:
        return "Install a newer Standby, which uses another one"
    others = " or ".join(each for each in LASTING if each != version)
    return f"Set api_version: {others} for {resource} and for each resource that it copies from or to, then copy again"


def _detail(response: httpx.Response) -> ErrorDetail:
    try:
        body = json.loads(response.content)
        return ErrorDetail.model_validate(body["error"])
    except (ValueError, KeyError, TypeError, ValidationError, RecursionError):
        # A gateway in between answers in its own words; the status has to be enough.
        return ErrorDetail()


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for each in error.exceptions:
                yield from _causes(each)
        error = error.__cause__ or error.__context__


def retry_after_of(response: httpx.Response, now: datetime) -> float | None:
    return parse_retry_after(response.headers.get("retry-after"), date=response.headers.get("date"), now=now)


def parse_retry_after(value: str | None, *, date: str | None, now: datetime) -> float | None:
    """Read a Retry-After header: seconds, or an HTTP date by the clock of the answer (`date`); else `None`."""
    text = (value or "").strip()
    if not text or not text.isascii():
        return None
    if text.replace(".", "", 1).isdigit():
        return float(text)
    until = _http_date(text)
    return None if until is None else max(0.0, (until - (_http_date(date or "") or now)).total_seconds())


TOLERATED_SKEW = timedelta(minutes=5)  # Entra refuses tokens on clocks that differ by more


def clock_skew(date: str | None, now: datetime) -> str:
    """Say by how much this machine's clock differs from the date of an answer; empty where it is right or unknown."""
    there = _http_date(date or "")
    if there is None or abs(now - there) <= TOLERATED_SKEW:
        return ""
    return f"{roughly(abs(now - there))} {'ahead of' if now > there else 'behind'}"


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, IndexError, TypeError, OverflowError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
