"""The audit log: who did what and why, as JSON lines in the vault, each chained to the one before it: `chain.py`."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from standby.document import JsonValue
from standby.errors import StandbyError
from standby.recovery import chain
from standby.recovery.chain import CONTINUES, FIRST, FORCED, AuditHead, AuditLine
from standby.recovery.context import LogEnd, RecoveryContext
from standby.text import some_of, totals
from standby.vault.documents import set_aside
from standby.vault.errors import Changed
from standby.vault.signing import LogMark, Signer
from standby.vault.storage import Storage, Version

PATIENCE = 60.0  # Seconds for which a line is tried to be added while others add theirs
LOOKS = 5  # How often a log and its head are read again while somebody adds lines


class AuditAction(StrEnum):
    """What can be in the log."""

    SNAPSHOT_TAKEN = "snapshot.taken"
    SNAPSHOT_RETIRED = "snapshot.retired"
    RESTORE_BEGUN = "restore.begun"
    RESTORE_ENDED = "restore.ended"
    DECIDED = "failover.decided"
    PROPOSED = "failover.proposed"
    APPROVED = "failover.approved"
    REJECTED = "failover.rejected"
    FENCED = "failover.fenced"
    ACTIVATED = "failover.activated"
    ROLLED_BACK = "failover.rolled_back"
    COMPLETED = "failover.completed"
    COMMITTED = "failover.committed"
    FAILBACK_BEGUN = "failback.begun"
    FAILBACK_ENDED = "failback.ended"
    DRILL_BEGUN = "drill.begun"
    DRILL_ENDED = "drill.ended"
    AUTOMATION_SWITCHED = "automation.switched"
    FENCE_FORCED = FORCED
    FORCED_IN_VAIN = "fence.not_lost"
    DECLINED = "order.declined"


class AuditBusy(StandbyError):
    def __init__(self, where: str) -> None:
        super().__init__(
            f"Other runs wrote {where} without a pause for {PATIENCE:.0f} s", "Run again when they have ended"
        )


class AuditBroken(StandbyError):
    """Nothing is added to a log that was tampered with or damaged: from then on it would look whole."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"{where} is damaged or was changed: {problem}", HOW_TO_GO_ON)


HOW_TO_GO_ON = (
    "Use the vault that was used last; standby audit verify says what is wrong with this one. If that vault is lost, "
    'continue with the records that are left: run the command, or standby commit, with --force fence --reason "..."'
)
"""What to do where a plan's fence or audit log is not the one that was written last."""


@dataclass(frozen=True)
class AuditCheck:
    where: str
    lines: tuple[AuditLine, ...]  # those that were read, oldest first, up to the first that does not fit
    breaks: tuple[str, ...] = ()  # why it is not the log that was written, a sentence each
    doubts: tuple[str, ...] = ()  # what is wrong with signatures, a sentence each
    other_key: bool = False  # nothing is wrong but that an earlier key, or a later one, signed lines
    head: AuditHead | None = None  # `None` where there is none, or it cannot be read

    @property
    def problems(self) -> tuple[str, ...]:
        return (*self.breaks, *self.doubts)

    @property
    def ending(self) -> str:
        """What is true of a log that has problems, without a full stop."""
        return "is signed with another key" if self.other_key else "is damaged or was changed"

    @property
    def epoch(self) -> int | None:
        return next((line.epoch for line in reversed(self.lines) if line.epoch is not None), None)

    @property
    def gaps(self) -> tuple[AuditLine, ...]:
        """The lines with which somebody went on by force though lines before were lost."""
        pairs = zip(self.lines, (None, *self.lines), strict=False)
        return tuple(line for line, last in pairs if line.sequence != (last.sequence if last else 0) + 1)


