"""Of those who write one object, one wins and knows it, whatever happens on the way to the storage and back."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.vault.errors import Changed, VaultUnavailable, WriteUnsettled
from standby.vault.object_storage import ObjectStorage
from standby.vault.storage import Storage
from standby.vault.vault import open_object_storage, open_place
from tests.patience import PATIENCE
from tests.standby.replication.world import FakeClock
from tests.storage.azurite import Azurite
from tests.storage.faulty import (
    Answer,
    Call,
    Fault,
    Proxy,
    answered,
    cut,
    delayed,
    halved,
    masked,
    running_proxy,
    stale,
    swallowed,
)

PATH = "recovery/fence.json"

NOT_DONE: dict[str, Fault] = {
    "503": answered(503),
    "500": answered(500),
    "429": answered(429),
    "412": answered(412),
    "409": answered(409),
    "swallowed": swallowed,
}
DONE: dict[str, Fault] = {
    "done, and 503": masked(503),
    "done, and 500": masked(500),
    "done, and 412": masked(412),
    "done, and 409": masked(409),
    "done, and cut": cut,
    "done, and halved": halved,
}
FAULTS = NOT_DONE | DONE
DOUBTS = [name for name in FAULTS if name not in {"412", "409", "done, and halved"}]
"""After which a write may or may not have been carried out, and the writer cannot know which."""


def of(names: Sequence[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("fault", [FAULTS[name] for name in names], ids=names)


@asynccontextmanager
async def two(azurite: Azurite, container: str, proxy: Proxy) -> AsyncIterator[tuple[ObjectStorage, ObjectStorage]]:
    """Open a container behind a proxy, and without one."""
    behind, directly = azurite.place(container, port=proxy.port), azurite.place(container)
    async with open_object_storage(behind, FakeClock()) as ours, open_object_storage(directly) as theirs:
        yield ours, theirs


@pytest.mark.parametrize("exists", [True, False], ids=["replaced", "created"])
@pytest.mark.parametrize("sights", [0, 1, 3], ids=["seen at once", "seen late", "seen very late"])
@of(list(FAULTS))
async def test_a_writer_that_nobody_disturbs_wins_whatever_it_is_told(
    blob_container: str, azurite: Azurite, proxy: Proxy, fault: Fault, sights: int, exists: bool
) -> None:
    async with two(azurite, blob_container, proxy) as (ours, theirs):
        tag = await theirs.swap(PATH, b"before", None) if exists else None
        proxy.writes.extend([fault, fault])
        proxy.reads.extend([stale] * sights)
        fresh = await ours.swap(PATH, b"ours", tag)
        proxy.reads.clear()
        proxy.writes.clear()

        assert await theirs.read(PATH) == b"ours"
        await theirs.swap(PATH, b"next", fresh)


@pytest.mark.parametrize("sights", [0, 2], ids=["seen at once", "seen late"])
@of(list(NOT_DONE))
async def test_a_writer_that_came_second_is_told_so(
    blob_container: str, azurite: Azurite, proxy: Proxy, fault: Fault, sights: int
) -> None:
    async with two(azurite, blob_container, proxy) as (ours, theirs):
        tag = await theirs.swap(PATH, b"before", None)

        async def overtaken(call: Call) -> Answer:
            await theirs.swap(PATH, b"theirs", tag)
            return await fault(call)

        proxy.writes.extend([overtaken, fault])
        proxy.reads.extend([stale] * sights)
        with pytest.raises(Changed):
            await ours.swap(PATH, b"ours", tag)

        assert await theirs.read(PATH) == b"theirs"


@of([name for name in DONE if name != "done, and halved"])
async def test_a_winner_knows_it_even_where_others_wrote_since(
    blob_container: str, azurite: Azurite, proxy: Proxy, fault: Fault
) -> None:
    async with two(azurite, blob_container, proxy) as (ours, theirs):
        tag = await theirs.swap(PATH, b"before", None)
        proxy.writes.append(followed(fault, theirs, writes=9))
        old = await ours.swap(PATH, b"ours", tag)

        assert await theirs.read(PATH) == b"9"
        with pytest.raises(Changed):
            await ours.swap(PATH, b"ours again", old)


@of(["done, and 503", "done, and 500", "done, and cut"])
async def test_a_winner_after_whom_too_many_wrote_does_not_think_that_it_lost(
    blob_container: str, azurite: Azurite, proxy: Proxy, fault: Fault
) -> None:
    async with two(azurite, blob_container, proxy) as (ours, theirs):
        tag = await theirs.swap(PATH, b"before", None)
        proxy.writes.append(followed(fault, theirs, writes=40))
        with pytest.raises(WriteUnsettled):
            await ours.swap(PATH, b"ours", tag)


def followed(fault: Fault, theirs: Storage, writes: int) -> Fault:
    """Let others write before the caller has its answer."""

    async def fault_and_others(call: Call) -> Answer:
        answer = await fault(call)
        for number in range(writes):
            read = await theirs.read_version(PATH)
            assert read is not None
            await theirs.swap(PATH, str(number + 1).encode(), read.tag)
        return answer

    return fault_and_others


async def test_a_write_that_arrives_late_changes_nothing(blob_container: str, azurite: Azurite, proxy: Proxy) -> None:
    late = asyncio.Event()
    async with two(azurite, blob_container, proxy) as (ours, theirs):
        tag = await theirs.swap(PATH, b"before", None)
        proxy.writes.append(delayed(late))
        fresh = await ours.swap(PATH, b"ours", tag)
        await theirs.swap(PATH, b"theirs", fresh)
        late.set()
        answers = await asyncio.gather(*proxy.later)

        assert [answer.status_code for answer in answers] == [412]
        assert await theirs.read(PATH) == b"theirs"


@of(DOUBTS)
async def test_what_is_not_known_is_said_to_be_unknown(
    blob_container: str, azurite: Azurite, proxy: Proxy, fault: Fault
) -> None:
    async with two(azurite, blob_container, proxy) as (ours, theirs):
        tag = await theirs.swap(PATH, b"before", None)
        proxy.writes.extend([fault] * 20)
        proxy.reads.extend([swallowed] * 20)
        with pytest.raises(WriteUnsettled, match="It may or may not have been written"):
            await ours.swap(PATH, b"ours", tag)
        proxy.reads.clear()

        assert await theirs.read(PATH) in {b"before", b"ours"}


async def test_a_write_that_never_left_is_not_in_doubt(azurite: Azurite) -> None:
    place = azurite.place("any", port=1)
    async with open_object_storage(place, FakeClock()) as storage:
        with pytest.raises(VaultUnavailable) as raised:
            await storage.swap(PATH, b"ours", None)

    assert not isinstance(raised.value, WriteUnsettled)


@of([name for name in FAULTS if name not in {"412", "409", "done, and 412", "done, and 409"}])
async def test_a_write_that_asks_nothing_is_tried_until_it_is_done(
    blob_container: str, azurite: Azurite, proxy: Proxy, fault: Fault
) -> None:
    async with two(azurite, blob_container, proxy) as (ours, theirs):
        proxy.writes.extend([fault] * 3)
        await ours.write(PATH, b"ours")

        assert await theirs.read(PATH) == b"ours"

        proxy.writes.extend([fault] * 20)
        if fault is not halved:
            with pytest.raises(WriteUnsettled):
                await ours.write(PATH, b"again")


DRAWN = st.lists(st.sampled_from([None, None, *FAULTS]), max_size=4)
SIGHTS = st.lists(st.sampled_from([None, "stale", "503", "swallowed", "halved"]), max_size=4)


@given(writes=DRAWN, reads=SIGHTS, exists=st.booleans(), rival_first=st.booleans())
def test_there_are_never_two_winners_nor_one_that_thinks_it_lost(
    azurite: Azurite, writes: list[str | None], reads: list[str | None], exists: bool, rival_first: bool
) -> None:
    known = FAULTS | {"stale": stale, "halved": halved}

    async def contest() -> tuple[list[str], bytes | None]:
        container = f"test-{uuid4()}"
        await asyncio.to_thread(azurite.make_container, container)
        async with running_proxy(azurite.port) as proxy, two(azurite, container, proxy) as (ours, theirs):
            tag = await theirs.swap(PATH, b"before", None) if exists else None
            proxy.writes.extend(known[name] if name else None for name in writes)
            proxy.reads.extend(known[name] if name else None for name in reads)
            both = [_won(ours, b"ours", tag), _won(theirs, b"theirs", tag)]
            results = await asyncio.gather(*(reversed(both) if rival_first else both))
            return list(reversed(results)) if rival_first else results, await theirs.read(PATH)

    (ours, theirs), found = asyncio.run(contest())

    allowed = {b"ours": {"won", "unknown"}, b"theirs": {"lost", "unknown"}, b"before": {"unknown"}, None: {"unknown"}}
    assert ours in allowed[found]
    assert theirs == ("won" if found == b"theirs" else "lost")


async def _won(storage: Storage, content: bytes, tag: str | None) -> str:
    try:
        await storage.swap(PATH, content, tag)
    except Changed:
        return "lost"
    except WriteUnsettled:
        return "unknown"
    return "won"


async def contend(settings: str, processes: int, last: int) -> list[list[int]]:
    """Let processes count one object up to a number; give which steps were each one's own."""
    command = (sys.executable, "-m", "tests.storage.contender", settings, PATH, str(last))
    started = [await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE) for _ in range(processes)]
    async with asyncio.timeout(PATIENCE):
        said = [await process.communicate() for process in started]
    assert [process.returncode for process in started] == [0] * processes, [p.returncode for p in started]
    return [json.loads(out) for out, _ in said]


