"""The events that Standby emits: they trigger automations and notifications."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from prefect import get_client
from prefect.client.schemas.events import EventPage
from prefect.events import emit_event
from prefect.events.filters import EventFilter
from prefect.events.schemas.events import Event
from prefect.runtime import flow_run
from pydantic import ValidationError

from standby.document import JsonValue
from standby.errors import StandbyError
from standby.fencing import FailoverUnderWay, Fence
from standby.recovery.concerns import Concern, Concerns, Kind, Look, Severity, decide, grouped, report_concerns
from standby.recovery.context import RecoveryContext
from standby.recovery.probe import Observation
from standby.replication.errors import LedgerBusy
from standby.tasks.stage import tried
from standby.text import clean
from standby.vault.errors import Held
from standby.vault.storage import Storage

log = logging.getLogger("standby.flows")

HEALTHY = "content-understanding.resource.healthy"  # a look found that it does its work
UNHEALTHY = "content-understanding.resource.unhealthy"  # a look found that it does not: counts towards an outage
DEGRADED = "content-understanding.resource.degraded"  # a look found that only a part of it works
REPLICATED = "standby.replication.completed"  # a run of replicate ended: `seconds`, `rpo_missed`, `totals`
# A check found another state of a target than the last one: `home`, `target`, `state`, `before`.
READINESS_CHANGED = "standby.readiness.changed"
PROPOSED = "standby.failover.proposed"  # a failover waits for approval: `home`, `from`, `to`, `decision`, `missing`
ACTIVATED = "standby.failover.activated"  # a standby serves: what the report of the failover says of it
ROLLED_BACK = "standby.failover.rolled-back"  # the resource serves again that served before: the same
COMMITTED = "standby.failover.committed"  # it can no longer be rolled back: `committed`, `epoch`
REFUSED = "standby.failover.refused"  # a guard or a person refused it: `home`, `to`, or as for a proposal
WAITING = "standby.failover.waiting"  # an outage is known, and a guard makes it wait: `home`, `what`
FAILED_BACK = "standby.failback.completed"  # the primary serves again: `home`, `epoch`
DRILLED = "standby.drill.completed"  # a drill ended: `home`, `to`, `passed`
# A comparison by documents found another verdict of a copy than the last one: `changed`, each with its `source`,
# `target`, `analyzer`, `verdict`, the one `before`, `samples` and `agreement`.
PROOF_CHANGED = "standby.proof.changed"
# What lessens the protection began, became worse or ended: `began`, `continues`, `ended`, `headline`, `next_action`.
PROTECTION_CHANGED = "standby.protection.changed"
SERVED_BY = "served-by"  # Role of a plan beside a resource that serves for it
STANDBY_OF = "standby-of"  # Role of a plan beside a resource that does not serve for it now
READ_SECONDS = 5.0  # How long an evaluation waits for what others observed
MOST_EVENTS = 50  # Events of one resource that are read at once, the newest: Prefect gives no more
MOST_PAGES = 4  # How often so many are read, where most of them are alerts


def resource_id(resource: str) -> str:
    return f"content-understanding.resource.{resource}"


def plan_id(plan: str) -> str:
    return f"standby.plan.{plan}"


@dataclass(frozen=True)
class PlanEvent:
    """An event about a plan, with a link to the flow run that emits it; critical severity alerts people."""

    name: str
    plan: str
    facts: Mapping[str, JsonValue]
    severity: Severity = "info"

    def emit(self, summary: str) -> None:
        _emit(
            event=self.name,
            resource={"prefect.resource.id": plan_id(self.plan), "prefect.resource.name": self.plan},
            payload={
                "plan": self.plan,
                "run_id": str(flow_run.id or ""),
                "link": str(flow_run.ui_url or ""),
                **self.facts,
                "severity": self.severity,
                "summary": summary,
            },
        )


def every_text(value: Any, change: Callable[[str], str]) -> Any:
    """Give a value as Prefect keeps it, with each text in it changed, at any depth."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {change(str(key)): every_text(each, change) for key, each in value.items()}
    return [every_text(each, change) for each in value] if isinstance(value, list | tuple) else value


