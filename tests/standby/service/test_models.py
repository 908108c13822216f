from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from standby.service.models import Analyzer, Defaults, ErrorDetail, Grant, Operation, read_timestamp

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)
OFFSETS = st.integers(-12 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
SECONDS = st.integers(-(10**10), 10**11)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-12-12T16:50:15.1480644+00:00", datetime(2025, 12, 12, 16, 50, 15, 148064, UTC)),
        ("2025-12-12T16:50:15.148064+00:00", datetime(2025, 12, 12, 16, 50, 15, 148064, UTC)),
        ("2025-12-12T16:50:15.14806+00:00", datetime(2025, 12, 12, 16, 50, 15, 148060, UTC)),
        ("2025-12-12T16:50:15Z", datetime(2025, 12, 12, 16, 50, 15, tzinfo=UTC)),
        ("2025-12-12T16:50:15", datetime(2025, 12, 12, 16, 50, 15, tzinfo=UTC)),
        ("2025-12-12T16:50:15-08:00", datetime(2025, 12, 13, 0, 50, 15, tzinfo=UTC)),
    ],
)
def test_a_timestamp_is_read_to_the_microsecond_as_utc(text: str, moment: datetime) -> None:
    assert read_timestamp(text) == moment
    assert read_timestamp(text).tzinfo is UTC


@pytest.mark.parametrize("text", ["", "soon", "2025-13-01T00:00:00Z", "1765558215", "0001-01-01T00:00:00+23:59"])
def test_what_is_no_timestamp_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_timestamp(text)


@given(SECONDS, OFFSETS, st.text("0123456789", min_size=5, max_size=7))
def test_any_number_of_digits_that_the_service_writes_is_read(seconds: int, offset: timezone, fraction: str) -> None:
    moment = datetime.fromtimestamp(seconds, offset)
    clock, zone = moment.isoformat()[:19], moment.isoformat()[19:]
    kept = int(fraction[:6].ljust(6, "0"))
    assert read_timestamp(f"{clock}.{fraction}{zone}") == moment.replace(microsecond=kept)


@given(st.text())
def test_no_text_brings_the_reading_of_timestamps_down(text: str) -> None:
    try:
        assert read_timestamp(text).tzinfo is UTC
    except ValueError:
        assert Analyzer.model_validate({"analyzerId": "a", "createdAt": text}).created_at is None


@given(st.dictionaries(st.text(), JSON, max_size=5), st.text())
def test_an_analyzer_keeps_exactly_what_was_sent(more: dict[str, Any], name: str) -> None:
    known = {
        *("status", "createdAt", "lastModifiedAt", "description", "baseAnalyzerId"),
        *("models", "tags", "warnings", "knowledgeSources"),
    }
    sent = {**{key: value for key, value in more.items() if key not in known}, "analyzerId": name}
    assert Analyzer.model_validate(sent).to_json() == sent


def test_analyzers_that_have_the_same_share_it() -> None:
    one, other = (
        Analyzer.model_validate({"analyzerId": name, "createdAt": made, "config": {"a": [1.5, "ü"]}})
        for name, made in (("a", "2026-01-01T00:00:00Z"), ("b", "2026-01-02T00:00:00Z"))
    )
    assert one.written is other.written
    assert (one.to_json()["analyzerId"], other.to_json()["createdAt"]) == ("a", "2026-01-02T00:00:00Z")


def test_what_is_taken_out_of_an_analyzer_is_a_copy() -> None:
    analyzer = Analyzer.model_validate({"analyzerId": "a", "config": {"list": [{"deep": 1}]}})
    taken: Any = analyzer.to_json()
    taken["config"]["list"][0]["deep"] = 2
    taken["config"]["list"].append(3)
    del taken["analyzerId"]
    assert analyzer.to_json() == {"analyzerId": "a", "config": {"list": [{"deep": 1}]}}


def test_nothing_is_added_that_was_not_sent() -> None:
    assert Analyzer.model_validate({"analyzerId": "a"}).to_json() == {"analyzerId": "a"}
    assert Defaults.model_validate({"modelDeployments": {}}).model_deployments == {}


@pytest.mark.parametrize(
    ("sent", "status", "done"),
    [
        ("NotStarted", "notstarted", False),
        ("RUNNING", "running", False),
        ("Succeeded", "succeeded", True),
        ("failed", "failed", True),
        ("Canceled", "canceled", True),
        ("Cancelled", "canceled", True),
        ("Paused", "paused", False),
    ],
)
def test_the_status_of_an_operation_is_read_in_any_letter_case(sent: str, status: str, done: bool) -> None:
    operation = Operation.model_validate({"id": "1", "status": sent})
    assert (operation.status, operation.done) == (status, done)


def test_the_status_of_an_analyzer_is_lower_case_and_may_be_unsaid() -> None:
    assert Analyzer.model_validate({"analyzerId": "a", "status": "Ready"}).status == "ready"
    assert Analyzer.model_validate({"analyzerId": "a"}).status == "undefined"


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ([], ()),
        (None, ()),
        ("one", ()),
        (["one", "", None, {}], ("one",)),
        ([{"code": "A", "message": "Differs."}], ("A: Differs.",)),
        ([{"message": "Differs."}, {"code": "A"}, {"code": None, "message": "B"}], ("Differs.", "A", "B")),
        (["two\nlines"], ("two lines",)),
        (["see https://x/?sv=1&sig=canary"], ("see https://x/?sv=1&sig=***",)),
        (["x" * 1000], ("x" * 299 + "…",)),
        ([7], ("7",)),
    ],
)
def test_warnings_are_one_line_each_in_whatever_form_they_come(sent: object, told: tuple[str, ...]) -> None:
    assert Analyzer.model_validate({"analyzerId": "a", "warnings": sent}).warnings == told


