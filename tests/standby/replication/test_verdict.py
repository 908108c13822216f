"""How source, target and the record of the last copy lead to a verdict: every combination by name."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.config.plan import OnExisting
from standby.replication.trained import guard
from standby.replication.verdict import (
    HOLDS_NOTHING,
    Action,
    CopyRecord,
    Sighting,
    Verdict,
    decide,
    judge,
    status_of,
)
from standby.service.models import Analyzer
from tests.standby.replication.world import START, record, sighting

LATER = START + timedelta(hours=1)
EARLIER = START - timedelta(hours=1)

AS_COPIED = record(sighting("v1"), sighting("v1"))
"""The last copy: both sides held v1, and were of the incarnations of `START`."""

TRAINED = sighting("v1", trained=True)


@pytest.mark.parametrize("last", [None, AS_COPIED], ids=["never copied", "copied once"])
def test_what_the_target_does_not_have_is_missing(last: CopyRecord | None) -> None:
    assert judge(sighting("v1"), None, last) is Verdict.MISSING


@pytest.mark.parametrize("last", [None, AS_COPIED], ids=["never copied", "copied once"])
@pytest.mark.parametrize("holds", ["v1", "other"])
def test_what_the_target_is_deleting_is_as_good_as_missing(last: CopyRecord | None, holds: str) -> None:
    assert judge(sighting("v1"), sighting(holds, status="deleting"), last) is Verdict.MISSING


@pytest.mark.parametrize("last", [None, AS_COPIED], ids=["never copied", "copied once"])
@pytest.mark.parametrize("holds", ["v1", "other"])
def test_what_the_target_is_making_is_creating_whatever_it_will_be(last: CopyRecord | None, holds: str) -> None:
    assert judge(sighting("v1"), sighting(holds, status="creating"), last) is Verdict.CREATING


def test_equal_analyzers_are_in_sync_after_a_copy() -> None:
    assert judge(sighting("v1"), sighting("v1"), AS_COPIED) is Verdict.IN_SYNC


def test_equal_analyzers_are_in_sync_without_a_ledger() -> None:
    assert judge(sighting("v1"), sighting("v1"), None) is Verdict.IN_SYNC


def test_equal_analyzers_are_in_sync_when_both_were_edited_alike() -> None:
    assert judge(sighting("v2"), sighting("v2"), AS_COPIED) is Verdict.IN_SYNC


def test_an_equal_analyzer_is_in_sync_when_the_target_was_deleted_and_made_again() -> None:
    assert judge(sighting("v1"), sighting("v1", created_at=LATER), AS_COPIED) is Verdict.IN_SYNC


def test_an_equal_analyzer_is_in_sync_when_the_source_was_deleted_and_made_again() -> None:
    source = sighting("v1", created_at=LATER, changed_at=LATER)
    assert judge(source, sighting("v1"), AS_COPIED) is Verdict.IN_SYNC


def test_an_edit_at_the_source_puts_it_ahead() -> None:
    assert judge(sighting("v2"), sighting("v1"), AS_COPIED) is Verdict.SOURCE_AHEAD


def test_a_source_made_again_with_another_definition_is_ahead() -> None:
    source = sighting("v2", created_at=LATER, changed_at=LATER)
    assert judge(source, sighting("v1"), AS_COPIED) is Verdict.SOURCE_AHEAD


def test_an_edit_at_the_target_puts_it_ahead() -> None:
    assert judge(sighting("v1"), sighting("v2"), AS_COPIED) is Verdict.TARGET_AHEAD


def test_edits_at_both_sides_are_divergence() -> None:
    assert judge(sighting("v2"), sighting("v3"), AS_COPIED) is Verdict.DIVERGED


def test_a_source_made_again_beside_an_edited_target_is_divergence() -> None:
    source = sighting("v1", created_at=LATER)
    assert judge(source, sighting("v2"), AS_COPIED) is Verdict.DIVERGED


def test_a_different_analyzer_that_was_never_copied_is_foreign() -> None:
    assert judge(sighting("v1"), sighting("other"), None) is Verdict.FOREIGN


def test_a_lost_ledger_makes_a_difference_foreign_because_nobody_knows_who_edited() -> None:
    assert judge(sighting("v2"), sighting("v1"), None) is Verdict.FOREIGN


@pytest.mark.parametrize("holds", ["v1", "other"])
def test_a_different_target_that_was_deleted_and_made_again_is_foreign(holds: str) -> None:
    """Also where it is what once was copied: a new incarnation is not the copy."""
    assert judge(sighting("v2"), sighting(holds, created_at=LATER), AS_COPIED) is Verdict.FOREIGN


@pytest.mark.parametrize("status", ["undefined", "unreadable", "something new"])
@pytest.mark.parametrize("last", [None, AS_COPIED], ids=["never copied", "copied once"])
def test_an_equal_analyzer_that_is_not_ready_is_behind(status: str, last: CopyRecord | None) -> None:
    assert judge(sighting("v1"), sighting("v1", status=status), last) is Verdict.SOURCE_AHEAD


@pytest.mark.parametrize("status", sorted(HOLDS_NOTHING))
@pytest.mark.parametrize("holds", ["v1", "v2", "other"])
@pytest.mark.parametrize("last", [None, AS_COPIED], ids=["never copied", "copied once"])
def test_what_failed_or_is_stuck_counts_as_missing(status: str, holds: str, last: CopyRecord | None) -> None:
    assert judge(sighting("v1"), sighting(holds, status=status), last) is Verdict.MISSING


@pytest.mark.parametrize("status", ["undefined", "unreadable"])
def test_what_may_hold_something_is_not_taken_for_missing(status: str) -> None:
    assert judge(sighting("v1"), sighting("other", status=status), None) is Verdict.FOREIGN
    assert judge(sighting("v1"), sighting("v2", status=status), AS_COPIED) is Verdict.TARGET_AHEAD


@pytest.mark.parametrize(
    ("status", "minutes", "expected"),
    [("creating", 60, "creating"), ("creating", 71, "stuck"), ("ready", 999, "ready"), ("failed", 1, "failed")],
)
def test_what_is_creating_for_much_longer_than_a_copy_may_take_is_stuck(
    status: str, minutes: int, expected: str
) -> None:
    dates = {"createdAt": "2026-01-01T00:00:00Z", "lastModifiedAt": START.isoformat()}
    analyzer = Analyzer.model_validate({"analyzerId": "a", "status": status, **dates})
    assert status_of(analyzer, START + timedelta(minutes=minutes), 600) == expected
    undated = Analyzer.model_validate({"analyzerId": "a", "status": status})
    assert status_of(undated, START, 600) == status


def test_a_source_trained_again_under_the_same_definition_is_ahead() -> None:
    source = replace(TRAINED, changed_at=LATER)
    assert judge(source, TRAINED, record(TRAINED, TRAINED)) is Verdict.SOURCE_AHEAD


def test_a_source_trained_again_is_ahead_without_a_ledger_when_it_is_newer_than_the_target() -> None:
    assert judge(replace(TRAINED, changed_at=LATER), TRAINED, None) is Verdict.SOURCE_AHEAD


@pytest.mark.parametrize("changed_at", [EARLIER, START])
@pytest.mark.parametrize("last", [None, record(TRAINED, TRAINED)], ids=["never copied", "copied once"])
def test_a_trained_source_that_did_not_change_since_is_in_sync(changed_at: datetime, last: CopyRecord | None) -> None:
    assert judge(replace(TRAINED, changed_at=changed_at), TRAINED, last) is Verdict.IN_SYNC


def test_a_trained_source_that_was_deleted_and_trained_again_is_ahead() -> None:
    source = replace(TRAINED, created_at=LATER, changed_at=None)
    assert judge(source, TRAINED, record(TRAINED, TRAINED)) is Verdict.SOURCE_AHEAD


def test_a_trained_target_of_another_incarnation_was_trained_there() -> None:
    """That a killed run began it is said by its note (`test_trained.py`), not by dates."""
    target = replace(TRAINED, created_at=LATER, changed_at=LATER)
    last = record(TRAINED, TRAINED)
    assert judge(TRAINED, target, last) is Verdict.TARGET_AHEAD
    assert judge(replace(TRAINED, changed_at=START + timedelta(minutes=1)), target, last) is Verdict.DIVERGED
    assert judge(TRAINED, target, None) is Verdict.IN_SYNC, "without a record it can be the copy"


def test_a_target_trained_again_since_it_was_copied_is_ahead() -> None:
    target = replace(TRAINED, changed_at=LATER)
    last = record(TRAINED, TRAINED)
    assert judge(TRAINED, target, last) is Verdict.TARGET_AHEAD
    assert judge(replace(TRAINED, changed_at=LATER), target, last) is Verdict.DIVERGED
    edited = replace(TRAINED, fingerprint="v2", changed_at=LATER)
    assert judge(edited, target, last) is Verdict.DIVERGED, "its definition hides no training"


@pytest.mark.parametrize("changed_at", [None, EARLIER, START])
def test_a_target_whose_date_is_missing_or_no_later_was_not_trained_again(changed_at: datetime | None) -> None:
    last = record(TRAINED, TRAINED)
    assert judge(TRAINED, replace(TRAINED, changed_at=changed_at), last) is Verdict.IN_SYNC
    undated = record(TRAINED, replace(TRAINED, changed_at=None))
    assert judge(TRAINED, replace(TRAINED, changed_at=changed_at), undated) is Verdict.IN_SYNC


def test_a_target_whose_incarnation_is_not_known_is_not_taken_for_another_one() -> None:
    undated = replace(TRAINED, created_at=None)
    assert judge(TRAINED, undated, record(TRAINED, TRAINED)) is Verdict.IN_SYNC
    assert judge(TRAINED, TRAINED, record(TRAINED, undated)) is Verdict.IN_SYNC


def test_a_target_that_is_not_ready_was_not_trained_again() -> None:
    undefined = replace(TRAINED, status="undefined", created_at=LATER, changed_at=LATER)
    assert judge(TRAINED, undefined, record(TRAINED, TRAINED)) is Verdict.SOURCE_AHEAD


@pytest.mark.parametrize("last", [None, record(TRAINED, TRAINED)], ids=["never copied", "copied once"])
def test_a_trained_target_is_ahead_of_a_source_that_was_rebuilt(last: CopyRecord | None) -> None:
    source = replace(TRAINED, created_at=LATER, changed_at=LATER, rebuilt=True)
    assert judge(source, TRAINED, last) is Verdict.TARGET_AHEAD
    assert judge(source, replace(TRAINED, rebuilt=True), None) is Verdict.SOURCE_AHEAD, "neither was trained"


def test_a_source_trained_again_beside_an_edited_target_is_divergence() -> None:
    source = replace(TRAINED, changed_at=LATER)
    target = sighting("v2", trained=True)
    assert judge(source, target, record(TRAINED, TRAINED)) is Verdict.DIVERGED


def test_an_untrained_source_that_was_only_touched_is_in_sync() -> None:
    assert judge(sighting("v1", changed_at=LATER), sighting("v1"), AS_COPIED) is Verdict.IN_SYNC


def test_a_trained_analyzer_without_dates_is_judged_by_its_definition() -> None:
    undated = replace(TRAINED, created_at=None, changed_at=None)
    assert judge(undated, undated, None) is Verdict.IN_SYNC
    assert judge(undated, undated, record(undated, undated)) is Verdict.IN_SYNC
    assert judge(TRAINED, undated, record(undated, undated)) is Verdict.SOURCE_AHEAD


MOMENTS = st.sampled_from([None, EARLIER, START, LATER])
SIGHTINGS = st.builds(
    Sighting,
    fingerprint=st.sampled_from(["v1", "v2", "v3"]),
    status=st.sampled_from(["ready", "creating", "deleting", "failed", "undefined"]),
    created_at=MOMENTS,
    changed_at=MOMENTS,
    trained=st.booleans(),
    rebuilt=st.booleans(),
)
RECORDS = st.none() | st.builds(CopyRecord, source=SIGHTINGS, target=SIGHTINGS, copied_at=st.just(START))


@given(SIGHTINGS, st.none() | SIGHTINGS, RECORDS)
def test_in_sync_is_said_exactly_of_ready_equals_that_have_one_training(
    source: Sighting, target: Sighting | None, last: CopyRecord | None
) -> None:
    verdict = judge(source, target, last)
    if verdict is Verdict.IN_SYNC:
        assert target is not None
        assert (target.status, target.fingerprint) == ("ready", source.fingerprint)
    elif target is not None and target.status == "ready" and target.fingerprint == source.fingerprint:
        assert verdict in {Verdict.SOURCE_AHEAD, Verdict.TARGET_AHEAD, Verdict.DIVERGED}
        assert source.trained or target.trained


@given(SIGHTINGS, SIGHTINGS, RECORDS)
def test_a_target_that_holds_something_else_is_called_ours_only_on_the_ledgers_word(
    source: Sighting, target: Sighting, last: CopyRecord | None
) -> None:
    verdict = judge(source, target, last)
    of_this_incarnation = last is not None and last.target.created_at == target.created_at
    if verdict is not Verdict.FOREIGN and source.fingerprint != target.fingerprint:
        assert of_this_incarnation or target.status in {"creating", "deleting", "failed"}
    if verdict is Verdict.SOURCE_AHEAD and source.fingerprint != target.fingerprint:
        assert last is not None
        # Nobody's edit at the target is ever taken for an old copy.
        assert target.fingerprint == last.target.fingerprint
    if verdict is Verdict.FOREIGN:
        assert not of_this_incarnation


@given(SIGHTINGS, SIGHTINGS, RECORDS, st.sampled_from(["refuse", "replace", "version"]))
def test_a_training_of_the_targets_own_is_never_overwritten_unasked(
    source: Sighting, target: Sighting, last: CopyRecord | None, on_existing: OnExisting
) -> None:
    verdict = judge(source, target, last)
    ours = last if last is not None and last.target.created_at == target.created_at else None
    is_guarded = guard(verdict, source, target, ours) is not None
    if target.has_training and decide(verdict, on_existing) is Action.REPLACE and not is_guarded:
        assert ours is not None
        assert source.trained
        assert not source.rebuilt
        now, then = target.changed_at, ours.target.changed_at
        assert now is None or then is None or now <= then


@given(SIGHTINGS)
def test_what_a_copy_leaves_behind_is_in_sync_with_and_without_its_record(source: Sighting) -> None:
    source = replace(source, rebuilt=False)
    copied = replace(source, status="ready", created_at=LATER + timedelta(1), changed_at=LATER + timedelta(1))
    assert judge(source, copied, CopyRecord(source, copied, START)) is Verdict.IN_SYNC
    assert judge(source, copied, None) is Verdict.IN_SYNC
