"""The audit log: whatever is done to it, it is whole or verification says which line is not."""

from __future__ import annotations

import asyncio
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.recovery.audit import (
    PATIENCE,
    AuditAction,
    AuditBroken,
    AuditBusy,
    audit_path,
    record_action,
    verify_audit,
    words_of_line,
)
from standby.recovery.chain import FIRST, AuditLine, head_path, sealed
from standby.vault.errors import Changed, NewerFormat, OlderFormat, VaultUnavailable
from standby.vault.folder import LocalFolder
from standby.vault.signing import HmacSigner, Signer
from standby.vault.storage import LEASE, SKEW
from tests.standby.recovery.bare import bare_context
from tests.standby.vault.world import HandClock, Killed, Memory

LOG, HEAD = audit_path("p"), head_path("p")
KEY = HmacSigner(b"0123456789abcdef")
OTHER_KEY = HmacSigner(b"fedcba9876543210")

WRITER = """
import asyncio, sys
from pathlib import Path
from standby.clock import SystemClock
from standby.recovery.audit import AuditAction, record_action
from standby.vault.folder import LocalFolder
from tests.standby.recovery.bare import bare_context
async def write():
    context = bare_context(LocalFolder(Path(sys.argv[1])), SystemClock(), run_id=sys.argv[2])
    for number in range(5):
        await record_action(context, AuditAction.RESTORE_BEGUN, {"number": number})
asyncio.run(write())
"""

# Nothing waits for anybody here: a hold of an object settles in no time.


async def driven(clock: HandClock, *work: Any) -> list[Any]:
    """Do several things at once, and let time pass until they are done."""
    tasks = [asyncio.ensure_future(each) for each in work]
    while not all(task.done() for task in tasks):
        await clock.move(5.0)
    return await asyncio.gather(*tasks, return_exceptions=True)


async def written(files: dict[str, bytes], count: int, signer: Signer | None = None) -> list[AuditLine]:
    clock = HandClock()
    context = bare_context(Memory(clock, files=files), clock, signer)
    return [await record_action(context, AuditAction.RESTORE_ENDED, {"number": n}, epoch=n) for n in range(count)]


async def found(files: dict[str, bytes], signer: Signer | None = None) -> tuple[str, ...]:
    return (await verify_audit(Memory(files=files), "p", signer)).problems


def log(files: dict[str, bytes]) -> list[bytes]:
    return files[LOG].splitlines(keepends=True)


async def test_a_log_that_nobody_has_written_is_whole() -> None:
    check = await verify_audit(Memory(), "p", KEY)
    assert (check.lines, check.problems, check.epoch) == ((), (), None)


async def test_a_line_says_who_did_what_and_under_which_epoch() -> None:
    clock = HandClock()
    vault = Memory(clock)
    await record_action(bare_context(vault, clock, KEY), AuditAction.FENCED, {"to": "west"}, epoch=7)
    await record_action(bare_context(vault, clock, KEY), AuditAction.SNAPSHOT_TAKEN)

    check = await verify_audit(vault, "p", KEY)

    assert check.problems == ()
    assert check.epoch == 7
    line = check.lines[0]
    assert (line.sequence, line.action, line.actor, line.via, line.run_id, line.epoch) == (
        1,
        "failover.fenced",
        "ada@desk",
        "direct",
        "run-1",
        7,
    )
    assert line.facts == {"to": "west"}
    assert line.previous == FIRST
    assert check.lines[1].previous == line.digest


@given(count=st.integers(1, 6), keyed=st.booleans(), data=st.data())
async def test_lines_that_are_taken_out_doubled_or_moved_are_noticed(
    count: int, keyed: bool, data: st.DataObject
) -> None:
    files: dict[str, bytes] = {}
    signer = KEY if keyed else None
    await written(files, count, signer)
    whole = log(files)
    chosen = data.draw(st.lists(st.sampled_from(whole), max_size=count + 1))
    files[LOG] = b"".join(chosen)

    problems = await found(files, signer)

    assert bool(problems) == (chosen != whole)


@given(count=st.integers(1, 3), data=st.data())
async def test_no_changed_byte_makes_another_story(count: int, data: st.DataObject) -> None:
    files: dict[str, bytes] = {}
    lines = await written(files, count, KEY)
    content = bytearray(files[LOG])
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] = data.draw(st.integers(0, 255))
    files[LOG] = bytes(content)

    try:
        check = await verify_audit(Memory(files=files), "p", KEY)
    except (NewerFormat, OlderFormat):
        return  # Its number says that another version wrote it, and it is not read.

    assert check.problems or list(check.lines) == lines


