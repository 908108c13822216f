"""The sample documents of a plan: found by analyzer, held to what the service takes, and read one at a time.

How many of them a run sends is bounded by the plan's budget: `share`.
"""

import asyncio
import re
import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import ceil
from pathlib import Path, PurePosixPath

from standby.concurrency import do_for_each
from standby.config.plan import SampleBudget
from standby.document import digest_of
from standby.errors import GuardRefused, StandbyError
from standby.recovery.context import RecoveryContext
from standby.recovery.proof.records import Key, Proofs, Share, Waiting, budget_words, month_of
from standby.text import clean
from standby.vault.errors import OutsideVault, VaultError
from standby.vault.folder import LocalFolder
from standby.vault.storage import Listed, Storage

_OFFICE = "application/vnd.openxmlformats-officedocument"
TEXTS = {".txt": "text/plain", ".html": "text/html", ".md": "text/markdown"}
KINDS = {  # Media types of documents by the end of their names
    ".pdf": "application/pdf",
    ".docx": f"{_OFFICE}.wordprocessingml.document",
    ".xlsx": f"{_OFFICE}.spreadsheetml.sheet",
    ".pptx": f"{_OFFICE}.presentationml.presentation",
    **{f".{name}": f"image/{name}" for name in ("png", "jpeg", "tiff", "bmp", "heif")},
    ".jpg": "image/jpeg",
    ".tif": "image/tiff",
    ".heic": "image/heif",
    **TEXTS,
}
MOST_BYTES, MOST_TEXT, MOST_PAGES = 200_000_000, 1_000_000, 300  # What the service takes (REFERENCE-analyze)
AT_ONCE = 4  # Analyzers whose documents are read at the same time
CHARACTERS = 3000  # Of a text that count as a page
_PAGE = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")  # Not seen where a PDF has its objects compressed


@dataclass(frozen=True)
class Sample:
    """One document of one analyzer."""

    analyzer: str  # its id at the primary
    name: str
    media_type: str
    digest: str  # SHA-256 of its bytes
    pages: int  # about how many, as far as that can be seen without reading it as the service does; 1 at least
    place: str = field(default="", repr=False)  # where it is read from

    @property
    def label(self) -> str:
        """What it is called in records and in Prefect: a file's name may say whose document it is."""
        return self.digest[:8]


class Samples(dict[str, tuple[Sample, ...]]):
    """The samples of each analyzer that has any, and what was `skipped`: a sentence for each file."""

    def __init__(self, found: Mapping[str, Collection[Sample]], skipped: Collection[str]) -> None:
        super().__init__({analyzer: tuple(of) for analyzer, of in found.items() if of})
        self.skipped = tuple(skipped)


class NoSamples(StandbyError):
    def __init__(self, plan: str) -> None:
        cause = f"Plan {plan} has no samples for any analyzer that was asked for, so there is nothing to compare"
        where = "add samples: {path: ./samples} to the plan, and put documents into ./samples/ANALYZER/"
        super().__init__(cause, f"To compare, {where}")


class SamplesUnreadable(StandbyError):
    def __init__(self, cause: str) -> None:
        super().__init__(cause, "Correct samples.path of the plan, or let this process read that folder")


class SampleChanged(StandbyError):
    def __init__(self, where: str) -> None:
        super().__init__(f"{where} is gone, or another document since it was listed", "Run again when it is in place")


def _storage(context: RecoveryContext) -> tuple[Storage, str]:
    path = context.plan.samples.path if context.plan.samples else None
    return (context.vault, f"samples/{context.plan.name}/") if path is None else (LocalFolder(path), "")


async def _listed(context: RecoveryContext) -> tuple[Mapping[str, list[Listed]], Mapping[str, str]]:
    """List documents by the folder that they lie in, by name; say of each folder that cannot be read why."""
    storage, root = _storage(context)
    unread: dict[str, str] = {}
    if root or not isinstance(storage, LocalFolder):
        every = await storage.list(root)
    else:
        every, unread = (), await asyncio.to_thread(_folders, storage.root)
        for folder in [name for name, reason in unread.items() if not reason]:
            try:
                every += await storage.list(f"{folder}/")
            except VaultError as error:
                unread[folder] = error.cause
    found: defaultdict[str, list[Listed]] = defaultdict(list)
    for each in every:
        folder, _, name = each.path.removeprefix(root).partition("/")
        if name and "/" not in name and not name.startswith("."):
            found[folder].append(each)
    return found, unread


