"""Every way in which a call to the service can fail that an operator may act upon.

ServiceError
├── AnalyzerNotFound       no such analyzer, or no such operation
├── ResourceNotFound       the endpoint or the resource id leads nowhere
├── ResourceUnusable       what was saved about the resource is not valid, so it was not called
├── NotAuthorized          the identity is refused, or none could be had
├── GrantVoid              the source's permission to copy is missing, over, or for another target
├── Throttled              429, after retries                                      (transient)
├── Unreachable            no answer, so it may have seen the request             (transient)
│   └── NotConnected       not even a connection: the service never saw the request
│       ├── TokenUnavailable   Entra gave no answer, so the service was not even called
│       ├── NotFromHere    this machine, or its proxy, did not let the request out
│       └── StillSilent    calls of this kind failed a moment ago, so it was not called
├── ServiceUnavailable     408 or 5xx, after retries                               (transient)
├── Conflict               it exists already, or is being changed
├── InvalidRequest         the request itself is wrong
├── ApiVersionRetired      the service no longer supports this api-version
├── DefaultsNotSet         the resource has no model defaults yet
├── DeploymentMissing      a named deployment is not at the target
├── EmbeddingMismatch      the target's embedding model is another one; vectors of two do not compare
├── OperationFailed        the service worked on it and gave up
├── OperationHung          the service never finished it
├── CopyOutcomeUnknown     a copy was sent and its answer lost
├── AnalysisOutcomeUnknown  a document was sent and the answer lost
├── ApiVersionMismatch     source and target do not use the same protocol
├── ForeignOrigin          the service pointed somewhere that must not see our credentials
├── UntrustedCertificate   the endpoint is not who it should be
├── ArmUnavailable         the management plane cannot be asked
└── ProtocolError          the service answered what it must not
    └── AnswerUnreadable   it answered what nobody can read, or what was not asked for (transient)

None carries a body, a header, a token or a key.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from standby.errors import StandbyError
from standby.service.models import ErrorDetail, Operation
from standby.service.redaction import code_of, one_line


class ServiceError(StandbyError):
    """A call to the service failed; a `transient` one may well succeed later, and `inner_code` names the cause."""

    transient: ClassVar[bool] = False
    advice: ClassVar[str] = ""

    def __init__(
        self,
        cause: str,
        next_action: str | None = None,
        *,
        status: int | None = None,
        code: str | None = None,
        inner_code: str | None = None,
        request_id: str | None = None,
        resource: str = "",
        analyzer: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(cause, self.advice if next_action is None else next_action)
        self.status = status
        self.code = code
        self.inner_code = inner_code
        self.request_id = request_id
        self.resource = resource
        self.analyzer = analyzer
        self.retry_after = retry_after

    @property
    def told(self) -> str:
        """The cause with what the service's support asks for."""
        codes = "/".join(dict.fromkeys(code for code in (self.code, self.inner_code) if code))
        marks = [f"HTTP {self.status}" if self.status else "", codes]
        marks.append(f"request {self.request_id}" if self.request_id else "")
        codes = ", ".join(mark for mark in marks if mark)
        return f"{self.cause} ({codes})" if codes else self.cause

    def __str__(self) -> str:
        return f"{self.told}. {self.next_action}." if self.next_action else f"{self.told}."


class AnalyzerNotFound(ServiceError):
    advice = "Check the id, and that it was made under the api_version of the resource"


class ResourceNotFound(ServiceError):
    advice = "Check endpoint, resource_id and api_version of the resource"


class ResourceUnusable(ServiceError):
    advice = "Correct the saved settings of the resource"


class NotAuthorized(ServiceError):
    advice = "Give the identity the role Cognitive Services User on the resource, or correct its credentials"


CORRECT_KEY = "Correct the key under credentials of the resource; one that was regenerated is no longer valid"


class GrantVoid(ServiceError):
    advice = (
        "Run again; if the error stays, correct resource_id and region of both resources to what Azure has: "
        "upper and lower case matter there"
    )


