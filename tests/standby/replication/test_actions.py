"""The table of verdict and policy to action, and what is said about each."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest

from standby.config.plan import OnExisting
from standby.replication.verdict import ACTING, COPYING, Action, Verdict, decide, explain

POLICIES: tuple[OnExisting, ...] = get_args(OnExisting)

# verdict: refuse, replace, version
TABLE = {
    Verdict.MISSING: (Action.COPY, Action.COPY, Action.COPY),
    Verdict.IN_SYNC: (Action.SKIP, Action.SKIP, Action.SKIP),
    Verdict.CREATING: (Action.ADOPT, Action.ADOPT, Action.ADOPT),
    Verdict.SOURCE_AHEAD: (Action.REFUSE, Action.REPLACE, Action.COPY_AS_VERSION),
    Verdict.FOREIGN: (Action.REFUSE, Action.REPLACE, Action.COPY_AS_VERSION),
    Verdict.TARGET_AHEAD: (Action.REFUSE, Action.REFUSE, Action.REFUSE),
    Verdict.DIVERGED: (Action.REFUSE, Action.REFUSE, Action.REFUSE),
    Verdict.BLOCKED: (Action.REFUSE, Action.REFUSE, Action.REFUSE),
}
EXPLAINED = [verdict for verdict in Verdict if verdict is not Verdict.BLOCKED]


def test_the_table_has_every_verdict_and_every_policy() -> None:
    assert TABLE.keys() == set(Verdict)
    assert POLICIES == ("refuse", "replace", "version")


@pytest.mark.parametrize(("verdict", "policy"), list(product(Verdict, POLICIES)))
def test_a_verdict_leads_under_a_policy_to_its_action(verdict: Verdict, policy: OnExisting) -> None:
    assert decide(verdict, policy) is TABLE[verdict][POLICIES.index(policy)]


def test_nothing_that_is_at_a_target_is_written_over_without_leave() -> None:
    overwriting = {verdict for verdict in Verdict if decide(verdict, "refuse") in COPYING}
    assert overwriting == {Verdict.MISSING}


@pytest.mark.parametrize("policy", POLICIES)
def test_an_analyzer_that_is_forced_by_name_is_overwritten_whatever_was_done_to_it(
    policy: OnExisting,
) -> None:
    overwritten = {verdict for verdict in Verdict if decide(verdict, policy, forced=True) is Action.REPLACE}
    assert overwritten == {
        Verdict.SOURCE_AHEAD,
        Verdict.FOREIGN,
        Verdict.TARGET_AHEAD,
        Verdict.DIVERGED,
    }
    for verdict in set(Verdict) - overwritten:
        assert decide(verdict, policy, forced=True) is decide(verdict, policy)


def test_copying_is_part_of_acting_and_refusing_of_neither() -> None:
    assert {Action.ADOPT} == ACTING - COPYING
    assert not ACTING & {Action.REFUSE, Action.SKIP}


@pytest.mark.parametrize(("verdict", "policy"), list(product(EXPLAINED, POLICIES)))
def test_every_refusal_has_an_advice_and_nothing_else_has(verdict: Verdict, policy: OnExisting) -> None:
    action = decide(verdict, policy)
    told = explain(verdict, action, "invoice", "east", "west")
    assert told.endswith(".")
    assert "{" not in told
    assert told.count(". ") == (1 if action is Action.REFUSE else 0)


@pytest.mark.parametrize("verdict", [Verdict.SOURCE_AHEAD, Verdict.FOREIGN])
def test_a_refusal_that_a_policy_would_lift_names_the_policies(verdict: Verdict) -> None:
    told = explain(verdict, Action.REFUSE, "invoice", "east", "west")
    assert "--on-existing replace" in told
    assert "--on-existing version" in told


@pytest.mark.parametrize("verdict", [Verdict.TARGET_AHEAD, Verdict.DIVERGED])
def test_a_refusal_that_no_policy_lifts_names_none(verdict: Verdict) -> None:
    assert "--on-existing" not in explain(verdict, Action.REFUSE, "invoice", "east", "west")


def test_both_resources_are_named_where_both_matter() -> None:
    told = explain(Verdict.DIVERGED, Action.REFUSE, "invoice", "east", "west")
    assert told == (
        "It was edited at east and at west since it was copied. "
        "Decide which one is right; overwrite the one at west with --force invoice."
    )


def test_an_analyzer_that_is_behind_for_being_failed_is_not_called_old() -> None:
    told = explain(Verdict.SOURCE_AHEAD, Action.REPLACE, "invoice", "east", "west", "failed")
    assert told == "west has one of this name that is failed, not ready."
    assert explain(Verdict.SOURCE_AHEAD, Action.REPLACE, "invoice", "east", "west") == "west has an older copy."