def _folders(root: Path) -> dict[str, str]:
    """Name the folders in a folder, each with the reason why it is not read, if there is any."""
    try:
        every = [each for each in sorted(root.iterdir()) if each.is_dir()]
    except OSError as error:
        reason = "cannot be read" if root.is_dir() else "is no folder"
        cause = f"{root}, which should have the samples of the plan, {reason}: {error.strerror}"
        raise SamplesUnreadable(cause) from None
    return {each.name: f"{each} is a link, and none is followed" if each.is_symlink() else "" for each in every}


async def sampled(context: RecoveryContext) -> frozenset[str]:
    """Name the analyzers that have a sample, by listing folders only: `standby status` asks this each time."""
    if context.plan.samples is None:
        return frozenset()
    listed, _ = await _listed(context)
    return frozenset(folder for folder, of in listed.items() if not all(map(_wrong, of)))


async def list_samples(context: RecoveryContext, analyzers: Collection[str], each: int | None = None) -> Samples:
    """List the first samples, by name, of these analyzers; `each` is how many, as the plan says by default.

    Raises:
        SamplesUnreadable: the folder of all of them cannot be read.
        VaultError: the same of samples that are in the vault.
    """
    settings, (storage, _) = context.plan.samples, _storage(context)
    most = (settings.each if settings else 0) if each is None else each
    listed, unread = await _listed(context) if settings else ({}, {})
    skipped = [f"{reason}." for analyzer in sorted(analyzers) if (reason := unread.get(analyzer))]

    async def take(analyzer: str) -> tuple[Sample, ...]:
        found: dict[str, Sample] = {}
        left_out: defaultdict[str, list[str]] = defaultdict(list)  # names, by what is wrong with them
        for file in listed[analyzer]:
            if len(found) < most and (wrong := _wrong(file) or await _take(storage, file, found)):
                left_out[wrong].append(file.path)
        for wrong, paths in left_out.items():
            more = f" and {len(paths) - 1} more are" if len(paths) > 1 else " is"
            skipped.append(f"{storage.where(paths[0])}{more} left out: {wrong}.")
        return tuple(found.values())

    names = sorted(set(analyzers) & listed.keys())
    taken = await do_for_each(names, take, AT_ONCE)
    return Samples(dict(zip(names, taken, strict=True)), [clean(each) for each in skipped])


def _wrong(file: Listed) -> str:
    """Say why a file is no sample, as far as that can be seen without reading it; empty where it may be one."""
    suffix = PurePosixPath(file.path).suffix.lower()
    if suffix not in KINDS:
        return f"of all files only {', '.join(each[1:] for each in KINDS)} are compared"
    most = MOST_TEXT if suffix in TEXTS else MOST_BYTES
    if file.size > most:
        return f"it is larger than {most // 1_000_000} MB, which the service does not take"
    return "" if file.size else "it is empty"


async def _take(storage: Storage, file: Listed, taken: dict[str, Sample]) -> str:
    """Add a document to those of its analyzer; say why not where it cannot be one."""
    try:
        content = await storage.read(file.path)
    except OutsideVault:
        return "its name has one of : \\ # ? in it, or it is a link that leads away"
    except VaultError as error:
        return error.cause
    if not content:
        return "it is gone"
    name, digest = PurePosixPath(file.path), digest_of(content)
    media_type = KINDS[name.suffix.lower()]
    pages = _pages(content, media_type)
    if digest in taken:
        return f"it has the content of {taken[digest].name}"
    if pages > MOST_PAGES:
        return f"it has {pages} pages, and the service takes {MOST_PAGES}"
    taken[digest] = Sample(name.parent.name, clean(name.name), media_type, digest, pages, file.path)
    return ""


def _pages(content: bytes, media_type: str) -> int:
    if media_type == KINDS[".pdf"]:
        return max(1, len(_PAGE.findall(content)))
    return max(1, ceil(len(content) / CHARACTERS)) if media_type in TEXTS.values() else 1