def _emit(event: str, resource: dict[str, str], payload: dict[str, Any], related: list[Any] | None = None) -> None:
    """Emit an event. Where Prefect fails it is lost, and nothing else is."""
    try:
        emit_event(event=event, resource=resource, payload=every_text(payload, clean), related=related)
    except Exception as error:
        log.warning("Prefect failed (%s); this continues without: the event %s", type(error).__name__, event)
        log.debug("where that happened:", exc_info=error)


SEVERITY = {"healthy": "info", "degraded": "warning", "unhealthy": "critical"}


def emit_observation(observation: Observation, plan: str, fence: Fence | None) -> None:
    """Emit what a probe of a resource found; nothing where it could not tell whether the resource is healthy.

    The summary is what notifications say. Without a fence any resource of the plan may serve: an outage of it counts.
    """
    if observation.healthy is None:
        return
    name = observation.resource
    serves = fence is None or any(assignment.active == name for assignment in fence.assignments.values())
    severity = SEVERITY[observation.health] if serves or observation.healthy else "warning"
    _emit(
        event=event_of(observation),
        resource={"prefect.resource.id": resource_id(name), "prefect.resource.name": name},
        related=[{"prefect.resource.id": plan_id(plan), "prefect.resource.role": SERVED_BY if serves else STANDBY_OF}],
        payload={
            **observation.model_dump(mode="json"),
            "source": observation.observer.partition("@")[0],
            "severity": severity,
        },
    )


def event_of(observation: Observation) -> str:
    """Name the event of what a probe found."""
    return f"content-understanding.resource.{observation.health}"


LAST_HEALTHY = timedelta(days=1)
"""How far back the last healthy look is searched for: it says when an outage began at the earliest."""


async def last_report(plan: str, within: timedelta) -> datetime | None:
    """Say when the watch of a plan reported last, whatever it saw; `None` where it did not in that time."""
    wanted = _lately([HEALTHY, DEGRADED, UNHEALTHY], within, related={"id": [plan_id(plan)]})
    async with get_client() as client:
        page = await client.read_events(wanted, limit=1)
    return page.events[0].occurred if page.events else None


def _lately(names: list[str], within: timedelta, now: datetime | None = None, **of: Any) -> EventFilter:
    moment = now or datetime.now(UTC)
    occurred = {"since": moment - within, "until": moment + within}
    return EventFilter.model_validate({"event": {"name": names}, "occurred": occurred, **of})


async def told_lately(plan: str, what: str, within: timedelta) -> bool:
    """Say whether people were told the same of a plan not long ago, as far as Prefect knows that."""
    wanted = _lately([WAITING], within, resource={"id": [plan_id(plan)]})

    async def read() -> bool:
        async with get_client() as client:
            page = await client.read_events(wanted, limit=MOST_EVENTS)
        return any(event.payload.get("what") == what for event in page.events)

    return bool(await tried(f"the events of plan {plan}", read, READ_SECONDS))


KEEP_SECONDS = 5.0  # How long the vault may take to keep what people were told
REMEMBERED = timedelta(days=1)  # How far back it is looked for what people were told while the vault did not answer


async def tell_concerns(vault: AbstractAsyncContextManager[Storage], plan: str, look: Look) -> None:
    """Emit one event of what a look at a plan changed; the vault keeps what people know. This never fails.

    A vault that cannot be used is a concern itself. Then the last event says what people know.
    """
    await tried("what people are told", lambda: _tell(vault, plan, look), 3 * KEEP_SECONDS)


AT_WORK = (Held, LedgerBusy, FailoverUnderWay)  # Another run does the same, or comes first


@asynccontextmanager
async def told_if_failing(context: RecoveryContext, kind: Kind, command: str) -> AsyncIterator[None]:
    """Tell people where what a command does fails; that another run is at work is no concern."""
    try:
        yield
    except AT_WORK:
        raise
    except Exception as error:
        plan, cause, action = context.plan.name, f"{type(error).__name__}; its log says where", ""
        if isinstance(error, StandbyError):
            cause, action = error.cause, error.next_action
        text = f"The last {command} of plan {plan} failed: {cause}"
        concern = grouped(kind, "", "warning", [(text, action or f"Run standby {command} {plan}")])
        await tell_concerns(nullcontext(context.vault), plan, Look(frozenset(), (concern,)))
        raise


