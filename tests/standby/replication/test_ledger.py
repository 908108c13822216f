"""The record of last copies: durable, held by one run at a time, and never worth more than it says.

In a folder and in a file system of whole objects alike.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.replication.errors import LedgerBusy
from standby.replication.ledger import SAVE_EVERY, Ledger, read_ledger, write_ledger
from standby.replication.verdict import CopyRecord
from standby.vault.errors import VaultUnavailable
from standby.vault.folder import LocalFolder
from standby.vault.storage import LEASE, Storage
from tests.standby.replication.world import PREVIEW_2025, RELEASED, record, sighting
from tests.standby.vault.world import HandClock, Killed, Memory, settled

ONE, TWO = record(sighting("1"), sighting("1")), record(sighting("2"), sighting("2", created_at=None))

PATH = f"ledger/{RELEASED}/east_west.jsonl"


@pytest.fixture(params=["folder", "objects"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return LocalFolder(tmp_path / "vault") if request.param == "folder" else Memory()


@pytest.fixture
def folder(tmp_path: Path) -> LocalFolder:
    return LocalFolder(tmp_path / "vault")


def east_west(files: Storage) -> Any:
    return write_ledger(files, "east", "west", RELEASED)


async def write(files: Storage, *records: dict[str, CopyRecord]) -> None:
    async with east_west(files) as ledger:
        for each in records:
            ledger.record(each)


async def ledger_of(files: Storage) -> Ledger:
    return await read_ledger(files, "east", "west", RELEASED)


async def read(files: Storage) -> dict[str, CopyRecord]:
    return (await ledger_of(files)).records


async def content(files: Storage) -> bytes:
    return await files.read(PATH) or b""


async def test_a_ledger_that_is_not_there_is_empty_and_reading_makes_none(folder: LocalFolder) -> None:
    ledger = await ledger_of(folder)
    assert (ledger.records, ledger.missing) == ({}, True)
    assert not folder.root.exists()


async def test_records_come_back_as_they_were(files: Storage) -> None:
    await write(files, {"a": ONE, "b": TWO})
    assert await read(files) == {"a": ONE, "b": TWO}
    assert not (await ledger_of(files)).missing


async def test_what_copies_took_comes_back_and_what_is_odd_of_it_does_not(files: Storage) -> None:
    async with east_west(files) as ledger:
        ledger.took["copy"] = [(2.5, 2.75), (0.0, 2.6)]
        ledger.record({"a": ONE})
    kept = await content(files)
    assert (await ledger_of(files)).took == {"copy": [(2.5, 2.75), (0.0, 2.6)]}
    for odd in (b"[3,2]", b"[0,1e999]", b'["x",2]', b"7", b"[-1,2]"):
        await files.write(PATH, kept.replace(b"[2.5,2.75]", odd))
        ledger = await ledger_of(files)
        assert (list(ledger.records), ledger.damaged) == (["a"], ())
        assert (2.5, 2.75) not in ledger.took.get("copy", [])


async def test_a_ledger_without_what_copies_took_is_read_and_one_with_it_is_read_by_earlier_versions(
    files: Storage,
) -> None:
    await write(files, {"a": ONE})
    without = await content(files)
    assert (await ledger_of(files)).took == {}
    async with east_west(files) as ledger:
        ledger.took["copy"] = [(2.5, 2.75)]
        ledger.record({"a": ONE})
    head, _, rest = (await content(files)).partition(b"\n")
    # What begins so is for earlier versions the line of the epochs, of which they read these alone.
    assert head.startswith(b'{"format":1,"epochs":{}')
    assert rest == without


async def test_the_last_record_of_an_analyzer_counts(files: Storage) -> None:
    await write(files, {"a": ONE}, {"a": TWO})
    assert len((await content(files)).splitlines()) == 1
    assert await read(files) == {"a": TWO}


async def test_pairs_have_ledgers_of_their_own(files: Storage) -> None:
    async with east_west(files) as one, write_ledger(files, "east", "north", RELEASED) as other:
        one.record({"a": ONE})
        other.record({"a": TWO})
    assert await read(files) == {"a": ONE}
    assert (await read_ledger(files, "west", "east", RELEASED)).records == {}


async def test_api_versions_have_ledgers_of_their_own(files: Storage) -> None:
    """What is registered under one cannot be seen under another."""
    async with east_west(files) as one, write_ledger(files, "east", "west", PREVIEW_2025) as other:
        one.record({"a": ONE})
        other.record({"a": TWO})
    assert await read(files) == {"a": ONE}
    assert (await read_ledger(files, "east", "west", PREVIEW_2025)).records == {"a": TWO}


async def test_a_ledger_from_before_there_was_one_an_api_version_counts_for_nothing(
    files: Storage,
) -> None:
    await write(files, {"a": ONE})
    old = Memory(files={"ledger/east_west.jsonl": await content(files)})
    assert (await ledger_of(old)).missing


async def test_names_with_dashes_make_no_two_pairs_one(files: Storage) -> None:
    async with (
        write_ledger(files, "a", "b--c", RELEASED) as one,
        write_ledger(files, "a--b", "c", RELEASED) as other,
    ):
        assert one.where != other.where


async def test_opening_for_writing_keeps_one_line_an_analyzer(files: Storage) -> None:
    await write(files, {"a": ONE}, {"a": TWO}, {"b": ONE})
    await write(files)
    assert len((await content(files)).splitlines()) == 2
    assert await read(files) == {"a": TWO, "b": ONE}


async def test_writing_leaves_only_the_ledger_and_its_lock(folder: LocalFolder) -> None:
    await write(folder, {"a": ONE})
    await write(folder, {"b": ONE})
    assert names(folder) == ["east_west.jsonl", "east_west.jsonl.lock"]


def names(folder: LocalFolder) -> list[str]:
    return sorted(path.name for path in (folder.root / "ledger" / RELEASED).iterdir())


async def test_many_records_make_few_writes_and_none_waits_for_the_end() -> None:
    memory = Memory(HandClock(short=0))
    async with write_ledger(memory, "east", "west", RELEASED, memory.clock) as ledger:
        for number in range(100):
            ledger.record({f"a{number}": ONE})
        await memory.clock.move(SAVE_EVERY)
        assert memory.written.count(PATH) == 1
        ledger.record({"b": TWO})
        await memory.clock.move(3 * SAVE_EVERY)
        assert await read(memory) == ledger.records
    assert memory.written.count(PATH) == 2


async def test_a_storage_that_is_down_for_a_while_costs_nothing_and_is_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    memory = Memory(HandClock(short=0))
    async with write_ledger(memory, "east", "west", RELEASED, memory.clock) as ledger:
        memory.down = True
        ledger.record({"a": ONE})
        await memory.clock.move(3 * SAVE_EVERY)
        memory.down = False
        await memory.clock.move(SAVE_EVERY)
        assert await read(memory) == {"a": ONE}
    assert caplog.text.count(f"{PATH} could not be written") == 1


async def test_a_storage_that_stays_down_is_reported_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    memory = Memory()
    async with east_west(memory) as ledger:
        memory.down = True
        ledger.record({"a": ONE})
    assert f"The last records of memory:{PATH} were not saved" in caplog.text


async def test_records_are_saved_when_the_run_is_cancelled() -> None:
    memory = Memory()

    async def work() -> None:
        async with east_west(memory) as ledger:
            ledger.record({"a": ONE})
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await settled()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await read(memory) == {"a": ONE}


async def test_a_vault_that_does_not_answer_is_no_empty_ledger() -> None:
    memory = Memory()
    await write(memory, {"a": ONE})
    memory.down = True
    with pytest.raises(VaultUnavailable, match="then run again"):
        await ledger_of(memory)
    with pytest.raises(VaultUnavailable):
        await write(memory, {"b": TWO})


# Damage.


SEEN = b'{"fingerprint":"f","status":"ready","created_at":null,"changed_at":null,"trained":false}'
WITHOUT_ZONE = b'{"analyzer":"c","record":{"source":%b,"target":%b,"copied_at":"2026-01-01T00:00:00"}}' % (SEEN, SEEN)

DAMAGE = [
    *(b"", b"{}", b"\xff\xfe", b'{"analyzer": "a"', b"[1]", b'{"analyzer":"a","record":null}'),
    *(b"7", b"[" * 100_000, b'{"analyzer":"\\ud800"}', b'{"analyzer":NaN}', WITHOUT_ZONE),
]


@pytest.mark.parametrize("damage", DAMAGE, ids=range(len(DAMAGE)))
async def test_a_damaged_line_costs_itself_only_and_is_warned_of_once(
    files: Storage, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    await write(files, {"a": ONE, "b": TWO})
    first, second = (await content(files)).splitlines()
    await files.write(PATH, first + b"\n" + damage + b"\n" + second + b"\n")
    async with east_west(files) as ledger:
        assert ledger.records == {"a": ONE, "b": TWO}
        assert ledger.damaged == (damage,)
    assert caplog.text.count("1 line(s) that cannot be read") == 1


async def test_damaged_lines_are_kept_aside_when_the_ledger_is_written(files: Storage) -> None:
    await write(files, {"a": ONE})
    await files.write(PATH, await content(files) + b'{"of": "a newer version"}\nhalf a li')
    await write(files, {"b": TWO})
    assert await read(files) == {"a": ONE, "b": TWO}
    assert (await ledger_of(files)).damaged == ()
    aside = f"{PATH}.damaged"
    assert await files.read(aside) == b'{"of": "a newer version"}\nhalf a li\n'
    await files.write(PATH, await content(files) + b"more\n")
    await write(files)
    assert await files.read(aside) == b'{"of": "a newer version"}\nhalf a li\nmore\n'


NAMES = st.sampled_from(["a", "b", "c"])
WRITES = st.builds(lambda name, one: ("write", {name: ONE if one else TWO}), NAMES, st.booleans())
DAMAGES = st.one_of(
    st.binary(max_size=60).map(lambda rubbish: ("add", b"\n" + rubbish + b"\n")),
    st.integers(1, 40).map(lambda count: ("tear", count)),
)


@given(st.lists(st.one_of(WRITES, DAMAGES), max_size=12))
def test_records_survive_whatever_is_written_opened_and_damaged_between(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, Any]]
) -> None:
    """Foreign lines cost nothing; a torn end costs no more than the last record."""

    async def play(files: Storage) -> None:
        certain: dict[str, CopyRecord] = {}
        for kind, what in events:
            if kind == "write":
                await write(files, what)
                certain |= what
            elif kind == "add":
                await files.write(PATH, await content(files) + what)
            else:
                await files.write(PATH, (await content(files))[:-what])
                left = await read(files)
                # Lines are longer than what is torn off.
                assert len(certain.items() - left.items()) <= 1
                certain = left
            assert await read(files) == certain

    async def everywhere() -> None:
        await play(LocalFolder(tmp_path_factory.mktemp("ledger")))
        await play(Memory())

    asyncio.run(everywhere())


@given(st.binary(max_size=200), st.integers(0, 400))
def test_whatever_a_crash_left_of_the_file_it_can_be_read_and_written(
    tmp_path_factory: pytest.TempPathFactory, rubbish: bytes, kept: int
) -> None:
    async def check(files: Storage) -> None:
        await write(files, {"a": ONE})
        await files.write(PATH, (await content(files))[:kept] + rubbish)
        await write(files, {"b": TWO})
        records = await read(files)
        assert records["b"] == TWO
        assert records.get("a", ONE) == ONE

    async def everywhere() -> None:
        await check(LocalFolder(tmp_path_factory.mktemp("ledger")))
        await check(Memory())

    asyncio.run(everywhere())


async def test_a_crash_before_any_call_to_the_vault_loses_no_earlier_record() -> None:
    before = Memory()
    await write(before, {"a": ONE}, {"a": TWO}, {"b": ONE})
    before.files[PATH] += b"rubbish\n"
    ends: list[dict[str, CopyRecord]] = []
    calls = 0
    while not ends or ends[-1] != {"a": TWO, "b": ONE, "c": ONE}:
        calls += 1
        memory = Memory(files=dict(before.files), dies_at=calls)
        with suppress(Killed):
            await write(memory, {"c": ONE})
        after = Memory(HandClock(short=LEASE), files=memory.files)
        ends.append(await read(after))
        assert {"a": TWO, "b": ONE}.items() <= ends[-1].items()
        await write(after, {"d": TWO})
        assert await read(after) == {**ends[-1], "d": TWO}
    assert calls > 6


# Two at once.


async def test_a_second_writer_is_refused_and_told_what_to_do(files: Storage) -> None:
    refused = None

    async def second() -> None:
        nonlocal refused
        try:
            await write(files, {"a": TWO})
        except LedgerBusy as error:
            refused = error

    async with east_west(files) as ledger:
        task = asyncio.create_task(second())
        if isinstance(files, Memory):
            await files.clock.move(LEASE)
        await task
        ledger.record({"b": ONE})
    assert refused is not None
    assert "Wait for it to end" in str(refused)
    assert await read(files) == {"b": ONE}


async def test_a_ledger_that_was_closed_takes_no_more_records(files: Storage) -> None:
    async with east_west(files) as ledger:
        pass
    with pytest.raises(LedgerBusy):
        ledger.record({"a": ONE})


async def test_a_reader_is_never_refused(files: Storage) -> None:
    async with east_west(files):
        assert await read(files) == {}
        with pytest.raises(LedgerBusy):
            (await ledger_of(files)).record({"b": TWO})


async def test_a_writer_that_fails_lets_go(files: Storage) -> None:
    with pytest.raises(ZeroDivisionError):
        async with east_west(files):
            raise ZeroDivisionError
    await write(files, {"a": ONE})
    assert await read(files) == {"a": ONE}
