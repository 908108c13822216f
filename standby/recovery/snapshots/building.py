"""Builds one analyzer from its definition: sent once, watched, and read back."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from standby.document import JsonValue
from standby.recovery.context import RecoveryContext
from standby.recovery.snapshots.errors import RestoredDiffers, RestoredFailed, RestoreNotStarted
from standby.recovery.snapshots.fidelity import RestoreItem
from standby.recovery.snapshots.store import without_access
from standby.replication.direct import try_again
from standby.replication.errors import TargetAnalyzerGone, TargetAnalyzerNotReady
from standby.replication.fingerprint import fingerprint
from standby.replication.steps import SETTLING, is_transient, pace
from standby.service.errors import (
    AnalyzerNotFound,
    Conflict,
    NotConnected,
    OperationHung,
    ProtocolError,
    ServiceUnavailable,
    Unreachable,
    operation_failed,
)
from standby.service.models import Analyzer

log = logging.getLogger("standby.recovery")


@dataclass(frozen=True)
class Begun:
    """A build that was begun.

    Attributes:
        operation_url: where to poll; `None` where it was found under way and its operation is unknown.
        at: when, in the clock's monotonic seconds.
        created_at: of what is being built, as the service says.
    """

    operation_url: str | None
    at: float
    created_at: datetime | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Builder:
    """Builds analyzers at one resource, each step tried again by the plan's policies.

    Attributes:
        tell: hears of each build which incarnation it is, as soon as it is begun and when it is verified.
    """

    context: RecoveryContext
    to: str
    tell: Callable[[RestoreItem, datetime | None], Awaitable[None]]

    async def build(self, item: RestoreItem, definition: Mapping[str, JsonValue]) -> tuple[str, ...]:
        """Bring an analyzer to where it is ready and is what the snapshot has.

        Returns:
            Warnings of the service.

        Raises:
            Conflict: somebody else's analyzer of this id is there by now; it is left alone.
            RestoreNotStarted: the answer was lost, and the target shows no sign of it.
            OperationFailed: the service gave it up.
            OperationHung: it did not end before the plan's deadline.
            RestoredFailed: it ended, and the target does not call it ready.
            RestoredDiffers: it is ready, and something else.
        """
        retries, clock = self.context.plan.retries, self.context.clock
        begun, _ = await try_again(retries.copy_, _send_again, lambda: self._send(item, definition), clock)
        await self.tell(item, begun.created_at)
        await try_again(retries.poll, is_transient, lambda: self._wait(item, begun), clock)
        verified, _ = await try_again(retries.verify, _verify_again, lambda: self._verify(item), clock)
        await self.tell(item, verified.created_at)
        return begun.warnings

    async def look_again(self, item: RestoreItem) -> None:
        """Tell of a build that was interrupted, where the target has it."""
        there = await self._find(item)
        if there is not None and self._is_ours(item, there):
            await self.tell(item, there.created_at)

    async def _send(self, item: RestoreItem, definition: Mapping[str, JsonValue]) -> Begun:
        client, clock = self.context.connections[self.to], self.context.clock
        try:
            started = await client.put_analyzer(item.target_analyzer, definition)
        except NotConnected:
            raise
        except (Unreachable, ServiceUnavailable, ProtocolError):
            # It may have been taken: the target says, and a second one would be refused or overwrite.
            for wait in SETTLING:
                await clock.sleep(wait)
                if (there := await self._find(item)) is not None and self._is_ours(item, there):
                    return Begun(None, clock.monotonic(), there.created_at)
            raise RestoreNotStarted(item.target_analyzer, self.to) from None
        except Conflict:
            if (there := await self._find(item)) is not None and self._is_ours(item, there):
                return Begun(None, clock.monotonic(), there.created_at)
            raise
        analyzer = started.analyzer
        return Begun(started.operation_url, clock.monotonic(), analyzer.created_at, analyzer.warnings)

    async def _wait(self, item: RestoreItem, begun: Begun) -> None:
        client = self.context.connections[self.to]
        url = begun.operation_url
        async for beat in pace(self.context.plan.deadlines, self.context.clock, begun.at):
            if url is None:
                if (await self._look(item)).status != "creating":
                    return
                continue
            try:
                answer = await client.poll(url, item.target_analyzer)
            except AnalyzerNotFound:
                log.warning("an operation on %s is no longer known; looking at it", item.target_analyzer)
                url = None
                continue
            beat.retry_after = answer.retry_after
            if answer.operation.status == "succeeded":
                return
            if answer.operation.done:
                raise operation_failed(answer.operation, resource=self.to, analyzer=item.target_analyzer)
        # The operation's word is not the last one: operations were seen stuck whose analyzer was ready.
        if (await self._look(item)).status != "ready":
            raise OperationHung(
                f"The build of {item.target_analyzer} at {self.to} did not end "
                f"within {self.context.plan.deadlines.poll:.0f} s",
                resource=self.to,
                analyzer=item.target_analyzer,
            )

    async def _verify(self, item: RestoreItem) -> Analyzer:
        analyzer = await self._look(item)
        if analyzer.status == "creating":
            raise TargetAnalyzerNotReady(item.target_analyzer, self.to)
        if analyzer.status != "ready":
            raise RestoredFailed(item.target_analyzer, self.to, analyzer.status)
        if self._meaning(analyzer) != item.fingerprint:
            raise RestoredDiffers(item.target_analyzer, self.to)
        return analyzer

    async def _find(self, item: RestoreItem) -> Analyzer | None:
        try:
            return await self.context.connections[self.to].get_analyzer(item.target_analyzer)
        except AnalyzerNotFound:
            return None

    async def _look(self, item: RestoreItem) -> Analyzer:
        found = await self._find(item)
        if found is None:
            raise TargetAnalyzerGone(item.target_analyzer, self.to)
        return found

    def _is_ours(self, item: RestoreItem, there: Analyzer) -> bool:
        """Say whether what the target holds may be this build; the verification has the last word on it."""
        return there.status == "creating" or self._meaning(there) == item.fingerprint

    def _meaning(self, analyzer: Analyzer) -> str:
        return fingerprint(without_access(analyzer.to_json()), self.context.plan.ignore)


def _send_again(error: BaseException) -> bool:
    return is_transient(error) or isinstance(error, RestoreNotStarted)


def _verify_again(error: BaseException) -> bool:
    return is_transient(error) or isinstance(error, TargetAnalyzerNotReady)
