"""Measured durations: kept, bounded, and never in the way."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.recovery.runs import MOST, Durations, Kind, add_durations
from standby.vault.errors import VaultUnavailable
from tests.standby.vault.world import Memory


async def test_before_anything_was_measured_there_is_nothing() -> None:
    assert await Durations.read(Memory(), "p") == Durations()
    assert Durations().of(Kind.COPY) == ()


async def test_measurements_are_kept_by_plan_and_kind() -> None:
    vault = Memory()
    await add_durations(vault, "p", {Kind.COPY: [3.0, 2.5]})
    await add_durations(vault, "p", {Kind.ACTIVATE: [0.1234567]})
    await add_durations(vault, "p", {Kind.COPY: [4.0]})
    await add_durations(vault, "q", {Kind.DETECT: [61.0]})

    found = await Durations.read(vault, "p")
    assert {kind: found.of(kind) for kind in Kind} == {
        Kind.COPY: (3.0, 2.5, 4.0),
        Kind.RESTORE: (),
        Kind.DETECT: (),
        Kind.ACTIVATE: (0.123,),
    }
    assert set(vault.files) == {"durations/p.json", "durations/q.json"}


async def test_nothing_to_add_writes_nothing() -> None:
    vault = Memory()
    await add_durations(vault, "p", {Kind.COPY: []})
    await add_durations(vault, "p", {Kind.COPY: [-1.0, math.nan, math.inf]})
    assert vault.files == {}


@given(st.lists(st.lists(st.floats(0, 1e6), max_size=90), max_size=6))
async def test_only_the_newest_are_kept_in_order(batches: list[list[float]]) -> None:
    vault = Memory()
    for batch in batches:
        await add_durations(vault, "p", {Kind.RESTORE: batch})
    everything = [round(each, 3) for batch in batches for each in batch]
    assert list((await Durations.read(vault, "p")).of(Kind.RESTORE)) == everything[-MOST:]


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"seconds": {"copy": ["fast"]}}', b'{"seconds": {"x": []}}'])
async def test_a_damaged_file_is_warned_of_and_begun_anew(content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    vault = Memory(files={"durations/p.json": content})
    await add_durations(vault, "p", {Kind.COPY: [1.0]})
    assert "durations/p.json cannot be read" in caplog.text
    caplog.clear()
    assert (await Durations.read(vault, "p")).of(Kind.COPY) == (1.0,)
    assert caplog.text == ""


async def test_a_vault_that_does_not_answer_is_the_callers_to_know() -> None:
    vault = Memory()
    vault.down = True
    with pytest.raises(VaultUnavailable):
        await add_durations(vault, "p", {Kind.COPY: [1.0]})
