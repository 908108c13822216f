"""Compares what analyzers and their copies make of sample documents, and proves a copy while its source is dark.

One analysis is one stage (`Stage.ANALYZE`): under Prefect a task run of its own. It is started, asked about, read to
digests and deleted, also where it is cancelled. What could not be deleted is named.
"""

from collections.abc import Callable, Mapping

from pydantic import Field

from standby.document import Document
from standby.errors import GuardRefused, StandbyError
from standby.recovery.context import RecoveryContext, RunReport, Stages
from standby.recovery.proof.records import (
    Proof,
    Verdict,
)
from standby.replication.items import Progress
from standby.text import counted


class NoSamples(StandbyError):
    def __init__(self, plan: str, where: str) -> None:
        super().__init__(
            f"No analyzer that was asked for has samples for plan {plan}{where}, so there is nothing to compare",
            "Put documents into a folder for each analyzer, named by its id, and name the folder of all of them "
            "in the plan, as samples: {path: ./samples}",
        )


class OverBudget(GuardRefused):
    def __init__(self, plan: str, wanted: int, left: int, limit: str, fitting: int) -> None:
        fewer = f"Add --samples {fitting}" if fitting else "Choose fewer analyzers with --analyzer"
        super().__init__(
            f"This takes {counted(wanted, 'analysis')}, and plan {plan} has {left} left ({limit})",
            f"{fewer}, or raise {limit} in the plan",
        )


class CompareRequest(Document):
    """What is to be compared."""

    targets: tuple[str, ...] = ()  # none means all of the plan's
    analyzers: tuple[str, ...] = ("*",)  # globs on ids at the source
    samples: int | None = Field(None, ge=1)  # of each analyzer at most; without it, the plan's `samples.each`


class Forecast(Document):
    """What a comparison takes, before it begins."""

    plan: str
    analyzers: int  # that have samples
    samples: int  # documents
    analyses: int  # at sources and targets
    pages: int  # that these analyses read
    tokens: int  # of models, as earlier runs used them, or else as was recorded of an invoice
    left_in_run: int  # analyses that a run may take
    left_in_month: int  # and that the month has left


class CompareReport(RunReport):
    """What a comparison came to."""

    target: str  # the one that was compared; empty where there were several
    totals: Mapping[Verdict, int]  # how many of each verdict
    items: tuple[Proof, ...]
    without_samples: tuple[str, ...]  # analyzers that were asked for and have no documents
    analyses: int  # that were started
    tokens: Mapping[str, int]  # what they used, by model and direction
    deleted: int  # results that the service confirmed to have deleted
    left: tuple[str, ...]  # results that could not be deleted: the URL, or what is known of one
    problems: tuple[str, ...]
    next_action: str
    seconds: float
    interrupted: bool


async def forecast(context: RecoveryContext, request: CompareRequest) -> Forecast:
    """Say what a comparison takes; nothing is analysed.

    Raises:
        NoSamples: no analyzer that was asked for has any.
        OverBudget: it takes more analyses than the plan has left.
    """
    raise NotImplementedError


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
    raise NotImplementedError


async def prove(
    context: RecoveryContext,
    primary: str,
    target: str,
    called: Mapping[str, str],
    stages: Stages,
    *,
    seconds: float,
    samples: int = 1,
) -> tuple[Proof, ...]:
    """Prove copies at one target by the baselines of their source, which is not called; nothing of it is recorded.

    Args:
        context: its vault has samples, baselines and budget: that of a drill's sandbox needs the real one.
        called: the id at the target, by id at the primary, of every copy that is to be proved, and of its children.
        seconds: after which it ends, with its results deleted; what was not done until then has no verdict.
        samples: of each analyzer at most.

    Returns:
        A proof of each analyzer that has samples and a baseline, to be kept by `records.add_proofs`; none where the
        plan has no samples.

    Raises:
        StandbyError: the vault, the samples or the target cannot be read.
    """
    raise NotImplementedError