async def record_action(
    context: RecoveryContext,
    action: AuditAction,
    facts: Mapping[str, JsonValue] | None = None,
    *,
    epoch: int | None = None,
) -> AuditLine:
    """Add a line to the plan's log; it is safe when this returns."""
    path, head_at = audit_path(context.plan.name), context.vault.where(chain.head_path(context.plan.name))
    begun = context.clock.monotonic()
    while context.clock.monotonic() - begun < PATIENCE:
        head, log = await _read_end(context)
        content = log.content if log else b""
        texts = content.splitlines()
        last = _last_line(context, texts)
        known = chain.parse_head(head_at, head.content if head else None)
        before = known.epoch if known and last and known.mark == last.mark else None
        if before is None:
            earlier = (chain.read_line(context.vault.where(path), text) for text in reversed(texts))
            before = next((each.epoch for each in earlier if each is not None and each.epoch is not None), None)
        if last is not None and (known is None or known.sequence != last.sequence):
            head = await chain.write_head(context.vault, chain.head_of(last, context.signer, before), head)
        line = _next(context, last.mark if last else None, action, facts or {}, epoch)
        added = content + line.model_dump_json().encode() + b"\n"
        context.log_end.of = None
        try:
            tag = await context.vault.swap(path, added, log.tag if log else None)
        except Changed:
            continue
        newest = chain.head_of(line, context.signer, before if epoch is None else epoch)
        written = await chain.write_head(context.vault, newest, head)
        # A head that somebody who was faster has written belongs to a log that is longer by now.
        if written and chain.parse_head(head_at, written.content) == newest:
            context.log_end.remember(context.vault, context.plan.name, written, Version(added, tag))
        return line
    raise AuditBusy(context.vault.where(path))


async def record_forced(context: RecoveryContext, facts: Mapping[str, JsonValue], epoch: int) -> AuditLine:
    """Add the line of somebody who goes on by force; it follows also where lines were lost, and then says so."""
    # What does not follow in the log is set aside; the lines before it stay.
    path, plan = audit_path(context.plan.name), context.plan.name
    known = context.known.log if context.known else None
    context.log_end.of = None
    for _ in range(LOOKS):
        head, log = (await context.vault.read_version(chain.head_path(plan)), await context.vault.read_version(path))
        content = log.content if log else b""
        lines, wrong = chain.follow(context.vault.where(path), content.splitlines(), plan)
        last, mark = lines[-1] if lines else None, known
        there = chain.parse_head(context.vault.where(chain.head_path(plan)), head.content if head else None)
        if there is not None and (mark is None or mark.sequence < there.sequence):
            mark = there.mark
        if wrong or (mark is not None and chain.lacking(mark, lines)):
            facts = {**facts, CONTINUES: last.mark.model_dump() if last else None}
        if wrong:
            await set_aside(context.vault, path, [content])
            content = b"".join(text + b"\n" for text in content.splitlines()[: len(lines)])
        before = last.mark if last else None
        if mark is not None and (before is None or before.sequence < mark.sequence):
            before = mark  # It is the line after a later one that is lost.
        line = _next(context, before, AuditAction.FENCE_FORCED, facts, epoch)
        try:
            await context.vault.swap(path, content + line.model_dump_json().encode() + b"\n", log.tag if log else None)
        except Changed:
            continue
        await chain.write_head(context.vault, chain.head_of(line, context.signer, epoch), head)
        return line
    raise AuditBusy(context.vault.where(path))


async def verify_audit(storage: Storage, plan: str, signer: Signer | None, end: LogEnd | None = None) -> AuditCheck:
    """Check every line of a plan's log, and its end, which is then known; with a key, the signatures, too."""
    head, log = await _read_both(storage, plan, signer)
    where, head_at = storage.where(audit_path(plan)), storage.where(chain.head_path(plan))
    lines, wrong = chain.follow(where, log.content.splitlines() if log else [], plan)
    doubtful = [(line, doubt) for line in lines if (doubt := chain.unsigned(line, signer))]
    other_key = bool(doubtful) and all(signer and line.key_id not in {None, signer.key_id} for line, _ in doubtful)
    breaks = [wrong] if wrong else []
    content = head.content if head else None
    if not wrong and (problem := chain.head_problem(head_at, content, lines, signer)):
        breaks.append(f"{head_at} {problem}")
    if end is not None and not breaks:
        end.remember(storage, plan, head, log)
    doubts = tuple(_grouped((line.sequence, doubt) for line, doubt in doubtful))
    return AuditCheck(where, lines, tuple(breaks), doubts, other_key and not breaks, chain.parse_head(head_at, content))


async def read_lines(context: RecoveryContext, *actions: AuditAction) -> list[AuditLine]:
    """Read the lines of some actions, oldest first; what cannot be understood is left out."""
    end, path = context.log_end, audit_path(context.plan.name)
    if end.is_known(context.vault, context.plan.name):
        content = end.log.content if end.log else b""
    else:
        content = await context.vault.read(path) or b""
    names = [f'"{action.value}"'.encode() for action in actions]
    texts = [text for text in content.splitlines() if any(name in text for name in names)]
    lines = (chain.read_line(context.vault.where(path), text) for text in texts)
    return [line for line in lines if line is not None and line.action in actions]