async def test_two_processes_contend_500_times_and_each_time_one_wins(blob_container: str, azurite: Azurite) -> None:
    one, other = await contend(azurite.settings(blob_container), 2, 500)

    assert sorted(one + other) == list(range(1, 501))
    async with open_place(azurite.place(blob_container)) as storage:
        assert await storage.read(PATH) == b"500"


async def test_two_processes_contend_on_a_bad_connection(blob_container: str, azurite: Azurite, proxy: Proxy) -> None:
    drawn = random.Random(10)
    write_faults, read_faults = list(FAULTS.values()), [stale, swallowed, halved, answered(503)]

    def chance(call: Call) -> Fault | None:
        if drawn.random() > 0.15:
            return None
        return drawn.choice(write_faults if call.is_write else read_faults)

    proxy.chance = chance
    one, other = await contend(azurite.settings(blob_container, proxy.port), 2, 80)

    assert sorted(one + other) == list(range(1, 81))


WRITER = """
import asyncio, sys
from standby.config.vault import Place
from standby.vault.vault import open_place
async def write():
    async with open_place(Place.model_validate_json(sys.argv[1])) as storage:
        async with storage.hold("ledger.json") as held:
            await held.write(b"whole ledger")
        await storage.swap("recovery/fence.json", b"whole fence", sys.argv[2])
asyncio.run(write())
"""

