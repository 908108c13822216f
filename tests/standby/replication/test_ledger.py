"""The record of last copies: durable, held by one run at a time, and never worth more than it says."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from standby.replication.errors import LedgerBusy
from standby.replication.ledger import read_ledger, write_ledger
from standby.replication.verdict import CopyRecord
from tests.standby.replication.world import record, sighting

ONE, TWO = record(sighting("1"), sighting("1")), record(sighting("2"), sighting("2", created_at=None))

HOLDER = """
import sys, time
from pathlib import Path
from standby.replication.ledger import write_ledger
with write_ledger(Path(sys.argv[1]), "east", "west"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def path_of(folder: Path) -> Path:
    (path,) = (folder / "ledger").glob("*.jsonl")
    return path


def write(folder: Path, *records: dict[str, CopyRecord]) -> None:
    with write_ledger(folder, "east", "west") as ledger:
        for each in records:
            ledger.record(each)


def read(folder: Path) -> dict[str, CopyRecord]:
    return read_ledger(folder, "east", "west").records


def test_a_ledger_that_is_not_there_is_empty_and_reading_makes_none(folder: Path) -> None:
    assert read(folder) == {}
    assert list(folder.iterdir()) == []


def test_records_come_back_as_they_were(folder: Path) -> None:
    write(folder, {"a": ONE, "b": TWO})
    assert read(folder) == {"a": ONE, "b": TWO}


def test_the_last_record_of_an_analyzer_counts(folder: Path) -> None:
    write(folder, {"a": ONE}, {"a": TWO})
    assert len(path_of(folder).read_bytes().splitlines()) == 2
    assert read(folder) == {"a": TWO}


def test_pairs_have_ledgers_of_their_own(folder: Path) -> None:
    with write_ledger(folder, "east", "west") as one, write_ledger(folder, "east", "north") as other:
        one.record({"a": ONE})
        other.record({"a": TWO})
    assert read(folder) == {"a": ONE}
    assert read_ledger(folder, "west", "east").records == {}


def test_names_with_dashes_make_no_two_pairs_one(folder: Path) -> None:
    with write_ledger(folder, "a", "b--c") as one, write_ledger(folder, "a--b", "c") as other:
        assert one.path != other.path


def test_opening_for_writing_keeps_one_line_an_analyzer(folder: Path) -> None:
    write(folder, {"a": ONE}, {"a": TWO}, {"b": ONE})
    write(folder)
    assert len(path_of(folder).read_bytes().splitlines()) == 2
    assert read(folder) == {"a": TWO, "b": ONE}


def test_compaction_leaves_nothing_beside(folder: Path) -> None:
    write(folder, {"a": ONE})
    write(folder)
    assert {path.suffix for path in (folder / "ledger").iterdir()} == {".jsonl", ".lock"}


def test_an_interrupted_compaction_loses_nothing(folder: Path) -> None:
    write(folder, {"a": ONE})
    path_of(folder).with_suffix(".new").write_bytes(b"half a li")
    write(folder, {"b": TWO})
    assert read(folder) == {"a": ONE, "b": TWO}


def test_a_record_is_on_the_disk_when_it_is_made_and_seen_by_a_reader_meanwhile(folder: Path) -> None:
    with write_ledger(folder, "east", "west") as ledger:
        ledger.record({"a": ONE})
        assert ledger.records == read(folder) == {"a": ONE}


DAMAGE = [b"", b"{}", b"\xff\xfe", b'{"analyzer": "a"', b"[1]", b'{"analyzer":"a","record":null}']


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_line_costs_itself_only_and_is_warned_of(
    folder: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    write(folder, {"a": ONE, "b": TWO})
    path = path_of(folder)
    first, second = path.read_bytes().splitlines()
    path.write_bytes(first + b"\n" + damage + b"\n" + second + b"\n")
    ledger = read_ledger(folder, "east", "west")
    assert ledger.records == {"a": ONE, "b": TWO}
    assert ledger.damaged == 1
    assert "1 line(s) that cannot be read" in caplog.text


def test_damaged_lines_are_kept_aside_when_the_ledger_is_written(folder: Path) -> None:
    write(folder, {"a": ONE})
    path = path_of(folder)
    path.write_bytes(path.read_bytes() + b'{"of": "a newer version"}\nhalf a li')
    write(folder, {"b": TWO})
    assert read(folder) == {"a": ONE, "b": TWO}
    assert read_ledger(folder, "east", "west").damaged == 0
    assert path.with_suffix(".damaged").read_bytes() == b'{"of": "a newer version"}\nhalf a li\n'


@given(st.binary(max_size=200), st.integers(0, 400))
@settings(max_examples=40, deadline=None)
def test_whatever_a_crash_left_of_the_file_it_can_be_read_and_written(
    tmp_path_factory: pytest.TempPathFactory, rubbish: bytes, kept: int
) -> None:
    folder = tmp_path_factory.mktemp("ledger")
    write(folder, {"a": ONE})
    path = path_of(folder)
    path.write_bytes(path.read_bytes()[:kept] + rubbish)
    write(folder, {"b": TWO})
    assert read(folder)["b"] == TWO
    assert read(folder).get("a", ONE) == ONE


def test_a_second_writer_is_refused_and_told_what_to_do(folder: Path) -> None:
    with (
        write_ledger(folder, "east", "west") as ledger,
        pytest.raises(LedgerBusy, match="Wait for it to end"),
        write_ledger(folder, "east", "west"),
    ):
        pytest.fail("two writers")
    with write_ledger(folder, "east", "west"), pytest.raises(LedgerBusy):
        ledger.record({"a": ONE})


def test_a_reader_is_never_refused(folder: Path) -> None:
    with write_ledger(folder, "east", "west") as ledger:
        ledger.record({"a": ONE})
        assert read(folder) == {"a": ONE}
        with pytest.raises(LedgerBusy):
            read_ledger(folder, "east", "west").record({"b": TWO})


def test_a_writer_that_fails_lets_go(folder: Path) -> None:
    with pytest.raises(ZeroDivisionError), write_ledger(folder, "east", "west"):
        raise ZeroDivisionError
    write(folder, {"a": ONE})
    assert read(folder) == {"a": ONE}


@contextmanager
def another_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_another_process_is_refused_until_the_holder_is_killed(folder: Path) -> None:
    write(folder, {"a": ONE})
    with another_process(folder) as holder:
        with pytest.raises(LedgerBusy), write_ledger(folder, "east", "west"):
            pytest.fail("two writers")
        assert read(folder) == {"a": ONE}
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
        write(folder, {"b": TWO})
    assert read(folder) == {"a": ONE, "b": TWO}
