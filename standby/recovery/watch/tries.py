"""One question, asked a few times within a time limit: a lost packet is no outage.

A second try does not wait for the first to fail: one that hangs is overtaken, and the answer that comes first
counts. So an answer may take the whole limit, and a connection that died costs a part of it only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from standby.clock import Clock
from standby.recovery.watch.meaning import Meaning, meaning_of
from standby.recovery.watch.observation import Check
from standby.service.errors import ServiceError

Question = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Limits:
    """How patient a probe is.

    Attributes:
        seconds: for each check, all its tries together.
        tries: how often it is asked at most.
        pause: seconds between a failure and the next try.
    """

    seconds: float = 6.0
    tries: int = 2
    pause: float = 0.5


async def check(name: str, question: Question, limits: Limits, clock: Clock) -> Check:
    """Ask until the service answers, also with a refusal, or its time or the tries are over.

    Args:
        name: of the check.
        question: asks once; its errors are the service's.
        limits: how long and how often.
        clock: measures.
    """
    begun = clock.monotonic()
    asking = _Asking(question, limits)
    try:
        async with asyncio.timeout(limits.seconds):
            meaning = await asking.settle()
    except TimeoutError:
        meaning = asking.failure or Meaning(False, f"no answer within {limits.seconds:g} s", "Timeout")
    finally:
        await asking.end()
    return Check(
        name=name,
        ok=meaning.ok,
        detail=meaning.detail,
        seconds=max(0.0, clock.monotonic() - begun),
        tries=asking.tried,
        code=meaning.code,
    )


class _Asking:
    def __init__(self, question: Question, limits: Limits) -> None:
        self.tried = 0
        self.failure: Meaning | None = None
        self._question = question
        self._limits = limits
        self._pending: set[asyncio.Task[Meaning]] = set()

    async def settle(self) -> Meaning:
        """Give the first meaning that is no failure, or the last failure."""
        patience = self._limits.seconds / self._limits.tries
        while True:
            if self.tried < self._limits.tries:
                self.tried += 1
                self._pending.add(asyncio.create_task(self._ask()))
            may_ask_again = self.tried < self._limits.tries
            found = await self._next(patience if may_ask_again else None)
            if found is None:
                continue
            if found.ok is not False:
                return found
            self.failure = found
            if may_ask_again:
                await asyncio.sleep(self._limits.pause)
            elif not self._pending:
                return found

    async def _next(self, patience: float | None) -> Meaning | None:
        done, self._pending = await asyncio.wait(
            self._pending, timeout=patience, return_when=asyncio.FIRST_COMPLETED
        )
        meanings = [task.result() for task in done]
        return next((found for found in meanings if found.ok is not False), next(iter(meanings), None))

    async def _ask(self) -> Meaning:
        try:
            await self._question()
        except ServiceError as error:
            return meaning_of(error)
        return Meaning(True, "answers", "")

    async def end(self) -> None:
        """Leave no try behind."""
        for task in self._pending:
            task.cancel()
        if self._pending:
            await asyncio.wait(self._pending)
