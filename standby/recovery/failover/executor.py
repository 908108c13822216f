"""One run of a failover: each step is written down before it is taken, so that another run can resume."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from standby.errors import GuardRefused, StandbyError, sentence
from standby.fencing import HeldFence
from standby.recovery.activation.seen import SinkView
from standby.recovery.activation.sinks import (
    LATER,
    Activation,
    Outcomes,
    SinkFailed,
    SinkResult,
    publish_to_sinks,
    read_back,
)
from standby.recovery.context import RecoveryContext, Stage
from standby.recovery.failover import state
from standby.recovery.failover.begin import must_share
from standby.recovery.failover.errors import NotPublished, TargetNotReady
from standby.recovery.failover.prepare import CLOSING_SYNC, SYNCS, Preparation, listing
from standby.recovery.failover.report import FailoverReport, Phases, State, within
from standby.recovery.proof.records import Proof, wrong_words
from standby.recovery.runs import Kind, add_durations
from standby.replication.items import GOOD
from standby.text import some_sentences
from standby.vault.documents import HeldDocument
from standby.vault.errors import VaultError


@dataclass
class FailoverRun:
    context: RecoveryContext
    held: HeldFence
    file: HeldDocument[state.SwitchRecord]
    record: state.SwitchRecord
    preparation: Preparation
    phases: Phases
    outcomes: Outcomes = field(default_factory=Outcomes)
    published_at: datetime | None = None  # when every sink had been given the resource that serves, UTC
    stopped: list[StandbyError] = field(default_factory=list)  # why, and where undoing it failed too, why that did
    proofs: tuple[Proof, ...] = ()  # what samples showed of the target
    ended: bool = False
    interrupted: bool = False

    def __post_init__(self) -> None:
        self.asked = self.record  # With which this run began

    async def run(self) -> None:
        """Go as far as possible; the attributes say how far that was, no error is raised."""
        try:
            await self._to_its_end()
        except StandbyError as error:
            self.stopped.append(error)
        except asyncio.CancelledError:
            self.interrupted = True

    @property
    def sinks(self) -> tuple[SinkResult, ...]:
        """The outcome for each sink, the last time that something was published to it."""
        results = self.outcomes.results
        return tuple(results[sink.name] for sink in self.context.sinks if sink.name in results)

    async def _to_its_end(self) -> None:
        try:
            await self._withdraw_others()
        except StandbyError as error:
            # After an outage there is nothing to lead applications back to: what was begun is taken up again.
            if self._is_undoing or (self.record.requested_by == "outage" and self.record.touched):
                raise
            self.stopped.append(error)
            # It leads back to where it began, under an epoch of its own.
            ends = {"to": self.record.from_resource, "from_resource": self.record.to}
            back = self.record.model_copy(update={"epoch": self.record.epoch + 1, **ends, "published_at": None})
            self.record = await state.begin_switching(self.context, self.held, self.file, back)
            await self._withdraw_others()
        # Undoing what was never published needs no publication.
        if self.record.touched or not self._is_undoing:
            await self.phases.must(Stage.PUBLISH, f"publish {self.record.to}", self._publish_target)
            self.published_at = self.context.clock.now()
            await self.phases.must(Stage.VERIFY_SINKS, "read the sinks", self._read_back)
        if not self._is_undoing:
            await self.phases.run(Stage.VERIFY, f"verify {self.record.to}", self._verify_target)
        await self._finish()
        await self._prove_target()

    @property
    def _is_undoing(self) -> bool:
        return self.record.to == self.record.before.active

    async def _withdraw_others(self) -> None:
        """Prepare the target where it is new, and see that no sink names another resource any more."""
        record, clock = self.record, self.context.clock
        is_named, is_planned = record.to in record.may_name, state.is_forward(record) and record.mode == "planned"
        if state.is_forward(record) and not record.prepared:
            self.preparation.left_out = dict(record.withheld)
            active = record.before.active
            names = await self.preparation.run(record.primary, active, record.to, planned=is_planned)
            named = record.naming(record.to, names, self.preparation.left_out)
            self.record = named.model_copy(update={"prepared": True})
        others_are_named = bool(set(record.may_name) - {record.to})
        if others_are_named or self.record.prepared != record.prepared:
            await self._save(touched=others_are_named or record.touched)
        if not self._is_undoing and not record.touched:
            # Nothing was published yet, and the record says by now which analyzers it is about: of two plans that begin
            # at once, and have other resources serve the same, one sees the other.
            record, about = self.record, state.names_during(self.record)
            try:
                await must_share(self.context, record.primary, record.to, about, forced=record.forced)
            except GuardRefused:
                self.record = record.model_copy(update={"touched": False})
                raise
        if others_are_named:
            await self.phases.must(Stage.WITHDRAW, "publish nobody", lambda: self._publish(None, clock.now()))
            # If forced, it continues without a sink, which may still name the old resource. One that is not required
            # may do so as well: that is what it means.
            if not any(sink.holds_up for sink in self.sinks):
                # It is written down with what comes next.
                self.record = self.record.model_copy(update={"may_name": ()})
        if is_planned and not is_named:
            # What was edited between the last sync and the moment from which nobody serves.
            await self._save()
            await self.phases.must(Stage.SYNC, CLOSING_SYNC, self._synchronise)

    async def _synchronise(self) -> None:
        record, preparation = self.record, self.preparation
        source = record.before.active
        report = await preparation.synchronise(record.primary, source, record.to)
        names = record.names_at(record.primary, record.to)
        if source == record.primary:
            # What was created there at the last moment is called by its id here, too.
            names = {**{item.analyzer: item.target_analyzer for item in report.items if item.status in GOOD}, **names}
        out = {**record.missing_at(record.primary, record.to), **preparation.left_out}
        names = {name: there for name, there in names.items() if name not in out}
        self.record = record.naming(record.to, names, out)
        await self._save()

    async def _publish_target(self) -> None:
        at = self.record.published_at or self.context.clock.now()
        may_name = tuple(dict.fromkeys((*self.record.may_name, self.record.to)))
        await self._save(may_name=may_name, touched=True, published_at=at)
        await self._publish(self.record.to, at)

    async def _publish(self, resource: str | None, at: datetime) -> None:
        # What failed to take one map is not sent the next: it might take the two the other way round.
        left_out = {sink.name for sink in self.sinks if sink.status == "failed" and not sink.required}
        asked = [sink for sink in self.context.sinks if sink.name not in left_out]
        await publish_to_sinks(asked, self._map(resource, at), self.record.primary, into=self.outcomes)
        if failed := [sink.reason for sink in self.sinks if sink.holds_up]:
            raise NotPublished(failed)

    async def _read_back(self) -> None:
        """Check that the sinks which can be read hold what was published."""
        published = self._map(self.record.to, self.record.published_at or self.context.clock.now())
        told = [sink for sink in self.context.sinks if self.outcomes.results[sink.name].status == "told"]
        wrong, primary = [], self.record.primary
        for sink, read in zip(told, await read_back(told, published.plan), strict=True):
            if read is None:
                continue
            if isinstance(read, SinkFailed):
                reason = str(read)
            elif (read.epoch, read.sources.get(primary)) != (published.epoch, published.sources[primary]):
                reason = f"{sink.name} does not hold the map that was just published, but epoch {read.epoch}"
            else:
                continue
            if sink.required:
                wrong.append(reason)
            else:
                changed = {"status": "failed", "published": "", "reason": f"{sentence(reason)} {LATER}"}
                self.outcomes.results[sink.name] = self.outcomes.results[sink.name].model_copy(update=changed)
        if wrong:
            raise NotPublished(wrong)

    async def _verify_target(self) -> None:
        """Check that the resource answers; it serves in any case, and the report must say so."""
        try:
            await listing(self.context, self.record.to)
        except TargetNotReady as error:
            self.phases.problems.append(str(error))

    async def _prove_target(self) -> None:
        """Analyse a sample of each analyzer at the resource that serves by now; the report says what was found."""
        context, record, samples = self.context, self.record, self.context.plan.samples
        if samples is None or not samples.failover or not state.is_forward(record):
            return
        called = record.names_at(record.primary, record.to)
        work = partial(by_samples, context, record.primary, record.to, called, seconds=samples.failover)
        self.proofs, wrong = await self.phases.run(Stage.ANALYZE, f"analyse samples at {record.to}", work)
        self.phases.problems += wrong

    def _map(self, resource: str | None, at: datetime) -> Activation:
        fence, record = self.held.fence, self.record
        return state.active_map(self.context, {**fence.serving, record.primary: resource}, fence.epoch, record, at)

    async def _finish(self) -> None:
        now = self.context.clock.now()
        await self.held.write(state.fence_after(self.held.fence, self.context.plan, self.record, now))
        self.ended = True
        await state.record_end(self.context, self.file, self.record)

    async def _save(self, **changed: object) -> None:
        """Write down what is true from here on; it fails where another run has taken the failover over."""
        self.record = self.record.model_copy(update=changed)
        await self.file.write(self.record)


async def by_samples(
    context: RecoveryContext, primary: str, to: str, called: Mapping[str, str], *, seconds: float, samples: int = 1
) -> tuple[tuple[Proof, ...], tuple[str, ...]]:
    """Prove what is at a resource by the baselines of a primary, and say what is wrong there, a sentence each."""
    # Only a plan with samples needs it.
    from standby.recovery.proof.compare import prove  # noqa: PLC0415

    try:
        proofs = await prove(context, primary, to, called, seconds=seconds, samples=samples)
    except StandbyError as error:
        return (), (f"No sample could be analysed at {to}: {error}",)
    return proofs, tuple(filter(None, [some_sentences(wrong_words(proofs))]))


async def measure(run: FailoverRun) -> None:
    """Keep how long it took, for forecasts; one that was interrupted says nothing about the next."""
    context, record, phases = run.context, run.record, run.phases
    is_whole = run.ended and record.started_at >= phases.times[0].started_at
    if not is_whole or not state.is_forward(record) or run.published_at is None:
        return
    activation = (run.published_at - record.decided_at).total_seconds() - run.preparation.building_seconds
    activation -= sum(time.seconds for time in phases.times if time.name in SYNCS)
    plan = context.plan.name
    try:
        measured = {Kind.ACTIVATE: [max(0.0, activation)]}
        if record.detected_at and record.healthy_until and record.unhealthy_since:
            began = record.healthy_until + (record.unhealthy_since - record.healthy_until) / 2
            measured[Kind.DETECT] = [max(0.0, (record.detected_at - began).total_seconds())]
        await add_durations(context.vault, plan, measured)
    except VaultError as error:
        phases.problems.append(f"How long it took could not be recorded: {error}")


_OF_THE_RECORD = {"primary", "reason", "decision_id", "started_at", "healthy_until", "unhealthy_since", "forced"}


def report_of(run: FailoverRun, seen: tuple[SinkView, ...]) -> FailoverReport:
    context, fence, asked, record = run.context, run.held.fence, run.asked, run.record
    published = run.published_at if run.ended and record.to == asked.to else None
    rto = context.plan.objectives.rto
    objective = rto.total_seconds() if rto else None
    least, most = _since_the_outage(record, published)
    detected = record.detected_at
    stopped = [sentence(error.cause) for error in run.stopped]
    ended: State = "activated" if state.is_forward(record) else "rolled_back"
    return FailoverReport(
        **context.of_run,
        epoch=fence.epoch,
        **record.model_dump(include=_OF_THE_RECORD),
        **asked.model_dump(include={"from_resource", "to", "mode"}),
        phases=tuple(run.phases.times),
        sinks=run.sinks,
        seen=seen,
        restored=run.preparation.restored,
        proofs=run.proofs,
        missing=_missing(run),
        detection_at_least_seconds=_between(record.unhealthy_since, detected),
        detection_seconds=_between(record.healthy_until, detected),
        approval_seconds=_between(detected, record.approved_at),
        recovery_seconds=_between(record.decided_at, published),
        rto_at_least_seconds=least,
        rto_seconds=most,
        rto_objective_seconds=objective,
        rto_met=within(objective, least, most),
        serving=fence.assignments[record.primary].active,
        state=ended if run.ended else "fenced",
        problems=tuple(dict.fromkeys((*run.phases.problems, *stopped))),
        interrupted=run.interrupted,
        next_action=" ".join(sentence(order) for order in _orders(run)),
    )


def _missing(run: FailoverRun) -> dict[str, str]:
    record = run.record
    return dict(sorted(record.missing_at(record.primary, record.to).items())) if run.ended else {}


def _orders(run: FailoverRun) -> Iterator[str]:
    plan, record = run.context.plan.name, run.record
    again = f"standby failover {plan} --to"
    if not run.ended:
        if run.stopped and run.stopped[-1].next_action:
            yield run.stopped[-1].next_action
        other = "fail over" if record.to == record.before.active else "roll back"
        yield f"Resume it with {again} {record.to}, or {other} with {again} {record.from_resource}"
        return
    if run.stopped and run.stopped[0].next_action:
        yield run.stopped[0].next_action
    if any(sink.status != "told" for sink in run.sinks):
        order = f"Publish to the sinks that are missing with standby commit {plan} as soon as they answer"
        yield f"{order}; a running watch does this as well"
    if _missing(run):
        yield f"Rebuild what is left out with standby restore {plan} --to {record.to}, which adds it to the active map"
    if state.is_forward(record):
        yield (
            f"Check that the applications work, then commit it with standby commit {plan}, "
            f"or roll back with {again} {record.from_resource}"
        )


def _between(start: datetime | None, end: datetime | None) -> float | None:
    if start is None or end is None:
        return None
    return round(max(0.0, (end - start).total_seconds()), 3)


def _since_the_outage(record: state.SwitchRecord, published: datetime | None) -> tuple[float | None, float | None]:
    """Give the seconds from the beginning of the outage until the resource served: at least, and at most."""
    # It began between the last healthy look and the first that failed. A planned failover interrupts from its order on;
    # an unplanned order says only that there was an outage before it. A rollback that an outage started counts too.
    if published is None or (record.unhealthy_since is None and not state.is_forward(record)):
        return None, None
    if record.unhealthy_since is None:
        taken = _between(record.decided_at, published)
        return taken, taken if record.mode == "planned" else None
    return _between(record.unhealthy_since, published), _between(record.healthy_until, published)