@given(count=st.integers(2, 6), data=st.data())
async def test_a_cut_off_end_is_noticed_and_nothing_is_added_to_it(count: int, data: st.DataObject) -> None:
    files: dict[str, bytes] = {}
    await written(files, count)
    left = data.draw(st.integers(0, count - 1))
    files[LOG] = b"".join(log(files)[:left])
    damaged = dict(files)

    (problem,) = await found(files)
    with pytest.raises(AuditBroken) as broken:
        await written(files, 1)

    assert problem == f"memory:{HEAD} counts {count} lines, and the log has {left}: its end was cut off"
    assert problem in broken.value.cause
    assert (files[LOG], files[HEAD]) == (damaged[LOG], damaged[HEAD])


@given(count=st.integers(2, 5), data=st.data())
async def test_without_the_key_nobody_makes_the_log_anew(count: int, data: st.DataObject) -> None:
    files: dict[str, bytes] = {}
    lines = await written(files, count, KEY)
    changed = data.draw(st.integers(0, count - 1))
    forger = data.draw(st.sampled_from([None, OTHER_KEY]))
    forged: list[AuditLine] = []
    for line in lines:
        actor = "eve" if line.sequence == changed + 1 else line.actor
        previous = forged[-1].digest if forged else FIRST
        touched = line.sequence > changed
        forged.append(
            sealed(line.model_copy(update={"actor": actor, "previous": previous}), forger) if touched else line
        )
    files[LOG] = b"".join(line.model_dump_json().encode() + b"\n" for line in forged)
    head = {"plan": "p", "sequence": count, "digest": forged[-1].digest}
    files[HEAD] = json.dumps(head).encode()

    assert await found(files, None) == ()
    problems = await found(files, KEY)
    assert problems
    assert str(changed + 1) in problems[0]


@given(count=st.integers(2, 5), data=st.data())
async def test_without_the_key_nobody_cuts_off_the_end_and_hides_it(count: int, data: st.DataObject) -> None:
    files: dict[str, bytes] = {}
    lines = await written(files, count, KEY)
    left = data.draw(st.integers(1, count - 1))
    files[LOG] = b"".join(log(files)[:left])
    files[HEAD] = json.dumps({"plan": "p", "sequence": left, "digest": lines[left - 1].digest}).encode()

    (problem,) = await found(files, KEY)
    assert problem == f"memory:{HEAD} is not signed with key {KEY.key_id}"
    with pytest.raises(AuditBroken):
        await written(files, 1, KEY)


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (None, "is missing: lines may have been cut off the end of the log"),
        (b"{", "cannot be read"),
        (b'{"plan": "p", "sequence": 0, "digest": ""}', "is of line 0, and the log has 3"),
        (b'{"plan": "p", "sequence": 1, "digest": ""}', "is of line 1, and the log has 3"),
        (b'{"plan": "p", "sequence": 3, "digest": "x"}', "contradicts line 3 of the log"),
    ],
)
async def test_a_head_that_does_not_fit_is_told_and_nothing_is_added(head: bytes | None, says: str) -> None:
    files: dict[str, bytes] = {}
    await written(files, 3)
    if head is None:
        del files[HEAD]
    else:
        files[HEAD] = head

    (problem,) = await found(files)
    assert says in problem
    with pytest.raises(AuditBroken) as broken:
        await written(files, 1)
    assert says in broken.value.cause
    assert "--force fence" in broken.value.next_action


async def test_a_log_of_another_plan_is_not_taken_for_this_one() -> None:
    files: dict[str, bytes] = {}
    await written(files, 2)
    other = {audit_path("q"): files[LOG], head_path("q"): files[HEAD]}
    assert (await verify_audit(Memory(files=other), "q", None)).problems == ("Line 1: it belongs to plan p",)


async def test_what_a_line_holds_beside_what_this_version_knows_is_sealed_too() -> None:
    files: dict[str, bytes] = {}
    await written(files, 1)
    told = json.loads(files[LOG])
    files[LOG] = json.dumps({**told, "approved_by": "eve"}).encode() + b"\n"
    assert await found(files) == ("Line 1: it was changed after it was written",)