def audit_path(plan: str) -> str:
    return f"audit/{plan}.jsonl"


Both = tuple[Version | None, Version | None]  # The head and the log


async def _read_both(storage: Storage, plan: str, signer: Signer | None) -> Both:
    """Read head and log once they agree, or nobody is writing them; a crash may have left the head one behind."""
    seen: Both | None = None
    while True:
        head, log = await storage.read_version(chain.head_path(plan)), await storage.read_version(audit_path(plan))
        if not _disagreement(storage, plan, signer, head, log) or (head, log) == seen:
            return head, log
        seen = head, log


def _disagreement(storage: Storage, plan: str, signer: Signer | None, head: Version | None, log: Version | None) -> str:
    """Say what is wrong with a head by the last lines of its log; nothing where these cannot be read."""
    texts = log.content.splitlines()[-2:] if log else []
    lines = [line for text in texts if (line := chain.read_line(storage.where(audit_path(plan)), text)) is not None]
    problem = chain.head_problem(storage.where(chain.head_path(plan)), head.content if head else None, lines, signer)
    return problem if len(lines) == len(texts) else ""


async def _read_end(context: RecoveryContext) -> Both:
    """Give head and log, as they are or as this run knows them; `AuditBroken` where they do not agree."""
    plan, end = context.plan.name, context.log_end
    if end.is_known(context.vault, plan):
        return end.head, end.log
    head, log = await _read_both(context.vault, plan, context.signer)
    if wrong := _disagreement(context.vault, plan, context.signer, head, log):
        raise _broken(context, f"{context.vault.where(chain.head_path(plan))} {wrong}")
    return head, log


async def must_be_whole(context: RecoveryContext) -> None:
    """Let nothing begin that the log could not record; `AuditBroken` as `record_action` raises it."""
    head, log = await _read_end(context)
    _last_line(context, log.content.splitlines() if log else [])
    context.log_end.remember(context.vault, context.plan.name, head, log)


def _last_line(context: RecoveryContext, texts: list[bytes]) -> AuditLine | None:
    """Give the last line of a log; `AuditBroken` where it is not the log that was written."""
    lines: list[AuditLine] = []
    plan, signer, where = context.plan.name, context.signer, context.vault.where(audit_path(context.plan.name))
    for number, text in list(enumerate(texts, start=1))[-2:]:
        line = chain.read_line(where, text)
        if line is None or (chain.unchained(line, text, plan, lines[-1]) if lines else chain.changed(line, text)):
            raise _broken(context, f"line {number}, one of its last, is not valid")
        # Lines of another key are not in the way of a failover; audit verify reports them.
        if signer and line.key_id == signer.key_id and chain.unsigned(line, signer):
            raise _broken(context, f"the signature of line {number} is wrong")
        lines.append(line)
    last = lines[-1] if lines else None
    known = context.known.log if context.known else None
    # Where a number is not that of its place, or a line is not where it should be: then all of them are read.
    there = chain.read_line(where, texts[known.sequence - 1]) if known and known.sequence <= len(texts) else None
    is_lost = known is not None and (there is None or there.mark != known)
    if is_lost or (last and (last.sequence != len(texts) or last.plan != plan)):
        every, wrong = chain.follow(where, texts, plan)
        wrong = wrong or (chain.lacking(known, every) if known else "")
        if wrong:
            raise _broken(context, f"it {wrong}" if not wrong.startswith("Line") else wrong)
    return last


def _broken(context: RecoveryContext, problem: str) -> AuditBroken:
    return AuditBroken(context.vault.where(audit_path(context.plan.name)), problem)


def _next(
    context: RecoveryContext,
    before: LogMark | None,
    action: AuditAction,
    facts: Mapping[str, JsonValue],
    epoch: int | None,
) -> AuditLine:
    line = AuditLine(
        sequence=before.sequence + 1 if before else 1,
        at=context.clock.now(),
        plan=context.plan.name,
        action=action.value,
        actor=chain.plain_text(context.actor),
        via=context.via,
        run_id=chain.plain_text(context.run_id),
        epoch=epoch,
        facts={chain.plain_text(name): chain.plain(fact) for name, fact in facts.items()},
        previous=before.digest if before else FIRST,
        digest="",
    )
    return chain.sealed(line, context.signer)


