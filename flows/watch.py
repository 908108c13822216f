"""Probe whether the resources of a plan do their work, and emit an event for each."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect import artifacts, get_client, runtime, states
from prefect.client.schemas.filters import ArtifactCollectionFilter, FlowRunFilter
from prefect.client.schemas.objects import State, StateType

from standby.blocks.store import load_what_is_usable
from standby.clock import SystemClock
from standby.config.configuration import Configuration
from standby.errors import StandbyError, sentence
from standby.fencing import Fence, read_fence
from standby.flows.events import emit_observation, read_observations, tell_concerns
from standby.flows.outcome import FlowOutcome, flow, shown
from standby.flows.run import hand_over
from standby.recovery.concerns import Kind, Look, grouped
from standby.recovery.probe import Observation, WatchReport, observer_here, probe_resources
from standby.recovery.watch import Watch, Watched, patience, protection
from standby.tasks.stage import tried
from standby.vault.vault import open_vault

FENCE_SECONDS = 5.0  # How long it is waited for the fence before an event goes out without it
PAGE_SECONDS = 5.0  # How long the page may keep a watch from attending to an outage
SINKS_SECONDS = 15.0  # How long it is waited for what the sinks hold before people are told the rest
FENCE_KEPT = 10.0  # Seconds for which it is not read again


class Events:
    """Emits what the watch of a plan finds, with what serves as far as that can be read."""

    def __init__(self, configuration: Configuration, plan: str) -> None:
        # Why it could not be read which resource serves, a sentence each without its full stop.
        self.problems: dict[str, None] = {}
        self._configuration = configuration
        self._plan = plan
        self._reading = asyncio.Lock()
        self._read_at: float | None = None
        self._fence: Fence | None = None

    async def emit(self, observation: Observation) -> None:
        """Emit a look. What serves is read afterwards; where that fails, any resource may serve, and it goes out."""
        emit_observation(observation, self._plan, await self.fence() if observation.healthy is not None else None)

    async def fence(self) -> Fence | None:
        """Give what serves, as it was read recently; `None` where it cannot be read."""
        async with self._reading:
            now = asyncio.get_running_loop().time()
            if self._read_at is None or now - self._read_at > FENCE_KEPT:
                self._fence = await self._read()
                self._read_at = now
            return self._fence

    async def _read(self) -> Fence | None:
        try:
            async with asyncio.timeout(FENCE_SECONDS), open_vault(self._configuration.vault) as vault:
                return await read_fence(vault, self._configuration.plan(self._plan))
        except TimeoutError:
            reason = f"the vault did not answer within {FENCE_SECONDS:g} s"
        except StandbyError as error:
            reason = error.cause
        except OSError as error:
            reason = f"the vault cannot be read ({type(error).__name__})"
        self.problems[f"It is unknown which resource serves, so each counts as serving: {reason}"] = None
        return None


async def publish_watch(report: WatchReport) -> bool:
    """Leave a table, unless the last one says the same: a watch runs thousands of times a day."""
    key, description = f"watch-{report.plan}", f"Plan **{report.plan}**: {report.states}."
    wanted = ArtifactCollectionFilter.model_validate({"key": {"any_": [key]}})
    async with get_client() as client:
        last = await client.read_latest_artifacts(artifact_filter=wanted, limit=1)
    if last and last[0].description == description:
        return True
    table = artifacts.TableArtifact(
        key=key,
        table=[
            {
                "resource": observation.resource,
                "state": observation.health,
                "evidence": observation.summary,
                "at": observation.at.isoformat(timespec="seconds"),
                "observer": observation.observer,
            }
            for _, observation in sorted(report.observations.items(), key=lambda each: (bool(each[1].healthy), each[0]))
        ],
        description=description,
    )
    await shown(table).acreate()
    return True


async def cancel_missed(period: timedelta) -> None:
    """Cancel the runs of this deployment that should have begun long ago: this one looks.

    After a pause of the worker or the server there are as many of them as probe periods, and all would start at once.
    """
    now, due = datetime.now(UTC), runtime.flow_run.scheduled_start_time
    if not runtime.deployment.id or due is None or now - due < period:
        return
    wanted = {"deployment_id": {"any_": [runtime.deployment.id]}, "state": {"type": {"any_": [StateType.SCHEDULED]}}}
    wanted["next_scheduled_start_time"] = {"before_": now - period}
    async with get_client() as client:
        for missed in await client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(wanted)):
            await client.set_flow_run_state(missed.id, states.Cancelled(message="A later run looked."))


async def tell_of(
    configuration: Configuration, plan: str, found: Watched, events: Events, sinks: asyncio.Future[Look]
) -> list[str]:
    """Tell people what is wrong with resources and schedules, and with sinks if that is known soon.

    The answer to an outage may take long, and what else is wrong does not wait for it. What is critical of the
    resources is returned.
    """
    # Loaded late: the first look must not wait for it.
    from standby.flows.health import look_at_runs  # noqa: PLC0415

    runs = asyncio.create_task(tried("the runs of what is scheduled", lambda: look_at_runs(plan), PAGE_SECONDS))
    fence = await events.fence()
    serving = None if fence is None else {each.active for each in fence.assignments.values()}
    look = protection(configuration.plan(plan), found, serving) | Look(frozenset({Kind.FENCE}))
    if fence is None:
        action = f"Run standby status {plan}, which says how to go on"
        reasons = [(problem, action) for problem in events.problems]
        look |= Look(frozenset(), (grouped(Kind.FENCE, "", "critical", reasons),))
    await asyncio.wait({sinks}, timeout=SINKS_SECONDS)
    seen = look | (await runs or Look())
    seen = seen | sinks.result() if sinks.done() else seen
    await tell_concerns(open_vault(configuration.vault), plan, seen)
    return [each.summary for each in look.found if each.kind is Kind.ACCESS and each.severity == "critical"]


@flow(name="watch", flow_run_name="watch-{plan}", persist_result=False)
async def watch(plan: str) -> State[dict[str, Any]]:
    """Probe every resource of a recovery plan at the same time, and emit an event for each.

    After a failed probe, the resource is probed every few seconds until it is healthy again or its outage is proved.
    The second unhealthy event starts failover/on-outage, which probes by itself at the same time.

    If no other run handles a proved outage, or a failover that did not end, this run does, and reports what prevents
    it. It publishes the active map again to each sink that does not hold it.

    Args:
        plan: Name of a saved recovery-plan block.
    """
    configuration = await load_what_is_usable(plan)
    policy, clock = configuration.plan(plan).failover, SystemClock()
    observer, events = observer_here("watch"), Events(configuration, plan)

    # A source that grants no copies is degraded: nothing can be replicated from it.
    targets = {pair.source: map(configuration.resource, pair.targets) for pair in configuration.plan(plan).pairs}
    usable = {
        source: next((each for each in there if not each.why_unusable), None) for source, there in targets.items()
    }
    grants = {source: target for source, target in usable.items() if target is not None}

    async def look(resource: str) -> Observation:
        found = await probe_resources([configuration.resource(resource)], observer, clock, grants=grants)
        return found[resource]

    async def recall(resource: str) -> tuple[Observation, ...]:
        return await read_observations(resource, clock.now(), patience(policy))

    cancelling = tried("the end of what was missed", lambda: cancel_missed(policy.probe_every), PAGE_SECONDS)
    missed = asyncio.create_task(cancelling)
    found = await Watch(policy, clock, look, recall, events.emit).run(configuration.resources)
    report = WatchReport(plan=plan, observations=found.observations)
    unusable = (each.why_unusable for each in configuration.resources.values())
    problems = [*filter(None, unusable), *found.problems]
    page = asyncio.create_task(tried("the page of this watch", lambda: publish_watch(report), PAGE_SECONDS))
    # Loaded late: the first look must not wait for it.
    from standby.flows.outage import attend, finish_answers  # noqa: PLC0415

    sinks: asyncio.Future[Look] = asyncio.get_running_loop().create_future()
    telling = asyncio.create_task(tell_of(configuration, plan, found, events, sinks))
    attended = await attend(configuration, plan, found)
    sinks.set_result(attended.look)
    problems += attended.problems
    if not await page:
        problems.append("The page of this watch could not be written")
    await missed
    problems += [*events.problems, *await telling]
    if attended.answers:
        state = await finish_answers(attended.answers)
        # Whoever started the watch here gets what it saw, whatever was done about it.
        hand_over(report)
        return state
    if problems:
        message = " ".join([sentence(report.summary), *map(sentence, problems)])
        return await FlowOutcome("Incomplete", message, report, good=False).finish()
    serves = all(each.healthy for each in report.observations.values())
    name = "Completed" if report.complete else "Degraded" if serves else "Unhealthy"
    return await FlowOutcome(name, report.summary, report).finish()