async def _tell(vault: AbstractAsyncContextManager[Storage], plan: str, look: Look) -> None:
    told = await tried("what people were told", lambda: _last_told(plan), READ_SECONDS)
    now, seen = datetime.now(UTC), replace(look, kinds=look.kinds | {Kind.VAULT})
    known, kept = told or (Concerns(), True)
    try:
        async with asyncio.timeout(KEEP_SECONDS), vault as storage:
            known, change = await report_concerns(storage, plan, seen, now, None if kept else known)
        kept = True
    except (StandbyError, OSError) as error:
        # Only what people are told is remembered then.
        found = [each.model_copy(update={"lasting": timedelta()}) for each in look.found]
        cause = error.cause if isinstance(error, StandbyError) else f"it did not answer ({type(error).__name__})"
        text = f"The vault of plan {plan} cannot be used, so no failover can begin: {cause}"
        action = f"Correct that, then run standby doctor {plan}"
        unusable = Concern(kind=Kind.VAULT, about="", severity="critical", summary=text, next_action=action)
        known, change = decide(known, replace(seen, found=(*found, unusable)), now)
        kept = False
    if change:
        facts = {**change.facts(), "known": known.model_dump(mode="json"), "kept": kept}
        PlanEvent(PROTECTION_CHANGED, plan, facts, change.severity).emit(change.summary)


async def _last_told(plan: str) -> tuple[Concerns, bool]:
    """Give what people know by the last event, and whether the vault knows it as well."""
    wanted = _lately([PROTECTION_CHANGED], REMEMBERED, resource={"id": [plan_id(plan)]})
    async with get_client() as client:
        page = await client.read_events(wanted, limit=1)
    for event in page.events:
        return Concerns.model_validate(event.payload["known"]), bool(event.payload["kept"])
    return Concerns(), True


async def read_observations(resource: str, now: datetime, within: timedelta) -> tuple[Observation, ...]:
    """Read the latest observations of a resource, of any observer, and in any case the last healthy one."""
    found = await _observations(resource, [HEALTHY, DEGRADED, UNHEALTHY], now, within)
    if any(observation.healthy and not observation.alert for observation in found):
        return found
    # Alerts may be newer, and say nothing of when it was healthy.
    earlier = await _observations(resource, [HEALTHY, DEGRADED], now, LAST_HEALTHY)
    last = max((each for each in earlier if not each.alert), key=lambda each: each.at, default=None)
    return (*found, last) if last else found


async def _observations(resource: str, names: list[str], now: datetime, within: timedelta) -> tuple[Observation, ...]:
    """Read the newest observations; an event that holds none is left out, and so is all but the newest alert of each.

    A flood of alerts hides no look: more is read then.
    """
    wanted = _lately(names, within, now, resource={"id": [resource_id(resource)]})

    looks: list[Observation] = []
    alerts: dict[str, Observation] = {}

    async def read() -> None:
        async with get_client() as client:
            page: EventPage | None = await client.read_events(wanted, limit=MOST_EVENTS)
            for _ in range(MOST_PAGES):
                for found in filter(None, map(partial(_observation, resource), page.events if page else ())):
                    if found.alert:
                        alerts.setdefault(found.observer, found)
                    else:
                        looks.append(found)
                if page is None or len(looks) >= MOST_EVENTS // 2:
                    return
                page = await page.get_next_page(client)

    # The evaluation probes for itself as well; without events it only takes longer.
    await tried(f"the events of {resource}", read, READ_SECONDS)
    return (*looks, *alerts.values())


def _observation(resource: str, event: Event) -> Observation | None:
    try:
        found = Observation.model_validate(event.payload)
    except ValidationError:
        log.info("event %s of %s is not an observation", event.id, resource)
        return None
    if found.resource != resource or event.event != event_of(found):
        return None
    # The time that an alert states is not trusted: it counts from when it was received.
    return found.model_copy(update={"at": event.occurred}) if found.alert else found
