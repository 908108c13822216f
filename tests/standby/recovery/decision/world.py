"""A simulated world: two regions that fail now and then, and observers, clocks and alerts that are not to be trusted.

What is simulated is the network, the schedule and how long things take. Each try of a check, what errors mean, when
the watch looks and what it reports, how observations count, how an evaluation waits and what it decides are the
product's own code, in time that jumps.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, get_args

from standby.config.plan import FailoverPolicy
from standby.fencing import Assignment
from standby.recovery.decision.automation import Automation
from standby.recovery.decision.evaluate import until_settled
from standby.recovery.decision.input import RULES, Candidate, CopyAge, Decision, DecisionInput, Fitness, Outcome
from standby.recovery.probe import LIMITS, Check, Observation, check, observed
from standby.recovery.watch import Watch
from standby.service.errors import NotAuthorized, NotConnected, ServiceError, ServiceUnavailable, Throttled
from tests.standby.recovery.decision.virtual_time import BEGINNING, LoopClock, run_in_no_time

POLICY = FailoverPolicy(automatic=True)
PERIOD = POLICY.probe_every.total_seconds()

BLIP = POLICY.minimum_outage.total_seconds()
"""Seconds below which a disruption is a blip."""

OUTAGE = 95.0
"""Seconds from which a disruption is an outage, and within which it is to be answered."""

LATENESS = 3.0
"""Seconds by which a scheduled watch may begin late, each anew."""

EVENTS = 2
"""Unhealthy events after which the automation starts an evaluation."""

WITHIN = 3 * PERIOD
"""Seconds within which these have to come."""

STARTING = (1.0, 12.0)
"""Seconds between the last of those events and the evaluation's first look."""

SENDING = (0.1, 1.0)
"""Seconds until an event can be read."""

ASSESSING = (0.1, 2.0)
"""Seconds to find out whether the target is ready."""

Disruption = Literal["refuses", "hangs", "fails"]
DISRUPTIONS: tuple[Disruption, ...] = get_args(Disruption)
Manner = Literal[Disruption, "throttles", "denies", "slow", "no listing", "no defaults"]


@dataclass(frozen=True)
class Spell:
    """Some time in which a resource, or the network of one observer, is not well."""

    begin: float
    end: float
    manner: Manner

    def covers(self, moment: float) -> bool:
        return self.begin <= moment < self.end


@dataclass(frozen=True)
class World:
    """What will happen.

    Attributes:
        seconds: how long it is watched.
        source: what befalls the source; at most one spell in it is an outage.
        standby: what befalls the target.
        observers: of the watch, with the seconds by which their schedules are apart.
        evaluates: the observer that evaluates.
        clocks: seconds by which the clock of a machine is ahead.
        isolated: when an observer's own network is down.
        flaky: share of looks that an observer gets wrong by itself, by its name.
        lost: share of tries that get no answer; never two in a row.
        slow: seconds that an answer may take at most; with losses, less than what a check has left then.
        restarts: spells in which an observer does not look.
        alerts: when an alert arrives, and whether it says that all is well.
        seed: of everything that is left to chance on the way.
    """

    seconds: float
    source: tuple[Spell, ...] = ()
    standby: tuple[Spell, ...] = ()
    observers: tuple[tuple[str, float], ...] = (("watch@a", 0.0),)
    evaluates: str = "evaluation@a"
    clocks: dict[str, float] = field(default_factory=dict)
    isolated: dict[str, tuple[Spell, ...]] = field(default_factory=dict)
    flaky: dict[str, float] = field(default_factory=dict)
    lost: float = 0.0
    slow: float = 1.0
    restarts: dict[str, tuple[Spell, ...]] = field(default_factory=dict)
    alerts: tuple[tuple[float, bool], ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class Act:
    """A failover that was decided.

    Attributes:
        at: seconds from the beginning of the world.
    """

    at: float
    decision: Decision
    given: DecisionInput


def first_act_in(world: World) -> Act | None:
    """Let a world happen, and tell when a failover was decided first, if one was."""
    return run_in_no_time(_Running(world).run())


def seconds_of(moment: datetime) -> float:
    """Give a date as seconds from the beginning of the world."""
    return (moment - BEGINNING).total_seconds()


@dataclass(frozen=True)
class _Clock(LoopClock):
    """The clock of one machine."""

    ahead: float = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead)