async def test_a_name_that_stands_twice_is_no_line() -> None:
    files: dict[str, bytes] = {}
    await written(files, 1)
    files[LOG] = files[LOG].replace(b'"actor":"ada@desk"', b'"actor":"eve","actor":"ada@desk"')
    assert await found(files) == ("Line 1: it cannot be read",)


NO_LINES = [b"[]", b"7", b"null", b"[" * 100_000, b'{"at":"\\ud800"}', b"\xff", b'{"a":NaN}']


@pytest.mark.parametrize("line", NO_LINES, ids=range(len(NO_LINES)))
async def test_what_is_no_line_is_told_by_its_number(line: bytes) -> None:
    files: dict[str, bytes] = {}
    lines = await written(files, 2)
    first, second = log(files)
    files[LOG] = first + line + b"\n" + second
    check = await verify_audit(Memory(files=files), "p", None)
    assert "Line 2: it cannot be read" in check.problems
    assert list(check.lines) == lines[:1]


async def test_a_new_key_says_once_which_lines_it_cannot_check_and_does_not_stop_the_log() -> None:
    files: dict[str, bytes] = {}
    await written(files, 2)
    await written(files, 3, OTHER_KEY)
    await written(files, 1, KEY)

    assert await found(files, KEY) == (
        "2 lines from 1 on: not signed",
        f"3 lines from 3 on: signed with key {OTHER_KEY.key_id}, but the configured key is {KEY.key_id}",
    )
    assert await found(files) == ()


@given(
    facts=st.dictionaries(
        st.text(st.characters(codec=None), max_size=5),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
            max_leaves=5,
        ),
        max_size=3,
    ),
    actor=st.text(st.characters(codec=None), max_size=5),
)
async def test_any_fact_can_be_noted_and_is_still_whole_when_it_is_read(facts: Any, actor: str) -> None:
    clock = HandClock()
    vault = Memory(clock)
    await record_action(bare_context(vault, clock, KEY, actor=actor), AuditAction.DECIDED, facts)
    line = await record_action(bare_context(vault, clock, KEY), AuditAction.DECIDED, {"infinite": math.inf})

    check = await verify_audit(vault, "p", KEY)

    assert check.problems == ()
    assert check.lines[1] == line
    assert line.facts == {"infinite": "inf"}


@given(
    deaths=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    keyed=st.booleans(),
)
async def test_killed_anywhere_the_log_is_whole_and_loses_no_line_that_was_safe(deaths: list[int], keyed: bool) -> None:
    files: dict[str, bytes] = {}
    clock = HandClock(short=-1)
    signer = KEY if keyed else None
    safe: list[int] = []

    async def die(number: int, dies_at: int) -> None:
        context = bare_context(Memory(clock, files=files, dies_at=dies_at), clock, signer)
        await record_action(context, AuditAction.FENCED, {"number": number})
        safe.append(number)

    for number, dies_at in enumerate(deaths):
        (ended,) = await driven(clock, die(number, dies_at))
        assert ended is None or isinstance(ended, Killed)
        # What a dead run holds is free once its lease is over.
        clock.seconds += LEASE + SKEW.total_seconds() + 1
        check = await verify_audit(Memory(files=files), "p", signer)
        assert check.problems == ()
        noted = [line.facts["number"] for line in check.lines]
        assert set(safe) <= set(noted)
        assert noted == sorted(noted, key=int)  # type: ignore[arg-type]


@given(
    delays=st.lists(st.sampled_from([0.0, 0.1, 0.4, 0.9]), max_size=60),
    writers=st.integers(2, 3),
    each=st.integers(1, 2),
)
async def test_writers_at_once_make_one_whole_log(delays: list[float], writers: int, each: int) -> None:
    clock = HandClock(short=-1)
    vault = Memory(clock, delays=list(delays))

    async def write(writer: int) -> int:
        for number in range(each):
            context = bare_context(vault, clock, run_id=f"{writer}")
            await record_action(context, AuditAction.FENCED, {"number": number})
        return each

    ended = await driven(clock, *(write(writer) for writer in range(writers)))
    vault.delays.clear()  # Nobody moves the clock any more.

    check = await verify_audit(vault, "p", None)
    assert check.problems == ()
    for writer, result in enumerate(ended):
        told = [line.facts["number"] for line in check.lines if line.run_id == str(writer)]
        assert told == sorted(told, key=int)  # type: ignore[arg-type]
        # One that waits for too long says so; whoever was told that a line is safe finds it.
        assert len(told) == each if result == each else isinstance(result, AuditBusy)


