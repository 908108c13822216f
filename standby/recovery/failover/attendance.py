"""The one run that attends to the outages of a plan, and what people were told last.

The vault says which run that is, not Prefect: the run that holds the object there is alive, and another one takes over
if it dies.
"""

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from pydantic import AwareDatetime, ValidationError

from standby.document import Document
from standby.errors import GuardRefused
from standby.fencing import Fence, Phase
from standby.recovery.context import RecoveryContext
from standby.recovery.decision.input import Guard
from standby.text import utc
from standby.vault.documents import Stored, hold_file, parse_stored
from standby.vault.errors import FormatUnknown, Held, VaultError
from standby.vault.storage import HeldFile, Storage

log = logging.getLogger("standby.recovery")

TOO_LONG = timedelta(minutes=20)
"""After which a run that attends to an outage, and seems to be alive, counts as one that does nothing any more."""

# What people are told of a failover that was begun, or begun again, and has not ended.
UNFINISHED = "unfinished"
STOPPED = "stopped: fenced"
TOLD_EVERY = timedelta(minutes=15)  # After which people are told again of what is still not settled
BEGINNING = 5.0  # Seconds in which a run that begins to attend writes that down


class Told(Document):
    """What people were told last of what is not settled for one primary, and when."""

    what: str  # tells the same from something new
    at: AwareDatetime
    text: str = ""
    # What else they were told recently, and when: what recurs soon is not new each time.
    earlier: Mapping[str, AwareDatetime] = {}


class Evaluation(Stored):
    """The one run that attends to the outages of a plan, and what people were told last."""

    run_id: str  # the run that attends to them now, or did last
    actor: str
    since: AwareDatetime
    resource: str = ""  # whose outage that is; empty where it only tells of something, or an earlier version wrote it
    told: Mapping[str, Told] = {}  # by primary; nothing for one for which all is settled


class EvaluatedElsewhere(GuardRefused):
    def __init__(self, plan: str, holder: Evaluation | None) -> None:
        self.since = holder.since if holder else None
        self.resource = holder.resource if holder else ""
        who = f"{holder.actor} (run {holder.run_id})" if holder else "another run"
        since = f" since {utc(holder.since)}" if holder else ""
        cause = f"{who[:1].upper()}{who[1:]} has been handling the outages of plan {plan}{since} and is still running"
        super().__init__(cause, f"See that run; standby status {plan} shows what serves")


def evaluation_path(plan: str) -> str:
    return f"recovery/{plan}/evaluation.json"


@dataclass
class Attendance:
    """The outages of a plan, which one run handles: the vault keeps other runs away, and one takes over if it dies."""

    context: RecoveryContext
    _file: HeldFile
    _last: Evaluation
    _is_ours: bool

    async def tell(self, primary: str, what: str, text: str, publish: Callable[[], None]) -> None:
        """Tell people that something is not settled for a primary: when it is new, and then from time to time."""
        now, last = self.context.clock.now(), self._last.told.get(primary)
        known = {**last.earlier, last.what: last.at} if last else {}
        lately = {each: at for each, at in known.items() if abs(now - at) < TOLD_EVERY}
        if what not in lately:
            publish()
            told = Told(what=what, at=now, text=text, earlier=lately)
            await self.note({**self._last.told, primary: told})

    async def settled(self, *primaries: str) -> None:
        """Note that nothing is unsettled any more, so that the next time counts as new."""
        if left := {name: told for name, told in self._last.told.items() if name in primaries}:
            await self.note({name: told for name, told in self._last.told.items() if name not in left})

    async def note(self, told: Mapping[str, Told]) -> None:
        """Write down who attends, and what people were told."""
        self._last = self._last.model_copy(update={"told": told})
        if not self._is_ours:
            return  # Nothing is overwritten that a newer version wrote.
        try:
            await self._file.write(self._last.model_dump_json(indent=1).encode())
        except VaultError as error:
            # It only prevents repetitions: without it people are told once more.
            log.warning("%s", error)


@asynccontextmanager
async def attending(context: RecoveryContext, resource: str = "") -> AsyncIterator[Attendance]:
    """Attend to the outages of a plan, or that of a resource, as the only run; if it dies, another one takes over."""
    plan = context.plan.name
    path = evaluation_path(plan)
    async with AsyncExitStack() as stack:
        try:
            file = await stack.enter_async_context(hold_file(context.vault, path, Held))
        except Held:
            holder, _ = _parsed(path, await context.vault.read(path))
            if holder is not None and context.clock.now() - holder.since >= TOO_LONG:
                # A run that has only just begun may not have written that down yet.
                await context.clock.sleep(BEGINNING)
                holder, _ = _parsed(path, await context.vault.read(path))
            raise EvaluatedElsewhere(plan, holder) from None
        before, is_ours = _parsed(file.where, file.found)
        since, told = context.clock.now(), before.told if before else {}
        present = Evaluation(run_id=context.run_id, actor=context.actor, since=since, resource=resource, told=told)
        attendance = Attendance(context, file, present, is_ours)
        await attendance.note(told)
        yield attendance


def _parsed(where: str, content: bytes | None) -> tuple[Evaluation | None, bool]:
    """Read what the vault has, and say whether it may be overwritten: it only spares repetitions."""
    try:
        return parse_stored(where, content or b"", Evaluation), True
    except FormatUnknown as error:
        log.warning("%s", error)
        return None, False
    except ValidationError:
        return None, True


async def read_told(storage: Storage, plan: str) -> Mapping[str, Told]:
    """Give what people were told of what is not settled, by primary; what cannot be read is nothing they were told."""
    path = evaluation_path(plan)
    found, _ = _parsed(storage.where(path), await storage.read(path))
    return found.told if found else {}


def since_then(told: Mapping[str, Told], fence: Fence | None, *, lost: bool) -> dict[str, Told]:
    """Leave out what people were told before something was done about it: what serves changed, or is about to.

    Fence and log are `lost` where they are not those that were written last.
    """

    def stands(primary: str, each: Told) -> bool:
        if not lost and Guard.FENCE in each.what.split(","):
            return False
        assignment = fence.assignments.get(primary) if fence else None
        if assignment is None:
            return True
        if each.what in {UNFINISHED, STOPPED} and assignment.phase is not Phase.SWITCHING:
            return False  # Where it was called off before anybody was told, what served has served since it did.
        if assignment.since is not None:
            return assignment.since <= each.at
        # A fence that was written again by what is still known does not say since when it is so.
        return assignment.active == primary and assignment.phase is Phase.STEADY

    return {name: each for name, each in told.items() if stands(name, each)}


async def all_is_settled(context: RecoveryContext) -> None:
    """Note that nothing of what people were told stands any more, unless another run attends."""
    if told := await read_told(context.vault, context.plan.name):
        with suppress(EvaluatedElsewhere):
            async with attending(context) as attendance:
                await attendance.settled(*told)
