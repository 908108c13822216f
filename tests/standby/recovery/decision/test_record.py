"""A decision that was recorded can be replayed, and a record that was changed is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from standby.recovery.audit import verify_audit
from standby.recovery.context import RecoveryContext
from standby.recovery.decision.guards import decide
from standby.recovery.decision.input import DecisionInput, GuardOutcome, Outcome
from standby.recovery.decision.record import (
    DecisionUnreadable,
    NoSuchDecision,
    decision_path,
    explain,
    plan_of,
    record_decision,
)
from standby.vault.folder import LocalFolder
from standby.vault.signing import HmacSigner, Signer
from tests.standby.recovery.bare import bare_context
from tests.standby.recovery.decision.cases import an_input
from tests.standby.vault.world import HandClock

KEY = HmacSigner(b"a key of sixteen bytes or more")


def context_in(folder: Path, signer: Signer | None = None) -> RecoveryContext:
    return bare_context(LocalFolder(folder), HandClock(), signer)


def case_of(plan: str = "p") -> DecisionInput:
    return an_input(plan=plan)


def tamper(folder: Path, decision_id: str, old: str, new: str) -> None:
    file = folder / decision_path(decision_id)
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


async def test_a_decision_is_found_again_with_everything_it_was_made_of(tmp_path: Path) -> None:
    context = context_in(tmp_path, KEY)
    given = case_of()

    decision_id = (await record_decision(context, given, decide(given))).id
    found = await explain(context.vault, decision_id, KEY)

    assert re.fullmatch(r"p-20260102T030405Z-[0-9a-f]{4}", decision_id)
    assert (found.record.given, found.record.decision) == (given, decide(given))
    assert (found.same, found.problems) == (True, ())
    assert found.record.actor == "ada@desk"


async def test_the_log_knows_what_was_decided(tmp_path: Path) -> None:
    context = context_in(tmp_path)

    decision_id = (await record_decision(context, case_of(), decide(case_of()))).id
    (line,) = (await verify_audit(context.vault, "p", None)).lines

    assert line.action == "failover.decided"
    assert line.facts["decision"] == decision_id
    assert (line.facts["outcome"], line.facts["to"]) == ("act", "west")


async def test_two_decisions_of_one_second_are_two(tmp_path: Path) -> None:
    context = context_in(tmp_path)

    ids = {(await record_decision(context, case_of(), decide(case_of()))).id for _ in range(5)}

    assert len(ids) == 5
    for decision_id in ids:
        assert (await explain(context.vault, decision_id, None)).problems == ()


async def test_a_record_that_was_changed_is_named(tmp_path: Path) -> None:
    context = context_in(tmp_path)
    decision_id = (await record_decision(context, case_of(), decide(case_of()))).id

    tamper(tmp_path, decision_id, '"healthy": false', '"healthy": true')
    found = await explain(context.vault, decision_id, None)

    (problem,) = found.problems
    assert f"{decision_id}.json was changed after it was written" in problem
    assert (found.same, found.again.outcome) == (False, Outcome.REFUSE)


async def test_a_record_that_took_the_place_of_another_is_named(tmp_path: Path) -> None:
    context = context_in(tmp_path)
    one = (await record_decision(context, case_of(), decide(case_of()))).id
    other = (await record_decision(context, case_of(), decide(case_of()))).id

    content = (tmp_path / decision_path(one)).read_bytes()
    (tmp_path / decision_path(other)).write_bytes(content)
    problems = (await explain(context.vault, other, None)).problems

    assert f"It is the record of {one}, stored under another id" in problems
    assert len(problems) == 2


async def test_a_record_that_the_log_does_not_know_is_named(tmp_path: Path) -> None:
    context = context_in(tmp_path)
    decision_id = (await record_decision(context, case_of(), decide(case_of()))).id

    (tmp_path / "audit/p.jsonl").unlink()
    (problem,) = (await explain(context.vault, decision_id, None)).problems

    assert "has no line about it" in problem


async def test_a_line_of_another_key_is_named(tmp_path: Path) -> None:
    context = context_in(tmp_path)
    decision_id = (await record_decision(context, case_of(), decide(case_of()))).id

    found = await explain(context.vault, decision_id, KEY)

    assert [problem for problem in found.problems if problem.endswith("is not valid: not signed")]


async def test_says_where_the_same_case_comes_to_something_else(tmp_path: Path) -> None:
    context = context_in(tmp_path)
    older_rules = decide(case_of()).model_copy(update={"outcome": Outcome.WAIT})

    decision_id = (await record_decision(context, case_of(), older_rules)).id
    found = await explain(context.vault, decision_id, None)

    assert (found.same, found.problems, found.again.outcome) == (False, (), Outcome.ACT)


async def test_a_decision_of_a_version_with_other_words_is_the_same(tmp_path: Path) -> None:
    context = context_in(tmp_path)
    decided = decide(case_of())
    reworded = tuple(
        each.model_copy(update={"text": f"{each.text}, as it was said before"}) for each in decided.reasons
    )

    record = await record_decision(context, case_of(), decided.model_copy(update={"reasons": reworded}))
    found = await explain(context.vault, record.id, None)

    assert (found.same, found.problems) == (True, ())
    assert found.again.reasons != found.record.decision.reasons


async def test_another_answer_of_a_guard_is_another_decision(tmp_path: Path) -> None:
    context = context_in(tmp_path)
    decided = decide(case_of())
    first, *others = decided.reasons
    forced = first.model_copy(update={"outcome": GuardOutcome.FORCED})

    record = await record_decision(context, case_of(), decided.model_copy(update={"reasons": (forced, *others)}))

    assert not (await explain(context.vault, record.id, None)).same


async def test_knows_nothing_of_an_id_that_was_never_given_out(tmp_path: Path) -> None:
    with pytest.raises(NoSuchDecision):
        await explain(LocalFolder(tmp_path), "p-20260102T030405Z-1a2b", None)


async def test_names_a_record_that_is_none(tmp_path: Path) -> None:
    context = context_in(tmp_path)
    decision_id = (await record_decision(context, case_of(), decide(case_of()))).id
    (tmp_path / decision_path(decision_id)).write_text("{}")

    with pytest.raises(DecisionUnreadable, match=decision_id):
        await explain(context.vault, decision_id, None)


@pytest.mark.parametrize(
    "strange", ["", "..", "../../etc/passwd", "p-20260102T030405Z-1a2b/..", "p", "P-20260102T030405Z-1a2b"]
)
def test_refuses_an_id_that_might_lead_elsewhere(strange: str) -> None:
    with pytest.raises(NoSuchDecision):
        decision_path(strange)


def test_reads_the_plan_out_of_an_id() -> None:
    assert plan_of("eu-invoices-2-20260102T030405Z-1a2b") == "eu-invoices-2"
