"""Judges whether a copy answers as its source does: a pure function of readings.

Two runs of one analyzer differ in some fields. So the agreement of a copy with its source is only held against that of
the source with itself, for the same documents. Fields of one document go wrong together: chance is counted by document.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import combinations
from math import exp, lgamma, sqrt
from statistics import NormalDist, fmean

from standby.errors import StandbyError, sentence
from standby.recovery.proof.reading import Expected, category_of
from standby.recovery.proof.records import Layout, Reading, Verdict
from standby.service import errors
from standby.text import counted, some_of, some_sentences


class Lasts(StrEnum):
    """Whether an analysis would fail again."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Failure:
    """An analysis without a result: why, and what to do, a sentence each, without anything of the document."""

    cause: str
    next_action: str = ""
    lasts: Lasts = Lasts.NO


LASTING = (
    errors.AnalyzerNotFound,
    errors.DefaultsNotSet,
    errors.DeploymentMissing,
    errors.EmbeddingMismatch,
    errors.InvalidRequest,
)
"""What is wrong with the copy, or with what is behind it."""


def failure_of(error: StandbyError) -> Failure:
    """Say of the error of an analysis whether it would come again."""
    known = Lasts.UNKNOWN if type(error) is errors.OperationFailed else Lasts.NO
    lasts = Lasts.YES if isinstance(error, LASTING) else known
    return Failure(error.cause, error.next_action, lasts)


@dataclass(frozen=True)
class Tried:
    """What came of one sample."""

    sample: str  # its name
    source: tuple[Reading | Failure, ...]  # of each run at the source, or as the baseline has them
    target: Reading | Failure


@dataclass(frozen=True)
class Judgement:
    """What a comparison came to; shares are of fields, 0..1, the mean of the documents."""

    verdict: Verdict
    reason: str = ""  # one sentence or more: why, and what to do; empty where all is well
    samples: int = 0  # that were compared
    agreement: float | None = None  # of the target with the source; `None` where no field was compared
    self_agreement: float | None = None  # of the source with itself
    by_method: Mapping[str, float] = field(default_factory=dict)  # agreement by method of the fields
    interval: tuple[float, float] | None = None  # in which the agreement of any number of samples would lie
    layout: Layout = Layout.UNKNOWN
    worst: tuple[str, ...] = ()  # paths of the fields that agree least, the worst first
    failed: tuple[str, ...] = ()  # names of the samples that were not compared


FEWEST = 3  # Documents from which anything is said about agreement
CONFIDENCE = 0.99  # That the true difference lies on one side of an end of the interval
TOGETHER = 1.5  # How much more documents vary than their fields would by themselves
BEFOREHAND = 4  # Documents' worth that this variance counts beside the one that is seen
SEVERAL = 1.25  # How much wider the interval of one method is taken: there are several that may differ by chance
NOTICED = 0.3  # Loss of agreement that has to be excluded before a copy agrees: rebuilt analyzers lose as much
UNSTEADY = 0.3  # Agreement of a source with itself below which nothing can be told by it
SURE = 0.001  # Chance of a false alarm, over all fields, from which it is believed that one differs
DOUBTFUL = 0.05  # Likewise, from which a copy is not said to agree
ALIKE = 2.0  # Documents' worth that the other fields of its method say about a field
MOST_NAMED = 5  # Fields that are named as the worst

Row = tuple[str, ...]  # Digests of one field: of each run at the source, and of the target as the last one


def _with_target(row: Row) -> float:
    return fmean(each == row[-1] for each in row[:-1])


def _with_itself(row: Row) -> float:
    return fmean(one == other for one, other in combinations(row[:-1], 2))


@dataclass(frozen=True)
class _Shares:
    """What the documents say of some of their fields."""

    agreement: float
    self_agreement: float
    half: float  # half the width of the interval in which the difference of the two lies

    @property
    def gap(self) -> float:
        return self.agreement - self.self_agreement


