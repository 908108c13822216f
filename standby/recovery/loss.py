"""Where the fence or the audit log was lost nothing is done, unless an operator goes on by what is still known."""

import logging
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace

from standby.document import JsonValue
from standby.errors import GuardRefused, sentence
from standby.fencing import Assignment, Fence, fence_of_plan, fence_path, hold_fence
from standby.recovery.audit import HOW_TO_GO_ON, AuditAction, record_action, record_forced
from standby.recovery.chain import plain_text
from standby.recovery.context import Known, RecoveryContext
from standby.recovery.witnesses import Finding, look, serving_of, with_finding, with_known
from standby.vault.errors import Changed

log = logging.getLogger("standby.recovery")

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
    async with hold_fence(context.vault, plan) as held:
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
    path = fence_path(context.plan.name)
    there = await context.vault.read_version(path)
    if there is None or there.content.strip():
        return
    first = fence_of_plan(context.plan, None, context.vault.where(path))
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
