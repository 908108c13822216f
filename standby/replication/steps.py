"""The steps of one copy, as plain functions: what Prefect's tasks call, and what runs without Prefect."""

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar

from standby.clock import Clock, SystemClock
from standby.config.plan import RecoveryPlan, RetryPolicy
from standby.config.resource import PREVIEW_2025
from standby.fencing import OtherPlans, read_other_plans
from standby.replication import errors
from standby.replication.engine import Receipt, is_transient, try_again
from standby.replication.fingerprint import comparison, fingerprint, same_meaning, without_access
from standby.replication.inventory import Connections, meaning_of, sight_as_it_is
from standby.replication.items import PlanItem
from standby.replication.ledger import Ledger, read_ledger, write_ledger
from standby.replication.needs import judge_models
from standby.replication.pacing import Experience, Kind, Known, looks, questions
from standby.replication.trained import note_begun, note_rebuilt
from standby.replication.verdict import STUCK, UNFINISHED, Action, Sighting, expected_definition, sight, with_overrides
from standby.service.errors import (
    AnalyzerNotFound,
    Conflict,
    CopyOutcomeUnknown,
    GrantVoid,
    OperationHung,
    ServiceError,
    operation_failed,
)
from standby.service.models import Analyzer
from standby.service.protocols import CopyAuthorization, protocol_for
from standby.text import some_of, utc
from standby.vault.storage import Storage

log = logging.getLogger("standby.replication")
P = ParamSpec("P")
T = TypeVar("T")


OTHER_PLANS_SECONDS = 2.0  # After which the fences of other plans are read again: many copies begin in a second


@dataclass
class OtherPlansNow:
    """What serves for other plans, as it was read a moment ago: from which vault, and when."""

    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    known: tuple[Storage, OtherPlans, float] | None = None


@dataclass(frozen=True)
class RunContext:
    """Everything a step needs beside the item; outside a failover there is no `failover_run`."""

    recovery_plan: RecoveryPlan
    connections: Connections
    vault: Storage
    clock: Clock = field(default_factory=SystemClock)
    failover_run: str = ""
    # The highest that any record or sink knew when the run began.
    known_epoch: int = 0
    experience: Experience = field(default_factory=Experience, repr=False)
    _others: OtherPlansNow = field(default_factory=OtherPlansNow, repr=False)

    async def other_plans(self, *, fresh: bool = False) -> OtherPlans:
        """Give what serves for other plans; unless it is to be `fresh`, as it was a moment ago."""
        async with self._others.reading:
            known, now = self._others.known, self.clock.monotonic()
            if fresh or known is None or known[0] is not self.vault or now - known[2] > OTHER_PLANS_SECONDS:
                known = (self.vault, await read_other_plans(self.vault, self.recovery_plan.name), now)
                self._others.known = known
            return known[1]

    def api_version(self, source: str) -> str:
        """Give that of a pair, which has the same one at both ends: a copy needs that."""
        return self.connections[source].resource.api_version

    async def read_ledger(self, source: str, target: str) -> Ledger:
        return await read_ledger(self.vault, source, target, self.api_version(source))

    def write_ledger(self, source: str, target: str) -> AbstractAsyncContextManager[Ledger]:
        return write_ledger(self.vault, source, target, self.api_version(source))


async def make_room(context: RunContext, target: str, there: Analyzer) -> tuple[bool, str]:
    """Save what is overwritten, delete it where that must be; give whether to ask to replace, and where it is saved."""
    # As in a snapshot, it is without signatures that would give access to labelled data.
    name, moment = there.analyzer_id, f"{context.clock.now():%Y%m%dT%H%M%S.%fZ}"
    path = f"replaced/{target}/{name}/{moment}.json"
    text = json.dumps(without_access(there.definition()), indent=1, ensure_ascii=False)
    await context.vault.write(path, text.encode())
    saved = f"The analyzer {name} that {target} had before is saved in {context.vault.where(path)}."
    log.info("%s", saved)
    can_replace = context.connections[target].resource.api_version != PREVIEW_2025
    if not can_replace:
        await context.connections[target].delete_analyzer(there.analyzer_id)
    return can_replace, saved


def copy_again(error: BaseException) -> bool:
    """A copy is asked for again only when it is known not to have started."""
    return is_transient(error) or isinstance(error, errors.CopyNotStarted)


GRANT_MARGIN = timedelta(minutes=5)  # A grant that ends sooner than this is not used
SETTLING = 4.0  # Seconds for which a target is looked at after a lost answer, where it would refuse a second copy
LATE = 45.0  # Seconds by which a target may be late to show what it has: a copy, or that it is ready
ADOPTED = Receipt(operation_url=None, operation_id="", attempts=0)  # A copy that was there or under way already


