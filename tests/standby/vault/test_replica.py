"""A vault with a replica: everything reaches it, nothing waits for it, and of two never both are written as first."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.config import vault as config
from standby.config.vault import Promotion
from standby.document import digest_of
from standby.errors import GuardRefused
from standby.vault.errors import (
    Changed,
    IsReplica,
    NothingReplicated,
    Promoted,
    PromotedTwice,
    TakenOver,
    Unfinished,
    VaultLost,
    VaultUnavailable,
)
from standby.vault.replica import Replicated, catch_up, compare
from standby.vault.role import ROLE, Role, guarded, promoted, read_role, set_role
from standby.vault.storage import LOCK, HeldFile, Listed, Storage
from standby.vault.vault import on_second, open_vault, what_may_be_missing
from tests.standby.vault.world import START, MemoryVault, settled

ORDER = Promotion(by="ada@desk", why="east is lost", behind="nothing")
FENCE = "recovery/p/fence.json"


class Place(MemoryVault):
    """A place with times, that may be down, hang, or fail at some writes.

    Attributes:
        name: how it is called.
        fails_at: numbers of the writes that fail without an effect, counted from 1.
        writes: how many writes there were.
    """

    def __init__(self, name: str = "", files: dict[str, bytes] | None = None) -> None:
        super().__init__(files)
        self.name = name
        self.down = self.hangs = False
        self.fails_at: set[int] = set()
        self.writes = 0
        self.times: dict[str, datetime] = {}

    def where(self, path: str) -> str:
        return f"{self.name}:{path}"

    async def get(self, path: str) -> bytes | None:
        await self._answer(path, "read")
        return await super().get(path)

    async def put(self, path: str, content: bytes) -> None:
        await self._answer(path, "written")
        self.writes += 1
        if self.writes in self.fails_at:
            raise VaultUnavailable(self.where(path), "written", "it failed")
        await super().put(path, content)
        self.times[path] = max([START, *self.times.values()]) + timedelta(seconds=1)

    async def drop(self, path: str) -> None:
        await self._answer(path, "removed")
        await super().drop(path)

    async def swap(self, path: str, content: bytes, tag: str | None) -> str:
        await self._answer(path, "written")
        return await super().swap(path, content, tag)

    async def list(self, prefix: str = "") -> tuple[Listed, ...]:
        await self._answer(prefix, "listed")
        listed = await super().list(prefix)
        return tuple(Listed(each.path, each.size, self.times.get(each.path, START)) for each in listed)

    async def _answer(self, path: str, action: str) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.down:
            raise VaultUnavailable(self.where(path), action, "down")

    @property
    def records(self) -> dict[str, bytes]:
        return {path: content for path, content in self.files.items() if path != ROLE and not path.endswith(LOCK)}


@asynccontextmanager
async def replicated(first: Storage, second: Storage) -> AsyncIterator[Replicated]:
    vault = Replicated(first, second)
    try:
        yield vault
    finally:
        await vault.aclose()


async def pair(**files: bytes) -> tuple[Place, Place]:
    """A vault and a replica that has everything."""
    first, second = Place("first"), Place("second")
    async with replicated(first, second) as vault:
        await vault.write(FENCE, b"epoch 1")
        for path, content in files.items():
            await vault.write(path, content)
    assert second.records == first.records
    return first, second


async def test_everything_reaches_the_replica_however_it_is_written() -> None:
    first, second = Place("first"), Place("second")
    async with replicated(first, second) as vault:
        await vault.write("a", b"1")
        tag = await vault.swap("b", b"2", None)
        await vault.swap("b", b"22", tag)
        async with vault.hold("c") as held:
            await held.write(b"3")
            await held.write(b"33")
        await vault.write("d", b"4")
        await vault.remove("d")
    assert second.records == first.records == {"a": b"1", "b": b"22", "c": b"33"}
    assert (await vault.state()).whole


async def test_locks_and_the_files_of_doctor_stay_where_they_are() -> None:
    first, second = await pair()
    first.files |= {f"x{LOCK}": b"", "doctor/written.txt": b"x"}
    async with replicated(first, second) as vault:
        assert (await vault.catch_up(5)).whole
    assert not {path for path in second.files if path.endswith(LOCK) or path.startswith("doctor/")}


@pytest.mark.parametrize("fault", ["down", "hangs"])
async def test_a_replica_that_does_not_answer_stops_nothing_and_is_warned_of_once(
    fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = Place("first"), Place("second")
    setattr(second, fault, True)
    vault = Replicated(first, second, drain=0.1)
    for number in range(5):
        async with vault.hold("fence") as held:
            await held.write(b"%d" % number)
        await settled()
    assert first.records == {"fence": b"4"}
    assert caplog.text.count("The replica of the vault is behind") == 1
    state = await vault.state(0.2)
    assert (state.behind, state.whole) == (None, False)
    setattr(second, fault, False)
    assert (await vault.catch_up(5)).whole
    await vault.aclose()
    assert second.records == first.records


async def test_what_is_named_by_its_content_is_not_written_again() -> None:
    first, second = await pair(**{f"objects/p/{number}": b"x" for number in range(5)})
    writes = second.writes
    async with replicated(first, second) as vault:
        await vault.write("objects/p/1", b"x")
        assert (await vault.catch_up(5)).whole
    assert second.writes == writes


async def test_says_how_many_files_are_behind_and_since_when() -> None:
    first, second = await pair(a=b"1", b=b"2", c=b"3")
    del second.files["a"]
    second.files["b"] = b"longer"
    second.files["c"] = b"4"
    vault = Replicated(first, second)
    state = await vault.state()
    assert (state.behind, state.since) == (3, first.times["a"])
    assert "is behind by 3 files since" in state.words
    assert (await vault.catch_up(5)).whole
    assert second.records == first.records


async def test_a_replica_whose_clock_is_late_is_not_called_behind() -> None:
    first, second = await pair(**{f"file{number}": b"x" for number in range(50)})
    second.times = {path: at - timedelta(hours=1) for path, at in second.times.items()}
    assert await compare(first, second) == []


async def test_what_the_vault_lost_is_not_removed_from_its_replica() -> None:
    first, second = await pair(a=b"1")
    del first.files["a"]
    async with replicated(first, second) as vault:
        assert (await vault.catch_up(5)).whole
    assert second.files["a"] == b"1"


@given(
    operations=st.lists(st.tuples(st.sampled_from("abc"), st.binary(max_size=2) | st.none()), max_size=12),
    fails_at=st.sets(st.integers(1, 12)),
    killed=st.booleans(),
)
def test_after_any_failures_of_the_replica_it_is_brought_up(
    operations: list[tuple[str, bytes | None]], fails_at: set[int], killed: bool
) -> None:
    async def run() -> None:
        first, second = await pair()
        second.fails_at = {number + second.writes for number in fails_at}
        vault = Replicated(first, second)
        for path, content in operations:
            await (vault.remove(path) if content is None else vault.write(path, content))
            await asyncio.sleep(0)
        if killed:
            await settled()
        else:
            await vault.aclose()
        second.fails_at = set()
        async with replicated(first, second) as later:
            assert (await later.catch_up(5)).whole
        assert first.records.items() <= second.records.items()

    asyncio.run(run())


async def test_a_promoted_replica_is_the_vault_and_the_first_is_written_no_more() -> None:
    first, second = await pair()
    running = Replicated(first, second)
    await running.write("early", b"1")
    await running.aclose()

    async with promoted(first, second, ORDER).hold(FENCE) as fence:
        await fence.write(b"epoch 2")

    role = await read_role(second)
    assert role is not None
    assert (role.kind, role.by, role.why, role.behind) == ("vault", "ada@desk", "east is lost", "nothing")
    for vault in (running, Replicated(first, second)):
        with pytest.raises(Promoted) as refused:
            async with vault.hold(FENCE):
                pass
        assert isinstance(refused.value, GuardRefused)
    assert (first.files[FENCE], second.files[FENCE]) == (b"epoch 1", b"epoch 2")


async def test_the_promotion_is_written_before_anything_else() -> None:
    first, second = await pair()
    second.fails_at = {second.writes + 1}
    with pytest.raises(VaultUnavailable):
        await promoted(first, second, ORDER).write(FENCE, b"epoch 2")
    assert second.files[FENCE] == b"epoch 1"


async def test_reading_promotes_nothing() -> None:
    first, second = await pair()
    before = dict(second.files)
    vault = promoted(first, second, ORDER)
    await vault.read(FENCE)
    await vault.list()
    assert second.files == before


async def test_a_run_of_the_first_learns_of_the_promotion_by_its_next_write() -> None:
    first, second = await pair()
    running = Replicated(first, second)
    await running.write("a", b"1")
    await running.aclose()
    await promoted(first, second, ORDER).write(FENCE, b"epoch 2")
    await running.write(FENCE, b"epoch 2 of another")  # It had asked before.
    await running.aclose()
    with pytest.raises(Promoted):
        await running.write("a", b"2")
    assert second.files[FENCE] == b"epoch 2"


async def test_when_they_are_exchanged_the_old_vault_follows_and_what_only_it_knew_is_kept() -> None:
    first, second = await pair(a=b"1")
    first.files[FENCE] = b"epoch 7 of nobody"
    await promoted(first, second, ORDER).write(FENCE, b"epoch 2")

    async with replicated(second, first) as vault:
        assert (await vault.catch_up(5)).whole

    role = await read_role(first)
    assert role is not None
    assert role.kind == "replica"
    assert first.files[FENCE] == b"epoch 2"
    [kept] = [path for path in first.files if path.startswith("displaced/")]
    assert first.files[kept] == b"epoch 7 of nobody"


async def test_a_replica_is_not_written_as_the_vault_unless_it_was_promoted() -> None:
    first, second = await pair()
    for vault in (guarded(second), Replicated(second, first)):
        with pytest.raises(IsReplica):
            await vault.write(FENCE, b"epoch 9")
        with pytest.raises(IsReplica):
            async with vault.hold(FENCE):
                pass
    assert second.files[FENCE] == b"epoch 1"


async def test_both_promoted_apart_is_found_and_neither_is_overwritten() -> None:
    first, second = await pair()
    await promoted(first, second, ORDER).write(FENCE, b"epoch 2")
    second.down = True
    await promoted(second, first, ORDER).write(FENCE, b"epoch 3")
    second.down = False
    for vault in (Replicated(first, second), Replicated(second, first)):
        with pytest.raises(PromotedTwice):
            await vault.write(FENCE, b"epoch 4")
        state = await vault.catch_up(5)
        assert state.refused
    assert (first.files[FENCE], second.files[FENCE]) == (b"epoch 3", b"epoch 2")


async def test_a_vault_that_is_empty_though_its_replica_is_not_is_lost() -> None:
    first, second = await pair()
    kept = dict(second.files)
    first.files.clear()
    vault = Replicated(first, second)
    with pytest.raises(VaultLost):
        await vault.write(FENCE, b"epoch 0")
    assert (await vault.state()).refused
    assert not (await vault.catch_up(5)).whole
    assert (first.files, second.files) == ({}, kept)


async def test_a_vault_is_lost_too_where_its_second_has_snapshots_alone() -> None:
    first, second = Place("first"), Place("second", {"snapshots/p/index.jsonl": b"a\n"})
    with pytest.raises(VaultLost):
        await Replicated(first, second).write(FENCE, b"epoch 0")
    assert first.files == {}


async def test_a_vault_that_lost_only_its_role_has_it_again_from_its_replica() -> None:
    first, second = await pair()
    role = first.files.pop(ROLE)
    async with replicated(first, second) as vault:
        await vault.write(FENCE, b"epoch 2")
        assert (await vault.catch_up(5)).whole
    assert Role.model_validate_json(first.files[ROLE]).history == Role.model_validate_json(role).history
    assert second.files[FENCE] == b"epoch 2"


async def test_records_of_another_vault_are_not_overwritten() -> None:
    first, _second = await pair()
    other, _ = await pair()
    before = dict(other.files)
    for elsewhere in (other, Place("plain", {"recovery/q/fence.json": b"epoch 5"})):
        before = dict(elsewhere.files)
        async with replicated(first, elsewhere) as vault:
            await vault.write(FENCE, b"epoch 2")
            state = await vault.catch_up(5)
        assert "belongs to another vault" in state.problem
        assert elsewhere.files == before
    assert first.files[FENCE] == b"epoch 2"


async def test_a_second_with_snapshots_alone_becomes_the_replica() -> None:
    """What a second was before it had everything."""
    first = Place("first", {"snapshots/p/index.jsonl": b"a\nb\n", "objects/p/1": b"x", FENCE: b"epoch 1"})
    second = Place("second", {"snapshots/p/index.jsonl": b"a\n", "objects/p/1": b"x"})
    async with replicated(first, second) as vault:
        assert (await vault.catch_up(5)).whole
    assert second.records == first.records


async def test_an_unfinished_copy_is_neither_a_vault_nor_a_replica() -> None:
    first, second = await pair()
    await set_role(second, Role(kind="unfinished", history=("x",), at=START, of="there"), await tag_of(second))
    with pytest.raises(Unfinished):
        await guarded(second).write("a", b"1")
    with pytest.raises(Unfinished):
        await promoted(first, second, ORDER).write("a", b"1")
    async with replicated(first, second) as vault:
        await vault.write("a", b"1")
        assert "unfinished copy" in (await vault.catch_up(5)).problem
    assert "a" not in second.files


async def tag_of(place: Place) -> str:
    version = await place.read_version(ROLE)
    assert version is not None
    return version.tag


async def test_a_place_to_which_nothing_came_is_not_promoted() -> None:
    with pytest.raises(NothingReplicated):
        await promoted(Place("first"), Place("second"), ORDER).write("a", b"1")


async def test_a_role_that_cannot_be_understood_does_not_hinder_an_order() -> None:
    first, second = await pair()
    second.files[ROLE] = b"{"
    await promoted(first, second, ORDER).write(FENCE, b"epoch 2")
    with pytest.raises(Promoted):
        await Replicated(first, second).write(FENCE, b"epoch 3")


@pytest.mark.parametrize("lost", ["down", "hangs", "empty", "readable", "behind"])
async def test_says_what_may_be_missing_as_far_as_that_is_known(lost: str) -> None:
    first, second = await pair(a=b"1")
    said = {
        "down": "first: cannot be read (first: could not be listed: down); whatever was written after 2026-01-02",
        "hangs": "first: cannot be read (it did not answer in time); whatever was written after 2026-01-02",
        "empty": "first: is empty or gone; whatever was written after 2026-01-02",
        "readable": "second: has everything that the vault at first: has",
        "behind": "1 file of the vault at first: did not reach the replica",
    }
    if lost in ("down", "hangs"):
        setattr(first, lost, True)
    if lost == "empty":
        first.files.clear()
    if lost == "behind":
        first.files["late"] = b"x"
    assert said[lost] in await what_may_be_missing(first, second, 0.2)


async def test_a_folder_has_its_replica_in_real_object_storage_and_goes_on_from_there(
    place: config.Place, tmp_path: Path
) -> None:
    settings = config.VaultSettings(
        path=tmp_path / "vault",
        second=config.SecondPlace(url=place.url, endpoint=place.endpoint, credentials=place.credentials),
    )
    async with open_vault(settings) as vault:
        async with vault.hold(FENCE) as held:
            await held.write(b"epoch 1")
        await vault.write("objects/p/1", b"x")
        state = await catch_up(vault, 30)
        assert state is not None
        assert state.whole
    shutil.rmtree(tmp_path / "vault")
    ordered = await on_second(settings, "ada@desk", "the vault is lost")
    assert ordered.promotion is not None
    assert "may be missing" in ordered.promotion.behind
    async with open_vault(ordered) as vault, vault.hold(FENCE) as held:
        assert held.found == b"epoch 1"
        await held.write(b"epoch 2")
    exchanged = config.VaultSettings(**place.model_dump(), second=config.SecondPlace(path=tmp_path / "vault"))
    async with open_vault(exchanged) as vault:
        state = await catch_up(vault, 30)
        assert state is not None
        assert state.whole
    assert (tmp_path / "vault" / FENCE).read_bytes() == b"epoch 2"


class Turns:
    """Lets the calls of two sides come one at a time, in an order that is drawn."""

    def __init__(self, order: list[bool]) -> None:
        self._order = order
        self._waiting: list[tuple[bool, asyncio.Future[None]]] = []

    async def turn(self, operator: bool) -> None:
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((operator, future))
        await future

    async def drive(self, *tasks: asyncio.Task[None]) -> None:
        while not all(task.done() for task in tasks) or self._waiting:
            await settled()
            if not self._waiting:
                continue
            wanted = self._order.pop(0) if self._order else False
            chosen = next((each for each in self._waiting if each[0] is wanted), self._waiting[0])
            self._waiting.remove(chosen)
            if not chosen[1].done():
                chosen[1].set_result(None)


class View(MemoryVault):
    """One side's view of a place that both sides see; every call waits for its turn."""

    def __init__(self, files: dict[str, bytes], turns: Turns | Stalled, *, operator: bool) -> None:
        super().__init__(files)
        self._turns = turns
        self._operator = operator

    async def get(self, path: str) -> bytes | None:
        await self._turns.turn(self._operator)
        return await super().get(path)

    async def put(self, path: str, content: bytes) -> None:
        await super().put(path, content)

    async def swap(self, path: str, content: bytes, tag: str | None) -> str:
        await self._turns.turn(self._operator)
        there = self.files.get(path)
        if tag != (None if there is None else digest_of(there)):
            raise Changed(self.where(path))
        self.files[path] = content
        return digest_of(content)


