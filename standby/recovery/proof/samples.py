"""The sample documents of a plan: found by analyzer, checked against what the service takes, and read one at a time."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from standby.recovery.context import RecoveryContext


@dataclass(frozen=True)
class Sample:
    """One document of one analyzer."""

    analyzer: str  # its id at the primary
    name: str
    media_type: str
    digest: str  # SHA-256 of its bytes
    pages: int  # about how many, as far as that can be seen without reading it as the service does; 1 at least
    place: str = field(default="", repr=False)  # where it is read from


class Samples(dict[str, tuple[Sample, ...]]):
    """The samples of each analyzer that has any, and what was `skipped`: a sentence for each file or folder."""

    skipped: tuple[str, ...] = ()


async def list_samples(context: RecoveryContext, analyzers: Collection[str], each: int | None = None) -> Samples:
    """List the first samples, by name, of these analyzers; `each` is how many, as the plan says by default."""
    raise NotImplementedError


async def sampled(context: RecoveryContext) -> frozenset[str]:
    """Name the analyzers that have a sample, by listing folders only: `standby status` asks this each time."""
    raise NotImplementedError


async def read_sample(context: RecoveryContext, sample: Sample) -> bytes:
    """Read a document.

    Raises:
        SampleChanged: it is gone, or another one than was listed.
    """
    raise NotImplementedError


def tally(samples: Mapping[str, Collection[Sample]]) -> tuple[int, int]:
    """Give how many documents and how many pages these are."""
    every = [each for of in samples.values() for each in of]
    return len(every), sum(each.pages for each in every)