def _shares(documents: Iterable[Sequence[Row]]) -> _Shares | None:
    """Count documents alike, however many fields each has; `None` where none has any."""
    kept = [rows for rows in documents if rows]
    if not kept:
        return None
    pairs = [(fmean(map(_with_target, rows)), fmean(map(_with_itself, rows))) for rows in kept]
    agreement, itself = fmean(one for one, _ in pairs), fmean(other for _, other in pairs)
    # Few documents that happen to be alike say little of how documents vary. What their fields would vary by if they
    # had nothing to do with each other is known, too: three quarters of that of one comparison of two runs.
    fields = sum(map(len, kept))
    apart = ((1 - itself) * fields + 1) / (fields + 2)
    by_chance = TOGETHER * 0.75 * apart * (1 - apart) * len(kept) / fields
    seen = sum((one - other - agreement + itself) ** 2 for one, other in pairs)
    degrees = BEFOREHAND + len(kept) - 1
    variance = (BEFOREHAND * by_chance + seen) / degrees / len(kept)
    # The quantile of Student's t, by the first terms of its expansion.
    z = NormalDist().inv_cdf(CONFIDENCE)
    t = z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
    return _Shares(agreement, itself, t * sqrt(variance))


@dataclass
class _Field:
    """In how many documents a field has a value; in how many the source differs from itself, or the target from it."""

    seen: int = 0
    unsteady: int = 0
    odd: int = 0  # of those in which the source does not differ from itself

    @property
    def gap(self) -> float:
        return (self.unsteady - self.odd) / self.seen

    def chance(self, usual: float) -> float:
        """Give the chance that a faithful copy differs in so many documents (beta-binomial).

        Args:
            usual: share of documents in which the source differs from itself, over the fields of its method.
        """
        steady = self.seen - self.unsteady
        apart, alike = ALIKE * usual + self.unsteady, ALIKE * (1 - usual) + steady
        return sum(
            exp(_beta(apart + odd, alike + steady - odd) - _beta(apart, alike) - _beta(odd + 1, steady - odd + 1))
            / (steady + 1)
            for odd in range(self.odd, steady + 1)
        )


def _beta(one: float, other: float) -> float:
    return lgamma(one) + lgamma(other) - lgamma(one + other)


@dataclass(frozen=True)
class _Figures:
    """What was compared, in numbers."""

    groups: Mapping[str, _Shares]  # by method, "" for all fields
    doubts: Mapping[str, float]  # chance of a false alarm by name of each field that agrees less than its source
    layout: Layout

    def told(self, method: str, source: str, target: str) -> str:
        of, shares = f"{method} fields" if method else "fields", self.groups[method]
        low, high = (_percent(each) for each in _interval(shares))
        itself = f"{source} with itself on {_percent(shares.self_agreement)} %"
        return f"{target} agrees with {source} on {_percent(shares.agreement)} % of {of} ({low}–{high} %), {itself}"


def _percent(share: float) -> int:
    return int(100 * share + 1e-9)


def _interval(shares: _Shares) -> tuple[float, float]:
    return (round(max(0.0, shares.agreement - shares.half), 4), round(min(1.0, shares.agreement + shares.half), 4))


def _figures(pairs: Sequence[tuple[Sequence[Reading], Reading]], expected: Expected, margin: float) -> _Figures:
    groups: defaultdict[str, list[list[Row]]] = defaultdict(list)
    counts: defaultdict[tuple[str, str], _Field] = defaultdict(_Field)  # by method and name
    for runs, target in pairs:
        rows: defaultdict[str, list[Row]] = defaultdict(list)
        named: defaultdict[tuple[str, str], list[Row]] = defaultdict(list)
        readings = [each.contents for each in (*runs, target)]
        for content, path in sorted({(key, path) for each in readings for key, of in each.items() for path in of}):
            row = tuple(each.get(content, {}).get(path, "") for each in readings)
            method, category = expected.method(content, path), category_of(content)
            rows[""].append(row)
            rows[method].append(row)
            if any(row):
                named[method, f"{category}/{path}" if category else path].append(row)
        for method, found in rows.items():
            groups[method].append(found)
        for name, found in named.items():
            is_steady = all(len(set(row[:-1])) == 1 for row in found)
            counts[name].seen += 1
            counts[name].unsteady += not is_steady
            counts[name].odd += is_steady and any(row[-1] != row[0] for row in found)
    usual = {
        method: (sum(it.unsteady for it in of) + 1) / (sum(it.seen for it in of) + 2)
        for method in groups
        if (of := [it for (its, _), it in counts.items() if its == method])
    }
    doubts = {name: len(counts) * it.chance(usual[method]) for (method, name), it in counts.items() if it.gap < -margin}
    shares = {method: made for method, documents in groups.items() if (made := _shares(documents))}
    return _Figures(shares, dict(sorted(doubts.items(), key=lambda each: each[1])), _layout(pairs))