@dataclass(frozen=True)
class Verified:
    source: Sighting
    target: Sighting
    warnings: tuple[str, ...] = ()


async def add_defaults(context: RunContext, target: str, additions: Mapping[str, str]) -> None:
    """Add model names to a target's defaults; names that are there by now are left alone."""
    context.connections.forget_serving(target)
    serving = await context.connections.serving(target)
    absent = {name: to for name, to in additions.items() if name not in (serving.defaults or {})}
    if absent and not serving.unread:
        await context.connections[target].patch_defaults(absent)
        context.connections.forget_serving(target)


async def authorize(context: RunContext, item: PlanItem) -> CopyAuthorization:
    """Ask the source to let this target copy this analyzer; `GrantVoid` where the grant would end too soon."""
    source = context.connections[item.source]
    target = context.connections[item.target].resource
    authorization = await protocol_for(source.resource, target).authorize(
        source, item.analyzer, target, item.target_analyzer, encryption=context.recovery_plan.encryption
    )
    expires_at = authorization.expires_at
    if expires_at is not None and expires_at <= context.clock.now() + GRANT_MARGIN:
        raise GrantVoid(
            f"The grant for {item.analyzer} ends at {utc(expires_at)}, too soon to be used",
            "Check the clock of this machine, which standby doctor compares with the service's; then run again",
            resource=item.source,
            analyzer=item.analyzer,
        )
    return authorization


async def validate_deployments(context: RunContext, item: PlanItem) -> tuple[str, ...]:
    """Check that the target can serve every model of the analyzer; warn of another one, or one the plan ignores."""
    source, target = await context.connections.serving(item.source), await context.connections.serving(item.target)
    overrides, missing = context.recovery_plan.overrides(item.target), context.recovery_plan.missing_defaults
    judged = judge_models(item.models, source, target, overrides, missing)
    if judged.errors:
        context.connections.forget_serving(item.target)
        raise errors.ModelsNotServed(judged.errors)
    return judged.warnings


async def copy(context: RunContext, item: PlanItem, authorization: CopyAuthorization) -> Receipt:
    """Start the copy at the target, at most once.

    A lost answer, or a conflict, is resolved by looking at the target: a copy that is there is adopted.

    Raises:
        CopyNotStarted: the answer was lost and the target shows no sign of the copy; safe to ask again, as it would
            be refused if it was begun.
        MayBeUnderWay: the answer was lost, and what was asked for would be done twice if it was asked for again.
        TargetMoved: what is to be replaced is not what the plan was made from.
        VaultUnavailable: what is to be replaced could not be saved, so it is not replaced.
        ActiveElsewhere: by now the analyzer serves elsewhere for another plan.
    """
    others = await context.other_plans()
    if (against := others.against_copy(item.source, item.target, item.analyzer, item.target_analyzer)) is not None:
        raise against
    target = context.connections[item.target]
    protocol = protocol_for(context.connections[item.source].resource, target.resource)
    replaced: tuple[str, ...] = ()
    may_replace = False
    if item.action is Action.REPLACE and (there := await find(context, item.target, item.target_analyzer)) is not None:
        if not _is_as_found(context, item, there):
            if _is_ours(context, item, there):
                return ADOPTED
            raise errors.TargetMoved(item.target_analyzer, item.target)
        may_replace, saved = await make_room(context, item.target, there)
        replaced = (saved,)
    if item.expected.trained and item.source != item.target:
        await note_begun(context.vault, target.resource.api_version, item, context.clock.now())
    there_is, is_ours = (context, item.target, item.target_analyzer), partial(_is_ours, context, item)
    try:
        started = await protocol.copy(
            target, authorization, overrides=context.recovery_plan.overrides(item.target), allow_replace=may_replace
        )
    except CopyOutcomeUnknown:
        if not await settle(*there_is, is_ours, LATE if may_replace else SETTLING):
            kind = errors.MayBeUnderWay if may_replace else errors.CopyNotStarted
            raise kind(item.target_analyzer, item.target) from None
    except Conflict:
        # There is one: what is not shown, or shown as it was, may be ours that shows late.
        there = await find(*there_is)
        if there is None or _is_as_found(context, item, there):
            there = await settle(*there_is, is_ours, LATE)
        if there is None or not is_ours(there):
            raise
    else:
        return Receipt.of(started, context.clock.monotonic(), replaced + started.warnings)
    return replace(ADOPTED, attempts=1, warnings=replaced, begun=context.clock.monotonic())


