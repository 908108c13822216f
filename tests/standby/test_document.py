"""JSON is read and written quickly, and just as the slower ways do it."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.document import MOST_LEVELS, as_text, oddity, read_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec=None)), inner),
    max_leaves=10,
)


@given(VALUES)
def test_a_value_is_read_as_the_standard_library_reads_it(value: Any) -> None:
    text = json.dumps(value)
    assert json.dumps(read_json(text.encode())) == text


@given(VALUES)
def test_what_nothing_is_odd_about_is_kept_as_text_and_read_again(value: Any) -> None:
    if oddity(value):
        with pytest.raises(ValueError, match=r"."):
            as_text(value)
    else:
        assert json.dumps(read_json(as_text(value))) == json.dumps(value)


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, "\ud800", {"\ud800": 1}])
def test_what_is_odd_is_not_kept_as_text(odd: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        as_text([odd])
    with pytest.raises(ValueError, match=r"."):
        as_text(json.loads("[" * (MOST_LEVELS + 1) + "1" + "]" * (MOST_LEVELS + 1)))


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b"\xef\xbb\xbf{}", {}),
        (b'"\x01"', "\x01"),
        (b"1e400", math.inf),
        (b"9" * 5000, math.inf),
        (b"[Infinity]", [math.inf]),
        (b'"\\ud800"', "\ud800"),
        (b'"\xff"', "\udcff"),
    ],
)
def test_what_is_odd_in_json_costs_no_more_than_itself(content: bytes, value: Any) -> None:
    assert read_json(content) == value
