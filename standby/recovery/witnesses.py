"""The witnesses of a plan's fence and audit log: whatever else knows an epoch of the plan, or a line of its log.

Missing is not empty. A fence that is gone looks like that of a plan which never failed over, and an older copy of one
like that of a plan which has not failed over since; a log that is gone with its head looks like a new one. What they
were is known by other records and by the sinks. Where one of these knows more, nothing is done that would rely on what
is lost, unless an operator goes on by what is still known: `settle`.
"""

import logging
from collections.abc import Awaitable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from standby import fencing
from standby.concurrency import all_of, side_by_side
from standby.document import JsonValue
from standby.errors import GuardRefused, StandbyError, sentence
from standby.fencing import Assignment, Fence, FenceUnreadable, LastFailover, Phase
from standby.recovery.activation.sinks import ActivationSink, read_sink
from standby.recovery.audit import HOW_TO_GO_ON, AuditAction, AuditCheck, record_action, record_forced, verify_audit
from standby.recovery.chain import AuditLine, head_path, lacking, plain_text
from standby.recovery.context import Known, RecoveryContext
from standby.recovery.snapshots.catalog import index_path, manifest_path, taken
from standby.recovery.snapshots.manifest import Manifest, parse_index
from standby.replication.ledger import read_epochs
from standby.text import some_of
from standby.vault.documents import parse_stored, read_document
from standby.vault.errors import Changed, VaultError
from standby.vault.signing import LogMark

log = logging.getLogger("standby.recovery")


@dataclass(frozen=True)
class Witness:
    """What one record or sink knows of a plan."""

    name: str
    epoch: int  # the highest that it knows
    serving: Mapping[str, Assignment] = field(default_factory=dict)  # what serves, by primary, as far as it says
    log: LogMark | None = None  # the newest line of the audit log that it knows
    is_sink: bool = False


@dataclass(frozen=True)
class Evidence:
    """The fence and the log as they are, and what else knows of them."""

    plan: str
    primaries: tuple[str, ...]
    fence: Fence | None  # as it is stored; `None` where there is none, or an empty file
    where: str  # the fence is, for people
    witnesses: tuple[Witness, ...]
    emptied: bool = False  # whether its file is there, and empty
    audit: AuditCheck | None = None  # the log; `None` where it cannot be read
    listed: frozenset[str] | None = None  # the snapshots that the vault's list has; `None` where it cannot be read
    unread: tuple[str, ...] = ()  # what may know something and cannot be read, a sentence each without its full stop

    @property
    def epoch(self) -> int:
        return max([self.fence.epoch if self.fence else 0, *(witness.epoch for witness in self.witnesses)])

    @property
    def newest_line(self) -> LogMark | None:
        marks = (self.fence.log if self.fence else None, *(witness.log for witness in self.witnesses))
        return max(filter(None, marks), key=lambda mark: mark.sequence, default=None)


@dataclass(frozen=True)
class Finding:
    """Whether fence and log are those that were written last."""

    evidence: Evidence
    # What is wrong with the fence, as a sentence without its full stop; empty where nothing is known to be.
    fence: str = ""
    log: str = ""  # the same of the audit log
    snapshots: str = ""  # the same of the list of snapshots, which prevents a restore only

    @property
    def problem(self) -> str:
        """What is wrong, as a sentence or two without the last full stop; empty where nothing is."""
        return ". ".join(each for each in (self.fence, self.log) if each)

    @property
    def next_action(self) -> str:
        return HOW_TO_GO_ON if self.problem else ""

    @property
    def how_to_list_again(self) -> str:
        """What to do about the list of snapshots; empty where nothing is known to be wrong with it."""
        plan = self.evidence.plan
        action = f"Run standby snapshot {plan}, which lists it again by its manifest; see standby snapshots {plan}"
        return action if self.snapshots else ""

    @property
    def known(self) -> Known:
        believed = serving_of(self.evidence) if self.fence else {}
        return Known(self.evidence.newest_line, self.problem, {name: found for name, (found, _) in believed.items()})

    def to_json(self) -> dict[str, JsonValue]:
        stored = self.evidence.fence
        return {
            "epoch": stored.epoch if stored else None,
            "known_epoch": self.evidence.epoch,
            "witnesses": {witness.name: witness.epoch for witness in self.evidence.witnesses},
            "snapshots": sentence(self.snapshots) if self.snapshots else "",
            "unread": list(self.evidence.unread),
            "problem": sentence(self.problem) if self.problem else "",
            "next_action": self.next_action,
        }


