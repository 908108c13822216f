"""Judges whether a copy answers as its source does: a pure function of readings.

Two runs of one analyzer differ in some fields. So the agreement of a copy with its source is only held against that of
the source with itself, for the same documents. Fields of one document go wrong together: chance is counted by document.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import exp, lgamma, sqrt
from statistics import NormalDist, fmean
from typing import Any

from standby.errors import StandbyError, sentence
from standby.recovery.proof.reading import Expected, category_of
from standby.recovery.proof.records import Layout, Proof, Reading, Verdict, percent
from standby.service import errors
from standby.text import counted, some_of, some_sentences


@dataclass(frozen=True)
class Failure:
    """An analysis without a result: why, and what to do, without anything of the document."""

    cause: str
    next_action: str = ""
    lasts: bool | None = False  # whether it would come again; `None` where that is not known

    def __str__(self) -> str:
        return some_sentences([each for each in (self.cause, self.next_action) if each])


UNMADE = Failure("The run, its time or its budget ended before it was analysed", "Compare again")

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
    is_unknown = type(error) is errors.OperationFailed
    # Each was there a moment ago: what is not found is a child, or was taken away since.
    advice = AGAIN if isinstance(error, errors.AnalyzerNotFound) else error.next_action
    cause = error.told if isinstance(error, errors.ServiceError) else error.cause
    return Failure(cause, advice, None if is_unknown else isinstance(error, LASTING))


@dataclass(frozen=True)
class Tried:
    """What came of one sample."""

    sample: str  # its label
    source: tuple[Reading | Failure, ...]  # of each run at the source, or as the baseline has them
    target: Reading | Failure


FEWEST = 3  # Documents from which anything is said about agreement
CONFIDENCE = 0.99  # That the true difference lies on one side of an end of the interval
TOGETHER = 1.5  # How much more documents vary than their fields would by themselves
BEFOREHAND = 4  # Documents' worth that this variance counts beside the one that is seen
SEVERAL = 1.3  # How much wider the interval of one method is taken: there are several that may differ by chance
NOTICED = 0.3  # Loss of agreement that has to be excluded before a copy agrees: rebuilt analyzers lose as much
UNSTEADY = 0.3  # Agreement of a source with itself below which nothing can be told by it
SURE = 0.001  # Chance of a false alarm, over all fields, from which it is believed that one differs
DOUBTFUL = 0.05  # Likewise, from which a copy is not said to agree
ALIKE = 2.0  # Documents' worth that the other fields of its method say about a field
MOST_NAMED = 5  # Fields that are named as the worst

Pair = tuple[Sequence[Reading], Reading]  # What each run at the source and the target read of one document
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
    around: float  # half the width of the interval in which the agreement lies
    half: float  # and of that in which its difference from the self-agreement lies

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
    fields = sum(map(len, kept)) / len(kept)
    # A difference varies by three quarters of what one comparison of two runs does.
    around = _half([one for one, _ in pairs], agreement, fields, 1.0)
    return _Shares(agreement, itself, around, _half([one - other for one, other in pairs], itself, fields, 0.75))


def _half(values: Sequence[float], share: float, fields: float, part: float) -> float:
    """Give half the width of the interval around the mean of documents.

    Few documents that happen to be alike say little of how documents vary. What their fields would vary by if they had
    nothing to do with each other is known, too.

    Args:
        share: on which two runs agree.
        fields: of a document.
        part: by how much of one comparison the values vary by chance.
    """
    count = len(values)
    apart = ((1 - share) * fields * count + 1) / (fields * count + 2)
    by_chance = TOGETHER * part * apart * (1 - apart) / fields
    seen = sum((each - fmean(values)) ** 2 for each in values)
    degrees = BEFOREHAND + count - 1
    # The quantile of Student's t, by the first terms of its expansion.
    z = NormalDist().inv_cdf(CONFIDENCE)
    t = z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
    return t * sqrt((BEFOREHAND * by_chance + seen) / degrees / count)


@dataclass
class _Field:
    """In how many documents a field has a value; in how many the source differs from itself, or the target from it."""

    seen: int = 0
    unsteady: int = 0
    odd: int = 0  # of those in which the source does not differ from itself

    @property
    def gap(self) -> float:
        return (self.unsteady - self.odd) / self.seen

    def chance(self, usual: float, runs: int) -> float:
        """Give the chance that a faithful copy differs in so many documents (beta-binomial).

        Of `runs` and a copy alike, any may be the one that differs: the source's share is `runs` times the copy's.

        Args:
            usual: share of documents in which the source differs from itself, over the fields of its method.
        """
        apart = (ALIKE * usual + self.unsteady) / runs
        alike = ALIKE + self.seen - apart
        return sum(
            exp(_beta(apart + odd, alike + self.seen - odd) - _beta(apart, alike))
            / exp(_beta(odd + 1, self.seen - odd + 1))
            / (self.seen + 1)
            for odd in range(self.odd, self.seen + 1)
        )


def _beta(one: float, other: float) -> float:
    return lgamma(one) + lgamma(other) - lgamma(one + other)


@dataclass(frozen=True)
class _Figures:
    """What was compared, in numbers."""

    shares: Mapping[str, _Shares]  # by method, "" for all fields
    doubts: Mapping[str, float]  # chance of a false alarm by name of each field that agrees less than its source
    layout: Layout
    has_values: bool  # whether any field had one anywhere


def _told(proof: Proof, method: str, shares: _Shares) -> str:
    (low, high), of = map(percent, _interval(shares)), f"{method} fields" if method else "fields"
    itself = f"{proof.source} with itself on {percent(shares.self_agreement)}"
    agreement = percent(shares.agreement)
    return f"{proof.target} agrees with {proof.source} on {agreement} of {of} ({low} to {high}), {itself}"


def _interval(shares: _Shares) -> tuple[float, float]:
    low, high = shares.agreement - shares.around, shares.agreement + shares.around
    return (round(max(0.0, low), 4), round(min(1.0, high), 4))


def _figures(pairs: Sequence[Pair], expected: Expected, margin: float) -> _Figures:
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
    least = min([len(of) for of, _ in pairs], default=1)
    doubts = {
        name: len(counts) * it.chance(usual[method], least) for (method, name), it in counts.items() if it.gap < -margin
    }
    shares = {method: made for method, documents in groups.items() if (made := _shares(documents))}
    return _Figures(shares, dict(sorted(doubts.items(), key=lambda each: each[1])), _layout(pairs), bool(counts))


def _layout(pairs: Sequence[Pair]) -> Layout:
    steady = [(runs[0].layout, target.layout) for runs, target in pairs if len({run.layout for run in runs}) == 1]
    known = [one == other for one, other in steady if one or other]
    if not known:
        return Layout.UNKNOWN
    return Layout.IDENTICAL if all(known) else Layout.DIFFERS


def judge(
    proof: Proof,
    tried: Sequence[Tried],
    expected: Expected,
    *,
    margin: float,
    differences: Sequence[str] = (),
    known: Sequence[str] = (),
) -> Proof:
    """Judge a copy.

    Args:
        proof: says of which copy, and whether the readings of its source are those of a baseline.
        margin: share of fields by which it may agree less with its source than that does with itself.
        differences: paths at which the definitions differ.
        known: what it may come of if it does not agree, and what to do.
    """
    pairs: list[Pair] = []
    failed = []
    for each in tried:
        runs = [run for run in each.source if isinstance(run, Reading)]
        if len(runs) > 1 and isinstance(each.target, Reading):
            pairs.append((runs, each.target))
        else:
            failed.append(each.sample)
    figures = _figures(pairs, expected, margin)
    if differences:
        named = f"Its definition at {proof.target} is another one, in {some_of(differences)}"
        verdict, reason = Verdict.DIFFERS, f"{named}. {AGAIN}"
    elif broken := _broken(proof.target, tried, pairs, expected):
        verdict, reason = Verdict.DIFFERS, broken
    elif pairs:
        verdict, reason = next(_findings(proof, figures, len(pairs), margin), (Verdict.AGREES, ""))
    else:
        verdict, reason = Verdict.NO_VERDICT, "" if tried else "It has no samples. Add documents that it is used for"
    if verdict in {Verdict.DIFFERS, Verdict.TOO_FEW}:
        reason = some_sentences([reason, *known])
    if failed and verdict is not Verdict.DIFFERS:
        reason = some_sentences([*filter(None, [reason]), _uncompared(proof, tried, len(failed))])
    shares = figures.shares.get("")
    found: dict[str, Any] = {"verdict": verdict, "reason": reason and sentence(reason), "samples": len(pairs)}
    if shares is not None:
        found |= {"agreement": round(shares.agreement, 4), "self_agreement": round(shares.self_agreement, 4)}
        found |= {"interval": _interval(shares), "worst": tuple(figures.doubts)[:MOST_NAMED]}
    by_method = {method: round(of.agreement, 4) for method, of in sorted(figures.shares.items()) if method}
    return proof.model_copy(update={**found, "by_method": by_method, "layout": figures.layout, "failed": tuple(failed)})


REBUILT = "If it was rebuilt there instead of copied, delete it there, then replicate it"
AGAIN = "Replicate it, by --force where it was edited there, then compare again"


def _broken(target: str, tried: Sequence[Tried], pairs: Sequence[Pair], expected: Expected) -> str:
    """Say what keeps the copy from answering, and will again; empty where nothing does."""
    answered = [each.target for each in tried if any(isinstance(run, Reading) for run in each.source)]
    failures = [each for each in answered if isinstance(each, Failure)]
    doubtful = len(failures) > 1 and len(failures) == len(answered)
    lasting = [it for it in failures if it.lasts or (doubtful and it.lasts is None)]
    if lasting:
        return f"{len(lasting)} of {counted(len(answered), 'sample')} cannot be analysed at {target}: {lasting[0]}"
    lacking = {it for runs, there in pairs for it in expected.lacking(there).difference(*map(expected.lacking, runs))}
    # Where a router leaves out its own content, and so its segments, only what never came back tells.
    came: Counter[str] = Counter()
    for runs, _ in pairs:
        came.update(set.intersection(*({category_of(key) for key in run.contents} for run in runs)))
    returned = {category_of(key) for _, there in pairs for key in there.contents}
    lacking |= {name for name, times in came.items() if times > 1 and name in expected.categories - returned}
    names = some_of(sorted(lacking))
    return names and f"The analyzer that reads documents of the category {names} does not answer at {target}. {AGAIN}"


def _findings(proof: Proof, figures: _Figures, samples: int, margin: float) -> Iterator[tuple[Verdict, str]]:
    """Give verdicts by figures with their reasons; the first one counts, and without any the copy agrees."""
    target, source, shares = proof.target, proof.source, figures.shares
    more = "Add samples, or raise samples.each of the plan"
    differs = (Verdict.DIFFERS, f"Check the models of {target} and their versions. {REBUILT}")
    if figures.layout is Layout.DIFFERS and proof.against == "baseline":
        # Whatever else differs may come of that.
        cause = f"The text of the documents is read otherwise than when the baseline of {source} was taken"
        differs = (Verdict.NO_VERDICT, f"{cause}. Compare again when {source} answers")
    elif figures.layout is Layout.DIFFERS:
        cause = f"{target} reads other text in the same documents than {source}: another build of the service"
        yield Verdict.DIFFERS, f"{cause}, or another configuration. Compare again in some days"
    if samples < FEWEST:
        yield Verdict.TOO_FEW, f"{counted(samples, 'sample')} compared, and {FEWEST} are the fewest that tell. {more}"
    if shares and not figures.has_values:
        yield Verdict.TOO_FEW, "No field has a value in any sample. Take samples that it is used for"
    if not shares and figures.layout is not Layout.IDENTICAL:
        cause = "Neither text nor a field came back, so nothing was compared. Take other samples"
        yield differs if figures.layout is Layout.DIFFERS else (Verdict.NO_VERDICT, cause)
    for method, of in shares.items():
        # The margin is exceeded, and half of it for certain.
        if of.gap < -margin and of.gap + of.half * (SEVERAL if method else 1) < -margin / 2:
            yield differs[0], f"{_told(proof, method, of)}. {differs[1]}"
    if sure := [name for name, chance in figures.doubts.items() if chance <= SURE]:
        yield differs[0], f"{target} answers otherwise than {source} in {some_of(sure)}. {differs[1]}"
    if (of_all := shares.get("")) is not None and of_all.self_agreement < UNSTEADY:
        cause = f"{source} agrees with itself on {percent(of_all.self_agreement)} of fields, so no copy can be judged"
        yield Verdict.NO_VERDICT, f"{cause}. Take samples that it is made for, or describe its fields more closely"
    if doubtful := [name for name, chance in figures.doubts.items() if chance <= DOUBTFUL]:
        cause = f"{samples} samples are too few to tell whether {target} answers otherwise in {some_of(doubtful)}"
        yield Verdict.TOO_FEW, f"{cause}. {more}"
    for method, of in shares.items():
        if of.gap + of.half / 2 < -margin if method else of.gap < -margin or of.gap - of.half < -NOTICED:
            yield Verdict.TOO_FEW, f"{samples} samples are too few to tell: {_told(proof, method, of)}. {more}"


def _uncompared(proof: Proof, tried: Sequence[Tried], failed: int) -> str:
    """Say why samples could not be compared."""
    made = [(proof.source, run) for each in tried for run in each.source]
    made += [(proof.target, each.target) for each in tried]
    why = next((f" ({where}): {it}" for where, it in made if isinstance(it, Failure)), "")
    lacks = f": {proof.source} has no two answers to each"
    return f"{failed} of {counted(len(tried), 'sample')} not compared{why or lacks}"
