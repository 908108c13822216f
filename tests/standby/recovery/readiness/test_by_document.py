"""What sample documents said of the copies: readiness tells it, and keeps from no failover."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.recovery.proof.records import Layout, Proof, Verdict
from standby.recovery.readiness.document import Bucket, State
from standby.recovery.readiness.judge import judge_readiness
from standby.recovery.readiness.wording import proof_words
from standby.replication.needs import Severity
from tests.standby.recovery.readiness.facts_at_hand import DAY, NOW, a_plan, facts, good

A_MONTH = a_plan(objectives={"proof": "30d"})


def a_proof(analyzer: str = "invoice", **more: Any) -> Proof:
    """Of west against east, three days ago, which agrees."""
    known: dict[str, Any] = {"source": "east", "target": "west", "analyzer": analyzer, "target_analyzer": analyzer}
    known |= {"verdict": Verdict.AGREES, "samples": 12, "agreement": 0.949, "self_agreement": 0.91}
    known |= {"layout": Layout.IDENTICAL, "compared_at": NOW - 3 * DAY}
    return Proof.model_validate({**known, **more})


def test_a_copy_that_agrees_is_told_with_its_figures() -> None:
    proof = a_proof()
    readiness = judge_readiness(facts(plan=A_MONTH, proofs={"invoice": proof}, sampled=frozenset({"invoice"})))
    assert (readiness.state, readiness.reasons, readiness.proofs) == (State.READY, (), (proof,))
    figures = "12 of 12 samples analysed, agreement 94 % (east with itself: 91 %), layout identical"
    assert proof.words == f"invoice at west: {figures}"
    assert proof_words(readiness) == "1 agrees; 3d ago."


DIFFERS = a_proof(verdict=Verdict.DIFFERS, reason="east agrees with itself on 91 %, and west on 47 %.")
UNDECIDED = a_proof(verdict=Verdict.NO_VERDICT, reason="west was throttled.", samples=0, agreement=None)
TRIED: dict[str, Any] = {"last_try": {"at": NOW, "verdict": Verdict.NO_VERDICT, "reason": "west was throttled."}}
FEW = a_proof(verdict=Verdict.TOO_FEW, reason="2 samples are too few to tell.")


@pytest.mark.parametrize(
    ("proof", "bucket", "text", "action"),
    [
        (None, Bucket.NEVER_COMPARED, "No document has compared invoice at west with east", "standby compare p"),
        (DIFFERS, Bucket.PROOF_DIFFERS, "differently from east: east agrees with itself on 91 %", "--force invoice"),
        (UNDECIDED, Bucket.NO_VERDICT, "gave no verdict on invoice at west: west was throttled", "compare p --to west"),
        (
            a_proof(**TRIED),
            Bucket.NO_VERDICT,
            "gave no verdict on invoice at west: west was throttled; before that: 1 agrees; 3d ago",
            "compare p --to west",
        ),
        (
            DIFFERS.model_copy(update={"last_try": a_proof(**TRIED).last_try}),
            Bucket.PROOF_DIFFERS,
            "and west on 47 %; tried again since, without a verdict: west was throttled",
            "--force invoice",
        ),
        (FEW, Bucket.NO_VERDICT, "2 samples are too few to tell", "compare p --to west"),
        (
            a_proof(compared_at=NOW - 31 * DAY),
            Bucket.PROOF_OLD,
            "The last proof by document of invoice at west is 4w old, and the plan allows 30d",
            "Run standby compare p --to west",
        ),
    ],
)
def test_what_documents_do_not_prove_is_a_warning(proof: Proof | None, bucket: Bucket, text: str, action: str) -> None:
    proofs = {"invoice": proof} if proof else {}
    readiness = judge_readiness(facts(plan=A_MONTH, proofs=proofs, sampled=frozenset({"invoice"})))
    (reason,) = readiness.reasons
    assert (readiness.state, reason.bucket, reason.severity) == (State.READY, bucket, Severity.WARNING)
    assert text in reason.text
    assert action in reason.next_action
    assert readiness.against == ()
    assert readiness.unusable() == {}


def test_a_copy_made_after_its_proof_was_never_compared() -> None:
    again = facts(proofs={"invoice": DIFFERS}, recopied=frozenset({"invoice"}))
    assert [reason.bucket for reason in judge_readiness(again).reasons] == [Bucket.NEVER_COMPARED]


def test_an_analyzer_without_samples_or_that_cannot_serve_has_no_such_reason() -> None:
    assert judge_readiness(facts()).reasons == ()
    missing = judge_readiness(facts(good(status=None), proofs={"invoice": DIFFERS}, sampled=frozenset({"invoice"})))
    assert [reason.bucket for reason in missing.reasons] == [Bucket.MISSING]


def test_without_an_objective_no_proof_is_too_old() -> None:
    assert judge_readiness(facts(proofs={"invoice": a_proof(compared_at=NOW - 900 * DAY)})).reasons == ()


verdicts = st.sampled_from(Verdict)
ages = st.timedeltas(timedelta(), 90 * DAY)


@given(st.dictionaries(st.sampled_from("abcd"), st.tuples(verdicts, ages)), st.frozensets(st.sampled_from("abcd")))
def test_each_analyzer_with_samples_or_a_proof_has_at_most_one_reason_and_none_is_against_the_target(
    found: dict[str, tuple[Verdict, timedelta]], sampled: frozenset[str]
) -> None:
    proofs = {name: a_proof(name, verdict=it, compared_at=NOW - age) for name, (it, age) in found.items()}
    readiness = judge_readiness(facts(*map(good, "abcd"), plan=A_MONTH, proofs=proofs, sampled=sampled))
    named = [name for reason in readiness.reasons for name in reason.analyzers]
    good_ones = {name for name, (it, age) in found.items() if it is Verdict.AGREES and age <= 30 * DAY}
    assert sorted(named) == sorted((sampled | found.keys()) - good_ones)
    assert readiness.state is State.READY
