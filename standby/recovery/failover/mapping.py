"""The active endpoint map of a plan, made from its fence and from what is known of names."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from standby.fencing import Fence
from standby.recovery.activation.document import Activation, ActiveEndpoint
from standby.recovery.context import RecoveryContext
from standby.recovery.failover.record import SwitchRecord


def active_map(
    context: RecoveryContext,
    fence: Fence,
    record: SwitchRecord | None,
    at: datetime,
    *,
    named: Mapping[str, str | None] | None = None,
) -> Activation:
    """Make the map that sinks are told.

    Args:
        context: the plan and its resources.
        fence: which side serves in the place of each source.
        record: of the last switch, which has the names.
        at: when it changed, UTC.
        named: what is told of some sources instead of what the fence says; `None` for nobody.

    Raises:
        UnknownName: a resource that serves is no longer configured.
    """
    told: dict[str, str | None] = {home: side.active for home, side in fence.sides.items()}
    told |= named or {}
    return Activation(
        plan=context.plan.name,
        epoch=fence.epoch,
        changed_at=at,
        run_id=record.run_id if record is not None else context.run_id,
        sources={
            home: None if resource is None else _endpoint(context, home, resource, record)
            for home, resource in told.items()
        },
    )


def _endpoint(
    context: RecoveryContext, home: str, resource: str, record: SwitchRecord | None
) -> ActiveEndpoint:
    found = context.configuration.resource(resource)
    return ActiveEndpoint(
        resource=resource,
        endpoint=found.endpoint,
        region=found.region,
        resource_id=found.resource_id,
        api_version=found.api_version,
        analyzers=record.names_at(home, resource) if record is not None else {},
    )
