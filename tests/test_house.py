"""The house stays small enough to know: the limits of tests/house.py are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house import LONGEST_FILE, LONGEST_FUNCTION, MEAN_LINES, MOST_FILES, MOST_LINES, House, count_house


@pytest.fixture(scope="module")
def house() -> House:
    return count_house()


def test_it_has_no_more_files_and_lines_than_people_can_know(house: House) -> None:
    assert len(house.lines) <= MOST_FILES
    assert sum(house.lines.values()) <= MOST_LINES


def test_a_file_is_one_idea_and_that_idea_whole(house: House) -> None:
    assert house.mean in MEAN_LINES
    assert house.large_files == []
    assert house.large_functions == []


def test_a_name_leads_to_one_file(house: House) -> None:
    assert house.twins == []
    assert house.basenames == []


def test_it_sees_what_is_too_large_or_named_twice() -> None:
    paths = {f"p{number}/report.py": 10 for number in range(5)}
    small = {"p/order.py": 1, "p/ordering.py": 1, "q/failover.py": 1, "q/failover_run.py": 1, "q/failback.py": 1}
    lines = {Path(name): count for name, count in {**paths, **small, "p/large.py": LONGEST_FILE + 1}.items()}
    house = House(dict(sorted(lines.items())), {"p/large.py:f": LONGEST_FUNCTION + 1, "p/large.py:g": LONGEST_FUNCTION})

    assert house.large_files == [f"p/large.py: {LONGEST_FILE + 1}"]
    assert house.large_functions == [f"p/large.py:f: {LONGEST_FUNCTION + 1}"]
    assert house.twins == ["p: order and ordering", "q: failover and failover_run"]
    assert house.basenames == ["report.py: 5"]