def judge(evidence: Evidence) -> Finding:
    """Say whether any witness knows more than the fence and the log: the same evidence, the same finding."""
    return Finding(evidence, _wrong_with_fence(evidence), _wrong_with_log(evidence), _wrong_with_list(evidence))


def _wrong_with_fence(evidence: Evidence) -> str:
    fence, where, plan = evidence.fence, evidence.where, evidence.plan
    stored = fence.epoch if fence else 0
    more = [witness for witness in evidence.witnesses if witness.epoch > stored]
    if more:
        known = f"{', '.join(f'{witness.name} (epoch {witness.epoch})' for witness in more)} records a later failover"
        if fence is None:
            state = "empty" if evidence.emptied else "missing"
            return f"{where}, which says what serves for plan {plan}, is {state}, but {known}"
        return f"{where} is an older copy (epoch {fence.epoch}): {known}"
    if evidence.emptied:
        return f"{where}, which says what serves for plan {plan}, is empty"
    sinks = [witness.name for witness in evidence.witnesses if witness.is_sink]
    if fence is None and sinks and len(sinks) == len(evidence.witnesses) and not evidence.unread:
        return f"{where} and all other records of plan {plan} are missing, but {', '.join(sinks)} has its active map"
    return ""


def _wrong_with_log(evidence: Evidence) -> str:
    if evidence.audit is None:
        return ""
    if evidence.audit.breaks:
        broken = evidence.audit.breaks[0]
        return broken if broken.startswith(evidence.audit.where) else f"{evidence.audit.where}: {broken}"
    lines = evidence.audit.lines
    mark = evidence.newest_line
    lost = lacking(mark, lines) if mark else ""
    # Records of earlier versions have no mark. One snapshot, or a failover that has not ended, may be the very first:
    # a run may have died before its line.
    fence = evidence.fence
    failed_over = fence is not None and fence.epoch > 0 and not fence.is_under_way
    if not lines and not lost and (failed_over or len(evidence.listed or ()) > 1):
        lost = "is gone, but other records say that it had lines"
    return f"{evidence.audit.where} {lost}" if lost else ""


def _wrong_with_list(evidence: Evidence) -> str:
    if evidence.audit is None or evidence.listed is None:
        return ""
    lost = [snapshot for snapshot in taken(evidence.audit.lines) if snapshot not in evidence.listed]
    return f"The list of snapshots lacks {some_of(lost)}, which the audit log says was taken" if lost else ""


def serving_of(evidence: Evidence) -> dict[str, tuple[Assignment, str]]:
    """Give what serves for each primary by the witness that knows most, with its name; none that no witness knows."""
    # An assignment that may still be rolled back is believed of an intact log only.
    fence = evidence.fence
    own = [Witness(evidence.where, fence.epoch, fence.assignments)] if fence else []
    found: dict[str, tuple[Assignment, str]] = {}
    for witness in sorted([*evidence.witnesses, *own], key=lambda each: each.epoch, reverse=True):
        for primary, assignment in witness.serving.items():
            if primary in evidence.primaries:
                found.setdefault(primary, (assignment, witness.name))
    return found


