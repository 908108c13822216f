"""The selection of a run, the items of a plan with the names of their copies, and their progress."""

import itertools
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from graphlib import TopologicalSorter
from typing import Protocol

from pydantic import ConfigDict

from standby.config.globs import LONGEST_ID, PLACE_OF_ID
from standby.config.plan import OnExisting, RecoveryPlan
from standby.document import digest_of
from standby.fencing import ElsewhereActive, OtherPlans
from standby.replication.needs import Dependencies
from standby.replication.verdict import ACTING, HOLDS_NOTHING, Action, CopyRecord, Sighting, Verdict

Key = tuple[str, ...]  # Of an item: unique in its plan
Records = Mapping[str, CopyRecord]  # The ledger of one pair: the last verified copy by target analyzer


@dataclass(frozen=True)
class Selection:
    """What of a recovery plan is asked for this time; no targets, or no sources, means all of them."""

    analyzers: tuple[str, ...] = ("*",)
    targets: tuple[str, ...] = ()
    on_existing: OnExisting | None = None
    # Ids of analyzers that may be overwritten at the targets, whatever was done to them there.
    force: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()  # ids of analyzers that stay as the targets have them, whatever the sources have
    # Another policy for what was never copied from here; without it, `on_existing` is for both.
    on_foreign: OnExisting | None = None
    # Ids at the targets that go before the plan's `target_id`, by the id at the source.
    names: Mapping[str, str] = field(default_factory=dict)
    # Ids of those for which what was trained may be overwritten by what was not; without it, all that are forced.
    force_trained: tuple[str, ...] | None = None


def selected_pairs(recovery_plan: RecoveryPlan, selection: Selection) -> Iterator[tuple[str, str]]:
    for pair in recovery_plan.pairs:
        if selection.sources and pair.source not in selection.sources:
            continue
        for target in pair.targets:
            if not selection.targets or target in selection.targets:
                yield pair.source, target


@dataclass(frozen=True, slots=True)
class PlanItem:
    """One analyzer at one target: how it stands, what is to be done, and why."""

    source: str
    target: str
    analyzer: str
    target_analyzer: str
    verdict: Verdict
    action: Action
    reason: str
    needs: tuple[str, ...]  # the children, by source id, that must be usable at the target first
    expected: Sighting
    found: Sighting | None
    models: tuple[tuple[str, str], ...] = ()
    last: CopyRecord | None = None  # the last verified copy of it, where what the target held is still that one
    differences: tuple[str, ...] = ()  # JSON paths at which the target differs from what is expected
    warnings: tuple[str, ...] = ()
    kept_as: str = ""  # id under which the target keeps its trained analyzer before another one takes its place

    # In a saved plan, a key that is not known is damage.
    __pydantic_config__ = ConfigDict(extra="forbid")

    @property
    def key(self) -> Key:
        return (self.source, self.target, self.analyzer)

    @property
    def over_nothing(self) -> bool:
        """Whether what it overwrites failed, or is stuck, and so holds nothing."""
        return self.action is Action.REPLACE and self.found is not None and self.found.status in HOLDS_NOTHING

    @property
    def is_in_sync(self) -> bool:
        """Whether the target has what serves: what is equal and left alone serves elsewhere, for another plan."""
        return self.verdict is Verdict.IN_SYNC and self.action is not Action.REFUSE


@dataclass(frozen=True)
class ReplicationPlan:
    """Everything a run would do, before it does any; `unseen` says by name why a resource could not be looked at."""

    recovery_plan: RecoveryPlan
    made_at: datetime
    items: tuple[PlanItem, ...]
    added_defaults: Mapping[str, Mapping[str, str]]
    unseen: Mapping[str, str] = field(default_factory=dict)


class Status(StrEnum):
    SUCCEEDED = "succeeded"
    SKIPPED = "skipped"
    FAILED = "failed"
    BLOCKED = "blocked"
    REFUSED = "refused"


GOOD = frozenset({Status.SUCCEEDED, Status.SKIPPED})  # Ends after which the analyzer is usable at the target


@dataclass(frozen=True)
class Progress:
    total: int
    in_flight: int
    ended: tuple[tuple[Status, int], ...]

    @property
    def done(self) -> int:
        return sum(count for _, count in self.ended)


class HasStatus(Protocol):
    @property
    def status(self) -> Status: ...


def count(results: Iterable[HasStatus]) -> dict[Status, int]:
    """Count results by status, every status named."""
    counts = dict.fromkeys(Status, 0)
    for result in results:
        counts[result.status] += 1
    return counts


def part(plan: ReplicationPlan, keys: Iterable[Key]) -> ReplicationPlan:
    # What they need outside of it was found good by the plan: else they would be blocked in it.
    wanted = set(keys)
    chosen = [item for item in plan.items if item.key in wanted]
    needs = [tuple(it for it in item.needs if (item.source, item.target, it) in wanted) for item in chosen]
    items = tuple(replace(item, needs=needed) for item, needed in zip(chosen, needs, strict=True))
    return replace(plan, unseen={}, items=items)


def unseen_items(
    source: str, target: str, seen: Mapping[str, Sighting], records: Records, reason: str
) -> Iterator[PlanItem]:
    """Block what is asked for of a pair that could not be looked at: only what the source has or had is known."""
    copies = {record.analyzer or copy: copy for copy, record in records.items()}
    for name in sorted(seen):
        copy = copies.get(name, name)
        key, decided = (source, target, name, copy), (Verdict.BLOCKED, Action.REFUSE, reason)
        yield PlanItem(*key, *decided, needs=(), expected=seen[name], found=None, last=records.get(copy))


