"""The guards of an outage: whether it is proved, by whom, for how long, and whether anybody disagrees."""

from __future__ import annotations

from standby.recovery.decision.case import Case
from standby.recovery.decision.evidence import GAP, Evidence
from standby.recovery.decision.verdict import Guard, GuardResult, Verdict, says


def quorum(case: Case, evidence: Evidence) -> GuardResult:
    """Ask for enough independent observations, recent ones, and one by whoever decides among them.

    Where the source answers again it refuses.
    """
    newest = evidence.newest
    if newest is None:
        text = f"nothing that tells anything was seen of {case.active}"
        return says(Guard.QUORUM, Verdict.WAIT, text)
    age = (case.asked_at - newest.at).total_seconds()
    if newest.healthy:
        text = f"{case.active} answers: {newest.observer} found it healthy {age:.0f} s ago"
        return says(Guard.QUORUM, Verdict.REFUSE, text)
    oldest = case.policy.probe_every.total_seconds() * GAP
    if age > oldest:
        text = f"the newest observation of {case.active} is {age:.0f} s old, and {oldest:.0f} s are the most"
        return says(Guard.QUORUM, Verdict.WAIT, text)
    own = case.own_look
    if own is None or own.healthy is not False or (case.asked_at - own.at).total_seconds() > oldest:
        told = f": {own.summary}" if own is not None and own.summary else ""
        text = f"{case.observer}, which decides, has not lately seen {case.active} fail itself{told}"
        return says(Guard.QUORUM, Verdict.WAIT, text)
    found, needed = len(evidence.counted), case.policy.quorum
    seen_by = f", by {', '.join(evidence.observers)}" if evidence.observers else ""
    text = f"{found} unhealthy observations in a row{seen_by}; {needed} are needed"
    return says(Guard.QUORUM, Verdict.PASS if found >= needed else Verdict.WAIT, text)


def minimum_outage(case: Case, evidence: Evidence) -> GuardResult:
    """Ask for an outage that lasts."""
    needed = case.policy.minimum_outage
    text = (
        f"unhealthy for {evidence.lasted.total_seconds():.0f} s from the first observation to the latest, "
        f"and {needed.total_seconds():.0f} s are needed"
    )
    enough = bool(evidence.streak) and evidence.lasted >= needed
    return says(Guard.MINIMUM_OUTAGE, Verdict.PASS if enough else Verdict.WAIT, text)


def observers_agree(case: Case, evidence: Evidence) -> GuardResult:
    """Ask whether somebody else finds the source healthy."""
    if evidence.contradicting:
        period = case.policy.probe_every.total_seconds()
        text = (
            f"{', '.join(evidence.contradicting)} found {case.active} healthy within the last {period:.0f} s"
        )
        return says(Guard.OBSERVERS_AGREE, Verdict.WAIT, text)
    return says(Guard.OBSERVERS_AGREE, Verdict.PASS, f"nobody finds {case.active} healthy")


def source_answers(case: Case, evidence: Evidence) -> GuardResult:
    """Ask a planned failover's source for an answer: without one there is no last copy."""
    newest = evidence.newest
    if newest is not None and newest.healthy:
        return says(Guard.SOURCE_ANSWERS, Verdict.PASS, f"{case.active} answers")
    told = f": {newest.summary}" if newest is not None and newest.summary else ""
    text = f"a planned failover needs {case.active} to answer{told}; without it, it is an unplanned one"
    return says(Guard.SOURCE_ANSWERS, Verdict.REFUSE, text)