STEPS = 12
"""Moments at which that is killed: when each of its calls has left it, and when the answer is about to come."""


@pytest.mark.parametrize("step", range(STEPS))
async def test_a_writer_that_is_killed_leaves_all_or_nothing(
    blob_container: str, azurite: Azurite, proxy: Proxy, step: int
) -> None:
    settings = azurite.settings(blob_container, proxy.port)
    async with two(azurite, blob_container, proxy) as (_, theirs):
        tag = await theirs.swap(PATH, b"before", None)
        writer = await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, settings, tag)
        moments: list[str] = []
        carried = asyncio.Event()

        def watch(moment: str) -> None:
            moments.append(moment)
            if len(moments) == step + 1:
                writer.kill()
            if len(moments) > step and moment == "after":
                carried.set()

        proxy.watch = watch
        async with asyncio.timeout(PATIENCE):
            await writer.wait()
            # What had left it arrives all the same.
            await carried.wait()
        found = await theirs.read_version(PATH)

        assert len(moments) > step
        assert found is not None
        assert found.content == (b"whole fence" if step >= 10 else b"before")
        await theirs.swap(PATH, b"next", found.tag)

    async with open_object_storage(azurite.place(blob_container), FakeClock()) as storage:
        # The dead one's lease ends.
        async with storage.hold("ledger.json") as held:
            assert held.found == (b"whole ledger" if step >= 6 else None)
            await held.write(b"next ledger")
        assert await storage.read("ledger.json") == b"next ledger"