class Throttled(ServiceError):
    transient = True
    advice = "Run again later, or lower operations_per_minute of the resource"


class Unreachable(ServiceError):
    transient = True
    advice = "Check the network and the endpoint; if the region is down, fail over"


class NotConnected(Unreachable):
    """No connection came about, so the service cannot have seen the request."""


class TokenUnavailable(NotConnected):
    advice = "Check that Entra can be reached from where this runs"


class NotFromHere(NotConnected):
    """Says nothing about the service."""

    advice = "Correct that on this machine, then run again"


class StillSilent(NotConnected):
    transient = False


class ServiceUnavailable(ServiceError):
    transient = True
    advice = "Run again later; if the region is down, fail over"


class Conflict(ServiceError):
    advice = "Wait until nobody else changes it, then run again to plan from the state at that time"


class InvalidRequest(ServiceError):
    advice = "Correct what the message names"


class ApiVersionRetired(ServiceError):
    advice = "Set another api_version for the resource, and for those it copies from or to"


class DefaultsNotSet(ServiceError):
    advice = "PATCH its /contentunderstanding/defaults with modelDeployments: standby plan says with which"


class DeploymentMissing(ServiceError):
    advice = (
        "Create it there, or name another in the defaults there (with 2025-05-01-preview: in the plan's deployments)"
    )


class EmbeddingMismatch(ServiceError):
    advice = "Name a deployment of the source's embedding model under deployments in the plan"


class OperationFailed(ServiceError):
    advice = "Run again; if it fails again, give the request id to the service's support"


class OperationHung(ServiceError):
    advice = "Run again: it records copies that are ready, and waits for the others"


class CopyOutcomeUnknown(ServiceError):
    advice = "Run again: the target is checked before anything is copied"


class AnalysisOutcomeUnknown(ServiceError):
    advice = "Run again; if there is a result, the service keeps it, and it cannot be deleted from here"


class ApiVersionMismatch(ServiceError):
    advice = "Set the same api_version on both resources"


class ForeignOrigin(ServiceError):
    advice = "Check the endpoint of the resource, and whether a proxy on the way rewrites answers"


class UntrustedCertificate(ServiceError):
    advice = "Check the endpoint; where a company's own authority signs, name its file in SSL_CERT_FILE"


class ArmUnavailable(ServiceError):
    advice = (
        "Give the resource Entra credentials and an arm_endpoint, so that its deployments and the spelling of its "
        "resource_id can be checked"
    )


class ProtocolError(ServiceError):
    advice = "Check that the endpoint is a Content Understanding resource, and its api_version"


class AnswerUnreadable(ProtocolError):
    transient = True
    advice = (
        "Check that the endpoint is a Content Understanding resource; if it is, find out whether a proxy or gateway on "
        "the way answers in its place or cuts its answers, then run again"
    )


@contextmanager
def taken_or_not(unknown: type[ServiceError], resource: str, analyzer: str) -> Iterator[None]:
    """Make another error of those that do not say whether what was sent was taken; without a connection it was not."""
    try:
        yield
    except NotConnected:
        raise
    except (Unreachable, ServiceUnavailable, ProtocolError) as error:
        lost = unknown(error.cause, status=error.status, request_id=error.request_id, resource=resource)
        lost.analyzer = analyzer
        raise lost from None


def operation_failed(operation: Operation, *, resource: str, analyzer: str | None = None) -> OperationFailed:
    """Make the error of an operation that failed; its id is the request id of the call that began it (recordings)."""
    detail = operation.error or ErrorDetail()
    message = one_line(detail.words)
    about = f"The operation on {analyzer}" if analyzer else "The operation"
    cause = f"{about} at {resource} ended as {one_line(operation.status)}{': ' + message if message else ''}"
    failed = OperationFailed(cause, request_id=code_of(operation.id), resource=resource, analyzer=analyzer)
    failed.code, failed.inner_code = detail.codes
    return failed
