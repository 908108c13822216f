"""What a comparison by documents leaves in Prefect: the page, the event, and what people are told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from standby.config.plan import RecoveryPlan, SampleSettings
from standby.flows.bootstrap import save_what_runs_need
from standby.flows.compare import changed, compare, differing, proof_page
from standby.recovery.concerns import Concerns, Kind, decide
from standby.recovery.proof.records import Layout, Proof, Proofs, Verdict, Waiting
from standby.vault.folder import LocalFolder
from tests.documents import document

NOW = datetime(2026, 11, 28, 9, tzinfo=UTC)
PLAN = RecoveryPlan.model_validate({"name": "p", "pairs": [{"source": "east", "targets": ["west", "north"]}]})


def proof(analyzer: str = "invoice", target: str = "west", **changes: Any) -> Proof:
    made = Proof(
        source="east",
        target=target,
        analyzer=analyzer,
        target_analyzer=analyzer,
        verdict=Verdict.AGREES,
        samples=12,
        agreement=0.94,
        self_agreement=0.91,
        layout=Layout.IDENTICAL,
        compared_at=NOW,
    )
    return made.model_copy(update=changes)


DIFFERS = proof(verdict=Verdict.DIFFERS, reason="The model at west is another one")
ALIKE = proof("receipt")
SILENT = proof(verdict=Verdict.NO_VERDICT, reason="west is throttled")


def test_a_page_is_a_matrix_of_analyzers_and_targets_with_reasons_and_figures() -> None:
    text = proof_page("p", [DIFFERS, proof(target="north"), proof("receipt", "north", agreement=None)])

    assert "| analyzer | from | north | west |" in text
    assert "| invoice | east | **agrees**, 94 % | **differs**, 94 % |" in text
    assert "| receipt | east | **agrees** |  |" in text
    assert "- invoice at west answers differently from east: The model at west is another one." in text
    assert "- invoice at north: 12 of 12 samples analysed, agreement 94 % (east with itself: 91 %)" in text


def test_the_page_says_what_waits_and_where_a_later_try_gave_no_verdict() -> None:
    waiting = [Waiting(source="east", target="west", analyzer=name, comes="the next run") for name in ("claim", "form")]
    again = proof(target="north").with_later(
        proof(target="north", verdict=Verdict.TOO_FEW, reason="2 are too few", compared_at=NOW + timedelta(days=1))
    )
    text = proof_page("p", [again], waiting)

    assert "| claim | east |  | waits |" in text
    assert "| invoice | east | **agrees**, 94 %, since then no verdict |  |" in text
    assert "- claim and form wait for the next run, because of the budget." in text
    assert "- Samples gave no verdict on invoice at north: 2 are too few." in text


@pytest.mark.parametrize(
    ("before", "now", "severity"),
    [
        ((), proof(), "info"),
        ((proof(),), DIFFERS, "warning"),
        ((DIFFERS,), proof(), "info"),
        ((proof(),), SILENT, "info"),
    ],
)
def test_another_verdict_is_an_event_with_the_one_before(before: tuple[Proof, ...], now: Proof, severity: str) -> None:
    event = changed("p", Proofs(proofs=(*before, ALIKE)), Proofs(proofs=(now, ALIKE)))
    assert event is not None
    assert event.severity == severity
    found: Any = event.facts["changed"]
    assert [(it["analyzer"], it["verdict"], it["before"]) for it in found] == [
        ("invoice", now.verdict, before[0].verdict if before else None)
    ]


def test_the_same_verdict_is_no_event_whatever_its_figures() -> None:
    again = proof(compared_at=NOW + timedelta(weeks=1), agreement=0.9)
    assert changed("p", Proofs(proofs=(proof(),)), Proofs(proofs=(again,))) is None


def test_people_are_told_of_a_target_that_answers_differently_and_when_it_no_longer_does() -> None:
    known, change = decide(Concerns(), differing(PLAN, [DIFFERS, proof(target="north")], is_whole=True), NOW)
    assert change.summary.startswith("invoice at west answers differently from east: The model at west is another one.")
    assert change.next_action == "Correct that, then run standby compare p --to west."
    known, change = decide(known, differing(PLAN, [proof()], is_whole=True), NOW + timedelta(days=1))
    assert [each.about for each in change.ended] == ["west"]


@pytest.mark.parametrize(("items", "is_whole"), [([SILENT], True), ([proof()], False), ([], True)])
def test_a_comparison_without_verdicts_or_of_a_part_ends_no_concern(items: list[Proof], is_whole: bool) -> None:
    known, _ = decide(Concerns(), differing(PLAN, [DIFFERS], is_whole=True), NOW)
    known, change = decide(known, differing(PLAN, items, is_whole=is_whole), NOW + timedelta(days=1))
    assert not change
    assert [each.concern.subject for each in known.open] == [(Kind.PROOF, "west")]


async def test_a_plan_without_samples_ends_well_and_one_beyond_its_budget_is_refused_and_told(
    make_scene: Any, make_analyzer: Any, run_replicate: Any, tmp_path: Path
) -> None:
    (tmp_path / "samples" / "invoice").mkdir(parents=True)
    (tmp_path / "samples" / "invoice" / "1.pdf").write_bytes(document(1))
    async with make_scene([make_analyzer("invoice")], targets=("west",)) as scene:
        await run_replicate(scene.configuration)
        without = await compare(plan="p", return_state=True)
        plan, samples = scene.configuration.plan("p"), {"path": tmp_path / "samples", "budget": {"run": 1}}
        costly = plan.model_copy(update={"samples": SampleSettings.model_validate(samples)})
        await save_what_runs_need(scene.configuration.model_copy(update={"plans": {"p": costly}}))
        refused = await compare(plan="p", return_state=True)
        analyzed = [(await scene.stats(name))["calls"].get("analyze") for name in ("east", "west")]
    assert (without.is_completed(), without.name, refused.is_failed(), refused.name) == (
        True,
        "NoSamples",
        True,
        "Refused",
    )
    assert analyzed == [None, None]
    (told,) = (await Concerns.read(LocalFolder(tmp_path / "vault"), "p")).open
    assert told.concern.subject == (Kind.PROOF, "")
    assert "Give the plan samples.budget: {run: 3" in told.concern.next_action