async def look(context: RecoveryContext) -> Finding:
    """Compare the fence and the audit log of a plan with everything else that knows of them; nothing is changed."""
    finding = judge(await collect(context))
    while finding.problem:
        # Another run may have written what was read too early.
        again = judge(await collect(context))
        if again.problem == finding.problem:
            return again
        finding = again
    return finding


async def collect(context: RecoveryContext) -> Evidence:
    # All at once: a vault that does not answer is given up once, and what was written meanwhile is seen by `look`.
    vault, plan = context.vault, context.plan.name
    asked = _Asked()
    async with side_by_side() as group:
        for sink in context.sinks:
            group.create_task(asked.add(sink.name, _of_sink(sink, plan)))
        group.create_task(asked.add(vault.where(fencing.switch_path(plan)), _of_switch(context)))
        group.create_task(asked.add(vault.where(index_path(plan)), _of_snapshot(context, asked)))
        verified = group.create_task(asked.verified(context))
        stored = group.create_task(fencing.read_stored_fence(vault, plan))
    audit, fence = verified.result(), stored.result()
    emptied = fence is None and await vault.read(fencing.fence_path(plan)) is not None
    if fence is None or audit is None or not audit.lines:
        # The last ones that may know: they are spared the calls where the log can be asked.
        pairs = sorted({(pair.source, target) for pair in context.plan.pairs for target in pair.targets})
        await all_of(
            asked.add(f"the ledger of {one} and {other}", _of_ledger(context, one, other)) for one, other in pairs
        )
    return Evidence(
        plan=plan,
        primaries=tuple(dict.fromkeys(pair.source for pair in context.plan.pairs)),
        fence=fence,
        emptied=emptied,
        where=vault.where(fencing.fence_path(plan)),
        witnesses=(*_of_log(context, audit), *sorted(asked.found, key=lambda witness: (witness.is_sink, witness.name))),
        audit=audit,
        listed=asked.listed,
        unread=tuple(sorted(asked.unread)),
    )


@dataclass
class _Asked:
    """What witnesses said so far; one that cannot be read does not affect the others."""

    found: list[Witness] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    listed: frozenset[str] | None = None

    async def add(self, name: str, answer: Awaitable[Witness | None]) -> None:
        try:
            witness = await answer
        except StandbyError as error:
            self.unread.append(f"{name} could not be read: {error.cause}")
        else:
            self.found += [witness] if witness else []

    async def verified(self, context: RecoveryContext) -> AuditCheck | None:
        try:
            return await verify_audit(context.vault, context.plan.name, context.signer, context.log_end)
        except VaultError as error:
            self.unread.append(error.cause)
            return None


async def _of_sink(sink: ActivationSink, plan: str) -> Witness | None:
    published = await read_sink(sink, plan)
    if published is None:
        return None
    serving = {primary: Assignment(active=name) for primary, name in published.serving.items() if name}
    return Witness(sink.name, published.epoch, serving, is_sink=True)


class _Unreadable(StandbyError):
    def __init__(self, where: str, reason: str) -> None:
        super().__init__(reason, f"Put {where} back as it was")


async def _of_switch(context: RecoveryContext) -> Witness | None:
    path = fencing.switch_path(context.plan.name)
    record = await read_document(context.vault, path, LastFailover, _Unreadable)
    if record is None:
        return None
    # It is written before the fence is: until that was seen, it is what was to be.
    begun = record.ended or record.fenced is True
    serving = Assignment(active=record.to) if record.ended else record.before
    if begun and not record.ended:
        serving = serving.model_copy(update={"phase": Phase.SWITCHING, "target": record.to})
    epoch = record.epoch if begun else record.epoch - 1
    return Witness(context.vault.where(path), epoch, {record.primary: serving}, record.log)


