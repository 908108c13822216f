"""A copy is judged by how its source agrees with itself: no false alarm, and no verdict where nobody could tell."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.config.plan import SampleSettings
from standby.recovery.proof.agreement import Failure, Tried, failure_of, judge
from standby.recovery.proof.reading import Expected
from standby.recovery.proof.records import Layout, Proof, Reading, Verdict
from standby.service.errors import (
    AnalyzerNotFound,
    DefaultsNotSet,
    DeploymentMissing,
    InvalidRequest,
    NotAuthorized,
    OperationFailed,
    OperationHung,
    ServiceUnavailable,
    Throttled,
    Unreachable,
)

MARGIN = SampleSettings().margin
EXTRACT = [f"extract{number}" for number in range(12)]
CLASSIFY = ["classify0", "classify1"]
GENERATE = [f"generate{number}" for number in range(4)]
OFTEN = {"extract": 0.03, "classify": 0.02, "generate": 0.4}  # How often a field deviates in a run
METHODS = {name: name.rstrip("0123456789") for name in (*EXTRACT, *CLASSIFY, *GENERATE)}
EXPECTED = Expected({"": METHODS})


@dataclass(frozen=True)
class World:
    """An analyzer and a copy: fields deviate by themselves, and at times many of a document together."""

    samples: int = 5
    runs: int = 2
    fields: Collection[str] = tuple(METHODS)
    wrong: Collection[str] = ()  # fields that the copy always answers otherwise
    share: float = 0.0  # of the extracted fields that it does in each document
    bad_run: float = 0.03  # how often a run has a bad day with a document
    noise: dict[str, float] = field(default_factory=lambda: OFTEN)

    def tried(self, rng: random.Random) -> list[Tried]:
        own = {name: rng.betavariate(3 * often, 3 * (1 - often)) for name, often in self._often()}
        return [self._sample(rng, own, number) for number in range(self.samples)]

    def judge(self, seed: int, margin: float = MARGIN, **given: Any) -> Proof:
        return judged(self.tried(random.Random(seed)), margin=margin, **given)

    def verdicts(self, runs: int) -> Counter[Verdict]:
        return Counter(self.judge(seed).verdict for seed in range(runs))

    def _often(self) -> list[tuple[str, float]]:
        return [(name, self.noise[METHODS[name]]) for name in sorted(self.fields)]

    def _sample(self, rng: random.Random, own: dict[str, float], number: int) -> Tried:
        filled = [name for name in own if rng.random() < 0.85]
        other = {name for name in filled if name in self.wrong or (name in EXTRACT and rng.random() < self.share)}

        def run(changed: Collection[str]) -> Reading:
            worse = 0.3 if rng.random() < self.bad_run else 0.0
            values = dict.fromkeys(own, "") | {
                name: str(rng.random()) if rng.random() < own[name] + worse else f"{name in changed}" for name in filled
            }
            return Reading(layout="text", contents={"input1": values})

        return Tried(f"{number}.pdf", tuple(run(()) for _ in range(self.runs)), run(other))


def judged(tried: list[Tried], *, expected: Expected = EXPECTED, margin: float = MARGIN, **given: Any) -> Proof:
    names = {"source": "east", "target": "west", "analyzer": "invoice", "target_analyzer": "invoice"}
    unknown = {"verdict": Verdict.NO_VERDICT, "samples": 0, "compared_at": datetime(2026, 11, 28, tzinfo=UTC)}
    proof = Proof.model_validate({**names, **unknown, "against": given.pop("against", "source")})
    return judge(proof, tried, expected, margin=margin, **given)


def alike(count: int, target: Callable[[Reading], Reading | Failure] = lambda it: it, **values: str) -> list[Tried]:
    """Samples that the source answers alike each time, and the target as is said."""
    reading = Reading(layout="text", contents={"input1": values or {"extract0": "a", "generate0": "b"}})
    return [Tried(f"{number}.pdf", (reading, reading), target(reading)) for number in range(count)]


@pytest.mark.parametrize(
    "world",
    [
        World(),
        World(samples=3),
        World(samples=12),
        World(samples=12, runs=3),
        World(bad_run=0.1),
        World(noise=OFTEN | {"generate": 0.7}),
        World(noise=OFTEN | {"extract": 0.1}),
        World(fields=[*EXTRACT[:3], *GENERATE[:1]]),
        World(samples=8, fields=GENERATE[:3]),
    ],
    ids=[
        "usual",
        "three samples",
        "twelve",
        "three runs",
        "bad days",
        "wordy",
        "uncertain",
        "few fields",
        "generate only",
    ],
)
def test_a_noisy_copy_that_is_faithful_raises_no_false_alarm_in_two_hundred_runs(world: World) -> None:
    found = world.verdicts(200)

    assert found[Verdict.DIFFERS] == 0
    assert found[Verdict.AGREES] > 100 or len(world.fields) < 5


@pytest.mark.parametrize(
    "world",
    [
        World(samples=3, wrong=EXTRACT[:7]),
        World(samples=5, wrong=EXTRACT[:5]),
        World(samples=5, wrong=[*EXTRACT[:6], *GENERATE]),
        World(samples=12, wrong=EXTRACT[:2]),
        World(samples=12, wrong=EXTRACT[:1]),
        World(samples=12, share=0.35),
        World(samples=12, wrong=GENERATE, noise=OFTEN | {"generate": 0.25}),
    ],
    ids=["58 %", "60 %", "30 %", "77 %", "82 %", "62 %", "model"],
)
def test_a_rebuilt_copy_or_another_model_is_found(world: World) -> None:
    found = world.verdicts(50)

    assert found[Verdict.DIFFERS] >= 40
    assert found[Verdict.AGREES] <= 5


def test_what_five_samples_show_and_do_not_prove_is_said_to_need_more() -> None:
    found = World(samples=4, wrong=EXTRACT[:1]).verdicts(50)

    assert found[Verdict.TOO_FEW] > 30


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_samples_are_too_few_however_well_they_agree(count: int) -> None:
    found = judged(alike(count))

    assert (found.verdict, found.agreement, found.samples) == (Verdict.TOO_FEW, 1.0, count)
    assert f"{count} sample" in found.reason
    assert "Add samples" in found.reason


def test_figures_are_those_of_documents_and_methods_with_an_interval() -> None:
    one = Reading(
        layout="text", contents={"input1": {"extract0": "a", "extract1": "", "generate0": "b", "classify0": "c"}}
    )
    other = one.model_copy(update={"contents": {"input1": {**one.contents["input1"], "generate0": "x"}}})
    third = one.model_copy(update={"contents": {"input1": {**one.contents["input1"], "generate0": "y"}}})
    found = judged([Tried(f"{number}.pdf", (one, other), third) for number in range(8)])

    assert (found.verdict, found.reason) == (Verdict.AGREES, "")
    assert (found.agreement, found.self_agreement, found.layout) == (0.75, 0.75, Layout.IDENTICAL)
    assert found.by_method == {"classify": 1.0, "extract": 1.0, "generate": 0.0}
    assert found.interval is not None
    assert 0.5 < found.interval[0] < 0.75 < found.interval[1] < 1.0


def test_more_samples_make_the_interval_narrower() -> None:
    def width(samples: int) -> float:
        found = World(samples=samples).judge(1).interval
        assert found is not None
        return found[1] - found[0]

    assert width(30) < width(10) < width(4)


def test_where_it_differs_the_worst_fields_are_named_and_what_to_do() -> None:
    found = World(samples=12, wrong=EXTRACT[:2]).judge(1)

    assert set(found.worst[:2]) == {"extract0", "extract1"}
    assert "west" in found.reason
    assert "east" in found.reason
    assert found.reason.endswith(".")


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_a_wider_margin_never_makes_a_copy_differ(seed: int, more: float) -> None:
    world = World(samples=6, wrong=EXTRACT[:3])
    if world.judge(seed).verdict is not Verdict.DIFFERS:
        assert world.judge(seed, margin=min(1.0, MARGIN + more)).verdict is not Verdict.DIFFERS


@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_neither_the_order_of_samples_nor_of_runs_counts(seed: int, rng: random.Random) -> None:
    tried = World(wrong=EXTRACT[:2], runs=3).tried(random.Random(seed))
    shuffled = [Tried(it.sample, tuple(rng.sample(it.source, 3)), it.target) for it in rng.sample(tried, len(tried))]

    assert judged(tried).verdict is judged(shuffled).verdict


@given(st.integers(0, 10_000))
def test_shares_are_shares(seed: int) -> None:
    found = World(samples=3, wrong=EXTRACT).judge(seed)
    shares = [found.agreement, found.self_agreement, *found.by_method.values(), *(found.interval or ())]

    assert all(share is not None and 0 <= share <= 1 for share in shares)


def test_a_definition_that_differs_is_named_by_its_paths() -> None:
    found = judged(alike(5), differences=["$.fieldSchema.fields.Total.description"])

    assert found.verdict is Verdict.DIFFERS
    assert "fieldSchema.fields.Total.description" in found.reason


LOST = Failure("west has no deployment gpt", "Create it", True)
BUSY = Failure("west is busy", "Wait", False)
ODD = Failure("It failed", "", None)


def test_a_target_that_fails_for_a_reason_that_lasts_differs_even_by_one_sample() -> None:
    found = judged(alike(1, lambda _: LOST))

    assert found.verdict is Verdict.DIFFERS
    assert found.reason == "1 of 1 sample cannot be analysed at west: west has no deployment gpt. Create it."
    assert (found.agreement, found.failed) == (None, ("0.pdf",))


@pytest.mark.parametrize(("failure", "count"), [(BUSY, 5), (BUSY, 1), (ODD, 1)])
def test_what_may_work_a_moment_later_gives_no_verdict(failure: Failure, count: int) -> None:
    found = judged(alike(count, lambda _: failure))

    assert found.verdict is Verdict.NO_VERDICT
    assert failure.cause in found.reason


def test_an_unknown_failure_of_every_sample_lasts() -> None:
    assert judged(alike(2, lambda _: ODD)).verdict is Verdict.DIFFERS


def test_a_source_that_fails_as_well_gives_no_verdict() -> None:
    found = judged([Tried("0.pdf", (LOST, LOST), LOST)])

    assert found.verdict is Verdict.NO_VERDICT
    assert "(east)" in found.reason


def test_samples_that_failed_are_left_out_and_named() -> None:
    found = judged([*alike(5), Tried("late.pdf", alike(1)[0].source, BUSY)])

    assert (found.verdict, found.samples, found.failed) == (Verdict.AGREES, 5, ("late.pdf",))
    assert "1 of 6 samples not compared (west): west is busy. Wait." in found.reason


def test_without_a_sample_or_two_answers_of_the_source_there_is_no_verdict() -> None:
    reading = Reading()

    assert judged([]).verdict is Verdict.NO_VERDICT
    assert judged([Tried("0.pdf", (reading,), reading)]).verdict is Verdict.NO_VERDICT
    assert judged([Tried("0.pdf", (), reading)]).verdict is Verdict.NO_VERDICT


def test_a_source_that_does_not_agree_with_itself_gives_no_verdict() -> None:
    found = World(samples=6, noise=dict.fromkeys(OFTEN, 0.95)).judge(1)

    assert found.verdict is Verdict.NO_VERDICT
    assert "east agrees with itself on" in found.reason


def other_text(reading: Reading) -> Reading:
    return reading.model_copy(update={"layout": "other"})


def test_another_text_is_said_as_such_and_differs() -> None:
    found = judged(alike(3, other_text))

    assert (found.verdict, found.layout, found.agreement) == (Verdict.DIFFERS, Layout.DIFFERS, 1.0)
    assert "another build of the service" in found.reason


def test_against_a_baseline_another_text_only_takes_the_verdict_from_fields_that_differ() -> None:
    same, changed = (
        alike(6, other_text),
        alike(6, lambda it: other_text(Reading(contents={"input1": {"extract0": "z"}}))),
    )

    assert judged(same, against="baseline").verdict is Verdict.AGREES
    assert judged(changed, against="baseline").verdict is Verdict.NO_VERDICT
    assert judged(changed, against="baseline").layout is Layout.DIFFERS


def test_against_a_baseline_another_text_says_nothing_of_an_analyzer_without_fields() -> None:
    plain = Reading(layout="text", contents={"input1": {}})
    found = judged(
        [Tried(f"{number}.pdf", (plain, plain), other_text(plain)) for number in range(3)], against="baseline"
    )

    assert (found.verdict, found.layout) == (Verdict.NO_VERDICT, Layout.DIFFERS)
    assert "Compare again when east answers" in found.reason


def test_fields_without_a_value_in_any_sample_tell_too_little() -> None:
    found = judged(alike(5, extract0="", generate0=""))

    assert (found.verdict, found.agreement) == (Verdict.TOO_FEW, 1.0)
    assert "No field has a value in any sample" in found.reason


def test_the_interval_has_the_true_agreement_where_documents_are_not_alike() -> None:
    def reading(rng: random.Random, often: float) -> Reading:
        values = {name: str(rng.random()) if rng.random() < often else "same" for name in EXTRACT}
        return Reading(layout="text", contents={"input1": values})

    def agreement(rng: random.Random, count: int) -> Proof:
        noise = [rng.random() / 2 for _ in range(count)]
        return judged(
            [Tried(str(at), (reading(rng, it), reading(rng, it)), reading(rng, it)) for at, it in enumerate(noise)]
        )

    truth = agreement(random.Random(0), 2000).agreement or 0.0
    found = [agreement(random.Random(seed), 6).interval or (0.0, 0.0) for seed in range(1, 201)]

    assert sum(low <= truth <= high for low, high in found) >= 185


def test_an_analyzer_that_is_not_found_any_more_is_to_be_replicated_and_codes_are_said() -> None:
    failure = failure_of(
        AnalyzerNotFound("The analyzer 'slip' was not found", code="InvalidRequest", request_id="op-1")
    )

    assert str(failure).startswith("The analyzer 'slip' was not found (InvalidRequest, request op-1). Replicate it")


def test_an_analyzer_without_fields_is_compared_by_its_text_alone() -> None:
    plain = Reading(layout="text", contents={"input1": {}})
    found = judged([Tried(f"{number}.pdf", (plain, plain), plain) for number in range(3)])

    assert (found.verdict, found.agreement, found.layout) == (Verdict.AGREES, None, Layout.IDENTICAL)


def test_a_target_that_succeeds_with_nothing_differs() -> None:
    assert judged(alike(5, lambda _: Reading(layout="text"))).verdict is Verdict.DIFFERS


def test_nothing_on_both_sides_is_no_agreement() -> None:
    assert (
        judged([Tried(f"{number}.pdf", (Reading(),) * 2, Reading()) for number in range(5)]).verdict
        is Verdict.NO_VERDICT
    )


CHILD = Expected({"": {}, "invoice": {"Total": "extract"}}, frozenset({"invoice"}))
WHOLE = Reading(
    layout="text",
    contents={"input1": {}, "input1/segment1 invoice": {"Total": "a"}},
    segments=("input1/segment1 invoice",),
)


@pytest.mark.parametrize("contents", [{"input1": {}}, {"input1": {}, "input1/segment1 invoice": {}}])
def test_a_child_that_does_not_answer_at_the_target_is_named(contents: dict[str, dict[str, str]]) -> None:
    broken = WHOLE.model_copy(update={"contents": contents})
    found = judged([Tried("0.pdf", (WHOLE, WHOLE), broken)], expected=CHILD)

    assert found.verdict is Verdict.DIFFERS
    assert "invoice" in found.reason


def test_a_child_that_answers_nowhere_is_no_difference() -> None:
    broken = WHOLE.model_copy(update={"contents": {"input1": {}}})

    assert judged([Tried("0.pdf", (broken, broken), broken)] * 3, expected=CHILD).verdict is not Verdict.DIFFERS


def test_without_the_routers_own_content_a_child_is_missed_by_what_never_came_back() -> None:
    part = Reading(contents={"input1/segment1 invoice": {"Total": "a"}})
    found = judged([Tried(f"{number}.pdf", (part, part), Reading()) for number in range(2)], expected=CHILD)

    assert found.verdict is Verdict.DIFFERS
    assert "invoice" in found.reason


@pytest.mark.parametrize(
    ("error", "lasts"),
    [
        *[(kind, True) for kind in (AnalyzerNotFound, DefaultsNotSet, DeploymentMissing, InvalidRequest)],
        *[(kind, False) for kind in (Throttled, Unreachable, ServiceUnavailable, OperationHung, NotAuthorized)],
        (OperationFailed, None),
    ],
)
def test_what_is_wrong_with_a_copy_lasts_and_what_is_wrong_with_the_moment_does_not(
    error: Any, lasts: bool | None
) -> None:
    found = failure_of(error("It is so", "Do this"))
    assert (found.cause, found.lasts) == ("It is so", lasts)
    assert found.next_action == "Do this" or error is AnalyzerNotFound
