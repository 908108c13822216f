"""What is kept of proofs: the latest of each copy, what was spent, and the baselines of the sources."""

import math
import secrets
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from pydantic import Field

from standby.config.plan import SampleBudget
from standby.document import Document
from standby.recovery.context import RunReport
from standby.replication.fingerprint import same_meaning
from standby.text import counted, sentence, some_of, totals, utc
from standby.vault.documents import Remembered, Stored, change_document, read_document
from standby.vault.storage import Storage

Key = tuple[str, str, str]  # Of a copy: source, target, analyzer


class Verdict(StrEnum):
    """What the comparison of a copy with its source came to."""

    AGREES = "agrees"
    DIFFERS = "differs"
    NO_VERDICT = "no_verdict"
    TOO_FEW = "too_few"


SETTLED = (Verdict.AGREES, Verdict.DIFFERS)


class Layout(StrEnum):
    """Whether the text of the documents was read alike, before any model saw it."""

    IDENTICAL = "identical"
    DIFFERS = "differs"
    UNKNOWN = "unknown"


class LastTry(Document):
    """A later comparison that came to no verdict, and so took nothing from the one before."""

    at: datetime
    verdict: Verdict
    reason: str


class OfCopy(Document):
    source: str
    target: str
    analyzer: str  # its id at the source

    @property
    def key(self) -> Key:
        """Of which copy it is."""
        return (self.source, self.target, self.analyzer)


class Proof(OfCopy):
    """Whether the copy of one analyzer at one target answers as its source does."""

    target_analyzer: str
    verdict: Verdict
    samples: int  # documents that were compared
    agreement: float | None = None  # share of fields, 0..1, on which target and source agree; `null` without any
    self_agreement: float | None = None  # share on which two runs of the source agree
    interval: tuple[float, float] | None = None  # where the agreement would lie with any number of samples
    layout: Layout = Layout.UNKNOWN  # whether the text of the documents was read alike
    by_method: Mapping[str, float] = {}  # the agreement of the fields of each method
    worst: tuple[str, ...] = ()  # fields that agree least, by path
    failed: tuple[str, ...] = ()  # samples that were not compared, by the first 8 characters of their SHA-256
    reason: str = ""  # why it is not known to agree, and what to do
    against: Literal["source", "baseline"] = "source"  # what it was compared with: the source itself, or its baseline
    baseline_at: datetime | None = None  # when the baseline was taken
    compared_at: datetime
    built_at: datetime | None = None  # when the copy was made, so which incarnation was compared; `null`: not known
    last_try: LastTry | None = None  # only where it is kept: a later comparison of the same copy without a verdict

    @property
    def is_made(self) -> bool:
        """Whether there was anything to judge by: a target that did not even answer leaves none."""
        return self.verdict is not Verdict.NO_VERDICT or bool(self.samples or self.failed)

    @property
    def why_open(self) -> str:
        """Why the last comparison came to no verdict, if it did not."""
        return self.last_try.reason if self.last_try else self.reason

    @property
    def tried_at(self) -> datetime:
        """When it was compared last, with a verdict or without."""
        return self.last_try.at if self.last_try else self.compared_at

    def with_later(self, new: "Proof") -> "Proof":
        """Give what is known after another comparison: the last verdict, and beside it a later try that came to none.

        Few samples, or a target that does not answer, are nothing against what more of them showed earlier. They are
        nothing for it either: the verdict keeps its age. What is said of another incarnation says nothing of this one.
        """
        both = (new, self)
        settled = [it for it in both if it.verdict in SETTLED]
        if self.tried_at - new.compared_at > LONGEST_RUN:
            return new
        if not settled or len({it.built_at for it in both if it.is_made}) > 1:
            return max(both, key=lambda it: it.tried_at)
        kept = max(settled, key=lambda it: it.compared_at)
        open_ = [LastTry(at=it.compared_at, verdict=it.verdict, reason=it.reason) for it in both if it not in settled]
        last = max((*open_, *filter(None, (it.last_try for it in both))), key=lambda it: it.at, default=None)
        is_later = last is not None and last.at > kept.compared_at
        return kept.model_copy(update={"last_try": last if is_later else None})

    @property
    def words(self) -> str:
        """Say what was found in figures, without a full stop."""
        tried = self.samples + len(self.failed)
        parts = [f"{self.analyzer} at {self.target}: {self.samples} of {counted(tried, 'sample')} analysed"]
        if self.agreement is not None:
            own = self.self_agreement
            noise = "" if own is None else f" ({self.source} with itself: {percent(own)})"
            parts.append(f"agreement {percent(self.agreement)}{noise}")
        if self.layout is not Layout.UNKNOWN:
            parts.append(f"layout {self.layout.value}")
        if self.baseline_at is not None:
            parts.append(f"held to what {self.source} answered {utc(self.baseline_at)}")
        if self.last_try is not None:
            parts.append(f"found {utc(self.compared_at)}, and tried again {utc(self.last_try.at)} without a verdict")
        return ", ".join(parts)