@given(order=st.lists(st.booleans(), max_size=80), early=st.integers(0, 3))
def test_a_run_of_the_first_never_overwrites_what_a_promoted_replica_holds(order: list[bool], early: int) -> None:
    """And no sink takes two resources under one epoch, whoever of the two is faster."""

    async def run() -> None:
        first, second = await pair()
        turns = Turns(order)
        vault = Replicated(View(first.files, turns, operator=False), View(second.files, turns, operator=False))
        ordered = promoted(View(first.files, turns, operator=True), View(second.files, turns, operator=True), ORDER)
        published: dict[int, str] = {}
        by_operator: list[bytes] = []

        def publish(epoch: int, resource: str) -> bool:
            if epoch <= max(published, default=1) and published.get(epoch) != resource:
                return False
            published[epoch] = resource
            return True

        async def fail_over(held: HeldFile, resource: str) -> None:
            epoch = int((held.found or b"epoch 0").split()[1]) + 1
            content = b"epoch %d of %s" % (epoch, resource.encode())
            await held.write(content)
            if resource == "operator":
                by_operator.append(content)
            publish(epoch, resource)

        async def running() -> None:
            try:
                for number in range(early):
                    await vault.write(f"audit/{number}", b"x")
                async with vault.hold(FENCE) as held:
                    await fail_over(held, "run")
                    await held.write((held.found or b"") + b" committed")
            except (Promoted, TakenOver):
                pass

        async def operator() -> None:
            try:
                async with ordered.hold(FENCE) as held:
                    await fail_over(held, "operator")
            except TakenOver:
                pass  # The replica was written at that very moment: the operator runs it again.

        await turns.drive(asyncio.create_task(running()), asyncio.create_task(operator()))
        closing = asyncio.create_task(vault.aclose())
        await turns.drive(closing)
        if by_operator:
            assert second.files[FENCE] == by_operator[-1]
        checking = asyncio.create_task(refused(vault))
        await turns.drive(checking)
        checking.result()

    async def refused(vault: Replicated) -> None:
        with pytest.raises(Promoted):
            async with vault.hold(FENCE):
                pass

    asyncio.run(run())


