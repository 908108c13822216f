"""Faults × calls, and damages × commands: each cell goes on or stops with a reason, and ends well once all is calm.

`make test` plays a sample in which each fault and each call is met; `make chaos` plays all, and prints the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count, product
from pathlib import Path

import pytest

from tests.matrix.cells import CALLS, Call, Cell, play, stage
from tests.matrix.faults import FAULTS, Fault
from tests.matrix.own import (
    COMMANDS,
    DAMAGES,
    INTERRUPTIONS,
    RECORDS,
    Damage,
    Interruption,
    play_damage,
    play_interruption,
)
from tests.matrix.regions import Regions
from tests.matrix.table import ALL, told

Scene = Callable[..., Regions]
Record = Callable[[str, object], None]

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "what-it-survives.md"
TOLD = told(PAGE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with stage() as made:
        yield made


def sampled(number: int, calls: Sequence[Call]) -> list[Call]:
    """Choose one of the calls, another one for each fault."""
    return [calls[number * 7 % len(calls)]]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_whatever_a_call_meets_it_goes_on_or_says_why_and_ends_well_once_calm(
    fault: Fault, scene: Scene, chaos: bool, record_property: Record
) -> None:
    calls = [call for call in CALLS if call.kind in fault.to]
    chosen = calls if chaos else sampled(FAULTS.index(fault), calls)
    cells = [play(fault, call, scene(call.begins, call.api_version)) for call in chosen]
    judge(cells, record_property)
    assert_told(cells)


@pytest.mark.parametrize("record", RECORDS)
def test_whatever_is_left_of_a_file_it_is_told_and_ends_well_once_it_is_back(
    record: str, scene: Scene, chaos: bool, record_property: Record
) -> None:
    damages = [Damage(record, how, command) for how, command in product(DAMAGES, COMMANDS)]
    chosen = damages if chaos else damages[list(RECORDS).index(record) % 5 :: 7]
    cells = [play_damage(damage, scene("kept")) for damage in chosen]
    judge(cells, record_property)
    assert_told(cells)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("how", INTERRUPTIONS)
def test_interrupted_at_any_boundary_the_next_run_ends_well(
    how: str, command: str, scene: Scene, chaos: bool, record_property: Record
) -> None:
    cells: list[Cell | None] = []
    for boundary in count(2, 3 if chaos else 44):
        cells.append(play_interruption(Interruption(how, command, boundary), scene("kept")))
        if cells[-1] is None:
            break
    judge(cells, record_property)


def test_the_page_has_a_row_for_each_fault_and_no_other() -> None:
    assert list(TOLD) == [fault for faults in ALL.values() for fault in faults]


def assert_told(cells: Sequence[Cell | None]) -> None:
    """Hold the page to what was found: `make survives` writes it anew."""
    for cell in (cell for cell in cells if cell is not None):
        stops = cell.call in TOLD[cell.fault]
        assert stops == (cell.ended != "goes on"), f"{cell.fault} / {cell.call}: {cell.ended}"


def judge(found: Sequence[Cell | None], record_property: Record) -> None:
    """Note what was found for the table, and fail on what must not be."""
    cells = [cell for cell in found if cell is not None]
    record_property("matrix", [cell.to_json() for cell in cells])
    wrong = [f"{cell.fault} / {cell.call}: {'; '.join(cell.wrong)}" for cell in cells if cell.wrong]
    assert not wrong, "\n".join([*wrong, *next(cell.story for cell in cells if cell.wrong)])[:4000]