def percent(share: float) -> str:
    """Say a share in percent, rounded down: what is not quite all is not said to be."""
    return f"{math.floor(100 * share + 1e-9)} %"


def verdict_words(proofs: Iterable[Proof]) -> str:
    """Count them by verdict: "9 agree, 1 differs, 1 without a verdict, 1 with too few samples"."""
    counts = Counter(each.verdict for each in proofs)
    said = {it: it.value if counts[it] == 1 else it.value[:-1] for it in (Verdict.AGREES, Verdict.DIFFERS)}
    said |= {Verdict.NO_VERDICT: "without a verdict", Verdict.TOO_FEW: "with too few samples to tell"}
    return totals({said[verdict]: counts[verdict] for verdict in Verdict})


def wrong_words(proofs: Iterable[Proof]) -> tuple[str, ...]:
    """Say of which copies samples gave another answer or none, a sentence or more each."""
    every = list(proofs)
    differ = [each for each in every if each.verdict is Verdict.DIFFERS]
    silent = [each for each in every if each.verdict is Verdict.NO_VERDICT or each.last_try]
    said = [f"{it.analyzer} at {it.target} answers differently from {it.source}: {it.reason}" for it in differ]
    if silent:
        names, first = some_of(each.analyzer for each in silent), silent[0]
        said.append(f"Samples gave no verdict on {names} at {first.target}: {first.why_open}")
    return tuple(map(sentence, said))


class CompareRequest(Document):
    """What is to be compared."""

    targets: tuple[str, ...] = ()  # none means all of the plan's
    analyzers: tuple[str, ...] = ("*",)  # globs on ids at the source
    samples: int | None = Field(None, ge=1)  # of each analyzer at most; without it, the plan's `samples.each`


class Waiting(OfCopy):
    """A copy for which the budget has no room in this run."""

    comes: str  # what it waits for: "the next run", "one of the next 3 runs", "next month", or another budget


def waiting_words(waiting: Sequence[Waiting]) -> tuple[str, ...]:
    """Say what waits for its turn, a sentence for each time."""
    named: dict[str, list[str]] = {}
    for each in waiting:
        named.setdefault(each.comes, []).append(each.analyzer)
    return tuple(
        f"{some_of(dict.fromkeys(names))} {'waits' if len(names) == 1 else 'wait'} for {comes}, because of the budget."
        for comes, names in named.items()
    )


def budget_words(budget: SampleBudget) -> str:
    return f"samples.budget: {{run: {budget.run}, month: {budget.month}}}"


class Share(Document):
    """What of many copies a run compares, and when the others come."""

    chosen: frozenset[Key] = frozenset()
    most: int = 0  # analyses that this run may make
    waiting: tuple[Waiting, ...] = ()
    whole: int = 0  # analyses that all copies would take
    runs: int = 1  # that take all copies in turn
    one_run: SampleBudget | None = None  # the budget that would do it in one run; `null`: this one does


TOKENS_PER_PAGE = 4000  # Of an analyzer that was never compared, as was recorded of one page with four fields


class Forecast(Document):
    """What a comparison takes, before it begins."""

    plan: str
    analyzers: int  # that are to be analysed by
    samples: int  # documents
    analyses: int  # at sources and targets
    pages: int  # that these read
    tokens: int  # of models: as these analyzers used before, or else as was recorded of an invoice
    share: Share


