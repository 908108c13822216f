"""Starting a copy, which must not be done twice."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import SecretStr

from standby.service.authorization import CopyAuthorization
from standby.service.calls import Call
from standby.service.client import ContentUnderstandingClient
from standby.service.errors import (
    CopyOutcomeUnknown,
    NotConnected,
    ProtocolError,
    ServiceUnavailable,
    Unreachable,
)
from standby.service.models import Analyzer, JsonObject, StartedOperation
from standby.service.retrying import Repeat
from standby.service.scrubbing import hidden


async def start_copy(
    target: ContentUnderstandingClient,
    authorization: CopyAuthorization,
    body: JsonObject,
    params: Mapping[str, str],
    secrets: tuple[SecretStr, ...] = (),
) -> StartedOperation:
    """Send `:copy` to a target.

    Raises:
        CopyOutcomeUnknown: it was sent, and no answer came that says whether it was taken.
    """
    analyzer = authorization.target_analyzer
    call = Call(
        "POST",
        target.path(analyzer, ":copy"),
        params,
        body,
        analyzer=analyzer,
        secrets=secrets,
        repeat=Repeat.IF_NOT_TAKEN,
    )
    try:
        answer = await target.post(call)
        copied = answer.read(Analyzer)
        values = [secret.get_secret_value() for secret in secrets]
        warnings = tuple(hidden(warning, values) for warning in copied.warnings)
        return target.started(answer, copied, warnings)
    except NotConnected:
        raise
    except (Unreachable, ServiceUnavailable, ProtocolError) as error:
        raise CopyOutcomeUnknown(
            error.cause,
            status=error.status,
            request_id=error.request_id,
            resource=target.resource.name,
            analyzer=analyzer,
        ) from None