def _layout(pairs: Sequence[tuple[Sequence[Reading], Reading]]) -> Layout:
    steady = [(runs[0].layout, target.layout) for runs, target in pairs if len({run.layout for run in runs}) == 1]
    known = [one == other for one, other in steady if one and other]
    if not known:
        return Layout.UNKNOWN
    return Layout.IDENTICAL if all(known) else Layout.DIFFERS


def judge(
    tried: Sequence[Tried],
    expected: Expected,
    *,
    margin: float,
    source: str,
    target: str,
    differences: Sequence[str] = (),
    is_baseline: bool = False,
) -> Judgement:
    """Judge a copy of one analyzer.

    Args:
        margin: share of fields by which it may agree less with its source than that does with itself.
        source: name of the resource, for the reason; as `target`.
        differences: paths at which the definitions differ.
        is_baseline: the readings of the source were stored, maybe long ago.
    """
    pairs, failed = [], []
    for each in tried:
        runs = [run for run in each.source if isinstance(run, Reading)]
        if len(runs) > 1 and isinstance(each.target, Reading):
            pairs.append((runs, each.target))
        else:
            failed.append(each.sample)
    figures, verdict = _figures(pairs, expected, margin), Verdict.DIFFERS
    if differences:
        reason = (
            f"Its definition at {target} is another one: {some_of(differences)} differs. Replicate it, then compare"
        )
    elif not (reason := _broken(tried, pairs, expected, target)):
        if figures.layout is Layout.DIFFERS and not is_baseline:
            cause = f"{target} reads other text in the same documents than {source}"
            reason = (
                f"{cause}: its build of the service or its configuration is another one. Compare again in some days"
            )
        else:
            agrees = (Verdict.AGREES, "")
            verdict, reason = next(_findings(figures, len(pairs), margin, source, target), agrees)
            if figures.layout is Layout.DIFFERS and verdict is Verdict.DIFFERS:
                cause = f"The text of the documents is read otherwise than when the baseline of {source} was taken"
                verdict, reason = Verdict.NO_VERDICT, f"{cause}. Compare again when {source} answers"
    if verdict is not Verdict.DIFFERS and not pairs:
        verdict, reason = Verdict.NO_VERDICT, "" if tried else "It has no samples. Add documents that it is used for"
    if verdict is not Verdict.DIFFERS and failed:
        reason = some_sentences([*filter(None, [reason]), _uncompared(tried, len(failed), source, target)])
    shares = figures.groups.get("")
    return Judgement(
        verdict=verdict,
        reason=reason and sentence(reason),
        samples=len(pairs),
        agreement=round(shares.agreement, 4) if shares else None,
        self_agreement=round(shares.self_agreement, 4) if shares else None,
        by_method={method: round(of.agreement, 4) for method, of in sorted(figures.groups.items()) if method},
        interval=_interval(shares) if shares else None,
        layout=figures.layout,
        worst=tuple(figures.doubts)[:MOST_NAMED],
        failed=tuple(failed),
    )


