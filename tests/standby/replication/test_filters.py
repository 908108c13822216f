"""Which analyzers a plan protects: ids, tags, base analyzers, and when they changed."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from standby.replication.inventory import is_protected
from standby.service.models import Analyzer
from tests.standby.replication.world import START, definition, recovery_plan


def chosen(fields: dict[str, Any], **plan: Any) -> bool:
    analyzer = Analyzer.model_validate(definition("invoice", **fields))
    return is_protected(recovery_plan(**plan), analyzer, START)


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ({}, True),
        ({"include": ["inv*"]}, True),
        ({"include": ["Inv*"]}, False),
        ({"exclude": ["inv*"]}, False),
        ({"include": ["a", "invoice"], "exclude": ["b"]}, True),
    ],
)
def test_ids_are_chosen_by_globs(plan: dict[str, Any], expected: bool) -> None:
    assert chosen({}, **plan) is expected


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (["team=legal"], True),
        (["team=leg*"], True),
        (["team=legal", "stage=*"], True),
        (["team=legal", "stage=test"], False),
        (["owner=*"], False),
        (["team="], None),
    ],
)
def test_all_tags_that_are_asked_for_must_be_there(tags: list[str], expected: bool | None) -> None:
    fields = {"tags": {"team": "legal", "stage": "production"}}
    if expected is None:
        with pytest.raises(ValidationError):
            chosen(fields, tags=tags)
    else:
        assert chosen(fields, tags=tags) is expected


def test_base_analyzers_are_chosen_by_globs() -> None:
    assert chosen({}, base=["prebuilt-doc*"])
    assert not chosen({}, base=["prebuilt-audio", "house-style"])


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        ("7d", True),
        ("12h", False),
        ("2026-01-01", True),
        ("2026-01-01T00:00:01Z", False),
        ("2026-01-01T01:00:00+01:00", True),
    ],
)
def test_only_what_changed_since_a_moment_is_chosen(since: str, expected: bool) -> None:
    # It is 2026-01-02 03:04:05, and the analyzer changed at the first midnight of the year.
    assert chosen({}, modified_since=since) is expected


def test_an_analyzer_whose_date_cannot_be_told_is_protected() -> None:
    assert chosen({"lastModifiedAt": None}, modified_since="1h")


@pytest.mark.parametrize("since", ["some day", "", "2026-13-01", "-3d"])
def test_what_is_no_moment_is_refused_with_the_form_it_should_have(since: str) -> None:
    with pytest.raises(ValidationError, match=r"such as 2026-01-31, .* or a length of time before now such as 2d"):
        recovery_plan(modified_since=since)


def test_what_a_drill_made_is_never_chosen() -> None:
    # It is deleted where it was made, and a copy of it would be left.
    assert not chosen({"tags": {"standby-drill": "run-1"}})