DELETE_IT = "Send DELETE to the URL of each result that is left: it holds the text of a document"


class CompareReport(RunReport):
    """What a comparison came to."""

    target: str  # the one that was compared; empty where there were several
    totals: Mapping[Verdict, int]  # how many of each verdict
    items: tuple[Proof, ...]
    without_samples: tuple[str, ...]  # analyzers that were asked for and have no documents
    analyses: int  # that were begun
    tokens: Mapping[str, int]  # what they used, by model and direction
    deleted: int  # results that the service confirmed to have deleted
    left: tuple[str, ...]  # results that could not be deleted: the URL of each, or what is known of it
    problems: tuple[str, ...]
    next_action: str
    seconds: float
    interrupted: bool
    waiting: tuple[Waiting, ...] = ()  # copies that were not compared, because of the budget

    @property
    def summary(self) -> str:
        """The result in a sentence."""
        words = {"agrees": "agreeing", "differs": "differing", "no_verdict": "without a verdict"}
        counts = {words.get(verdict, "with too few samples"): count for verdict, count in self.totals.items()}
        wait = f"; {len(self.waiting)} waiting for their turn" if self.waiting else ""
        return f"Plan {self.plan}: {totals(counts)}; {self.deleted} of {self.analyses} results deleted{wait}."


def month_of(now: datetime) -> str:
    """Name the calendar month that an analysis counts in."""
    return f"{now:%Y-%m}"


class OpenResult(Document):
    """A result at the service that was not deleted yet: it holds the text of a document."""

    resource: str
    url: str
    until: datetime  # from then on no run is about to read it


class Proofs(Remembered):
    """The latest proof of each copy of a plan, how many analyses were spent on proofs, and what they left."""

    place = "recovery/{plan}/proofs.json"

    proofs: tuple[Proof, ...] = ()  # one of each source, target and analyzer
    spent: Mapping[str, int] = {}  # analyses by month, such as 2026-11; the last twelve are kept
    open: tuple[OpenResult, ...] = ()  # which a run has, or left as it was killed

    def left(self, now: datetime, most: int) -> int:
        """Say how many analyses a month has left, of as many as it has in all."""
        return max(0, most - self.spent.get(month_of(now), 0))

    def of(self, source: str, target: str, analyzer: str) -> Proof | None:
        """Give the latest proof of a copy, by its id at the source; `None` where there is none."""
        return next((each for each in self.proofs if each.key == (source, target, analyzer)), None)


LONGEST_RUN = timedelta(days=1)


async def add_proofs(storage: Storage, plan: str, proofs: Iterable[Proof], every: Collection[Key] = ()) -> None:
    """Keep proofs, each with what is known of its copy already.

    Args:
        every: the keys of all copies with samples of some pairs, of which no other proof is kept.
    """
    new, pairs = list(proofs), {key[:2] for key in every}

    def add(known: Proofs) -> Proofs:
        kept = {it.key: it for it in known.proofs if it.key in every or it.key[:2] not in pairs}
        kept |= {it.key: kept[it.key].with_later(it) for it in new if it.key in kept}
        kept |= {it.key: it for it in new if it.key not in kept and it.is_made}
        return known.model_copy(update={"proofs": tuple(proof for _, proof in sorted(kept.items()))})

    await Proofs.change(storage, plan, add)


def _is_later(at: datetime, known: datetime) -> bool:
    # No two runs begin so far apart and meet: then a clock was wrong.
    return not timedelta() < known - at <= LONGEST_RUN


async def note_open(
    storage: Storage, plan: str, new: Iterable[OpenResult], ended: Collection[str] = ()
) -> tuple[OpenResult, ...]:
    """Keep which results the service has, so that another run can delete those of one that is killed; give all."""

    def note(known: Proofs) -> Proofs:
        every = {each.url: each for each in (*known.open, *new)}
        return known.model_copy(update={"open": tuple(each for url, each in every.items() if url not in ended)})

    return (await Proofs.change(storage, plan, note)).open


