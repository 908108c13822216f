"""The watch: a look at each resource, and from one that fails on a look every few seconds until more is known.

A look waits for nothing but the resource. What follows it, such as an event, happens beside it, so that a vault or a
server that does not answer delays no look, and one resource never delays another.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from standby.clock import Clock
from standby.config.plan import FailoverPolicy, RecoveryPlan
from standby.errors import StandbyError
from standby.recovery.concerns import Concern, Kind, Look, Severity, Subject
from standby.recovery.decision.evidence import proved_at, weigh
from standby.recovery.probe import GRANT, Check, Observation

T = TypeVar("T")

DENSE = timedelta(seconds=5)
"""At most from the beginning of one look to the next while it is unknown whether there is an outage."""

SHORTEST_PAUSE = 1.0  # Seconds between two looks at least: one that hangs takes longer than `DENSE`
AT_ONCE = 2  # Failing looks in a row that are reported as they are made: the second one starts an evaluation

REPORTED = 0.75
"""Share of a probe period that passes between the later reports of an outage: every second one starts an evaluation."""

RECALL_SECONDS = 3.0  # How long it is waited for what earlier looks found
REPORT_SECONDS = 20.0  # How long a report of a look may take; looks do not wait for it
Recall = Callable[[str], Awaitable[Sequence[Observation]]]
Report = Callable[[Observation], Awaitable[None]]


@dataclass(frozen=True)
class Watched:
    observations: Mapping[str, Observation]  # the last look at each resource
    down: frozenset[str]  # the resources of which an outage is proved
    problems: tuple[str, ...]  # what went wrong beside, or instead of, a look; sentences without their full stops


def patience(policy: FailoverPolicy) -> timedelta:
    """Say how long one run looks densely: time enough to prove every outage that lasts."""
    return max(policy.minimum_outage, policy.probe_every * policy.quorum) + 2 * policy.probe_every


def is_known(found: Observation, known: Sequence[Observation], policy: FailoverPolicy) -> bool:
    """Say whether further looks would add nothing: the resource is healthy, or its outage is proved."""
    if found.healthy is False:
        return proved_at(weigh(known, found.resource, found.ended, policy), policy) is not None
    return found.healthy is True


def is_news(found: Observation, reported: Sequence[Observation], policy: FailoverPolicy) -> bool:
    """Say whether a look is to be reported, by what earlier looks and other observers have reported.

    The first two that fail are; of those that follow only as many as keep an evaluation being started.
    """
    if found.healthy is not False:
        return found.healthy is not None
    evidence = weigh(reported, found.resource, found.ended, policy)
    own = [each for each in evidence.streak if each.observer == found.observer]
    if len(own) < AT_ONCE:
        return True
    last = own[0] if len(own) == AT_ONCE else own[-1]
    return found.at - last.at >= policy.probe_every * REPORTED


@dataclass
class Watch:
    """Looks at the resources of one plan, all at the same time and none of them waiting for another."""

    policy: FailoverPolicy
    clock: Clock
    look: Callable[[str], Awaitable[Observation]]
    recall: Recall  # gives what any observer reported of a resource recently
    report: Report  # reports a look; it is not waited for
    _beside: set[asyncio.Task[Any]] = field(default_factory=set)
    _down: set[str] = field(default_factory=set)
    _problems: dict[str, None] = field(default_factory=dict)

    async def run(self, resources: Iterable[str]) -> Watched:
        """Look at each resource until it is known whether it is healthy or its outage is proved."""
        names = list(resources)
        try:
            found = await asyncio.gather(*map(self._until_known, names), return_exceptions=True)
            if self._beside:
                await asyncio.wait(self._beside)
        finally:
            for task in self._beside:
                task.cancel()
        observations = {name: each for name, each in zip(names, found, strict=True) if isinstance(each, Observation)}
        for name, each in zip(names, found, strict=True):
            if isinstance(each, BaseException):
                self._note(f"{name} could not be probed", each)
        return Watched(observations, frozenset(self._down), tuple(self._problems))

    async def _until_known(self, resource: str) -> Observation:
        seen: list[Observation] = []
        reported: list[Observation] = []
        end = self.clock.monotonic() + patience(self.policy).total_seconds()
        while True:
            begun = self.clock.monotonic()
            found = await self.look(resource)
            seen.append(found)
            failing = any(each.healthy is False for each in seen)
            what = f"the earlier reports of {resource} could not be read"
            earlier = (await self._apart(what, self.recall(resource), RECALL_SECONDS) if failing else None) or ()
            if is_news(found, [*dict.fromkeys((*earlier, *reported))], self.policy):
                reported.append(found)
                what = f"a look at {resource} was not reported"
                task = asyncio.ensure_future(self._apart(what, self.report(found), REPORT_SECONDS))
                self._beside.add(task)
                task.add_done_callback(self._beside.discard)
            known = is_known(found, [*dict.fromkeys((*earlier, *seen))], self.policy)
            if known and found.healthy is False:
                self._down.add(resource)
            if known or not failing or self.clock.monotonic() >= end:
                return found
            due = begun + min(DENSE, self.policy.probe_every).total_seconds()
            await self.clock.sleep(max(SHORTEST_PAUSE, due - self.clock.monotonic()))

    async def _apart(self, what: str, work: Awaitable[T], seconds: float) -> T | None:
        """Give the result of some work within some seconds; a failure is noted, and affects nothing else."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait({task}, timeout=seconds)
        finally:
            task.cancel()
        if not task.done() or task.cancelled():
            self._note(what, TimeoutError(f"no end within {seconds:g} s"))
        elif (error := task.exception()) is not None:
            self._note(what, error)
        else:
            return task.result()
        return None

    def _note(self, what: str, error: BaseException) -> None:
        reason = error.cause if isinstance(error, StandbyError) else type(error).__name__
        self._problems[f"{what}: {reason}"] = None


