"""Whether a failover may be proposed, or proposed again, by what the audit log says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from standby.config.durations import roughly
from standby.config.failover import FailoverPolicy
from standby.recovery.audit import AuditLine, Deed

ANSWERS = frozenset({Deed.APPROVED.value, Deed.REJECTED.value})


def why_not_now(lines: Sequence[AuditLine], home: str, now: datetime, policy: FailoverPolicy) -> str:
    """Say why nobody is to be asked now; empty where somebody may be.

    While one proposal waits for its answer there is no second one, and whoever has said no is left alone for
    the cool-down. Where nobody answered, the question may be repeated.

    Args:
        lines: of the plan's audit log.
        home: the source that the outage is about.
        now: UTC.
        policy: how long a proposal waits, and how long the cool-down is.
    """
    answers: dict[str, AuditLine] = {}
    for line in reversed(lines):
        if line.facts.get("home") != home:
            continue
        if line.deed in ANSWERS:
            answers.setdefault(line.run_id, line)
            if _said_no(line) and now - line.at < policy.cool_down:
                return f"a failover was rejected {roughly(now - line.at)} ago{_comment(line)}"
        elif (
            line.deed == Deed.PROPOSED
            and line.run_id not in answers
            and now - line.at < policy.approval_timeout
        ):
            waits = roughly(now - line.at)
            return f"a proposal made {waits} ago waits for its approval in flow run {line.run_id}"
    return ""


def _said_no(line: AuditLine) -> bool:
    return line.deed == Deed.REJECTED and line.facts.get("answered") is True


def _comment(line: AuditLine) -> str:
    comment = line.facts.get("comment")
    return f": {comment}" if comment else ""