def _grouped(doubtful: Iterable[tuple[int, str]]) -> list[str]:
    """Say once what is true of many lines in a row, as after a change of the key."""
    members = []
    for wrong, group in groupby(doubtful, key=lambda found: found[1]):
        numbers = [number for number, _ in group]
        lines = f"Line {numbers[0]}" if len(numbers) == 1 else f"{len(numbers)} lines from {numbers[0]} on"
        members.append(f"{lines}: {wrong}")
    return members


LONGEST_FACT = 200  # Characters of a fact that are shown


def facts_of_line(line: AuditLine) -> str:
    return ", ".join(f"{name} {_fact(value)}" for name, value in line.facts.items())


_TOLD_BY: Mapping[str, str] = {
    AuditAction.DECIDED: "outcome",
    AuditAction.REJECTED: "answered",
    AuditAction.FENCED: "mode",
    AuditAction.FAILBACK_ENDED: "state",
    AuditAction.DRILL_ENDED: "passed",
    AuditAction.AUTOMATION_SWITCHED: "on",
}
"""The fact that decides how an action is told, where it is told in several ways."""

_WORDS = {
    "snapshot.taken": "Snapshot {id} was taken",
    "snapshot.retired": "Old snapshots were removed: {ids}",
    "restore.begun": "A restore to {to} began, from snapshot {snapshot}",
    "restore.ended": "The restore to {to} ended: {totals}",
    "failover.decided": "A failover of {home} to {to} was considered",
    "failover.decided act": "The decision was to fail over {home} to {to}",
    "failover.decided wait": "The decision was to wait before a failover of {home} to {to}",
    "failover.decided refuse": "A failover of {home} to {to} was refused",
    "failover.proposed": "A failover of {home} to {to} was proposed and waits for an approval",
    "failover.approved": "The failover of {home} to {to} was approved",
    "failover.rejected true": "The failover of {home} to {to} was rejected",
    "failover.rejected": "Nobody answered the proposal of a failover of {home} to {to}",
    "failover.fenced rollback": "A rollback to {to} began",
    "failover.fenced": "A failover from {from} to {to} began",
    "failover.activated": "{to} serves for {home}",
    "failover.rolled_back": "The failover was rolled back: {to} serves for {home} again",
    "failover.completed": "Analyzers of {home} that were left out work at {side} again: {added}",
    "failover.committed": "The failover was committed: {side} serves for {home}",
    "failback.begun": "A failback from {standby} to {home} began",
    "failback.ended failed_back": "{home} serves again: the failback from {standby} succeeded",
    "failback.ended": "The failback from {standby} to {home} ended {state}",
    "drill.begun": "A drill of a failover from {home} to {to} began",
    "drill.ended true": "The drill at {to} passed",
    "drill.ended": "The drill at {to} did not pass",
    "automation.switched true": "Automatic failover was switched on",
    "automation.switched": "Automatic failover was switched off",
    "fence.forced": "An operator continued by force although records were lost",
    "fence.not_lost": "An operator forced the fence, although no records were lost",
    "order.declined": "An operator was asked to confirm a {order} and declined",
}
"""By action, and where there are several ways to tell it by its deciding fact; without the full stop."""


class _Said(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "(not recorded)"


def words_of_line(line: AuditLine) -> str:
    """Say what was done, in a sentence without its full stop."""
    chosen = line.facts.get(_TOLD_BY.get(line.action, ""))
    words = _WORDS.get(f"{line.action} {_fact(chosen)}") or _WORDS.get(line.action)
    if words is None:  # Another version wrote it.
        return f"{line.action}: {facts_of_line(line)}"
    said = words.format_map(_Said({name: _said(value) for name, value in line.facts.items() if value is not None}))
    said += f", by {_said(by)}" if (by := line.facts.get("by")) and line.action == AuditAction.APPROVED else ""
    why = line.facts.get("reason") or line.facts.get("comment") or line.facts.get("problems")
    return f"{said}: {_said(why).rstrip('.')}" if why else said


def _said(value: JsonValue) -> str:
    if isinstance(value, list):
        return some_of(map(_fact, value)) or "nothing"
    if isinstance(value, dict):
        return totals({name: count for name, count in value.items() if isinstance(count, int)})
    return _fact(value)


def _fact(value: JsonValue) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_FACT else f"{text[:LONGEST_FACT]}…"
