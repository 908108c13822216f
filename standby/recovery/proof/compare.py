"""Compares what analyzers and their copies make of sample documents, and proves a copy while its source is dark.

One analysis is one stage (`Stage.ANALYZE`): under Prefect a task run of its own. It is started, asked about, read to
digests and deleted, also where it is cancelled. What could not be deleted is named.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

from standby.concurrency import all_of, despite_cancellation, to_its_end
from standby.config.globs import matches
from standby.config.plan import SampleSettings
from standby.errors import StandbyError, sentence
from standby.recovery.context import PlainStages, RecoveryContext, Stage, Stages
from standby.recovery.proof import records
from standby.recovery.proof.agreement import UNMADE, Failure, Tried, failure_of, judge
from standby.recovery.proof.reading import Expected, Kept, Spent, analyze, methods_of
from standby.recovery.proof.records import Baseline, CompareReport, CompareRequest, Forecast, Proof, Reading, Verdict
from standby.recovery.proof.samples import Asked, Cost, NoSamples, Sample, Samples, list_samples, read_sample, share
from standby.replication.fingerprint import fingerprint, same_meaning
from standby.replication.inventory import Inventory, inventory_of, look_at
from standby.replication.items import PlanItem, Progress, Selection, Status, selected_pairs
from standby.replication.needs import models_of, resolve, with_references
from standby.replication.plan import make_plan
from standby.replication.verdict import Verdict as Copied
from standby.service.errors import OperationHung
from standby.vault.errors import VaultError

DELETING = 3.0  # Seconds that `prove` keeps of its time to delete what it was about to read
_LATE: set[asyncio.Task[None]] = set()  # What goes on beside its caller


@dataclass(frozen=True, eq=False)
class _Copy:
    """A copy that is to be proved, and what is known of it before anything is analysed."""

    source: str
    target: str
    analyzer: str
    called: str  # its id at the target
    samples: tuple[Sample, ...]
    baseline: Baseline | None = None  # what the source answered earlier, where it is not asked now
    expected: Expected = field(default_factory=Expected)
    differences: tuple[str, ...] = ()  # paths at which the definitions, or those of children, differ
    known: tuple[str, ...] = ()  # what it may come of if it does not agree, and what to do, as replication sees it
    decided: tuple[Verdict, str] | None = None  # the verdict that needs no analysis, and why
    built_at: datetime | None = None  # which incarnation it is

    @property
    def subject(self) -> tuple[str, str]:
        return (self.source, self.analyzer)

    @property
    def is_open(self) -> bool:
        """Whether only analyses can tell."""
        return self.decided is None and not self.differences

    @property
    def key(self) -> records.Key:
        return (self.source, self.target, self.analyzer)

    def at_source(self, sample: Sample) -> Asked:
        return Asked(self.subject, *self.subject, sample)

    def at_target(self, sample: Sample) -> Asked:
        return Asked(self.subject, self.target, self.called, sample)


def _analyses(copies: Iterable[_Copy], runs: int) -> list[Asked]:
    """List every analysis, those of one subject together; the source is asked once for all of its copies."""
    made: defaultdict[tuple[str, str], Counter[Asked]] = defaultdict(Counter)
    for copy in copies:
        for sample in copy.samples if copy.is_open else ():
            if copy.baseline is None:
                made[copy.subject][copy.at_source(sample)] = runs
            made[copy.subject][copy.at_target(sample)] = 1
    return [each for counts in made.values() for each in counts.elements()]


class _Run:
    """Makes analyses, few at a time; what it says is true at any moment, also after a cancellation."""

    def __init__(
        self,
        context: RecoveryContext,
        settings: SampleSettings,
        stages: Stages,
        copies: Iterable[_Copy],
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self.settings, self.spent, self.share = settings, Spent(), records.Share()
        self.salts = {it.subject: it.baseline.salt if it.baseline else records.new_salt() for it in copies}
        self.kept = Kept(context.vault, context.plan.name, context.clock, settings.deadline, self.spent)
        self._context, self._stages, self._on_progress = context, stages, on_progress
        self._found: defaultdict[Asked, list[Reading | Failure]] = defaultdict(list)
        self._ended, self._in_flight, self._total = Counter[Status](), 0, 0

    async def make(self, analyses: Sequence[Asked]) -> None:
        self._total = len(analyses)
        gates = {each.resource: asyncio.Semaphore(self.settings.at_once) for each in analyses}
        await all_of(self._one(each, gates[each.resource]) for each in analyses)

    async def _one(self, asked: Asked, gate: asyncio.Semaphore) -> None:
        name = f"analyze {asked.sample.label} by {asked.called} at {asked.resource}"
        async with gate:
            self._tell(1)
            try:
                found: Reading | Failure = await self._stages.run(Stage.ANALYZE, name, partial(self._read, asked))
            except StandbyError as error:
                found = failure_of(error)
            self._found[asked].append(found)
            self._ended[Status.FAILED if isinstance(found, Failure) else Status.SUCCEEDED] += 1
            self._tell(-1)

    def _tell(self, more: int) -> None:
        self._in_flight += more
        self._on_progress(Progress(self._total, self._in_flight, tuple((it, self._ended[it]) for it in Status)))

    async def _read(self, asked: Asked) -> Reading:
        document = (await read_sample(self._context, asked.sample), asked.sample.media_type)
        client, salt = self._context.connections[asked.resource], bytes.fromhex(self.salts[asked.subject])
        deadline = self.settings.deadline.total_seconds()
        return await analyze(client, self._context.clock, asked.called, document, salt, deadline, self.spent)

    def tried(self, copy: _Copy) -> list[Tried]:
        """Give what came of each sample of a copy; `UNMADE` is whatever has not ended."""

        def made(asked: Asked, count: int) -> tuple[Reading | Failure, ...]:
            return (*self._found.get(asked, ()), *[UNMADE] * count)[:count]

        def at_source(sample: Sample) -> tuple[Reading | Failure, ...]:
            if copy.baseline is None:
                return made(copy.at_source(sample), self.settings.runs)
            return copy.baseline.readings.get(sample.digest, ())

        return [Tried(it.label, at_source(it), *made(copy.at_target(it), 1)) for it in copy.samples if copy.is_open]


@dataclass(frozen=True)
class _Prepared:
    settings: SampleSettings
    copies: tuple[_Copy, ...]
    samples: Samples
    without_samples: tuple[str, ...]
    baselines: Mapping[tuple[str, str], Baseline | None]
    inventories: Mapping[str, Inventory]
    of_all: bool  # whether every analyzer was asked for


async def _prepare(context: RecoveryContext, request: CompareRequest) -> _Prepared:
    """Find out by one look at every resource what there is to compare."""
    plan, selection = context.plan, Selection(request.analyzers, request.targets)
    if plan.samples is None:
        raise NoSamples(plan.name)
    ledgers = {pair: (await context.run.read_ledger(*pair)).records for pair in selected_pairs(plan, selection)}
    connections = {name: context.connections[name] for pair in ledgers for name in pair}
    inventories, failures = await look_at(connections.values(), plan.ignore)
    unseen = {name: str(error) for name, error in failures.items()}
    planned = make_plan(plan, selection, inventories, ledgers, context.clock.now(), unseen=unseen).items
    items = [item for item in planned if matches(item.analyzer, request.analyzers)]
    samples = await list_samples(context, {item.analyzer for item in items}, request.samples)
    without = tuple(sorted({item.analyzer for item in items} - samples.keys()))
    items = [item for item in items if item.analyzer in samples]
    if not items:
        raise NoSamples(plan.name)
    subjects = sorted({(item.source, item.analyzer) for item in items})
    kept = await all_of(records.read_baseline(context.vault, plan.name, *subject) for subject in subjects)
    baselines, copies = dict(zip(subjects, kept, strict=True)), list[_Copy]()
    for item in items:
        copy = _Copy(item.source, item.target, item.analyzer, item.target_analyzer, samples[item.analyzer])
        outside = plan.leaving(*map(context.configuration.resource, pair := (item.source, item.target)))
        beside = {it.analyzer: it for it in planned if (it.source, it.target) == pair}
        if why := unseen.get(item.target) or outside:  # Documents go nowhere where no copy may go.
            copies.append(replace(copy, decided=(Verdict.NO_VERDICT, why)))
        elif (here := inventories.get(item.source)) is not None:
            copies.append(_as_seen(context, copy, beside, here))
        else:
            called = {name: it.target_analyzer for name, it in beside.items()}
            copies.append(_by_baseline(context, copy, baselines[copy.subject], inventories[item.target], called, item))
    of_all = request.analyzers == CompareRequest().analyzers
    return _Prepared(plan.samples, tuple(copies), samples, without, baselines, inventories, of_all)


def _as_seen(context: RecoveryContext, copy: _Copy, beside: Mapping[str, PlanItem], source: Inventory) -> _Copy:
    """Say of a copy whose source answers what needs no analysis; `beside` has how its children stand, too."""
    item, definitions = beside[copy.analyzer], source.definitions
    status, built_at = (item.found.status, item.found.created_at) if item.found else ("not there", None)
    if item.expected.status != "ready" or status == "creating":
        cause = f"It is {item.expected.status} at {item.source}, and {status} at {item.target}"
        return replace(copy, decided=(Verdict.NO_VERDICT, f"{cause}. Compare it when it is ready at both."))
    if status != "ready":
        advice = f"Copy it with standby replicate {context.plan.name} --analyzer {item.analyzer}"
        return replace(copy, decided=(Verdict.DIFFERS, f"It is {status} at {item.target}. {advice}."))
    # What the service filled in by itself is in sync, and no difference.
    family = [beside[name] for name in resolve([item.analyzer], definitions).children if name in beside]
    others = [(f"{it.analyzer}: " * (it is not item), it) for it in family if it.verdict is not Copied.IN_SYNC]
    known = (*(f"{of}{it.reason}" for of, it in others), *item.warnings)
    copy = replace(copy, known=known, differences=tuple(f"{of}{path}" for of, it in others for path in it.differences))
    return replace(copy, built_at=built_at, expected=methods_of(definitions[item.analyzer], definitions))


def _by_baseline(
    context: RecoveryContext,
    copy: _Copy,
    baseline: Baseline | None,
    there: Inventory,
    called: Mapping[str, str],
    item: PlanItem | None = None,
) -> _Copy:
    """Say of a copy whose source is not asked what needs no analysis, and whether its baseline serves.

    Args:
        called: the ids at the target, by which analyzers refer to others there.
    """
    if baseline is None:
        reason = f"{copy.source} does not answer, and no comparison was made while it did. Compare again when it does."
        return replace(copy, decided=(Verdict.NO_VERDICT, reason))
    found = there.analyzers.get(copy.called)
    if found is None or found.status != "ready":
        cause = f"It is {found.status if found else 'not there'} at {copy.target}"
        return replace(copy, baseline=baseline, decided=(Verdict.DIFFERS, f"{cause}. Restore it there."))
    own = {name: analyzer for analyzer, name in called.items()}
    # What has such an id there without being meant gives way.
    meant = {analyzer: there.definitions[name] for analyzer, name in called.items() if name in there.analyzers}
    definitions = {**there.definitions, **{name: with_references(it, own) for name, it in meant.items()}}
    seen = fingerprint(definitions[copy.analyzer], context.plan.ignore)
    if item is not None and item.last is not None and same_meaning(seen, item.last.target.fingerprint):
        seen = item.last.source.fingerprint  # It is as it was found good, with what the target filled in.
    version, digests = context.configuration.resource(copy.source).api_version, {it.digest for it in copy.samples}
    known: dict[str, Any] = {"fingerprint": seen, "api_version": version, "models": {}, "digests": digests}
    aged = records.why_aged(baseline, context.clock.now(), **known)
    expected = methods_of(definitions[copy.analyzer], definitions)
    decided = (Verdict.NO_VERDICT, sentence(aged)) if aged else None
    return replace(copy, baseline=baseline, expected=expected, decided=decided, built_at=found.created_at)


async def forecast(context: RecoveryContext, request: CompareRequest) -> Forecast:
    """Say what a comparison takes; nothing is analysed.

    Raises:
        NoSamples: no analyzer that was asked for has any.
        OverBudget: not even one copy fits into what the plan has left.
    """
    prepared = await _prepare(context, request)
    chosen, analyses = await _share(context, prepared.copies, prepared.settings)
    known = {subject: baseline.tokens if baseline else 0 for subject, baseline in prepared.baselines.items()}
    return Forecast(
        plan=context.plan.name,
        analyzers=len({each.subject for each in analyses}),
        samples=len({(each.subject, each.sample) for each in analyses}),
        analyses=len(analyses),
        pages=sum(each.sample.pages for each in analyses),
        tokens=sum(known[each.subject] or each.sample.pages * records.TOKENS_PER_PAGE for each in analyses),
        share=chosen,
    )


async def _share(
    context: RecoveryContext, copies: Sequence[_Copy], settings: SampleSettings
) -> tuple[records.Share, list[Asked]]:
    """Choose what run and month have room for, and list its analyses."""
    known = await records.Proofs.read(context.vault, context.plan.name)
    costs = [Cost(it.key, len(it.samples) * it.is_open, 0 if it.baseline else settings.runs) for it in copies]
    chosen = share(context.plan.name, known, costs, settings.budget, context.clock.now())
    return chosen, _analyses((it for it in copies if it.key in chosen.chosen), settings.runs)


async def compare_plan(
    context: RecoveryContext,
    request: CompareRequest,
    stages: Stages,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> CompareReport:
    """Compare copies with their sources by sample documents, and keep what comes of it.

    A cancellation ends it early, with a true report and no result left at the service. Where a source does not answer,
    its baseline is used.

    Args:
        stages: runs each analysis.

    Raises:
        StandbyError: as `forecast` does, before anything is analysed.
    """
    begun, now = context.clock.monotonic(), context.clock.now()
    prepared = await _prepare(context, request)
    run, interrupted = _Run(context, prepared.settings, stages, prepared.copies, on_progress), False
    try:
        await run.kept.delete_left({name: context.connections[name] for name in prepared.inventories})
        await _within_budget(context, run, prepared.copies)
    except asyncio.CancelledError:
        interrupted = True
    proofs, problems = await despite_cancellation(_kept(context, prepared, run, now))
    return CompareReport(
        **context.of_run,
        target=proofs[0].target if len({proof.target for proof in proofs}) == 1 else "",
        totals={verdict: sum(proof.verdict is verdict for proof in proofs) for verdict in Verdict},
        items=proofs,
        without_samples=prepared.without_samples,
        analyses=run.spent.begun,
        tokens=run.spent.tokens,
        deleted=run.spent.deleted,
        left=tuple(run.spent.left),
        problems=(*prepared.samples.skipped, *run.kept.said, *problems),
        next_action=records.DELETE_IT
        if run.spent.left
        else f"Run standby compare {context.plan.name} again" * interrupted,
        seconds=round(context.clock.monotonic() - begun, 3),
        interrupted=interrupted,
        waiting=run.share.waiting,
    )


async def _within_budget(context: RecoveryContext, run: _Run, copies: Sequence[_Copy]) -> None:
    """Take what fits from what the month has left, make it, and give back what was not begun."""
    most, now, about = run.settings.budget.month, context.clock.now(), (context.vault, context.plan.name)

    async def settle() -> None:
        await run.kept.note(at_the_end=True)
        with suppress(VaultError):
            await records.reserve(*about, now, run.spent.begun - wanted, most)

    run.share, analyses = await _share(context, copies, run.settings)
    while await records.reserve(*about, now, wanted := len(analyses), most) < wanted:  # Another run has taken it.
        run.share, analyses = await _share(context, copies, run.settings)
    try:
        await run.make(analyses)
    finally:
        await to_its_end(settle())


async def _kept(
    context: RecoveryContext, prepared: _Prepared, run: _Run, now: datetime
) -> tuple[tuple[Proof, ...], list[str]]:
    """Judge every copy, and keep the proofs and baselines of those that came to an end."""
    tried = {copy: run.tried(copy) for copy in prepared.copies if copy.key in run.share.chosen}
    proofs = {copy: _proof(copy, it, run.settings.margin, now) for copy, it in tried.items()}
    ended = [copy for copy, it in tried.items() if not any(UNMADE in (*each.source, each.target) for each in it)]
    problems = list[str]()
    try:
        every = [it.key for it in prepared.copies if prepared.of_all and it.source in prepared.inventories]
        await records.add_proofs(context.vault, context.plan.name, (proofs[copy] for copy in ended), every)
        for copy in {copy.subject: copy for copy in ended if copy.is_open and copy.baseline is None}.values():
            source = prepared.inventories[copy.source]
            seen = fingerprint(source.definitions[copy.analyzer], context.plan.ignore)
            baseline = _baseline(copy, source, tried[copy], run, fingerprint=seen, taken_at=now)
            if baseline.readings:
                await records.write_baseline(context.vault, context.plan.name, copy.source, baseline)
    except VaultError as error:
        problems.append(f"What was found could not be kept: {error}")
    return tuple(proofs.values()), problems


def _proof(copy: _Copy, tried: Sequence[Tried], margin: float, now: datetime) -> Proof:
    verdict, reason = copy.decided or (Verdict.NO_VERDICT, "")
    said: dict[str, Any] = {"source": copy.source, "target": copy.target, "analyzer": copy.analyzer}
    said |= {"built_at": copy.built_at, "samples": 0}
    if copy.baseline is not None:
        said |= {"against": "baseline", "baseline_at": copy.baseline.taken_at}
    proof = Proof(**said, target_analyzer=copy.called, compared_at=now, verdict=verdict, reason=reason)
    seen: dict[str, Any] = {"differences": copy.differences, "known": copy.known}
    return proof if copy.decided else judge(proof, tried, copy.expected, margin=margin, **seen)


def _baseline(copy: _Copy, source: Inventory, tried: Sequence[Tried], run: _Run, **said: Any) -> Baseline:
    """Make the baseline of a source, of the samples that it answered in each run."""
    runs, serving = run.settings.runs, source.serving
    answers = [tuple(it for it in each.source if isinstance(it, Reading)) for each in tried]
    models = {name for _, name in models_of(source.definitions[copy.analyzer])}
    behind = {name: (serving.deployments or {}).get((serving.defaults or {}).get(name, name)) for name in models}
    return Baseline(
        analyzer=copy.analyzer,
        models={name: deployment.version if deployment else "" for name, deployment in behind.items()},
        api_version=serving.resource.api_version,
        salt=run.salts[copy.subject],
        readings={it.digest: of for it, of in zip(copy.samples, answers, strict=True) if len(of) == runs},
        tokens=round(run.spent.tokens_of[copy.subject] / len(tried) / runs),
        **said,
    )


async def prove(
    context: RecoveryContext,
    primary: str,
    target: str,
    called: Mapping[str, str],
    *,
    seconds: float,
    samples: int = 1,
    stages: Stages | None = None,
) -> tuple[Proof, ...]:
    """Prove copies at one target by the baselines of their source, which is not called; nothing of it is recorded.

    Args:
        context: its vault has samples, baselines and budget: that of a drill's sandbox needs the real one.
        called: the id at the target, by id at the primary, of every copy that is to be proved, and of its children.
        seconds: after which it ends, with its results deleted; what was not done until then has no verdict.
        samples: of each analyzer at most.

    Returns:
        A proof of each analyzer that has samples and a baseline that holds, to be kept by `records.add_proofs`.

    Raises:
        StandbyError: the vault, the samples or the target cannot be read, or the budget does not suffice.
    """
    if (settings := context.plan.samples) is None:
        return ()
    now, copies, runs = context.clock.now(), list[_Copy](), list[_Run]()
    slow = f"{target} could not be inspected"

    async def work() -> None:
        nonlocal slow
        listing = await context.connections[target].list_readable()
        there = inventory_of(await context.connections.serving(target), listing)
        slow = "The samples and their baselines could not be read"
        found = await list_samples(context, called.keys(), samples)
        kept = await all_of(records.read_baseline(context.vault, context.plan.name, primary, name) for name in found)
        for (name, documents), baseline in zip(found.items(), kept, strict=True):
            copy = _by_baseline(context, _Copy(primary, target, name, called[name], documents), baseline, there, called)
            # What was edited since cannot be known by it, and is nothing against the target.
            if copy.decided is None or copy.decided[0] is not Verdict.NO_VERDICT:
                copies.append(copy)
        runs.append(_Run(context, settings, stages or PlainStages(), copies))
        await _within_budget(context, runs[0], copies)

    task = asyncio.create_task(work())
    _LATE.add(task)
    task.add_done_callback(_LATE.discard)
    task.add_done_callback(lambda it: it.cancelled() or it.exception())
    deleting = min(DELETING, seconds / 3)
    try:
        await asyncio.wait({task}, timeout=seconds - deleting)
    finally:
        # What is not over by the end deletes its results beside whatever comes next; nothing waits for it.
        task.cancel()
        await asyncio.wait({task}, timeout=deleting)
    if task.done() and not task.cancelled():
        task.result()
    if not runs:
        raise OperationHung(f"{slow} within {seconds:.0f} s, so nothing was proved at {target}")
    return tuple(_proof(copy, runs[0].tried(copy), settings.margin, now) for copy in copies)
