"""The steps of one build from a definition: sent once, polled, and verified; each tried again by its policy."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from standby.document import JsonValue
from standby.recovery.context import RecoveryContext
from standby.recovery.snapshots.fidelity import RestoreItem
from standby.replication.engine import Receipt, is_transient, try_again
from standby.replication.errors import (
    CopyDiffers,
    CopyNotStarted,
    TargetAnalyzerFailed,
    TargetAnalyzerNotReady,
    TargetUnreadable,
)
from standby.replication.fingerprint import differences, is_filled_in
from standby.replication.pacing import Kind
from standby.replication.steps import ADOPTED, LATE, copy_again, find, make_room, must_find, settle, wait_for
from standby.replication.verdict import HOLDS_NOTHING, status_of
from standby.service.errors import Conflict, NotConnected, ProtocolError, ServiceUnavailable, Unreachable
from standby.service.models import Analyzer
from standby.text import some_of


@dataclass(frozen=True)
class BuildSteps:
    """The steps of builds at one resource; `definitions` are what is sent, by id there."""

    context: RecoveryContext
    to: str
    definitions: Mapping[str, Mapping[str, JsonValue]]

    async def send(self, item: RestoreItem) -> tuple[Receipt, datetime | None]:
        """Start the build, at most once.

        Raises:
            Conflict: somebody else's analyzer of this id is there by now; it is left alone.
            CopyNotStarted: the answer was lost, and the target shows no sign of it.
        """
        policy, clock = self.context.plan.retries.copy_, self.context.clock
        return await try_again(policy, copy_again, lambda: self._send(item), clock)

    async def poll(self, item: RestoreItem, receipt: Receipt) -> None:
        """Wait for the build's end; it ends as `wait_for` does."""
        what = f"The build of {item.target_analyzer} at {self.to}"
        policy, clock = self.context.plan.retries.poll, self.context.clock
        labelled = self.definitions[item.target_analyzer].get("knowledgeSources")
        known = self.context.run.experience.of("", self.to, Kind.LABELLED_BUILD if labelled else Kind.BUILD)
        wait = partial(wait_for, self.context.run, self.to, item.target_analyzer, receipt, what, known)
        await try_again(policy, is_transient, wait, clock)

    async def verify(self, item: RestoreItem) -> Analyzer:
        """Read the analyzer back, and compare it with what the snapshot has."""
        policy, clock = self.context.plan.retries.verify, self.context.clock
        return await try_again(policy, is_transient, lambda: self._verify(item), clock)

    async def find_begun(self, item: RestoreItem) -> Analyzer | None:
        """Find a build that was interrupted, where the target has it."""
        there = await find(self.context.run, self.to, item.target_analyzer)
        return there if there is not None and self._is_ours(item, there) else None

    async def _send(self, item: RestoreItem) -> tuple[Receipt, datetime | None]:
        may_replace = item.over_failed and await self._make_room(item)
        there_is, is_ours = (self.context.run, self.to, item.target_analyzer), partial(self._is_ours, item)
        try:
            client = self.context.connections[self.to]
            definition = self.definitions[item.target_analyzer]
            started = await client.put_analyzer(item.target_analyzer, definition, allow_replace=may_replace)
        except NotConnected:
            raise
        except (Unreachable, ServiceUnavailable, ProtocolError):
            # It may have been taken: the target says, and a second one would be refused or overwrite.
            there = await settle(*there_is, is_ours)
            if there is None:
                raise CopyNotStarted(item.target_analyzer, self.to) from None
        except Conflict:
            there = await find(*there_is)
            if there is None:
                there = await settle(*there_is, is_ours, LATE)
            if there is None or not is_ours(there):
                raise
        else:
            receipt = Receipt.of(started, self.context.clock.monotonic(), started.analyzer.warnings)
            return receipt, started.analyzer.created_at
        return replace(ADOPTED, begun=self.context.clock.monotonic()), there.created_at

    async def _make_room(self, item: RestoreItem) -> bool:
        """Save what failed, and say whether the build has to replace it; what became usable is left alone."""
        there = await find(self.context.run, self.to, item.target_analyzer)
        status = status_of(there, self.context.clock.now(), self.context.plan.deadlines.poll) if there else ""
        if there is None or status not in HOLDS_NOTHING:
            return False
        may_replace, _ = await make_room(self.context.run, self.to, there)
        return may_replace

    async def _verify(self, item: RestoreItem) -> Analyzer:
        there_is = self.context.run, self.to, item.target_analyzer
        analyzer = await must_find(*there_is, lambda there: there.status != "creating")
        if analyzer.status == "creating":
            raise TargetAnalyzerNotReady(item.target_analyzer, self.to)
        if analyzer.wrong:
            raise TargetUnreadable(item.target_analyzer, self.to, analyzer.wrong)
        if analyzer.status != "ready":
            raise TargetAnalyzerFailed(item.target_analyzer, self.to, analyzer.status)
        if not self._is_as_sent(item, analyzer):
            sent, ignore = self.definitions[item.target_analyzer], self.context.plan.ignore
            paths = [each.path for each in differences(sent, analyzer.definition(), ignore)]
            raise CopyDiffers(item.target_analyzer, self.to, some_of(paths, 5))
        return analyzer

    def _is_ours(self, item: RestoreItem, there: Analyzer) -> bool:
        """Say whether what the target holds may be this build; the verification has the last word on it."""
        return there.status == "creating" or self._is_as_sent(item, there)

    def _is_as_sent(self, item: RestoreItem, there: Analyzer) -> bool:
        sent, ignore = self.definitions[item.target_analyzer], self.context.plan.ignore
        return is_filled_in(sent, there.definition(), ignore, as_copied=True)
