"""The replica of a vault: a second place that gets everything after the first, and never stops or slows it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from standby.clock import Clock, SystemClock
from standby.concurrency import do_for_each, side_by_side
from standby.document import Document
from standby.errors import GuardRefused, sentence
from standby.text import counted, utc
from standby.vault import role
from standby.vault.errors import Changed, OtherRecords, VaultError, VaultUnavailable
from standby.vault.role import Guarded, Role
from standby.vault.storage import HeldFile, Listed, Storage

log = logging.getLogger("standby.vault")
OBJECTS = "objects/"  # Files that are named by their content
SILENCE = 30.0  # Seconds for which a second that did not say is not asked again
RETRY = 10.0  # Seconds between two tries to write to a second that fails
DRAIN = 5.0  # Seconds that the end of a run waits for the second
NEWEST = 20  # Files that are compared by content although size and time agree: the two clocks may not
MOST_COMPARED = 200  # Files that are compared by content; more that look older are called older


class ReplicaState(Document):
    """How far a replica is behind."""

    where: str
    behind: int | None  # files that it lacks, or has as they were before; `None` where that is not known
    since: datetime | None = None  # when the first of them was written
    problem: str = ""  # why it cannot be written or read, a sentence without its full stop; empty where it can
    next_action: str = ""  # what to do about that
    refused: bool = False  # whether the first is not the vault any more

    @property
    def whole(self) -> bool:
        return self.behind == 0 and not self.problem

    @property
    def words(self) -> str:
        if self.refused:
            return sentence(self.problem)
        if self.problem:
            return f"The replica of the vault cannot be kept: {sentence(self.problem)}"
        if self.behind is None:
            return f"It is unknown whether the replica of the vault at {self.where} has everything."
        if not self.behind:
            return f"The replica of the vault at {self.where} has everything."
        since = f" since {utc(self.since)}" if self.since else ""
        return f"The replica of the vault at {self.where} is behind by {counted(self.behind, 'file')}{since}."


class Replicated(Guarded):
    """A vault with a replica: everything is written to the first, and brought to the second in the background.

    The second never stops or slows the first. What it misses is brought over by `catch_up`.
    """

    def __init__(self, first: Storage, second: Storage, clock: Clock | None = None, drain: float = DRAIN) -> None:
        super().__init__(first, self.check)
        self._first = first
        self._second = second
        self._clock = clock or SystemClock()
        self._role: Role | None = None
        self._refusal: GuardRefused | None = None
        self._silent_until = float("-inf")
        self._waiting: dict[str, bool] = {}  # Whether it was removed, by path.
        self._failing = asyncio.Event()
        self._warned = False
        self._drain = drain
        self._worker: asyncio.Task[None] | None = None
        self._claiming = asyncio.Lock()

    @asynccontextmanager
    async def hold(self, path: str) -> AsyncIterator[HeldFile]:
        """Hold a file of the first, once the second has said that it was not promoted."""
        await self.check(ask=True)
        async with super().hold(path) as file:
            yield file

    def note(self, path: str, *, removed: bool = False) -> None:
        # At the end, even where it waited already: what it refers to comes before it.
        self._waiting.pop(path, None)
        self._waiting[path] = removed
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._follow())

    async def aclose(self) -> None:
        """Let the second follow to the end, unless it fails or takes long; warn of a first that is not the vault."""
        if self._worker is None:
            if self._refusal is not None:
                return
            try:
                async with asyncio.timeout(role.CHECK):
                    await role.must_still_lead(self._first, self._second)
            except GuardRefused as refusal:
                log.warning("%s", refusal)
            except (VaultError, TimeoutError):
                pass  # What only reads does not need it, and status says that it cannot be read.
            return
        failing = asyncio.create_task(self._failing.wait())
        try:
            await asyncio.wait({self._worker, failing}, timeout=self._drain, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (self._worker, failing):
                task.cancel()
            await asyncio.wait({self._worker, failing})
        if self._waiting:
            self._warn(f"{counted(len(self._waiting), 'file')} could not be written to {self._where} in time.")

    async def state(self, seconds: float = 10.0) -> ReplicaState:
        """Say how far the second is behind, by the lists of both; nothing is changed, and this never raises."""
        return await self._bounded(self._compare_and_say, seconds)

    async def catch_up(self, seconds: float) -> ReplicaState:
        """Bring to the second what it lacks, and say how far it is behind then; this never raises."""
        return await self._bounded(self._bring_all, seconds)

    @property
    def _where(self) -> str:
        return self._second.where("")

    async def check(self, *, ask: bool = False) -> None:
        """Refuse to write where the second was promoted; `ask` it now, and not only once."""
        # A second that does not answer does not stop the first. Should it have been promoted all the same, its fence is
        # not touched from here, and no sink takes an epoch twice.
        if self._refusal is not None:
            raise self._refusal
        if self._checked and not ask:
            return
        answered, second = await self._ask()
        if answered:
            await self._compare_roles(second)
        elif not self._checked:
            role.must_be_the_vault(await role.read_role(self._first), self.where(""))
        self._checked = True

    async def _ask(self) -> tuple[bool, Role | None]:
        """Ask the second what it is, and say whether it answered."""
        if self._clock.monotonic() < self._silent_until:
            return False, None
        try:
            async with asyncio.timeout(role.CHECK):
                return True, await role.read_role(self._second)
        except VaultError as error:
            self._warn(str(error))
        except TimeoutError:
            self._warn(f"{self._where} did not answer within {role.CHECK:.0f} s.")
        self._failing.set()
        self._silent_until = self._clock.monotonic() + SILENCE
        return False, None

    async def _compare_roles(self, second: Role | None) -> Role:
        try:
            if self._role is None:
                self._role = await self._own_role(second)
            role.must_lead(self._role, second, self.where(""), self._where)
        except GuardRefused as refusal:
            self._refusal = refusal
            raise
        return self._role

    async def _own_role(self, second: Role | None) -> Role:
        if own := await role.read_role(self._first):
            return own
        await role.must_be_there(self._first, self._second, second)
        # Where only the role was lost, its replica knows it.
        is_its = second is not None and second.kind == "replica" and second.of == self.where("")
        history = second.history if second and is_its else (role.new_id(),)
        new = Role(kind="vault", history=history, at=self._clock.now())
        try:
            await role.set_role(self._first, new, None)
        except Changed:
            return await role.read_role(self._first) or new
        return new

    async def _follow(self) -> None:
        while self._waiting:
            path, removed = next(iter(self._waiting.items()))
            del self._waiting[path]
            try:
                await self._bring(path, removed=removed)
            except GuardRefused as refusal:
                log.warning("%s", refusal)
                return self._waiting.clear()
            except OtherRecords as error:
                self._warn(str(error))
                return self._waiting.clear()
            except VaultError as error:
                self._waiting.setdefault(path, removed)
                self._warn(str(error))
                self._failing.set()
                await self._clock.sleep(RETRY)
            else:
                self._failing.clear()
        return None

    def _warn(self, reason: str) -> None:
        if not self._warned:
            self._warned = True
            log.warning("The replica of the vault is behind until standby snapshot updates it: %s", reason)

    async def _bring(self, path: str, *, removed: bool = False) -> None:
        """Let the second have a file as it is in the first, unless it was promoted."""
        # The second is looked at before the first: what another run brings meanwhile makes the swap fail, so that
        # nothing older replaces something newer. And only then it is asked whether it was promoted: whatever is written
        # there from now on makes the swap fail, too.
        for _ in range(role.TRIES):
            there = await self._second.read_version(path)
            content = await self._first.read(path)
            if content == (there.content if there else None) or (content is None and not removed):
                return
            await self._claim()
            try:
                if content is None:
                    await self._second.remove(path)
                else:
                    await self._second.swap(path, content, there.tag if there else None)
            except Changed:
                continue
            return
        raise VaultUnavailable(self._second.where(path), "written", "others write it all the time")

    async def _claim(self) -> None:
        """Make sure that the second is the replica of the first: not promoted (`GuardRefused`), nor of another."""
        async with self._claiming:
            second, tag = await role.role_and_tag(self._second)
            own = await self._compare_roles(second)
            if second is not None and second.kind == "unfinished":
                raise VaultUnavailable(self._where, "written", f"it is an unfinished copy of {second.of}")
            if second is not None and second.kind == "replica" and second.history == own.history:
                return
            is_other = second is not None and second.history[0] != own.history[0]
            if is_other or (second is None and not await self._may_become_replica()):
                raise OtherRecords(self._where, self.where(""))
            if second is not None and second.kind == "vault":
                await self._keep_what_differs(second)
            new = Role(kind="replica", history=own.history, at=self._clock.now(), of=self.where(""))
            try:
                await role.set_role(self._second, new, tag)
            except Changed:
                raise VaultUnavailable(self._where, "written", "others write it at the same time") from None

    async def _may_become_replica(self) -> bool:
        """Whether the second holds nothing but snapshots and what the first holds, too."""
        for each in await role.records(self._second):
            if each.path.startswith(("snapshots/", OBJECTS)):
                continue
            if await self._second.read(each.path) != await self._first.read(each.path):
                return False
        return True

    async def _keep_what_differs(self, was: Role) -> None:
        """Set aside what was the vault until another one was promoted: it may know what that one does not."""
        folder = f"displaced/{was.history[-1]}"
        for each in await compare(self._first, self._second):
            if not each.path.startswith(OBJECTS) and (content := await self._second.read(each.path)) is not None:
                await self._second.write(f"{folder}/{each.path}", content)

    async def _bounded(self, work: Callable[[], Awaitable[ReplicaState]], seconds: float) -> ReplicaState:
        try:
            async with asyncio.timeout(seconds):
                return await work()
        except (VaultError, GuardRefused) as error:
            refused = isinstance(error, GuardRefused)
            cause, action = error.cause, error.next_action
            return ReplicaState(where=self._where, behind=None, problem=cause, next_action=action, refused=refused)
        except TimeoutError:
            problem = f"{self._where} did not answer within {seconds:.0f} s"
            return ReplicaState(where=self._where, behind=None, problem=problem)

    async def _compare_and_say(self) -> ReplicaState:
        first, second = await role.must_still_lead(self._first, self._second)
        if first is not None and second is not None and second.history[0] != first.history[0]:
            raise OtherRecords(self._where, self.where(""))
        behind = await compare(self._first, self._second)
        since = min((each.changed_at for each in behind), default=None)
        return ReplicaState(where=self._where, behind=len(behind), since=since)

    async def _bring_all(self) -> ReplicaState:
        await self.check(ask=True)
        await self._claim()
        waiting, self._waiting = self._waiting, {}
        behind = await compare(self._first, self._second)

        async def bring(path: str) -> None:
            await self._bring(path, removed=waiting.get(path, False))

        paths = list(dict.fromkeys([*(each.path for each in behind), *waiting]))
        alone = [path for path in paths if path.startswith((OBJECTS, "snapshots/")) and not path.endswith(".jsonl")]
        await do_for_each(alone, bring, role.AT_ONCE)
        # After what they refer to.
        await do_for_each([path for path in paths if path not in set(alone)], bring, role.AT_ONCE)
        return await self._compare_and_say()


async def compare(first: Storage, second: Storage) -> list[Listed]:
    """Give the files of one place that another one lacks, or has as they were before."""
    # Size and time tell most; where the time leaves a doubt, the content does.
    async with side_by_side() as group:
        here = group.create_task(role.records(first))
        listing = group.create_task(second.list())
    there = {each.path: each for each in listing.result()}
    behind: list[Listed] = []
    doubtful: list[Listed] = []
    similar: list[Listed] = []
    for each in here.result():
        other = there.get(each.path)
        if other is None or other.size != each.size:
            behind.append(each)
        elif not each.path.startswith(OBJECTS):
            (doubtful if other.changed_at < each.changed_at else similar).append(each)
    similar.sort(key=lambda each: each.changed_at, reverse=True)
    compared = [*doubtful[:MOST_COMPARED], *similar[:NEWEST]]

    async def differs(each: Listed) -> bool:
        return await first.read(each.path) != await second.read(each.path)

    found = await do_for_each(compared, differs, role.AT_ONCE)
    behind += [each for each, is_other in zip(compared, found, strict=True) if is_other]
    return [*behind, *doubtful[MOST_COMPARED:]]


async def replica_state(vault: Storage, seconds: float = 10.0) -> ReplicaState | None:
    """Say how far the replica of a vault is behind; `None` where it has none. This never raises."""
    return await vault.state(seconds) if isinstance(vault, Replicated) else None


async def catch_up(vault: Storage, seconds: float) -> ReplicaState | None:
    """Bring up the replica of a vault; `None` where it has none. This never raises."""
    return await vault.catch_up(seconds) if isinstance(vault, Replicated) else None