@pytest.mark.parametrize("field", ["models", "tags"])
def test_what_is_null_is_as_if_it_was_not_sent(field: str) -> None:
    assert getattr(Analyzer.model_validate({"analyzerId": "a", field: None}), field) == {}
    sent = {"analyzerId": "a", field: {"kept": "x", "unset": None}}
    assert getattr(Analyzer.model_validate(sent), field) == {"kept": "x"}


@pytest.mark.parametrize("when", [None, 5, "soon", "2025-99-01T00:00:00Z", ["2025"]])
def test_an_odd_date_does_not_cost_the_analyzer(when: object) -> None:
    sent = {"analyzerId": "a", "createdAt": when}
    analyzer = Analyzer.model_validate(sent)
    assert analyzer.created_at is None
    assert analyzer.to_json() == sent


@pytest.mark.parametrize("result", [None, {}, {"analyzer": "a"}, [], "text"])
def test_a_result_that_is_no_analyzer_is_none(result: object) -> None:
    assert Operation.model_validate({"id": "1", "status": "Running", "result": result}).result is None


def test_the_result_of_an_operation_is_its_analyzer() -> None:
    sent = {"id": "1", "status": "Running", "result": {"analyzerId": "a", "status": "creating"}}
    operation = Operation.model_validate(sent)
    assert operation.result is not None
    assert (operation.result.analyzer_id, operation.result.status) == ("a", "creating")
    assert operation.result.to_json() == sent["result"]


@pytest.mark.parametrize("sent", [{}, {"id": "1"}, {"status": "Running"}, {"id": 1, "status": "Running"}])
def test_an_operation_has_an_id_and_a_status(sent: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Operation.model_validate(sent)


@pytest.mark.parametrize("when", ["soon", 5, True, {}])
def test_a_grant_must_end_at_a_time_that_can_be_read(when: object) -> None:
    with pytest.raises(ValidationError):
        Grant.model_validate({"expiresAt": when})


def test_the_token_of_a_grant_is_not_shown() -> None:
    grant = Grant.model_validate({"authorizationToken": "canary"})
    assert "canary" not in f"{grant!r} {grant!s}"
    assert grant.token is not None
    assert grant.token.get_secret_value() == "canary"


def test_the_innermost_error_is_itself_where_there_is_no_other() -> None:
    detail = ErrorDetail.model_validate({"code": "A", "innererror": {"innererror": {"code": "C"}}})
    assert detail.innermost.code == "C"
    assert detail.innermost.innermost is detail.innermost


def test_a_value_that_cannot_be_read_is_not_quoted() -> None:
    with pytest.raises(ValidationError) as caught:
        Analyzer.model_validate({"analyzerId": ["canary"]})
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "wrong"),
    [
        ("status", None, "has the wrong type"),
        ("status", 7, "has the wrong type"),
        ("status", "Slee\x1bping", "is slee ping, which is unknown"),
        ("description", 7, "has the wrong type"),
        ("tags", {"n": 7}, "has the wrong type"),
        ("tags", [], "has the wrong type"),
        ("models", ["gpt"], "has the wrong type"),
        ("baseAnalyzerId", {}, "has the wrong type"),
        ("score", float("nan"), "has a number that is not valid or too large"),
        ("te\ud800xt", "x", "has text that is not Unicode"),
    ],
)
def test_what_of_an_analyzer_cannot_be_read_is_named_and_the_rest_is_read(
    field: str, value: object, wrong: str
) -> None:
    sent = {"analyzerId": "a", "createdAt": "2026-01-01T00:00:00Z", "knowledgeSources": [{}], field: value}
    analyzer = Analyzer.model_validate(sent)
    assert (analyzer.analyzer_id, analyzer.status) == ("a", "unreadable")
    assert analyzer.created_at is not None
    assert analyzer.wrong == f"its field {field.replace(chr(0xD800), ' ')} {wrong}"
    assert analyzer.definition()["knowledgeSources"] == [{}]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a b", "a b"),
        ("a\x1b[1mb\n", "a [1mb"),
        ("\ud800", "no id like "),
        ("claim\n", "no id like claim"),
        ("a" * 200, "a" * 80),
        ("..", ".."),
    ],
)
def test_an_id_that_breaks_the_rules_is_shown_as_far_as_it_can_be(name: str, shown: str) -> None:
    analyzer = Analyzer.model_validate({"analyzerId": name, "status": "ready"})
    assert analyzer.analyzer_id == shown
    assert Analyzer.model_validate({"analyzerId": "a.", "tags": 7}).analyzer_id == "a."
    assert (analyzer.status == "unreadable") is (name != "..")


@pytest.mark.parametrize("moment", ["yesterday", 7, None, {}, "9999-12-31T23:59:59-23:59"])
def test_a_date_that_is_none_is_not_known(moment: object) -> None:
    analyzer = Analyzer.model_validate({"analyzerId": "a", "status": "ready", "createdAt": moment})
    assert (analyzer.status, analyzer.created_at) == ("ready", None)