MONTHS = 12  # Of so many it is kept how many analyses were spent


async def reserve(storage: Storage, plan: str, now: datetime, wanted: int, most: int) -> int:
    """Take analyses from what a month has left, before they are started.

    Args:
        wanted: how many; negative gives back what was not started.
        most: how many the month has in all.

    Returns:
        How many were taken: `wanted`, or nothing where not all of them are left.
    """
    month, taken = month_of(now), 0

    def take(known: Proofs) -> Proofs:
        nonlocal taken
        taken = wanted if wanted <= known.left(now, most) else 0
        counts = {**known.spent} | {month: max(0, known.spent.get(month, 0) + taken)}
        return known.model_copy(update={"spent": dict(sorted(counts.items())[-MONTHS:])})

    await Proofs.change(storage, plan, take)
    return taken


class Reading(Document):
    """What an analyzer read of one document, as digests."""

    layout: str = ""  # of the markdown; empty where there is none, or where only a router's children came back
    # By path and category of a content, by path of a field: the digest of its value, empty where it has none.
    contents: Mapping[str, Mapping[str, str]] = {}
    segments: tuple[str, ...] = ()  # path and category of each segment that a router named


class Baseline(Stored):
    """What a healthy source answered to samples: digests only, so that nothing of a document can be read here."""

    analyzer: str  # its id at the source
    fingerprint: str  # of its definition then
    models: Mapping[str, str] = {}  # each model that it named, with the version of the deployment, where that is known
    api_version: str
    taken_at: datetime
    tokens: int = 0  # of models, that one analysis took
    salt: str  # in hex, random, of all the digests
    readings: Mapping[str, tuple[Reading, ...]] = {}  # by digest of the sample, one for each run


def new_salt() -> str:
    """Make the salt of a baseline."""
    return secrets.token_hex(16)


def _place(plan: str, primary: str, analyzer: str) -> str:
    return f"recovery/{plan}/baselines/{primary}/{analyzer}.json"


async def read_baseline(storage: Storage, plan: str, primary: str, analyzer: str) -> Baseline | None:
    """Read what an analyzer of a primary answered when it was healthy; `None` where that is not known."""
    return await read_document(storage, _place(plan, primary, analyzer), Baseline)


async def write_baseline(storage: Storage, plan: str, primary: str, baseline: Baseline) -> None:
    """Keep a baseline, unless one is there that was taken later, or of the same analyzer with more samples."""

    def keep(known: Baseline | None) -> Baseline:
        if known is None or not _is_later(baseline.taken_at, known.taken_at):
            return known or baseline
        same = ("fingerprint", "models", "api_version")
        is_part = baseline.readings.keys() < known.readings.keys()
        return known if is_part and all(getattr(known, it) == getattr(baseline, it) for it in same) else baseline

    await change_document(storage, _place(plan, primary, baseline.analyzer), Baseline, keep)


OLDEST = timedelta(days=90)  # A baseline that is older says little: the service and its models change


def why_aged(
    baseline: Baseline,
    now: datetime,
    *,
    fingerprint: str,
    api_version: str,
    models: Mapping[str, str],
    digests: Collection[str],
) -> str:
    """Say why a baseline is no longer what the source would answer, as a sentence; empty where it may well be.

    Args:
        fingerprint: of the definition that is to be proved.
        models: versions by name, as far as they are known.
        digests: of the samples that are at hand.
    """
    other = [name for name, version in models.items() if version and baseline.models.get(name, version) != version]
    changed = {
        "the definition was another one": not same_meaning(fingerprint, baseline.fingerprint),
        f"the api-version was {baseline.api_version}": api_version != baseline.api_version,
        f"{some_of(other)} had another version": bool(other),
        "it has none of the samples that are here now": baseline.readings.keys().isdisjoint(digests),
        f"that is more than {OLDEST.days} days ago": now - baseline.taken_at > OLDEST,
    }
    why = next((words for words, is_so in changed.items() if is_so), "")
    taken = f"The baseline of {baseline.analyzer} was taken {utc(baseline.taken_at)}"
    return why and f"{taken}, and {why}. Compare again while its source answers."