async def _of_snapshot(context: RecoveryContext, asked: _Asked) -> Witness | None:
    """Ask the newest snapshot that is listed."""
    vault, plan = context.vault, context.plan.name
    index = parse_index(vault.where(index_path(plan)), await vault.read(index_path(plan)))
    asked.listed = frozenset(entry.id for entry in index.entries)
    if not index.entries:
        return None
    path = manifest_path(plan, index.entries[-1].id)
    content = await vault.read(path)
    try:
        manifest = parse_stored(vault.where(path), content or b"", Manifest)
    except ValidationError:
        raise _Unreadable(vault.where(path), f"{vault.where(path)} is missing or damaged") from None
    parts = manifest.resources.items()
    serving = {primary: Assignment(active=name) for name, part in parts for primary in part.primaries}
    return Witness(vault.where(path), manifest.epoch, serving, manifest.log)


async def _of_ledger(context: RecoveryContext, source: str, target: str) -> Witness | None:
    version = context.configuration.resource(source).api_version if context.connections.clients else ""
    ledger = await read_epochs(context.vault, source, target, version)
    return None if ledger.missing else Witness(ledger.where, ledger.epochs.get(context.plan.name, 0))


def _of_log(context: RecoveryContext, audit: AuditCheck | None) -> Iterator[Witness]:
    if audit is None:
        return
    if audit.head is not None:
        where = context.vault.where(head_path(context.plan.name))
        yield Witness(where, audit.head.epoch or 0, log=audit.head.mark)
    if audit.lines:
        epoch = max((line.epoch for line in audit.lines if line.epoch is not None), default=0)
        serving = dict(_by_log(audit.lines, whole=not audit.breaks))
        yield Witness(audit.where, epoch, serving, audit.lines[-1].mark)


def _by_log(lines: Sequence[AuditLine], *, whole: bool) -> Iterator[tuple[str, Assignment]]:
    """Give what serves by the log, the last word of each primary last."""
    for line in lines:
        primary, to, before = (str(line.facts.get(name, "")) for name in ("home", "to", "from"))
        match line.action:
            case AuditAction.FENCED:
                yield primary, Assignment(active=before, phase=Phase.SWITCHING, target=to, run_id=line.run_id)
            case AuditAction.ACTIVATED if whole:
                # Whether it was committed is known only where no line is missing.
                yield primary, Assignment(active=to, phase=Phase.ACTIVATED, previous=before, run_id=line.run_id)
            case AuditAction.ACTIVATED | AuditAction.ROLLED_BACK:
                yield primary, Assignment(active=to)
            case AuditAction.COMMITTED:
                yield primary, Assignment(active=str(line.facts.get("side", "")))
            case AuditAction.FENCE_FORCED if isinstance(serving := line.facts.get("serving"), dict):
                yield from ((name, Assignment(active=str(resource))) for name, resource in serving.items())


async def verify_by_witnesses(context: RecoveryContext) -> AuditCheck:
    """Verify a plan's audit log, and say with it what witnesses know that it or the fence does not."""
    try:
        finding = await look(context)
    except FenceUnreadable as error:
        found = await verify_audit(context.vault, context.plan.name, context.signer)
        return replace(found, breaks=(*found.breaks, error.cause))
    found = finding.evidence.audit or await verify_audit(context.vault, context.plan.name, context.signer)
    more = [each for each in ("" if found.breaks else finding.log, finding.fence) if each]
    return replace(found, breaks=(*found.breaks, *more))


async def looked(context: RecoveryContext) -> RecoveryContext:
    """Give the context with what is known of fence and log, whatever that is; nothing is asked twice."""
    if context.known is not None:
        return context
    return with_finding(context, await look(context))


def with_known(context: RecoveryContext, known: Known, epoch: int) -> RecoveryContext:
    return replace(context, known=known, run=replace(context.run, known_epoch=epoch))


def with_finding(context: RecoveryContext, finding: Finding) -> RecoveryContext:
    fence = fencing.fence_of_plan(context.plan, finding.evidence.fence, finding.evidence.where)
    return with_known(context, replace(finding.known, fence=fence), finding.evidence.epoch)