async def poll(context: RunContext, item: PlanItem, receipt: Receipt) -> Analyzer | None:
    """Wait until the service has finished a copy; it ends as `wait_for` does."""
    what = f"The copy of {item.analyzer} to {item.target}"
    known = context.experience.of(item.source, item.target, Kind.of_copy(trained=item.expected.trained))
    return await wait_for(context, item.target, item.target_analyzer, receipt, what, known)


async def wait_for(
    context: RunContext, target: str, analyzer: str, receipt: Receipt, what: str, known: Known
) -> Analyzer | None:
    """Wait until the service has finished what it was asked to make, and give that where the last answer shows it."""
    client, url, clock = context.connections[target], receipt.operation_url, context.clock
    begun = clock.monotonic() if receipt.begun is None else receipt.begun
    at_once, deadlines = receipt.ready or url is None, context.recovery_plan.deadlines
    async for beat in questions(known, deadlines, clock, begun, at_once=at_once):
        if url is None:
            there = await must_find(context, target, analyzer)
            if there.status != "creating":
                return _usable(there, analyzer)
            continue
        try:
            answer = await client.poll(url, analyzer)
        except AnalyzerNotFound:
            log.warning("the operation on %s at %s is gone; the analyzer itself is checked instead", analyzer, target)
            url = None
            continue
        beat.retry_after = answer.retry_after
        if answer.operation.status == "succeeded":
            known.learn_from(beat, clock.monotonic() - begun)
            return _usable(answer.operation.result, analyzer)
        if answer.operation.done:
            raise operation_failed(answer.operation, resource=target, analyzer=analyzer)
    # The operation's word is not the last one: operations were seen stuck whose analyzer was ready.
    there = await must_find(context, target, analyzer)
    if there.status != "ready":
        raise OperationHung(f"{what} did not end within {deadlines.poll:.0f} s", resource=target, analyzer=analyzer)
    return _usable(there, analyzer)


def _usable(there: Analyzer | None, analyzer: str) -> Analyzer | None:
    """Give what was made as an operation shows it, which is how it is read (recording of GrantCopyAuth), if `ready`."""
    if there is None or (there.analyzer_id, there.status) != (analyzer, "ready"):
        return None
    return there if there.created_at and there.last_modified_at else None


async def verify(context: RunContext, item: PlanItem, found: Analyzer | None = None) -> Verified:
    """Compare a copy with what was to be copied: as polling `found` it, or else as the target shows it."""
    # An analyzer that was edited at the source after the plan was made is compared with what it is now.
    ignore = context.recovery_plan.ignore
    # What is new to the target needs no second look. What was replaced does: the former one may be shown for a while.
    analyzer = found if item.action is not Action.REPLACE else None
    if analyzer is None or not _is_as_planned(context, item, analyzer):
        analyzer = await must_find(context, item.target, item.target_analyzer, partial(_is_shown, context, item))
    must_be_ready(analyzer, item.target)
    target = sight_as_it_is(analyzer, meaning_of(analyzer, ignore))
    if item.expected.rebuilt:
        await note_rebuilt(context.vault, item, analyzer)
    if _is_as_planned(context, item, analyzer):
        return Verified(source=replace(item.expected, fingerprint=target.fingerprint), target=target)
    edited = await context.connections[item.source].get_analyzer(item.analyzer)
    resource, overrides = context.connections[item.target].resource, context.recovery_plan.overrides(item.target)
    definition = expected_definition(edited.definition(), resource, overrides, analyzer.definition())
    source = replace(sight(edited, definition, ignore), rebuilt=item.expected.rebuilt)
    warnings = ("It was edited at the source during the run; the edit was copied.",)
    if not same_meaning(target.fingerprint, source.fingerprint):
        compared = comparison(definition, analyzer.definition(), ignore)
        places = some_of((each.path for each in compared.differences()), 5)
        if not compared.is_filled_in(as_copied=True):
            raise errors.CopyDiffers(item.target_analyzer, item.target, places)
        warnings = (f"{item.target} filled in {places} by itself, which {item.source} does not have.",)
    return Verified(source, target, warnings)


def must_be_ready(made: Analyzer, target: str) -> None:
    """Refuse what was made at a target and cannot be used there."""
    if made.status == "creating":
        raise errors.TargetAnalyzerNotReady(made.analyzer_id, target)
    if made.wrong:
        raise errors.TargetUnreadable(made.analyzer_id, target, made.wrong)
    if made.status != "ready":
        raise errors.TargetAnalyzerFailed(made.analyzer_id, target, made.status)


async def find(context: RunContext, target: str, analyzer: str) -> Analyzer | None:
    try:
        return await context.connections[target].get_analyzer(analyzer)
    except AnalyzerNotFound:
        return None


