"""What the gateway serves to Prometheus: what the vault says as it is asked, bounded in time and kept for a moment.

What cannot be read costs itself only: it is left out, and `standby.vault.readable` says so. Missing is not zero.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from datetime import datetime
from itertools import chain, groupby, product
from typing import get_args

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest

from standby import telemetry
from standby.clock import Clock
from standby.concurrency import do_for_each
from standby.config.configuration import Configuration
from standby.config.plan import RecoveryPlan
from standby.errors import StandbyError
from standby.fencing import read_fence
from standby.gateway.errors import PartUnreadable
from standby.recovery.concerns import Concerns, Kind, Severity
from standby.recovery.proof.records import Proofs, Verdict, month_of
from standby.recovery.readiness.document import LastStates, State
from standby.recovery.runs import Durations, LastRuns, LatestDrills
from standby.recovery.snapshots.catalog import index_path
from standby.recovery.snapshots.manifest import parse_index
from standby.replication.pacing import Spread
from standby.telemetry import Metric
from standby.vault.documents import read_document
from standby.vault.replica import replica_state
from standby.vault.storage import Storage

KEPT = 15.0  # Seconds for which what was read is served again
SECONDS = 8.0  # For reading everything: a scrape of Prometheus waits for 10 s by default
AT_ONCE = 8  # Parts that are read at the same time

Sample = tuple[Metric, float, tuple[str, ...]]


class Scrapes:
    """Answers scrapes; several at once share one reading of the vault."""

    def __init__(self, configuration: Configuration, vault: Storage, clock: Clock) -> None:
        self._plans = tuple(configuration.plans.values())
        self._vault = vault
        self._clock = clock
        self._reading = asyncio.Lock()
        self._page = b""
        self._read_at = float("-inf")

    async def page(self) -> bytes:
        async with self._reading:
            if self._clock.monotonic() - self._read_at >= KEPT:
                self._page = exposition(await self._read())
                self._read_at = self._clock.monotonic()
            return self._page

    async def _read(self) -> list[Sample]:
        begun = self._clock.monotonic()
        parts = [("", "replica", self._replica())]
        for plan in self._plans:
            parts += [(plan.name, name, read(self._vault, plan, self._clock.now())) for name, read in _PARTS.items()]
        end = asyncio.get_running_loop().time() + SECONDS

        async def read_part(part: tuple[str, str, AsyncIterator[Sample]]) -> list[Sample]:
            plan, name, samples = part
            try:
                async with asyncio.timeout_at(end):
                    found = [each async for each in samples]
            except (StandbyError, OSError, TimeoutError):
                return [(telemetry.READABLE, 0, (plan, name))]
            return [*found, (telemetry.READABLE, 1, (plan, name))]

        found = list(chain.from_iterable(await do_for_each(parts, read_part, AT_ONCE)))
        return [*found, (telemetry.READ_DURATION, self._clock.monotonic() - begun, ())]

    async def _replica(self) -> AsyncIterator[Sample]:
        if (state := await replica_state(self._vault, SECONDS)) is None:
            return
        if state.behind is None:
            raise PartUnreadable(state.where, state.problem or "how far it is behind is unknown")
        since = state.since or self._clock.now()
        lag = max(0.0, (self._clock.now() - since).total_seconds()) if state.behind else 0.0
        yield telemetry.REPLICA_BEHIND, state.behind, ()
        yield telemetry.REPLICA_LAG, lag, ()


async def _readiness(vault: Storage, plan: RecoveryPlan, now: datetime) -> AsyncIterator[Sample]:
    known = await LastStates.read(vault, plan.name, PartUnreadable)
    if plan.objectives.rpo is not None:
        yield telemetry.RPO_OBJECTIVE, plan.objectives.rpo.total_seconds(), (plan.name,)
    for pair, state in known.states.items():
        about = (plan.name, *pair.split("/", 1))
        for each in State:
            yield telemetry.READINESS, float(each is state), (*about, each.value)
    for pair, samples in known.history.items():
        about = (plan.name, *pair.split("/", 1))
        if samples and samples[-1].oldest_point is not None:
            yield telemetry.RPO_AGE, max(0.0, (now - samples[-1].oldest_point).total_seconds()), about
    if checks := [samples[-1].at for samples in known.history.values() if samples]:
        yield telemetry.LAST_SUCCESS, min(checks).timestamp(), ("check", plan.name)


async def _concerns(vault: Storage, plan: RecoveryPlan, _now: datetime) -> AsyncIterator[Sample]:
    found = await read_document(vault, Concerns.place.format(plan=plan.name), Concerns, PartUnreadable)
    if found is None:
        return
    there = [(each.concern.kind, each.concern.severity) for each in found.open]
    for of in product(Kind, get_args(Severity)):
        yield telemetry.CONCERNS, there.count(of), (plan.name, of[0].value, of[1])


async def _fence(vault: Storage, plan: RecoveryPlan, _now: datetime) -> AsyncIterator[Sample]:
    fence = await read_fence(vault, plan)
    yield telemetry.EPOCH, fence.epoch, (plan.name,)
    for primary, each in fence.assignments.items():
        yield telemetry.SERVING, 1.0, (plan.name, primary, each.active, each.phase.value)


async def _replications(vault: Storage, plan: RecoveryPlan, _now: datetime) -> AsyncIterator[Sample]:
    found = await LastRuns.read(vault, plan.name, PartUnreadable)
    pairs = [found.of(pair.source, target).listed_at for pair in plan.pairs for target in pair.targets]
    seen = [at.timestamp() for at in pairs if at is not None]
    if seen and len(seen) == len(pairs):
        yield telemetry.LAST_SUCCESS, min(seen), ("replicate", plan.name)


async def _drills(vault: Storage, plan: RecoveryPlan, _now: datetime) -> AsyncIterator[Sample]:
    found = await LatestDrills.read(vault, plan.name, PartUnreadable)
    if passed := [each.ended_at.timestamp() for each in found.drills.values() if each.passed]:
        yield telemetry.LAST_SUCCESS, max(passed), ("drill", plan.name)


async def _proofs(vault: Storage, plan: RecoveryPlan, now: datetime) -> AsyncIterator[Sample]:
    if plan.samples is None:
        return
    known = await Proofs.read(vault, plan.name, PartUnreadable)
    yield telemetry.PROOF_ANALYSES, known.spent.get(month_of(now), 0), (plan.name,)
    if plan.objectives.proof is not None:
        yield telemetry.PROOF_OBJECTIVE, plan.objectives.proof.total_seconds(), (plan.name,)
    for (source, target), grouping in groupby(known.proofs, key=lambda each: (each.source, each.target)):
        proofs, about = list(grouping), (plan.name, source, target)
        verdicts = [each.verdict for each in proofs]
        for verdict in Verdict:
            yield telemetry.PROVED, verdicts.count(verdict), (*about, verdict.value)
        if agreements := [each.agreement for each in proofs if each.agreement is not None]:
            yield telemetry.PROOF_AGREEMENT, min(agreements), about
        oldest = min(each.compared_at for each in proofs)
        yield telemetry.PROOF_AGE, max(0.0, (now - oldest).total_seconds()), about


async def _snapshots(vault: Storage, plan: RecoveryPlan, _now: datetime) -> AsyncIterator[Sample]:
    path = index_path(plan.name)
    found = parse_index(vault.where(path), await vault.read(path))
    if found.damaged:
        raise PartUnreadable(vault.where(path), "lines of it are damaged")
    if taken := [each.taken_at.timestamp() for each in found.entries]:
        yield telemetry.LAST_SUCCESS, max(taken), ("snapshot", plan.name)


async def _durations(vault: Storage, plan: RecoveryPlan, _now: datetime) -> AsyncIterator[Sample]:
    found = await Durations.read(vault, plan.name, PartUnreadable)
    for kind, seconds in found.seconds.items():
        if seconds:
            spread = Spread.of(seconds)
            yield telemetry.MEASURED, spread.median, (plan.name, kind.value, "median")
            yield telemetry.MEASURED, spread.high, (plan.name, kind.value, "slowest_tenth")


_PARTS: dict[str, Callable[[Storage, RecoveryPlan, datetime], AsyncIterator[Sample]]] = {
    "readiness": _readiness,
    "concerns": _concerns,
    "fence": _fence,
    "runs": _replications,
    "drills": _drills,
    "proofs": _proofs,
    "snapshots": _snapshots,
    "durations": _durations,
}


class _Collected:
    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = list(samples)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for metric in telemetry.OF_THE_GATEWAY:
            names = [name.replace(".", "_") for name in metric.attributes]
            family = GaugeMetricFamily(metric.exposed, metric.description, labels=names)
            for found, value, values in self._samples:
                if found is metric:
                    family.add_metric(values, value)
            if family.samples:
                yield family


def exposition(samples: Iterable[Sample]) -> bytes:
    """Write samples in Prometheus' text format; a metric without any is left out."""
    return generate_latest(_Collected(samples))