class Stalled:
    """Lets one side go on until one of its calls, and then not before the other side has ended."""

    def __init__(self, at: int) -> None:
        self.calls = 0
        self.at = at
        self.there = asyncio.Event()
        self.on = asyncio.Event()

    async def turn(self, operator: bool) -> None:
        if operator:
            return
        self.calls += 1
        if self.calls == self.at:
            self.there.set()
            await self.on.wait()


@pytest.mark.parametrize("at", range(1, 16))
async def test_a_run_that_is_slow_brings_nothing_older_than_another_one_brought(at: int) -> None:
    first, second = await pair()
    stalled = Stalled(at)
    slow, other = (
        Replicated(View(first.files, stalled, operator=side), View(second.files, stalled, operator=side), drain=60)
        for side in (False, True)
    )

    async def write() -> None:
        tag = digest_of(first.files[FENCE])
        await slow.swap(FENCE, b"epoch 2", tag)
        await slow.aclose()

    writing = asyncio.create_task(write())
    ended = asyncio.create_task(stalled.there.wait())
    await asyncio.wait({writing, ended}, return_when=asyncio.FIRST_COMPLETED)
    await other.write(FENCE, b"epoch 3")
    await other.aclose()
    stalled.on.set()
    ended.cancel()
    with suppress(Changed):
        await writing
    assert (first.files[FENCE], second.files[FENCE]) == (b"epoch 3", b"epoch 3")
