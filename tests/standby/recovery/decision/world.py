"""A simulated world: two regions that fail now and then, and observers that are not to be trusted either.

What is simulated is the network and the schedule. Each try of a check, what errors mean, how observations
count, how an evaluation waits and what it decides are the product's own code, in time that jumps.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from standby.config.plan import FailoverPolicy
from standby.fencing import Assignment
from standby.recovery.decision.automation import Automation
from standby.recovery.decision.evaluate import until_settled
from standby.recovery.decision.input import Candidate, CopyAge, Decision, DecisionInput, Fitness, Outcome
from standby.recovery.probe import LIMITS, Check, Observation, check, observed
from standby.service.errors import NotAuthorized, NotConnected, ServiceUnavailable, Throttled
from tests.standby.recovery.decision.virtual_time import BEGINNING, LoopClock, run_in_no_time

POLICY = FailoverPolicy(automatic=True)
PERIOD = POLICY.probe_every.total_seconds()

BLIP = 1.5 * PERIOD
"""Seconds below which a disruption is a blip. The minimum outage is longer, by more than one try takes."""

OUTAGE = 3 * PERIOD
"""Seconds from which a disruption is an outage, and within which it must be detected."""

LATENESS = 3.0
"""Seconds by which a scheduled probe may begin late, each anew."""

EVENTS = 2
"""Unhealthy events after which the automation starts an evaluation."""

STARTING = (1.0, 5.0)
"""Seconds between the last of those events and the evaluation's first look."""

Manner = Literal["refuses", "hangs", "fails", "throttles", "denies"]


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
        isolated: when an observer's own network is down; the evaluation runs beside the first observer.
        flaky: share of looks that an observer gets wrong by itself, by its name.
        lost: share of tries that get no answer; never two in a row.
        slow: seconds that an answer may take at most; with losses, less than what a check has left then.
        restarts: spells in which an observer does not look.
        seed: of everything that is left to chance on the way.
    """

    seconds: float
    source: tuple[Spell, ...] = ()
    standby: tuple[Spell, ...] = ()
    observers: tuple[tuple[str, float], ...] = (("watch@a", 0.0),)
    isolated: dict[str, tuple[Spell, ...]] = field(default_factory=dict)
    flaky: dict[str, float] = field(default_factory=dict)
    lost: float = 0.0
    slow: float = 1.0
    restarts: dict[str, tuple[Spell, ...]] = field(default_factory=dict)
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


class _Running:
    def __init__(self, world: World) -> None:
        self.world = world
        self.chance = random.Random(world.seed)
        self.clock = LoopClock()
        self.events: list[Observation] = []
        self.unhealthy = 0
        self.act: Act | None = None
        self.lost_until = 0.0
        self.evaluation: asyncio.Task[None] | None = None

    async def run(self) -> Act | None:
        async with asyncio.TaskGroup() as group:
            watchers = [group.create_task(self._watch(name, phase)) for name, phase in self.world.observers]
            await asyncio.wait(watchers)
            if self.evaluation is not None:
                self.evaluation.cancel()
                await asyncio.wait([self.evaluation])
        return self.act

    async def _watch(self, name: str, phase: float) -> None:
        tick = phase
        while tick < self.world.seconds and self.act is None:
            due = tick + self.chance.uniform(0, LATENESS)
            await asyncio.sleep(max(0.0, due - self.clock.monotonic()))
            resting = any(spell.covers(due) for spell in self.world.restarts.get(name, ()))
            if not resting:
                self._tell(await self._probe("east", name))
            tick += PERIOD

    def _tell(self, observation: Observation) -> None:
        self.events.append(observation)
        if observation.healthy is not False:
            return
        self.unhealthy += 1
        is_idle = self.evaluation is None or self.evaluation.done()
        if self.unhealthy >= EVENTS:
            self.unhealthy = 0
            if is_idle and self.act is None:
                self.evaluation = asyncio.create_task(self._evaluate())

    async def _evaluate(self) -> None:
        await asyncio.sleep(self.chance.uniform(*STARTING))
        given, decision = await until_settled(self._look, self.clock)
        if decision.outcome is Outcome.ACT:
            self.act = Act(self.clock.monotonic(), decision, given)

    async def _look(self, observations: Sequence[Observation]) -> DecisionInput:
        async with asyncio.TaskGroup() as group:
            source = group.create_task(self._probe("east", "evaluation@a"))
            standby = group.create_task(self._probe("west", "evaluation@a"))
        known = dict.fromkeys([*observations, *self.events[-40:], source.result()])
        return self._case(tuple(known), standby.result())

    def _case(self, observations: tuple[Observation, ...], standby: Observation) -> DecisionInput:
        now = self.clock.now()
        copies = (CopyAge(analyzer="invoice", verified_at=BEGINNING, source_changed=None),)
        fitness = Fitness(state="ready", copies=copies) if standby.healthy else None
        return DecisionInput(
            plan="invoices",
            primary="east",
            run_id="run",
            observer="evaluation@a",
            asked_at=now,
            requested_by="outage",
            policy=POLICY,
            automation=Automation(),
            epoch=0,
            assignments={"east": Assignment(active="east")},
            candidates=(Candidate(resource="west", observation=standby, fitness=fitness),),
            observations=observations,
        )

    async def _probe(self, resource: str, observer: str) -> Observation:
        at, begun = self.clock.now(), self.clock.monotonic()
        wrong = self.chance.random() < self.world.flaky.get(observer, 0.0)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._check(name, resource, observer, wrong=wrong))
                for name in ("defaults", "listing")
            ]
        seconds = self.clock.monotonic() - begun
        return observed(resource, observer, at, seconds, [task.result() for task in tasks])

    async def _check(self, name: str, resource: str, observer: str, *, wrong: bool) -> Check:
        async def ask() -> None:
            manner = "refuses" if wrong else self._manner(resource, observer)
            if manner == "hangs" or self._is_lost():
                await asyncio.sleep(LIMITS.seconds * 2)
            await asyncio.sleep(self.chance.uniform(0.02, self.world.slow if manner is None else 0.3))
            match manner:
                case "refuses":
                    raise NotConnected("No connection to it")
                case "fails":
                    raise ServiceUnavailable("It answered HTTP 503", status=503)
                case "throttles":
                    raise Throttled("Too many requests", status=429)
                case "denies":
                    raise NotAuthorized("Access denied", status=401)

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