async def read_sample(context: RecoveryContext, sample: Sample) -> bytes:
    """Read a document.

    Raises:
        SampleChanged: it is gone, or another one than was listed.
        VaultError: it cannot be read.
    """
    storage, _ = _storage(context)
    content = await storage.read(sample.place)
    if content is None or digest_of(content) != sample.digest:
        raise SampleChanged(storage.where(sample.place))
    return content


def tally(samples: Mapping[str, Collection[Sample]]) -> tuple[int, int]:
    """Give how many documents and how many pages these are."""
    every = [each for of in samples.values() for each in of]
    return len(every), sum(each.pages for each in every)


class OverBudget(GuardRefused):
    def __init__(self, plan: str, takes: int, may: int, needed: str, *, fewer: int) -> None:
        cause = (
            f"Not even one copy fits: it takes {takes} analyses, and plan {plan} may make {may} more now by its budget"
        )
        less = f", or take fewer documents with --samples {fewer}" if fewer else ""
        super().__init__(cause, f"Give the plan {needed}{less}")


@dataclass(frozen=True)
class Asked:
    """One analysis that is to be made."""

    subject: tuple[str, str]  # source and analyzer whose baseline it belongs to
    resource: str
    called: str
    sample: Sample


@dataclass(frozen=True)
class Cost:
    """How many analyses one copy takes."""

    key: Key
    samples: int  # at the target; 0 where it needs none
    runs: int  # times as many at the source, for all copies of it together

    @property
    def subject(self) -> tuple[str, str]:
        return (self.key[0], self.key[2])

    @property
    def alone(self) -> int:
        return self.samples * (1 + self.runs)


def _together(costs: Iterable[Cost], most: int) -> tuple[list[Cost], int]:
    """Take copies in their order, each that still fits, and say how many analyses they take."""
    taken, paid, spent = list[Cost](), set[tuple[str, str]](), 0
    for each in costs:
        takes = each.samples if each.subject in paid else each.alone
        if spent + takes <= most:
            taken.append(each)
            paid.add(each.subject)
            spent += takes
    return taken, spent


_NEVER = datetime.min.replace(tzinfo=UTC)


def share(plan: str, known: Proofs, costs: Iterable[Cost], budget: SampleBudget, now: datetime) -> Share:
    """Choose what a run compares: copies that never were come first, then those that were tried longest ago.

    So runs go round all of them. What came to no verdict was tried, too: it must not keep others from their turn.

    Raises:
        OverBudget: there is something to analyse, and not one copy fits.
    """
    tried = {it.key: it.tried_at for it in known.proofs if it.is_made and it.tried_at <= now}
    rest = sorted(costs, key=lambda it: (tried.get(it.key, _NEVER), it.subject, it.key))
    spent, whole = known.spent.get(month_of(now), 0), _together(rest, sys.maxsize)[1]
    left, each_run, turns = known.left(now, budget.month), min(budget.run, budget.month), list[list[Cost]]()
    most, total, waiting = min(budget.run, left), 0, list[Waiting]()
    while rest:
        turn, takes = _together(rest, each_run if turns else most)
        if not turn and turns:
            break
        turns.append(turn)
        total += takes
        if (number := len(turns) - 1) > 0:
            comes = "the next run" if number == 1 else f"one of the next {number} runs"
            waiting += [_waits(it, "next month" if total > left else comes) for it in turn]
        rest = [it for it in rest if it not in set(turn)]

    def needed(analyses: int) -> SampleBudget:
        return SampleBudget(run=max(budget.run, analyses), month=max(budget.month, spent + analyses))

    waiting += [_waits(it, budget_words(needed(it.alone))) for it in rest]
    if whole and not any(it.samples for it in turns[0]):
        least = min((it for turn in (*turns, rest) for it in turn if it.samples), key=lambda it: it.alone)
        fewer = most // (1 + least.runs)
        raise OverBudget(plan, least.alone, most, budget_words(needed(least.alone)), fewer=fewer)
    chosen = frozenset(it.key for turn in turns[:1] for it in turn)
    one = needed(whole) if waiting else None
    return Share(chosen=chosen, most=most, waiting=tuple(waiting), whole=whole, runs=len(turns), one_run=one)


def _waits(cost: Cost, comes: str) -> Waiting:
    return Waiting(**dict(zip(("source", "target", "analyzer"), cost.key, strict=True)), comes=comes)