MAY_PASS = frozenset({"NotFromHere", "TokenUnavailable"})  # Codes of what is no answer of the resource
LASTING = 2  # Probe periods for which what may pass has to last before people are told


def protection(plan: RecoveryPlan, watched: Watched, serving: Collection[str] | None) -> Look:
    """Give what is wrong with each resource; that an outage of what serves is proved is no concern: it is answered.

    Each may be what serves where that is not known: `None`.
    """
    found: list[Concern] = []
    unsure: set[Subject] = set()
    for name in plan.resources:
        seen = watched.observations.get(name)
        serves = serving is None or name in serving
        grant = next((each for each in seen.checks if each.name == GRANT), None) if seen else None
        if seen is None or not seen.healthy:
            unsure |= {(Kind.ACCESS, name), (Kind.RESOURCE, name)}
        elif grant is None and not seen.is_well and any(pair.source == name for pair in plan.pairs):
            unsure.add((Kind.ACCESS, name))  # It was not asked for a grant.
        if seen is not None:
            found += _wrong_with(seen, grant, plan, serves=serves, is_down=name in watched.down)
    return Look(frozenset({Kind.ACCESS, Kind.RESOURCE}), tuple(found), frozenset(unsure))


def _wrong_with(
    seen: Observation, grant: Check | None, plan: RecoveryPlan, *, serves: bool, is_down: bool
) -> Iterator[Concern]:
    name, wrong = seen.resource, [each for each in seen.checks if each is not grant and (each.ok is False or each.slow)]

    def concern(kind: Kind, text: str, checks: Sequence[Check], severity: Severity = "warning") -> Concern:
        passes = bool(checks) and all(each.ok is False or each.slow or each.code in MAY_PASS for each in checks)
        lasting = plan.failover.probe_every * LASTING if passes and not is_down else timedelta()
        words = "; ".join(f"{each.name}: {each.detail}" for each in checks)
        action = f"Run standby doctor {plan.name}, which says what to correct"
        return Concern(
            kind=kind, about=name, severity=severity, summary=f"{text}: {words}", next_action=action, lasting=lasting
        )

    refused = [each for each in seen.checks if each.ok is None and each is not grant]
    if seen.healthy is None and serves:
        text = f"{name} serves, and it is unknown whether it is down, so its outage would start no failover"
        yield concern(Kind.ACCESS, text, refused, "critical")
    elif seen.healthy is None:
        yield concern(Kind.ACCESS, f"{name} is a standby and cannot be used, so no failover to it is possible", refused)
    elif not seen.healthy and is_down and not serves:
        yield concern(Kind.RESOURCE, f"{name} is a standby and is down, so no failover to it is possible", wrong)
    elif seen.healthy and wrong:
        yield concern(Kind.RESOURCE, f"{name} answers slowly or in part, which starts no failover", wrong)
    if seen.healthy and grant is not None and not grant.ok:
        yield concern(Kind.ACCESS, f"{name} grants no copies, so nothing new is copied to its targets", [grant])