class _Running:
    def __init__(self, world: World) -> None:
        self.world = world
        self.chance = random.Random(world.seed)
        self.clock = LoopClock()
        self.events: list[Observation] = []
        self.unhealthy: list[float] = []
        self.act: Act | None = None
        self.lost_until = 0.0
        self.evaluation: asyncio.Task[None] | None = None

    async def run(self) -> Act | None:
        watchers = [asyncio.create_task(self._schedule(name, phase)) for name, phase in self.world.observers]
        watchers += [asyncio.create_task(self._alert(at, well)) for at, well in self.world.alerts]
        while self.act is None and not all(task.done() for task in watchers):
            await asyncio.sleep(1.0)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        failed = [task for task in watchers if task.done() and not task.cancelled() and task.exception()]
        assert not failed, failed
        return self.act

    async def _schedule(self, name: str, phase: float) -> None:
        """Start the runs of one watch; one that looks densely goes on beside the next."""
        tick, runs = phase, set()
        while tick < self.world.seconds and self.act is None:
            due = tick + self.chance.uniform(0, LATENESS)
            await asyncio.sleep(max(0.0, due - self.clock.monotonic()))
            if not self._rests(name):
                runs.add(asyncio.create_task(self._watch(name)))
            tick += PERIOD
        if runs:
            await asyncio.wait(runs)

    async def _watch(self, name: str) -> None:
        async def look(resource: str) -> Observation:
            return await self._probe(resource, name)

        async def recall(_: str) -> Sequence[Observation]:
            return self.events[-40:]

        async def report(found: Observation) -> None:
            if not self._rests(name):
                await self._tell(found)

        watched = await Watch(POLICY, self._clock_of(name), look, recall, report).run(["east"])
        assert watched.problems == ()

    def _rests(self, name: str) -> bool:
        return any(spell.covers(self.clock.monotonic()) for spell in self.world.restarts.get(name, ()))

    async def _alert(self, at: float, well: bool) -> None:
        await asyncio.sleep(at)
        now = self.clock.now()
        found = Observation(resource="east", observer="azure-monitor", at=now, healthy=well, checks=(), alert=True)
        await self._tell(found)

    async def _tell(self, observation: Observation) -> None:
        await asyncio.sleep(self.chance.uniform(*SENDING))
        self.events.append(observation)
        if observation.healthy is not False:
            return
        now = self.clock.monotonic()
        self.unhealthy = [moment for moment in self.unhealthy if moment > now - WITHIN] + [now]
        is_idle = self.evaluation is None or self.evaluation.done()
        if len(self.unhealthy) >= EVENTS:
            self.unhealthy = []
            if is_idle and self.act is None:
                self.evaluation = asyncio.create_task(self._evaluate())

    async def _evaluate(self) -> None:
        await asyncio.sleep(self.chance.uniform(*STARTING))
        given, decision = await until_settled(self._look, self._clock_of(self.world.evaluates))
        if decision.outcome is Outcome.ACT:
            self.act = Act(self.clock.monotonic(), decision, given)

    async def _look(self, observations: Sequence[Observation]) -> DecisionInput:
        known = dict.fromkeys([*observations, *self.events[-40:]])
        async with asyncio.TaskGroup() as group:
            source = group.create_task(self._probe("east", self.world.evaluates))
            standby = group.create_task(self._probe("west", self.world.evaluates))
        if standby.result().healthy:
            await asyncio.sleep(self.chance.uniform(*ASSESSING))
        return self._input((*known, source.result()), standby.result())

    def _input(self, observations: tuple[Observation, ...], standby: Observation) -> DecisionInput:
        copies = (CopyAge(analyzer="invoice", verified_at=BEGINNING, source_changed=None),)
        fitness = Fitness(state="ready", copies=copies) if standby.healthy else None
        return DecisionInput(
            plan="invoices",
            primary="east",
            run_id="run",
            observer=self.world.evaluates,
            asked_at=self._clock_of(self.world.evaluates).now(),
            requested_by="outage",
            policy=POLICY,
            automation=Automation(),
            epoch=0,
            assignments={"east": Assignment(active="east")},
            candidates=(Candidate(resource="west", observation=standby, fitness=fitness),),
            observations=observations,
            rules=RULES,
        )

    def _clock_of(self, observer: str) -> _Clock:
        return _Clock(self.world.clocks.get(observer.partition("@")[2], 0.0))

    async def _probe(self, resource: str, observer: str) -> Observation:
        clock = self._clock_of(observer)
        at, begun = clock.now(), clock.monotonic()
        wrong = self.chance.random() < self.world.flaky.get(observer, 0.0)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._check(name, resource, observer, wrong=wrong))
                for name in ("defaults", "listing")
            ]
        return observed(resource, observer, at, clock.monotonic() - begun, [task.result() for task in tasks])

    async def _check(self, name: str, resource: str, observer: str, *, wrong: bool) -> Check:
        async def ask() -> None:
            manner = "refuses" if wrong else self._manner(resource, observer)
            if manner == "hangs" or self._is_lost():
                await asyncio.sleep(LIMITS.seconds * 2)
            long = (3.5, 9.0) if manner == "slow" else (0.02, self.world.slow if manner is None else 0.3)
            await asyncio.sleep(self.chance.uniform(*long))
            if manner is None and self.world.slow < LIMITS.patience:
                manner = self._manner(resource, observer)
                if manner in DISRUPTIONS:
                    # What it was about to answer is lost with it.
                    await asyncio.sleep(LIMITS.seconds * 2)
            if error := _ERRORS.get("fails" if manner == f"no {name}" else manner or ""):
                raise error

        return await check(name, ask, LIMITS, self.clock)

    def _is_lost(self) -> bool:
        """Lose single tries: two in a row are a disruption, of which the world has its own."""
        now = self.clock.monotonic()
        if now < self.lost_until or self.chance.random() >= self.world.lost:
            return False
        self.lost_until = now + LIMITS.seconds
        return True

    def _manner(self, resource: str, observer: str) -> Manner | None:
        now = self.clock.monotonic()
        here = observer.partition("@")[2]
        of_us = (
            spell for name, spells in self.world.isolated.items() if name.partition("@")[2] == here for spell in spells
        )
        of_it = self.world.source if resource == "east" else self.world.standby
        return next((spell.manner for spell in (*of_us, *of_it) if spell.covers(now)), None)


_ERRORS: dict[str, ServiceError] = {
    "refuses": NotConnected("No connection to it"),
    "fails": ServiceUnavailable("It answered HTTP 503", status=503),
    "throttles": Throttled("Too many requests", status=429),
    "denies": NotAuthorized("Access denied", status=401),
}
