"""The guards of a plan's own state: the off switch, which side serves, switches under way or just made."""

from __future__ import annotations

from standby.config.durations import roughly
from standby.fencing import Phase
from standby.recovery.decision.case import Case
from standby.recovery.decision.verdict import Guard, GuardResult, Verdict, says


def off_switch(case: Case) -> GuardResult:
    """Ask whether outages may start anything at all."""
    switch = case.automation
    if switch.on:
        return says(Guard.OFF_SWITCH, Verdict.PASS, "automation is on")
    told = f"automation was switched off by {switch.by or 'somebody'}"
    if switch.changed_at is not None:
        told += f" at {switch.changed_at:%Y-%m-%d %H:%M:%S} UTC"
    told += f": {switch.reason}" if switch.reason else ""
    if case.requested_by == "operator":
        return says(Guard.OFF_SWITCH, Verdict.PASS, f"{told}; an operator's order is not stopped by it")
    return says(Guard.OFF_SWITCH, Verdict.REFUSE, told)


def already_active(case: Case, to: str | None) -> GuardResult:
    """Ask whether there is anything to switch."""
    if case.outage_of and case.outage_of != case.active:
        text = f"the outage is of {case.outage_of}, and {case.active} serves in the place of {case.home}"
        return says(Guard.ALREADY_ACTIVE, Verdict.REFUSE, text)
    if to is None:
        text = f"nothing but {case.active} could serve in the place of {case.home}"
        return says(Guard.ALREADY_ACTIVE, Verdict.REFUSE, text)
    if to == case.active:
        text = f"{to} serves in the place of {case.home} already (epoch {case.epoch})"
        return says(Guard.ALREADY_ACTIVE, Verdict.REFUSE, text)
    return says(Guard.ALREADY_ACTIVE, Verdict.PASS, f"{case.active} serves (epoch {case.epoch})")


def one_at_a_time(case: Case, to: str | None) -> GuardResult:
    """Ask whether another switch is under way, or waits to be committed.

    An operator may finish what another run left half done, or take it back: the fence lets one run at it.
    """
    operator = case.requested_by == "operator"
    for home, side in sorted(case.sides.items()):
        if side.phase is Phase.SWITCHING and side.run_id != case.run_id:
            told = f"run {side.run_id} switches {home} over to {side.target}, or was interrupted in it"
            if operator and home == case.home and to in {side.target, side.active, side.previous}:
                return says(Guard.ONE_AT_A_TIME, Verdict.PASS, f"{told}; this goes on from there")
            verdict = Verdict.REFUSE if operator else Verdict.WAIT
            return says(Guard.ONE_AT_A_TIME, verdict, told)
    side = case.side
    if side.phase is Phase.ACTIVATED and not (operator and to == side.previous):
        text = f"the failover to {side.active} by run {side.run_id} is not committed"
        return says(Guard.ONE_AT_A_TIME, Verdict.REFUSE, text)
    return says(Guard.ONE_AT_A_TIME, Verdict.PASS, "no other switch is under way")


def cool_down(case: Case) -> GuardResult:
    """Ask whether the last switch is long enough ago."""
    needed = case.policy.cool_down
    if case.side.since is None:
        return says(Guard.COOL_DOWN, Verdict.PASS, f"{case.home} was never switched")
    elapsed = case.asked_at - case.side.since
    text = f"the last switch was {roughly(elapsed)} ago, and {roughly(needed)} must lie between two"
    return says(Guard.COOL_DOWN, Verdict.PASS if elapsed >= needed else Verdict.REFUSE, text)
