"""Which failures of a step are worth trying again, after the client has already tried its own way."""

from __future__ import annotations

from standby.replication.errors import CopyNotStarted, TargetAnalyzerNotReady
from standby.service.errors import ServiceError


def is_transient(error: BaseException) -> bool:
    """Say whether the service, not the request, was at fault for the moment."""
    return isinstance(error, ServiceError) and error.transient


def authorize_again(error: BaseException) -> bool:
    """A grant may be asked for as often as needed."""
    return is_transient(error)


def validate_again(error: BaseException) -> bool:
    """A model that nobody serves stays unserved; only the question can be repeated."""
    return is_transient(error)


def copy_again(error: BaseException) -> bool:
    """A copy is asked for again only when it is known not to have started."""
    return is_transient(error) or isinstance(error, CopyNotStarted)


def poll_again(error: BaseException) -> bool:
    """Looking changes nothing."""
    return is_transient(error)


def verify_again(error: BaseException) -> bool:
    """A copy that is over can be a moment late to be ready."""
    return is_transient(error) or isinstance(error, TargetAnalyzerNotReady)