async def must_find(
    context: RunContext, target: str, analyzer: str, is_shown: Callable[[Analyzer], bool] = lambda _: True
) -> Analyzer:
    """Read an analyzer that should be there by now; `TargetAnalyzerGone` where it is not shown for long."""
    found: Analyzer | None = None
    async for _ in looks(min(LATE, context.recovery_plan.deadlines.poll), context.clock):
        found = await find(context, target, analyzer)
        if found is not None and is_shown(found):
            return found
    if found is None:
        raise errors.TargetAnalyzerGone(analyzer, target)
    return found


async def settle(
    context: RunContext, target: str, analyzer: str, is_ours: Callable[[Analyzer], bool], seconds: float = SETTLING
) -> Analyzer | None:
    """Find what was asked for, its answer lost; `None` if it is not shown, `MayBeUnderWay` if nothing can be seen."""
    begun, seen = context.clock.monotonic(), False
    async for _ in looks(LATE, context.clock):
        try:
            there = await find(context, target, analyzer)
        except ServiceError as error:
            log.warning("it is unknown whether %s is at %s: %s", analyzer, target, error)
            seen = False
            continue
        seen = True
        if there is not None and is_ours(there):
            return there
        if context.clock.monotonic() - begun >= seconds:
            return None
    if not seen:
        raise errors.MayBeUnderWay(analyzer, target)
    return None


def _is_shown(context: RunContext, item: PlanItem, there: Analyzer) -> bool:
    is_old = item.action is Action.REPLACE and _is_as_found(context, item, there)
    return there.status != "creating" and not is_old


def _is_ours(context: RunContext, item: PlanItem, there: Analyzer) -> bool:
    """Say whether what the target holds may be our copy; `verify` has the last word on it."""
    if there.status == "creating":
        # What was stuck before is nobody's.
        return not (item.over_nothing and _is_as_found(context, item, there))
    return _is_as_planned(context, item, there) and not _is_as_found(context, item, there)


def _is_as_planned(context: RunContext, item: PlanItem, there: Analyzer) -> bool:
    """Say whether it has the definition that was to be copied, whichever way it shows overridden deployments."""
    ignore, overrides = context.recovery_plan.ignore, context.recovery_plan.overrides(item.target)
    seen = meaning_of(there, ignore).fingerprint
    if context.connections[item.target].resource.api_version == PREVIEW_2025 and item.models:
        seen = fingerprint(with_overrides(there.definition(), overrides, dict(item.models)), ignore)
    return same_meaning(seen, item.expected.fingerprint)


def _is_as_found(context: RunContext, item: PlanItem, there: Analyzer) -> bool:
    """Say whether what the target holds is still what the plan was made from."""
    if item.found is None:
        return False
    if item.found.status == UNFINISHED and there.status == "ready" and _is_as_planned(context, item, there):
        return False
    if item.found.status in {"failed", STUCK} and there.status not in {"failed", "creating"}:
        return False
    dates = (there.created_at, there.last_modified_at)
    seen = meaning_of(there, context.recovery_plan.ignore).fingerprint
    return dates == (item.found.created_at, item.found.changed_at) and same_meaning(seen, item.found.fingerprint)


class DirectSteps:
    """The steps without Prefect, each tried again by the plan's policy for it."""

    def __init__(self, context: RunContext) -> None:
        self.context, retries = context, context.recovery_plan.retries
        self.add_defaults = _again(context, add_defaults, retries.validate_deployments)
        self.authorize = _again(context, authorize, retries.authorize)
        self.validate_deployments = _again(context, validate_deployments, retries.validate_deployments)
        self.poll = _again(context, poll, retries.poll)
        self.verify = _again(context, verify, retries.verify)

    async def copy(self, item: PlanItem, authorization: CopyAuthorization) -> Receipt:
        asked = 0

        async def ask() -> Receipt:
            nonlocal asked
            asked += 1
            return await copy(self.context, item, authorization)

        receipt = await try_again(self.context.recovery_plan.retries.copy_, copy_again, ask, self.context.clock)
        return replace(receipt, attempts=asked)

    async def shown(self, target: str) -> dict[str, datetime | None]:
        return {each.analyzer_id: each.created_at for each in await self.context.connections[target].list_readable()}

    async def note_begun(self, item: PlanItem, begun_at: datetime) -> None:
        await note_begun(self.context.vault, self.context.api_version(item.source), item, begun_at)


def _again(
    context: RunContext, step: Callable[Concatenate[RunContext, P], Coroutine[Any, Any, T]], policy: RetryPolicy
) -> Callable[P, Coroutine[Any, Any, T]]:
    async def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return await try_again(policy, is_transient, lambda: step(context, *args, **kwargs), context.clock)

    return run
