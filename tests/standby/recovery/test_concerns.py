"""What lessens the protection, and what of it people are told: once, at its start and at its end."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from standby.recovery.concerns import (
    AGAIN,
    QUIET,
    Change,
    Concern,
    Concerns,
    Kind,
    Look,
    Severity,
    Subject,
    decide,
    grouped,
    report_concerns,
)
from standby.vault.folder import LocalFolder

BEGAN = datetime(2026, 7, 1, tzinfo=UTC)
STEP = timedelta(minutes=5)
RANKS: tuple[Severity, ...] = ("info", "warning", "critical")
SUBJECTS = [(Kind.ACCESS, "east"), (Kind.ACCESS, "west"), (Kind.READINESS, "west")]


def concern(kind: Kind, about: str, severity: Severity = "warning", *, summary: str = "It is wrong") -> Concern:
    return Concern(kind=kind, about=about, severity=severity, summary=summary, next_action="Correct it")


WEST = concern(Kind.READINESS, "west", "critical", summary="west is not ready")
NORTH = concern(Kind.READINESS, "north", summary="north is not ready")


def look(*found: Concern, unsure: Subject | None = None) -> Look:
    return Look(frozenset({Kind.READINESS}), found, frozenset([unsure] if unsure else []))


@dataclass
class People:
    """Whoever gets the messages, and believes them."""

    known: Concerns = field(default_factory=Concerns)
    believe: dict[Subject, Severity] = field(default_factory=dict)
    heard: dict[Subject, list[tuple[datetime, Severity]]] = field(default_factory=dict)

    def see(self, found: Look, now: datetime) -> Change:
        self.known, change = decide(self.known, found, now)
        for each in change.ended:
            assert self.believe.pop(each.subject), "nobody is told of the end of what they did not know"
        for each in [*change.began, *(it.concern for it in change.continues)]:
            self.believe[each.subject] = each.severity
            self.heard.setdefault(each.subject, []).append((now, each.severity))
        return change


severities = st.sampled_from(RANKS)
looks = st.builds(
    lambda kinds, found, unsure: Look(
        frozenset(kinds),
        tuple(concern(kind, about, found[kind, about]) for kind, about in found if kind in kinds),
        frozenset(unsure),
    ),
    st.sets(st.sampled_from([Kind.ACCESS, Kind.READINESS]), min_size=1),
    st.dictionaries(st.sampled_from(SUBJECTS), severities),
    st.sets(st.sampled_from(SUBJECTS)),
)


def moments() -> Iterator[datetime]:
    now = BEGAN
    while True:
        yield now
        now += STEP


@given(st.lists(looks, max_size=40), looks)
def test_whatever_comes_and_goes_people_know_the_truth_in_the_end(history: list[Look], last: Look) -> None:
    people, times = People(), moments()
    for each in history:
        people.see(each, next(times))
    everything = Look(frozenset(Kind), last.found)
    for _ in range(QUIET // STEP + 1):
        people.see(everything, next(times))
    assert people.believe.keys() == {each.subject for each in last.found}
    assert people.known.open == tuple(sorted(people.known.open, key=lambda it: -RANKS.index(it.concern.severity)))
    loud = {each.subject: each.severity for each in last.found}
    assert all(RANKS.index(people.believe[it]) >= RANKS.index(loud[it]) for it in loud)


@given(st.lists(looks, max_size=40))
def test_nobody_hears_the_same_twice_within_the_interval_unless_it_is_worse(history: list[Look]) -> None:
    people = People()
    for each, now in zip(history, moments(), strict=False):
        people.see(each, now)
    for told in people.heard.values():
        for (at, before), (again, after) in pairwise(told):
            assert again - at >= QUIET or RANKS.index(after) > RANKS.index(before)


@given(st.lists(looks, max_size=20), looks)
def test_a_look_changes_nothing_of_what_it_does_not_look_at_or_cannot_tell(history: list[Look], last: Look) -> None:
    people, times = People(), moments()
    for each in history:
        people.see(each, next(times))
    known = {it.concern.subject: it for it in people.known.open}
    people.see(last, next(times))
    after = {it.concern.subject: it for it in people.known.open}
    found = {each.subject for each in last.found}
    for subject in SUBJECTS:
        if not last.settles(subject) and subject not in found:
            assert after.get(subject) == known.get(subject)


@given(st.lists(looks, max_size=20))
def test_the_same_look_again_is_no_news(history: list[Look]) -> None:
    people, times = People(), moments()
    for each in history:
        now = next(times)
        people.see(each, now)
        before = people.known
        assert not people.see(each, now)
        assert people.known == before


def test_one_look_is_one_message_with_the_worst_first_and_what_to_do_once() -> None:
    known, change = decide(Concerns(), look(NORTH, WEST), BEGAN)
    assert (change.severity, change.headline) == ("critical", "readiness west and readiness north")
    assert change.summary == "west is not ready. Correct it. north is not ready. Correct it."
    assert change.next_action == "Correct it."
    _, later = decide(known, look(NORTH), BEGAN + STEP)
    assert (later.severity, later.headline) == ("info", "over: readiness west")
    assert later.summary == "Resolved: west is not ready."
    assert later.facts()["ended"] == [WEST.model_dump(mode="json")]


def test_what_is_critical_is_told_again_and_a_warning_is_not() -> None:
    people = People()
    people.see(look(NORTH, WEST), BEGAN)
    assert not people.see(look(NORTH, WEST), BEGAN + AGAIN - STEP)
    again = people.see(look(NORTH, WEST), BEGAN + AGAIN)
    assert [it.concern for it in again.continues] == [WEST]
    assert again.summary == "Since 2026-07-01 00:00:00 UTC: west is not ready. Correct it."
    assert again.severity == "critical"


def test_what_becomes_worse_is_told_at_once() -> None:
    people = People()
    people.see(look(NORTH), BEGAN)
    worse = NORTH.model_copy(update={"severity": "critical"})
    assert people.see(look(worse), BEGAN + STEP).began == (worse,)


def test_a_look_that_cannot_tell_neither_begins_nor_ends_one() -> None:
    people = People()
    people.see(look(WEST), BEGAN)
    assert not people.see(look(unsure=WEST.subject), BEGAN + STEP)
    assert not people.see(Look(frozenset({Kind.ACCESS})), BEGAN + STEP)
    assert [it.concern for it in people.known.open] == [WEST]


def test_reasons_are_one_concern_with_each_action_once() -> None:
    made = grouped(Kind.DRIFT, "west", "warning", [("a differs", "Do it"), ("b differs", "Do it"), ("a differs", "x")])
    assert (made.summary, made.next_action) == ("a differs. b differs.", "Do it. x.")


async def test_looks_at_the_same_time_tell_each_thing_once(tmp_path: Path) -> None:
    vault = LocalFolder(tmp_path)
    found = [look(WEST), look(WEST), Look(frozenset({Kind.ACCESS}), (concern(Kind.ACCESS, "east"),))]
    changes = await asyncio.gather(*(report_concerns(vault, "p", each, BEGAN) for each in found))
    told = [each.subject for _, change in changes for each in change.began]
    assert sorted(told) == sorted([WEST.subject, (Kind.ACCESS, "east")])
    assert {it.concern.subject for it in (await Concerns.read(vault, "p")).open} == set(told)


async def test_nothing_is_written_where_all_is_well(tmp_path: Path) -> None:
    vault = LocalFolder(tmp_path)
    assert not (await report_concerns(vault, "p", look(), BEGAN))[1]
    assert await vault.read(Concerns.place.format(plan="p")) is None


async def test_what_was_kept_elsewhere_meanwhile_is_taken_up(tmp_path: Path) -> None:
    vault = LocalFolder(tmp_path)
    await report_concerns(vault, "p", look(WEST), BEGAN)
    instead, _ = decide(Concerns(), look(NORTH), BEGAN)
    _, change = await report_concerns(vault, "p", look(), BEGAN + STEP, instead)
    assert change.ended == (NORTH,)
    assert not (await Concerns.read(vault, "p")).open


def test_what_may_pass_by_itself_is_told_only_if_it_lasts() -> None:
    people = People()
    blip = NORTH.model_copy(update={"lasting": 2 * STEP})
    assert not people.see(look(blip), BEGAN)
    assert not people.see(look(), BEGAN + STEP), "nobody knew of it"
    assert not people.known.tracked
    assert not people.see(look(blip), BEGAN + 2 * STEP)
    assert not people.see(look(blip), BEGAN + 3 * STEP)
    assert people.see(look(blip), BEGAN + 4 * STEP).began == (blip,)
    assert people.see(look(), BEGAN + 5 * STEP).ended == (blip,)


def test_looks_at_different_kinds_are_one() -> None:
    east = concern(Kind.ACCESS, "east")
    both = look(WEST, unsure=NORTH.subject) | Look(frozenset({Kind.ACCESS}), (east,))
    assert both.found == (WEST, east)
    assert both.settles(east.subject)
    assert both.settles(WEST.subject)
    assert not both.settles(NORTH.subject)
