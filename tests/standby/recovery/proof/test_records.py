"""The latest proofs, what was spent on them, and the baselines of sources, as the vault keeps them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from standby.recovery.proof.records import (
    MONTHS,
    Baseline,
    Proof,
    Proofs,
    Reading,
    Verdict,
    add_proofs,
    new_salt,
    read_baseline,
    reserve,
    why_aged,
    write_baseline,
)
from standby.vault.errors import NewerFormat
from standby.vault.folder import LocalFolder

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.fixture
def vault(tmp_path: Path) -> LocalFolder:
    return LocalFolder(tmp_path)


def proof(analyzer: str = "invoice", target: str = "west", **given: Any) -> Proof:
    said = {"source": "east", "target_analyzer": analyzer, "verdict": Verdict.AGREES, "samples": 3, "compared_at": NOW}
    return Proof.model_validate({**said, "analyzer": analyzer, "target": target, **given})


def baseline(**given: Any) -> Baseline:
    said = {"analyzer": "invoice", "fingerprint": "2:a", "api_version": "2025-11-01", "taken_at": NOW}
    return Baseline.model_validate({**said, "salt": new_salt(), "readings": {"d": (Reading(layout="x"),) * 2}, **given})


async def test_a_proof_replaces_the_one_of_the_same_copy_and_no_other(vault: LocalFolder) -> None:
    await add_proofs(vault, "p", [proof(), proof("receipt"), proof(target="north")])
    await add_proofs(vault, "p", [proof(verdict=Verdict.DIFFERS, compared_at=NOW + timedelta(days=1))])

    known = await Proofs.read(vault, "p")

    assert [each.key for each in known.proofs] == [
        ("east", "north", "invoice"),
        ("east", "west", "invoice"),
        ("east", "west", "receipt"),
    ]
    found = known.of("east", "west", "invoice")
    assert found is not None
    assert found.verdict is Verdict.DIFFERS
    assert known.of("north", "west", "invoice") is None


LATER = NOW + timedelta(days=1)
OPEN: dict[str, Any] = {
    "verdict": Verdict.NO_VERDICT,
    "reason": "west is throttled.",
    "failed": ("a",),
    "compared_at": LATER,
}
FEW: dict[str, Any] = {"verdict": Verdict.TOO_FEW, "reason": "2 are too few.", "compared_at": LATER}


@pytest.mark.parametrize("verdict", [Verdict.AGREES, Verdict.DIFFERS])
@pytest.mark.parametrize("given", [OPEN, FEW], ids=["no verdict", "too few"])
@pytest.mark.parametrize("is_reversed", [False, True], ids=["in order", "late"])
async def test_a_comparison_without_a_verdict_stands_beside_the_earlier_one(
    vault: LocalFolder, verdict: Verdict, given: dict[str, Any], is_reversed: bool
) -> None:
    told = [proof(verdict=verdict, built_at=NOW), proof(built_at=NOW, **given)]
    for each in told[:: -1 if is_reversed else 1]:
        await add_proofs(vault, "p", [each])

    (known,) = (await Proofs.read(vault, "p")).proofs
    assert known.last_try is not None
    assert (known.verdict, known.compared_at, known.tried_at) == (verdict, NOW, LATER)
    assert (known.last_try.verdict, known.why_open) == (given["verdict"], given["reason"])
    again = "invoice at west: 3 of 3 samples analysed, found 2026-11-28 12:00:00 UTC, and tried again "
    assert known.words == f"{again}2026-11-29 12:00:00 UTC without a verdict"
    # A real verdict replaces both.
    await add_proofs(vault, "p", [proof(built_at=NOW, compared_at=LATER + timedelta(days=1))])
    (known,) = (await Proofs.read(vault, "p")).proofs
    assert (known.verdict, known.last_try) == (Verdict.AGREES, None)


async def test_what_is_said_of_another_incarnation_does_not_stay(vault: LocalFolder) -> None:
    await add_proofs(vault, "p", [proof(built_at=NOW), proof("receipt", built_at=NOW), proof("claim")])
    gone = {**OPEN, "built_at": LATER}
    # One that did not even answer is no other one.
    silent = {**OPEN, "failed": (), "samples": 0}
    await add_proofs(vault, "p", [proof(**gone), proof("receipt", **silent), proof("claim", **gone)])

    known = {it.analyzer: it.verdict for it in (await Proofs.read(vault, "p")).proofs}
    assert known == {"invoice": Verdict.NO_VERDICT, "receipt": Verdict.AGREES, "claim": Verdict.NO_VERDICT}


def test_a_proof_says_in_words_what_was_found_and_how_old_its_baseline_is() -> None:
    found = proof(samples=11, failed=("late.pdf",), agreement=0.949, self_agreement=0.91, layout="identical")
    words = "invoice at west: 11 of 12 samples analysed, agreement 94 % (east with itself: 91 %), layout identical"

    assert found.words == words
    dated = proof(samples=11, failed=("late.pdf",), baseline_at=NOW).words
    assert dated == "invoice at west: 11 of 12 samples analysed, held to what east answered 2026-11-28 12:00:00 UTC"


async def test_an_older_proof_that_comes_late_replaces_nothing(vault: LocalFolder) -> None:
    await add_proofs(vault, "p", [proof(samples=5)])
    await add_proofs(vault, "p", [proof(samples=9, compared_at=NOW - timedelta(hours=1))])

    assert [each.samples for each in (await Proofs.read(vault, "p")).proofs] == [5]


async def test_a_clock_that_was_far_ahead_once_does_not_keep_what_it_wrote(vault: LocalFolder) -> None:
    ahead = NOW + timedelta(days=400)
    await add_proofs(vault, "p", [proof(compared_at=ahead)])
    await write_baseline(vault, "p", "east", baseline(taken_at=ahead))

    await add_proofs(vault, "p", [proof(samples=9)])
    await write_baseline(vault, "p", "east", baseline())

    assert [each.samples for each in (await Proofs.read(vault, "p")).proofs] == [9]
    kept = await read_baseline(vault, "p", "east", "invoice")
    assert kept is not None
    assert kept.taken_at == NOW


async def test_a_proof_of_what_is_compared_no_more_goes_and_those_of_other_pairs_stay(vault: LocalFolder) -> None:
    await add_proofs(vault, "p", [proof(), proof("gone"), proof("gone", "north")])

    await add_proofs(vault, "p", [proof("receipt")], [proof(each).key for each in ("invoice", "receipt")])

    kept = {each.key[1:] for each in (await Proofs.read(vault, "p")).proofs}
    assert kept == {("west", "invoice"), ("west", "receipt"), ("north", "gone")}


async def test_runs_at_the_same_time_never_spend_more_than_the_month_has(vault: LocalFolder) -> None:
    taken = await asyncio.gather(*(reserve(vault, "p", NOW, 30, 100) for _ in range(6)))

    assert sorted(taken) == [0, 0, 0, 30, 30, 30]
    assert (await Proofs.read(vault, "p")).spent == {"2026-11": 90}


async def test_what_was_not_started_is_given_back_and_each_month_counts_by_itself(vault: LocalFolder) -> None:
    assert await reserve(vault, "p", NOW, 100, 100) == 100
    assert await reserve(vault, "p", NOW, 1, 100) == 0
    assert await reserve(vault, "p", NOW + timedelta(days=5), 100, 100) == 100
    assert await reserve(vault, "p", NOW, -40, 100) == -40

    assert (await Proofs.read(vault, "p")).spent == {"2026-11": 60, "2026-12": 100}


async def test_months_long_ago_are_forgotten(vault: LocalFolder) -> None:
    for month in range(15):
        await reserve(vault, "p", datetime(2026 + month // 12, month % 12 + 1, 1, tzinfo=UTC), 1, 9)

    assert len((await Proofs.read(vault, "p")).spent) == MONTHS


@given(st.lists(st.integers(-30, 60), max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_however_it_is_taken_and_given_back_the_month_is_kept_to(tmp_path: Path, wanted: list[int]) -> None:
    async def spend() -> None:
        vault = LocalFolder(tmp_path / new_salt())
        for each in wanted:
            before = (await Proofs.read(vault, "p")).spent.get("2026-11", 0)
            taken = await reserve(vault, "p", NOW, each, 100)
            after = (await Proofs.read(vault, "p")).spent.get("2026-11", 0)
            assert taken in {0, each}
            assert after == max(0, before + taken) <= 100

    asyncio.run(spend())


async def test_spending_keeps_proofs_and_proofs_keep_what_was_spent(vault: LocalFolder) -> None:
    await add_proofs(vault, "p", [proof()])
    await reserve(vault, "p", NOW, 7, 100)
    await add_proofs(vault, "p", [proof("receipt")])

    known = await Proofs.read(vault, "p")
    assert (len(known.proofs), known.spent) == (2, {"2026-11": 7})


async def test_a_file_of_a_newer_version_is_refused(vault: LocalFolder) -> None:
    await vault.write("recovery/p/proofs.json", b'{"format": 2}')

    with pytest.raises(NewerFormat):
        await reserve(vault, "p", NOW, 1, 10)


async def test_a_baseline_is_read_as_it_was_written_and_an_older_one_does_not_replace_it(vault: LocalFolder) -> None:
    new, old = baseline(), baseline(taken_at=NOW - timedelta(days=1))
    await write_baseline(vault, "p", "east", new)
    await write_baseline(vault, "p", "east", old)

    assert await read_baseline(vault, "p", "east", "invoice") == new
    assert await read_baseline(vault, "p", "west", "invoice") is None


def test_every_baseline_has_a_salt_of_its_own() -> None:
    assert baseline().salt != baseline().salt
    assert len(bytes.fromhex(baseline().salt)) >= 16


def aged(kept: Baseline, **given: Any) -> str:
    same = {"now": NOW, "fingerprint": "2:a", "api_version": "2025-11-01", "models": {"gpt": "1"}, "digests": {"d"}}
    return why_aged(kept, **{**same, **given})


def test_a_baseline_of_the_same_analyzer_and_samples_counts() -> None:
    assert aged(baseline()) == ""
    assert aged(baseline(models={"gpt": "1"}), models={"gpt": ""}) == ""


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"fingerprint": "2:b"}, "the definition was another one"),
        ({"api_version": "2026-06-01-preview"}, "the api-version was 2025-11-01"),
        ({"models": {"gpt": "2"}}, "gpt had another version"),
        ({"digests": {"e"}}, "none of the samples"),
        ({"now": NOW + timedelta(days=91)}, "more than 90 days ago"),
    ],
)
def test_a_baseline_that_says_nothing_any_more_says_why(given: dict[str, Any], words: str) -> None:
    said = aged(baseline(models={"gpt": "1"}), **given)

    assert said.startswith("The baseline of invoice was taken 2026-11-28 12:00:00 UTC, and ")
    assert words in said
