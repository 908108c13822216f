"""What keeps a switch from beginning, and what stops one half way."""

from __future__ import annotations

from collections.abc import Sequence

from standby.errors import GuardRefused, sentence
from standby.recovery.decision.input import NEVER_FORCED, Decision, Guard, GuardResult
from standby.recovery.errors import RecoveryError


class SwitchUnfinished(GuardRefused):
    """Another switch of the plan was interrupted, and is neither done nor undone."""

    def __init__(self, plan: str, primary: str, target: str, back: str) -> None:
        super().__init__(
            f"Plan {plan} is being switched to {target} in the place of {primary}, and that has not ended",
            f"Go on with standby failover {plan} --to {target}, or undo it with "
            f"standby failover {plan} --to {back}; then ask again",
        )
        self.args = (plan, primary, target, back)


class DecidedBefore(GuardRefused):
    """The plan was switched since this was decided."""

    def __init__(self, plan: str, primary: str, active: str, decided: int, epoch: int) -> None:
        super().__init__(
            f"This was decided at epoch {decided} of plan {plan}, and another run has changed what serves since: "
            f"{active} serves for {primary} now (epoch {epoch})",
            f"See standby status {plan}, and run again if it is still needed",
        )
        self.args = (plan, primary, active, decided, epoch)


class NothingToRollBack(GuardRefused):
    """There is no switch that is not final."""

    def __init__(self, plan: str, primary: str) -> None:
        super().__init__(
            f"Plan {plan} has no switch of {primary} that could be undone: there was none, or it was committed",
            f"Bring {primary} back with standby failback {plan}",
        )
        self.args = (plan, primary)


class SwitchStopped(RecoveryError):
    """Something that must hold does not, so the switch does not go on.

    Attributes:
        guard: word with which it can be forced.
    """

    def __init__(self, cause: str, next_action: str, guard: str) -> None:
        super().__init__(cause, next_action)
        self.args = (cause, next_action, guard)
        self.guard = guard


class ReplicationAtWork(SwitchStopped):
    """A replication that began before the switch still writes."""

    def __init__(self, pair: tuple[str, str], seconds: float) -> None:
        super().__init__(
            f"A replication from {pair[0]} to {pair[1]} that began earlier was still at work after {seconds:.0f} s",
            "Stop it or wait for its end, then run again; --force replication goes on beside it",
            "replication",
        )
        self.args = (pair, seconds)


class SyncIncomplete(SwitchStopped):
    """The last sync left something behind."""

    def __init__(self, source: str, target: str, reasons: Sequence[str]) -> None:
        more = f" And {len(reasons) - 1} more." if len(reasons) > 1 else ""
        super().__init__(
            f"The last sync from {source} to {target} is not complete: {sentence(reasons[0])}{more}",
            "Mend that and run again, or leave it behind with --force sync",
            "sync",
        )
        self.args = (source, target, list(reasons))


class TargetNotReady(SwitchStopped):
    """The target could not take over."""

    def __init__(self, target: str, reasons: Sequence[str]) -> None:
        told = " ".join(sentence(reason) for reason in reasons[:3])
        more = f" And {len(reasons) - 3} more." if len(reasons) > 3 else ""
        super().__init__(
            f"{target} is not ready: {told}{more}",
            "Mend that and run again, or switch all the same with --force readiness",
            "readiness",
        )
        self.args = (target, list(reasons))


class SinksNotTold(SwitchStopped):
    """A sink could not be told, or says something else than it was told."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__(
            " ".join(sentence(reason) for reason in reasons).removesuffix("."),
            "Mend the sink and run again, or go on without it with --force sinks",
            "sinks",
        )
        self.args = (list(reasons),)


class FailbackNeeded(GuardRefused):
    """A switch back after a commit would leave behind what was edited since."""

    def __init__(self, plan: str, primary: str, active: str) -> None:
        super().__init__(
            f"{active} serves for good in the place of {primary} in plan {plan}, and what was edited there "
            f"since is not at {primary}",
            f"Bring it back with standby failback {plan}; where {active} is lost, say --unplanned",
        )
        self.args = (plan, primary, active)


class OldSideDark(GuardRefused):
    """The side that a rollback leads to does not answer."""

    def __init__(self, plan: str, resource: str, summary: str) -> None:
        super().__init__(
            f"Plan {plan} is not rolled back to {resource}, which is not known to be healthy: {summary}",
            "Wait until it answers; --force standby-health goes back all the same",
        )
        self.args = (plan, resource, summary)


class FailoverRefused(GuardRefused):
    """A guard refuses what an operator asks for.

    Attributes:
        decision_id: of the recorded decision.
        decision: with the outcome of every guard.
    """

    def __init__(self, plan: str, to: str, decision_id: str, decision: Decision) -> None:
        against = decision.against
        told = " ".join(sentence(result.text) for result in against).removesuffix(".")
        super().__init__(f"Plan {plan} is not switched over to {to}: {told}", _way_out(plan, against))
        self.args = (plan, to, decision_id, decision)
        self.decision_id = decision_id
        self.decision = decision


def _way_out(plan: str, against: Sequence[GuardResult]) -> str:
    guards = [result.guard for result in against]
    if Guard.SOURCE_ANSWERS in guards:
        return "Where it is lost, say --unplanned"
    if Guard.ONE_AT_A_TIME in guards:
        return f"End that first: standby commit {plan} makes it final, standby status {plan} tells of it"
    if any(guard in NEVER_FORCED for guard in guards):
        return f"See standby status {plan}"
    forces = " ".join(f"--force {guard}" for guard in guards)
    mend = f"Mend that, as standby status {plan} says"
    return f"{mend if Guard.READINESS in guards else 'Wait'}, or switch all the same with {forces}"
