"""Judges whether a copy answers as its source does: a pure function of readings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from standby.document import JsonObject
from standby.errors import StandbyError
from standby.recovery.proof.reading import Expected
from standby.recovery.proof.records import Layout, Reading, Verdict


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


def failure_of(error: StandbyError) -> Failure:
    """Say of the error of an analysis whether it would come again."""
    raise NotImplementedError


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
    reason: str  # one sentence or more: why, and what to do; empty where all is well
    samples: int = 0  # that were compared
    agreement: float | None = None  # of the target with the source; `None` where no field was compared
    self_agreement: float | None = None  # of the source with itself
    by_method: Mapping[str, float] = field(default_factory=dict)  # agreement by method of the fields
    interval: tuple[float, float] | None = None  # in which the agreement of any number of samples would lie
    layout: Layout = Layout.UNKNOWN
    worst: tuple[str, ...] = ()  # paths of the fields that agree least, the worst first
    failed: tuple[str, ...] = ()  # names of the samples that were not compared


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
    raise NotImplementedError


def definition_differences(source: JsonObject, target: JsonObject, ignore: Sequence[str]) -> tuple[str, ...]:
    """Name the paths at which two definitions differ in meaning, but for what the target's service filled in."""
    raise NotImplementedError