FENCE = "fence"  # What an operator forces to continue although the fence or the audit log was lost


class RecordsLost(GuardRefused):
    def __init__(self, plan: str, problem: str) -> None:
        super().__init__(f"The records of plan {plan} are missing or out of date. {problem}", HOW_TO_GO_ON)


class ReasonMissing(GuardRefused):
    def __init__(self, plan: str) -> None:
        cause = f"Records of plan {plan} were lost, and --force {FENCE} needs a reason"
        super().__init__(cause, 'Say why with --reason "..."; it goes into the audit log')


async def settle(context: RecoveryContext, forced: Collection[str] = (), reason: str = "") -> RecoveryContext:
    """Let nothing that relies on fence and log begin where these are missing or out of date.

    Gives the context with what is known now, which everything after this is held against.
    """
    finding = await look(context)
    if not finding.problem:
        found = with_finding(context, finding)
        if FENCE in forced:
            await record_action(found, AuditAction.FORCED_IN_VAIN, {"reason": reason})
        return found
    if FENCE not in forced:
        raise RecordsLost(context.plan.name, sentence(finding.problem).removesuffix("."))
    if not reason.strip():
        raise ReasonMissing(context.plan.name)
    return await _go_on(context, finding, reason.strip())


async def _go_on(context: RecoveryContext, finding: Finding, reason: str) -> RecoveryContext:
    """Write the fence again by the best witness, under an epoch above all, and say in the audit log who did that."""
    evidence, plan = finding.evidence, context.plan
    if evidence.emptied:
        await _replace_empty(context)
    async with fencing.hold_fence(context.vault, plan) as held:
        believed = serving_of(evidence) if finding.fence else {}
        assignments = {**held.fence.assignments, **{name: found for name, (found, _) in believed.items()}}
        epoch = max(evidence.epoch, held.fence.epoch) + 1 if finding.fence else held.fence.epoch
        facts: dict[str, JsonValue] = {
            "reason": plain_text(reason),
            "lost": plain_text(finding.problem),
            "known": {witness.name: witness.epoch for witness in evidence.witnesses},
            "serving": {name: assignment.active for name, assignment in assignments.items()},
            "believed": {name: believed[name][1] if name in believed else "nobody" for name in assignments},
        }
        line = await record_forced(replace(context, known=finding.known), facts, epoch)
        fence = held.fence.model_copy(update={"epoch": epoch, "assignments": assignments, "log": line.mark})
        await held.write(fence)
    went_on = sentence(_what_was_done(finding, fence, believed))
    log.warning("%s", went_on)
    return with_known(context, Known(line.mark, fence=fence, went_on=went_on), epoch)


async def _replace_empty(context: RecoveryContext) -> None:
    """Put a fence into an empty file, so that it can be held; unless somebody else just did."""
    path = fencing.fence_path(context.plan.name)
    there = await context.vault.read_version(path)
    if there is None or there.content.strip():
        return
    first = fencing.fence_of_plan(context.plan, None, context.vault.where(path))
    with suppress(Changed):
        await context.vault.swap(path, first.model_dump_json(indent=1).encode(), there.tag)


def except_fence(forced: Collection[str]) -> tuple[str, ...]:
    """Leave out what `settle` is about, where the rest of what is forced are ids of analyzers."""
    return tuple(name for name in forced if name != FENCE)


def _what_was_done(finding: Finding, fence: Fence, believed: Mapping[str, tuple[Assignment, str]]) -> str:
    if not finding.fence:
        return f"The audit log of plan {fence.plan} continues without the lines that are lost"
    words = [
        f"{assignment.active} serves for {name}, as {believed[name][1]} says"
        if name in believed
        else f"no record says what serves for {name}, so {assignment.active} counts as serving, as you asked"
        for name, assignment in fence.assignments.items()
    ]
    return f"The fence of plan {fence.plan} was written again, at epoch {fence.epoch}: {'; '.join(words)}"
