"""What became of an analyzer at primary and standby since the last verified copy."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.recovery.failback.divergence import diverge
from standby.recovery.failback.report import CONFLICTS, COPIED_TO_PRIMARY, Divergence
from standby.replication.verdict import CopyRecord, Sighting
from tests.standby.replication.world import START, record, sighting

LATER = START + timedelta(hours=1)
LATEST = START + timedelta(hours=2)

THEN = record(sighting("a"), sighting("a"))


def trained(fingerprint: str = "a", **fields: Any) -> Sighting:
    return sighting(fingerprint, trained=True, **fields)


TRAINED_THEN = CopyRecord(trained(), trained(created_at=LATER, changed_at=LATER), LATER)


@pytest.mark.parametrize(
    ("primary", "standby", "last", "expected"),
    [
        (sighting("a"), sighting("a"), THEN, Divergence.IN_SYNC),
        (sighting("b"), sighting("a"), THEN, Divergence.EDITED_AT_PRIMARY),
        (sighting("a"), sighting("b"), THEN, Divergence.EDITED_AT_STANDBY),
        (sighting("b"), sighting("c"), THEN, Divergence.EDITED_AT_BOTH),
        (sighting("b"), sighting("b"), THEN, Divergence.IN_SYNC),
        (sighting("a"), sighting("a"), None, Divergence.IN_SYNC),
        (sighting("a"), sighting("b"), None, Divergence.DIFFERENT),
        (sighting("a"), None, None, Divergence.NEW_AT_PRIMARY),
        (sighting("a"), None, THEN, Divergence.DELETED_AT_STANDBY),
        (None, sighting("a"), None, Divergence.NEW_AT_STANDBY),
        (None, sighting("a"), THEN, Divergence.DELETED_AT_PRIMARY),
        (sighting("a", status="deleting"), sighting("a"), THEN, Divergence.DELETED_AT_PRIMARY),
        (sighting("a"), sighting("a", status="deleting"), THEN, Divergence.DELETED_AT_STANDBY),
        (sighting("a", status="creating"), sighting("a"), THEN, Divergence.UNDER_WAY),
        (sighting("a", status="failed"), sighting("a"), THEN, Divergence.UNUSABLE_AT_PRIMARY),
        (sighting("a", status="failed"), sighting("b"), THEN, Divergence.UNUSABLE_AT_PRIMARY),
        (sighting("b", status="failed"), sighting("a"), THEN, Divergence.EDITED_AT_PRIMARY),
    ],
)
def test_primary_and_standby_are_compared_with_what_they_had_in_common(
    primary: Sighting | None, standby: Sighting | None, last: CopyRecord | None, expected: Divergence
) -> None:
    assert diverge(primary, standby, last) is expected


def test_one_that_was_replaced_by_another_definition_is_edited_and_not_unknown() -> None:
    replaced = sighting("b", created_at=LATER, changed_at=LATER)

    assert diverge(replaced, sighting("a"), THEN) is Divergence.EDITED_AT_PRIMARY
    assert diverge(sighting("a"), replaced, THEN) is Divergence.EDITED_AT_STANDBY


def test_one_that_was_made_again_as_it_was_is_in_sync() -> None:
    assert diverge(sighting("a", created_at=LATER), sighting("a"), THEN) is Divergence.IN_SYNC


@pytest.mark.parametrize(
    ("primary", "standby", "expected"),
    [
        ({}, {}, Divergence.IN_SYNC),
        ({"changed_at": LATEST}, {}, Divergence.EDITED_AT_PRIMARY),
        ({"created_at": LATEST, "changed_at": LATEST}, {}, Divergence.EDITED_AT_PRIMARY),
        ({}, {"changed_at": LATEST}, Divergence.EDITED_AT_STANDBY),
        ({"changed_at": LATEST}, {"changed_at": LATEST}, Divergence.EDITED_AT_BOTH),
    ],
)
def test_labelled_data_edits_what_looks_the_same(
    primary: dict[str, Any], standby: dict[str, Any], expected: Divergence
) -> None:
    at_standby = trained(**{"created_at": LATER, "changed_at": LATER, **standby})

    assert diverge(trained(**primary), at_standby, TRAINED_THEN) is expected


def test_without_a_record_dates_tell_whether_a_trained_one_was_made_of_the_other() -> None:
    copied = trained(created_at=LATER, changed_at=LATER)

    assert diverge(trained(), copied, None) is Divergence.IN_SYNC
    assert diverge(trained(changed_at=LATEST), copied, None) is Divergence.DIFFERENT


def test_what_a_killed_failback_copied_to_the_primary_is_in_sync() -> None:
    primary = trained(created_at=LATEST, changed_at=LATEST)
    standby = trained(created_at=LATER, changed_at=LATER + timedelta(minutes=5))

    assert diverge(primary, standby, TRAINED_THEN) is Divergence.EDITED_AT_BOTH
    assert diverge(primary, standby, TRAINED_THEN, begun_at=LATEST) is Divergence.IN_SYNC
    assert diverge(primary, standby, TRAINED_THEN, begun_at=LATEST + timedelta(minutes=1)) is (
        Divergence.EDITED_AT_BOTH
    )


SIGHTINGS = st.builds(
    sighting,
    st.sampled_from("abc"),
    created_at=st.sampled_from([START, LATER, LATEST]),
    changed_at=st.sampled_from([START, LATER, LATEST]),
    trained=st.booleans(),
)
RECORDS = st.none() | st.builds(record, SIGHTINGS, SIGHTINGS)


@given(SIGHTINGS, SIGHTINGS, RECORDS)
def test_what_the_primary_has_of_its_own_is_never_overwritten_unasked(
    primary: Sighting, standby: Sighting, last: CopyRecord | None
) -> None:
    found = diverge(primary, standby, last)

    if last is None or primary.fingerprint != last.source.fingerprint != standby.fingerprint:
        assert found not in COPIED_TO_PRIMARY or primary.fingerprint == standby.fingerprint


@given(SIGHTINGS, SIGHTINGS, RECORDS)
def test_it_is_the_same_seen_from_the_other_end(primary: Sighting, standby: Sighting, last: CopyRecord | None) -> None:
    swapped = {
        Divergence.EDITED_AT_PRIMARY: Divergence.EDITED_AT_STANDBY,
        Divergence.EDITED_AT_STANDBY: Divergence.EDITED_AT_PRIMARY,
    }
    turned = None if last is None else CopyRecord(last.target, last.source, last.copied_at)
    found = diverge(primary, standby, last)

    assert diverge(standby, primary, turned) is swapped.get(found, found)
    assert (found in CONFLICTS) is (diverge(standby, primary, turned) in CONFLICTS)
