"""What checks found is remembered: the last state of each target, and a bounded history for the RPO over time."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from standby.recovery.readiness.document import (
    MOST_SAMPLES,
    Facts,
    LastStates,
    Readiness,
    Sample,
    Standing,
    State,
    thinned,
)
from standby.recovery.readiness.judge import judge_readiness
from standby.recovery.runs import Restoring
from standby.replication.verdict import Verdict
from standby.vault.folder import LocalFolder
from tests.standby.recovery.readiness.facts_at_hand import NOW, a_plan, facts, good

HOUR = timedelta(hours=1)
ALLOWED = a_plan(objectives={"rpo": "1h"})


async def remember(vault: LocalFolder, found: Readiness) -> None:
    await LastStates.change(vault, "p", lambda known: known.after([found]))


def behind(name: str, hours: float) -> Standing:
    return good(name, verdict=Verdict.SOURCE_AHEAD, source_changed=True, verified_at=NOW - hours * HOUR)


def sampled(given: Facts) -> tuple[timedelta | None, bool | None]:
    sample = Sample.of(judge_readiness(given))
    return sample.age, sample.met


def test_a_sample_is_as_old_as_the_copy_that_is_furthest_behind() -> None:
    fresh = good("router", verified_at=NOW - 90 * HOUR)

    assert sampled(facts(fresh, plan=ALLOWED)) == (timedelta(), True)
    assert sampled(facts(fresh, behind("a", 0.5), behind("b", 0.25), plan=ALLOWED)) == (HOUR / 2, True)
    assert sampled(facts(behind("a", 3), behind("b", 0.5), plan=ALLOWED)) == (3 * HOUR, False)
    assert sampled(facts(behind("a", 3))) == (3 * HOUR, None)


def test_nothing_is_said_of_an_age_that_is_not_known() -> None:
    never = good("invoice", verdict=Verdict.MISSING, status=None, verified_at=None, source_changed=True)
    lost = facts(never, plan=ALLOWED, restoring=Restoring(lost={"invoice": "no snapshot has it"}))

    assert sampled(lost) == (None, False)
    assert sampled(replace(facts(), standings=())) == (None, None)
    assert sampled(replace(facts(behind("a", 3)), target="east"))[0] is None


async def test_each_check_adds_a_sample_and_replaces_the_states(tmp_path: Path) -> None:
    vault = LocalFolder(tmp_path)
    ready = judge_readiness(facts(good("invoice")))
    for hours in (2, 0, 1):
        await remember(vault, ready.model_copy(update={"assessed_at": NOW + hours * HOUR}))
    last = await LastStates.read(vault, "p")

    assert last.before(ready) is State.READY
    assert last.changed([ready]) == []
    assert [(sample.at - NOW) / HOUR for sample in last.samples(ready)] == [0, 1, 2]

    other = ready.model_copy(update={"target": "north", "state": State.UNKNOWN})
    assert last.changed([other]) == [other]
    await remember(vault, other)
    assert (await LastStates.read(vault, "p")).samples(ready) == ()


async def test_what_the_first_format_says_is_kept(tmp_path: Path) -> None:
    ready = judge_readiness(facts(good("invoice")))
    file = tmp_path / "recovery" / "p" / "readiness.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"states": {f"{ready.primary}/{ready.target}": "unknown"}}), encoding="utf-8")

    found = await LastStates.read(LocalFolder(tmp_path), "p")
    assert (found.before(ready), found.samples(ready), found.format) == (State.UNKNOWN, (), 2)
    await remember(LocalFolder(tmp_path), ready)

    assert len((await LastStates.read(LocalFolder(tmp_path), "p")).samples(ready)) == 1


ages = st.none() | st.integers(0, 100)


@given(st.lists(ages, min_size=1, max_size=50), st.integers(1, 60))
def test_the_history_is_bounded_and_forgets_neither_the_newest_nor_the_worst(
    drawn: list[int | None], times: int
) -> None:
    kept: tuple[Sample, ...] = ()
    everything = []
    for number, age in enumerate(drawn * times):
        at = NOW + number * HOUR
        point = None if age is None else at - age * HOUR
        everything.append(Sample(at=at, state=State.READY, oldest_point=point, met=None if age is None else age < 50))
        kept = thinned((*kept, everything[-1]))
        assert len(kept) <= MOST_SAMPLES

    assert list(kept) == sorted(kept, key=lambda sample: sample.at)
    assert set(kept) <= set(everything)
    assert kept[-MOST_SAMPLES // 2 + 1 :] == tuple(everything[-MOST_SAMPLES // 2 + 1 :])
    assert any(sample.met is False for sample in kept) == any(sample.met is False for sample in everything)


def test_the_history_of_a_year_reaches_back_to_its_beginning() -> None:
    kept: tuple[Sample, ...] = ()
    count = 365 * 24
    for number in range(count):
        at = NOW + number * HOUR
        kept = thinned((*kept, Sample(at=at, state=State.READY, oldest_point=at, met=True)))

    assert kept[0].at - NOW < 0.1 * count * HOUR
    assert len(LastStates(history={"east/west": kept}).model_dump_json()) < 80_000