def _broken(
    tried: Sequence[Tried], pairs: Sequence[tuple[Sequence[Reading], Reading]], expected: Expected, target: str
) -> str:
    """Say what keeps the copy from answering, and will again; empty where nothing does."""
    answered = [each.target for each in tried if any(isinstance(run, Reading) for run in each.source)]
    failures = [each for each in answered if isinstance(each, Failure)]
    doubtful = len(failures) > 1 and len(failures) == len(answered)
    lasting = [it for it in failures if it.lasts is Lasts.YES or (doubtful and it.lasts is Lasts.UNKNOWN)]
    if lasting:
        why = some_sentences([*filter(None, [lasting[0].cause, lasting[0].next_action])])
        return f"{counted(len(lasting), 'sample')} of {len(answered)} cannot be analysed at {target}: {why}"
    lacking = {name for runs, there in pairs for name in expected.lacking(there) - expected.lacking(runs[0])}
    # Where a router leaves out its own content, and so its segments, only what never came back tells.
    came: Counter[str] = Counter()
    for runs, _ in pairs:
        came.update(set.intersection(*({category_of(key) for key in run.contents} for run in runs)))
    returned = {category_of(key) for _, there in pairs for key in there.contents}
    lacking |= {name for name, times in came.items() if times > 1 and name in expected.categories - returned}
    if not lacking:
        return ""
    names = some_of(sorted(lacking))
    return f"{target} finds documents of {names}, and their analyzer does not answer there. Replicate it, then compare"


def _findings(
    figures: _Figures, samples: int, margin: float, source: str, target: str
) -> Iterator[tuple[Verdict, str]]:
    """Give verdicts by figures with their reasons; the first one counts, and without any the copy agrees."""
    groups, of_all = figures.groups, figures.groups.get("")
    advice = f"Check the models behind the defaults of {target}, and whether it was rebuilt there instead of copied"
    more = "Add samples, or raise samples.each of the plan"
    if samples < FEWEST:
        yield Verdict.TOO_FEW, f"{counted(samples, 'sample')} compared, and {FEWEST} are the fewest that tell. {more}"
    if of_all is None and figures.layout is Layout.UNKNOWN:
        yield Verdict.NO_VERDICT, "Neither text nor a field came back, so nothing was compared. Take other samples"
    for method, of in groups.items():
        if of.gap + of.half * (SEVERAL if method else 1) < -margin:
            yield Verdict.DIFFERS, f"{figures.told(method, source, target)}. {advice}"
    if sure := [name for name, chance in figures.doubts.items() if chance <= SURE]:
        yield Verdict.DIFFERS, f"{target} answers otherwise than {source} in {some_of(sure)}. {advice}"
    if of_all is not None and of_all.self_agreement < UNSTEADY:
        cause = (
            f"{source} agrees with itself on {_percent(of_all.self_agreement)} % of fields, so no copy can be judged"
        )
        yield Verdict.NO_VERDICT, f"{cause}. Take samples that it is made for, or describe its fields more closely"
    if doubtful := [name for name, chance in figures.doubts.items() if chance <= DOUBTFUL]:
        cause = f"{samples} samples are too few to tell whether {target} answers otherwise in {some_of(doubtful)}"
        yield Verdict.TOO_FEW, f"{cause}. {more}"
    for method, of in groups.items():
        if of.gap + of.half / 2 < -margin if method else of.gap < -margin or of.gap - of.half < -NOTICED:
            yield (
                Verdict.TOO_FEW,
                f"{samples} samples are too few to tell: {figures.told(method, source, target)}. {more}",
            )


def _uncompared(tried: Sequence[Tried], failed: int, source: str, target: str) -> str:
    """Say why samples could not be compared."""
    for each in tried:
        for where, made in ((source, each.source), (target, (each.target,))):
            found = next((it for it in made if isinstance(it, Failure)), None)
            if found is not None:
                why = some_sentences([*filter(None, [found.cause, found.next_action])])
                return f"{counted(failed, 'sample')} of {len(tried)} not compared, as at {where}: {why}"
    return f"{counted(failed, 'sample')} of {len(tried)} not compared: {source} has no two answers to hold {target} to"