def blocked(item: PlanItem, cause: str) -> PlanItem:
    """Leave an item alone for a reason that is not its own verdict."""
    return replace(item, verdict=Verdict.BLOCKED, action=Action.REFUSE, reason=cause)


def apart(own: Mapping[str, PlanItem]) -> dict[str, PlanItem]:
    """Block what would get the name of another copy: one that keeps its id goes first."""
    owners: dict[str, str] = {}
    for name in sorted(own, key=lambda name: (own[name].target_analyzer != name, name)):
        owners.setdefault(own[name].target_analyzer, name)
    apart = dict(own)
    for name, item in own.items():
        if (owner := owners[item.target_analyzer]) != name:
            cause = f"Its copy would be called {item.target_analyzer}, as that of {owner} is"
            apart[name] = blocked(item, f"{cause}. Choose another target_id, or exclude one of the two.")
    return apart


def after_children(own: Mapping[str, PlanItem], dependencies: Dependencies) -> Iterator[PlanItem]:
    """Block what needs a child that will not be at the target under the name the parent refers to."""
    graph = {name: () if name in dependencies.cycles else needed for name, needed in dependencies.children.items()}
    decided: dict[str, PlanItem] = {}
    for name in TopologicalSorter(graph).static_order():
        item = own[name]
        causes = [cause for child in item.needs if (cause := _hindrance(decided.get(child, own[child])))]
        if causes and item.action in ACTING:
            item = blocked(item, f"{' '.join(causes)} Fix that first.")
        elif causes and item.action is Action.SKIP:
            item = replace(item, warnings=item.warnings + tuple(causes))
        decided[name] = item
    return iter(sorted(decided.values(), key=lambda item: item.analyzer))


def _hindrance(child: PlanItem) -> str:
    if child.action is Action.REFUSE:
        state = "blocked" if child.verdict is Verdict.BLOCKED else "refused"
        return f"Its child {child.analyzer} is {state}."
    if child.target_analyzer != child.analyzer:
        return f"It refers to {child.analyzer}, and the copy of that is called {child.target_analyzer}."
    return ""


def beside_other_plans(own: Mapping[str, PlanItem], others: OtherPlans, *, following: bool) -> dict[str, PlanItem]:
    """Leave alone what serves at the target for another plan, or elsewhere than at the source."""
    # A run that follows is a part of a failover, which may lead to where an analyzer serves for another plan already.
    theirs = {name: others.serving(item.target, item.target_analyzer) for name, item in own.items()}
    served = {name: other for name, other in theirs.items() if other is not None}
    # It is usable where it serves: what needs it there can be copied.
    usable = {name for name in served if (found := own[name].found) is not None and found.status == "ready"}

    def beside(item: PlanItem, other: ElsewhereActive | None) -> PlanItem:
        if following and other is not None and other.is_settled and other.primary == item.source:
            return replace(item, action=Action.SKIP, reason=f"Nothing is copied over it: {other}.")
        against = others.against_copy(item.source, item.target, item.analyzer, item.target_analyzer)
        return item if against is None else replace(item, action=Action.REFUSE, reason=str(against))

    def beside_them(name: str, item: PlanItem) -> PlanItem:
        needs = tuple(child for child in item.needs if child not in usable)
        item = beside(item, served.get(name))
        return item if needs == item.needs else replace(item, needs=needs)

    return {name: beside_them(name, item) for name, item in own.items()}


def fitting_id(name: str, ending: str = "") -> str:
    """Give an id that is not too long: where it would be, the end of the name gives way to a digest of all of it."""
    if len(name) + len(ending) <= LONGEST_ID:
        return f"{name}{ending}"
    mark = f"-{digest_of(name.encode())[:8]}"
    return f"{name[: LONGEST_ID - len(ending) - len(mark)]}{mark}{ending}"


@dataclass(frozen=True)
class TargetNames:
    """The names of one source's analyzers at one target."""

    template: str
    # Analyzers that others of the source refer to. A reference is by id and is copied as it is, so these keep their
    # names.
    referenced: Collection[str]
    taken: Collection[str]  # ids that a new version must not get
    # Ids of copies that were chosen one by one, and go before all else.
    given: Mapping[str, str] = field(default_factory=dict)

    def of(self, analyzer: str) -> str:
        if analyzer in self.given:
            return self.given[analyzer]
        if analyzer in self.referenced:
            return analyzer
        return self.template.replace(PLACE_OF_ID, analyzer)

    def free_version(self, analyzer: str) -> str:
        """Give the first id `{copy}_v{n}` that is free, from 2 on."""
        names = (f"{self.of(analyzer)}_v{number}" for number in itertools.count(2))
        return next(name for name in names if name not in self.taken)


_VERSION = re.compile(r"(.+)_v(\d+)")


def versions(known: Iterable[str]) -> dict[str, list[str]]:
    """Give the ids that are versions of a copy, by the id of that copy, the newest first."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name in known:
        if numbered := _VERSION.fullmatch(name):
            found[numbered[1]].append(name)
    for each in found.values():
        each.sort(key=lambda name: -int(name.rpartition("_v")[2]))
    return found