async def test_processes_at_once_make_one_whole_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    root = Path(__file__).parents[3]
    started = [await asyncio.create_subprocess_exec(*command, name, cwd=root) for name in "abc"]
    assert [await process.wait() for process in started] == [0, 0, 0]

    check = await verify_audit(LocalFolder(tmp_path), "p", None)

    assert check.problems == ()
    for name in "abc":
        assert [line.facts["number"] for line in check.lines if line.run_id == name] == [*range(5)]


async def test_reading_while_somebody_writes_finds_nothing_wrong(tmp_path: Path) -> None:
    clock = HandClock()
    vault = LocalFolder(tmp_path)
    context = bare_context(vault, clock)

    async def write() -> None:
        for number in range(20):
            await record_action(context, AuditAction.FENCED, {"number": number})

    writing = asyncio.create_task(write())
    checks = 0
    while not writing.done():
        assert (await verify_audit(vault, "p", None)).problems == ()
        checks += 1
    await writing
    assert checks > 1


async def test_a_log_that_others_write_without_a_pause_is_given_up_in_the_end() -> None:
    class Crowded(Memory):
        async def swap(self, path: str, content: bytes, tag: str | None) -> str:
            self.clock.seconds += 1
            raise Changed(self.where(path))

    vault = Crowded()
    with pytest.raises(AuditBusy):
        await record_action(bare_context(vault, vault.clock), AuditAction.FENCED)
    assert vault.clock.seconds >= PATIENCE


async def test_a_vault_that_is_down_is_no_whole_log() -> None:
    vault = Memory()
    vault.down = True
    with pytest.raises(VaultUnavailable):
        await verify_audit(vault, "p", None)


def a_line(action: str, facts: dict[str, Any]) -> AuditLine:
    given = {"sequence": 1, "at": "2026-01-31T12:00:00Z", "plan": "p", "actor": "a", "via": "direct", "run_id": "r"}
    return AuditLine.model_validate(
        {**given, "deed": action, "epoch": 1, "facts": facts, "previous": FIRST, "digest": ""}
    )


@pytest.mark.parametrize(
    ("action", "facts", "words"),
    [
        ("failover.activated", {"home": "east", "to": "west", "reason": "lost."}, "west serves for east: lost"),
        ("failover.fenced", {"from": "east", "to": "west", "mode": "planned"}, "A failover from east to west began"),
        ("failover.fenced", {"to": "east", "mode": "rollback"}, "A rollback to east began"),
        ("failover.rejected", {"home": "east", "to": "west", "answered": True, "comment": "not now"},
         "The failover of east to west was rejected: not now"),
        ("failover.rejected", {"home": "east", "to": "west", "answered": False, "comment": ""},
         "Nobody answered the proposal of a failover of east to west"),
        ("restore.ended", {"to": "north", "totals": {"succeeded": 5, "failed": 0}},
         "The restore to north ended: 5 succeeded"),
        ("failback.ended", {"home": "east", "standby": "west", "state": "incomplete", "problems": ["a", "b"]},
         "The failback from west to east ended incomplete: a and b"),
        ("automation.switched", {"on": False}, "Automatic failover was switched off"),
        ("drill.ended", {"to": "west"}, "The drill at west did not pass"),
        ("failover.decided", {"home": "east", "to": None, "outcome": "refuse"},
         "A failover of east to (not recorded) was refused"),
        ("later.action", {"what": 1}, "later.action: what 1"),
    ],
)  # fmt: skip
def test_a_line_is_told_in_words(action: str, facts: dict[str, Any], words: str) -> None:
    assert words_of_line(a_line(action, facts)) == words


@pytest.mark.parametrize("action", AuditAction)
def test_every_action_has_words_whatever_its_facts_are(action: AuditAction) -> None:
    facts: list[dict[str, Any]] = [{}, {"to": {"{x}": "{y}"}, "reason": ["{z}"], "outcome": [1], "state": {}, "on": {}}]

    assert all(action.value not in words_of_line(a_line(action, each)) for each in facts)
