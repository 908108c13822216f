"""Forecast of a run: calls, share of the quota, time. Arithmetic only."""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from standby.config.plan import CopyDeadlines
from standby.config.resource import PREVIEW_2025, Resource
from standby.document import JsonObject
from standby.replication.engine import GROWTH
from standby.replication.items import Key, PlanItem, ReplicationPlan
from standby.replication.verdict import ACTING, Action

SHORTEST_COPY = 2.0
"""Seconds: recorded copies took 2 to 5 (REFERENCE, *Other calls*)."""

LONGEST_COPY = 5.0
"""Seconds, likewise."""

TRAINED_COPY = 9.0
"""Seconds a copy of an analyzer with labelled data took (REFERENCE, a user's report)."""

GRANT_SECONDS = 0.6
"""Seconds the service took to grant a copy (recording of GrantCopyAuth, x-envoy-upstream-service-time)."""

ANSWER_SECONDS = 0.1
"""Seconds it took to answer anything else (same recording)."""

MINUTE = 60.0


@dataclass(frozen=True)
class Forecast:
    """What carrying a plan out will take, at most for calls and shares.

    Attributes:
        calls: to each resource, by name; those to the management plane are not counted by the service.
        quota_share: by resource, which part of its operations per minute the busiest minute takes.
        shortest: seconds, when every copy is as fast as the fastest recorded.
        longest: seconds, when every copy is as slow as the slowest recorded.
    """

    calls: Mapping[str, int]
    quota_share: Mapping[str, float]
    shortest: float
    longest: float

    @property
    def all_calls(self) -> int:
        return sum(self.calls.values())

    @property
    def summary(self) -> str:
        """What a run will take, in one sentence."""
        busiest, share = max(self.quota_share.items(), key=lambda entry: entry[1])
        return (
            f"At most {self.all_calls} calls, {max(1, math.ceil(share * 100))}% of the quota per minute "
            f"of {busiest}, about {_span(self.shortest, self.longest)}."
        )

    def to_json(self) -> JsonObject:
        return {
            "calls": dict(self.calls),
            "quota_share": {name: round(share, 4) for name, share in self.quota_share.items()},
            "seconds": [round(self.shortest, 1), round(self.longest, 1)],
        }


def forecast(plan: ReplicationPlan, resources: Mapping[str, Resource]) -> Forecast | None:
    """Forecast a run that does what a plan says; `None` where it does nothing."""
    acting = [item for item in plan.items if item.action in ACTING]
    if not acting and not plan.added_defaults:
        return None
    deadlines = plan.recovery_plan.deadlines
    calls = _calls(plan, acting, resources)
    at_least = max(
        calls[name] / resources[name].operations_per_minute * MINUTE
        if calls[name] > resources[name].operations_per_minute
        else 0.0
        for name in calls
    )
    shortest, longest = (max(at_least, _seconds(acting, resources, deadlines, slow=slow)) for slow in (False, True))
    minutes = max(shortest / MINUTE, 1.0)
    return Forecast(
        calls=dict(calls),
        quota_share={
            name: min(1.0, count / minutes / resources[name].operations_per_minute) for name, count in calls.items()
        },
        shortest=shortest,
        longest=longest,
    )


def polls_of_copy(service_seconds: float, deadlines: CopyDeadlines) -> tuple[int, float]:
    """Tell how often a copy is asked about until it is over, and the second at which that is known."""
    count, moment, wait = 1, 0.0, deadlines.first_interval
    while moment < service_seconds:
        moment += wait
        wait = min(wait * GROWTH, deadlines.longest_interval)
        count += 1
    return count, moment


def _calls(plan: ReplicationPlan, acting: Iterable[PlanItem], resources: Mapping[str, Resource]) -> Counter[str]:
    calls: Counter[str] = Counter()
    for name in {name for item in plan.items for name in (item.source, item.target)}:
        # Planned again before anything is done: a listing, and defaults where the api-version has them.
        calls[name] += 1 if resources[name].api_version == PREVIEW_2025 else 2
    for target in plan.added_defaults:
        calls[target] += 3  # Read once more, added, and read again.
    for item in acting:
        polls, _ = polls_of_copy(_service_seconds(item, slow=True), plan.recovery_plan.deadlines)
        calls[item.target] += polls + 1  # Verified at the end.
        if item.action is not Action.ADOPT:
            calls[item.source] += 1  # Authorized.
            calls[item.target] += 1  # Copied.
        if item.action is Action.REPLACE:
            calls[item.target] += 1  # What was there is saved.
    return calls


def _seconds(
    acting: Sequence[PlanItem], resources: Mapping[str, Resource], deadlines: CopyDeadlines, *, slow: bool
) -> float:
    """Play the run through: children before parents, so many at once at each target as it takes."""
    by_target: defaultdict[str, list[PlanItem]] = defaultdict(list)
    for item in acting:
        by_target[item.target].append(item)
    return max(
        (
            _makespan(items, resources[target].max_concurrent_copies, deadlines, slow=slow)
            for target, items in by_target.items()
        ),
        default=ANSWER_SECONDS,
    )


def _makespan(items: Sequence[PlanItem], slots: int, deadlines: CopyDeadlines, *, slow: bool) -> float:
    by_key = {item.key: item for item in items}
    waits_for: dict[Key, set[Key]] = {
        item.key: by_key.keys() & {(item.source, item.target, child) for child in item.needs} for item in items
    }
    parents: defaultdict[Key, list[Key]] = defaultdict(list)
    for key, children in waits_for.items():
        for child in children:
            parents[child].append(key)
    ready = deque(key for key, children in waits_for.items() if not children)
    running: list[tuple[float, Key]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < slots:
            key = ready.popleft()
            heapq.heappush(running, (now + _copy_seconds(by_key[key], deadlines, slow=slow), key))
        now, ended = heapq.heappop(running)
        for parent in parents[ended]:
            waits_for[parent].discard(ended)
            if not waits_for[parent]:
                ready.append(parent)
    return now


def _copy_seconds(item: PlanItem, deadlines: CopyDeadlines, *, slow: bool) -> float:
    _, known = polls_of_copy(_service_seconds(item, slow=slow), deadlines)
    granted = 0.0 if item.action is Action.ADOPT else GRANT_SECONDS
    return granted + known + ANSWER_SECONDS


def _service_seconds(item: PlanItem, *, slow: bool) -> float:
    if not slow:
        return SHORTEST_COPY
    return TRAINED_COPY if item.expected.trained else LONGEST_COPY


def _span(shortest: float, longest: float) -> str:
    low, high = math.ceil(shortest), math.ceil(longest)
    if high < 120:
        return f"{low} to {high} s" if low < high else f"{high} s"
    low, high = max(1, math.floor(shortest / 60)), math.ceil(longest / 60)
    return f"{low} to {high} min" if low < high else f"{high} min"
