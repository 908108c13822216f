"""The reasons for which a failover does not begin, or stops."""

from collections.abc import Sequence

from standby.errors import GuardRefused, StandbyError, sentence
from standby.recovery.decision.input import NEVER_FORCED, Decision, FailoverRequest, Guard, GuardResult
from standby.text import some_sentences


class FailoverUnfinished(GuardRefused):
    def __init__(self, plan: str, primary: str, target: str, back: str) -> None:
        to_primary = target == primary
        what = f"rollback of plan {plan} to {target}" if to_primary else f"failover of plan {plan} to {target}"
        super().__init__(
            f"A {what} for {primary} has not ended",
            f"Resume it with standby failover {plan} --to {target}, or {'fail over' if to_primary else 'roll it back'} "
            f"with standby failover {plan} --to {back}; then run this again",
        )


class DecidedBefore(GuardRefused):
    def __init__(self, plan: str, primary: str, active: str, decided: int, epoch: int) -> None:
        super().__init__(
            f"This was decided at epoch {decided} of plan {plan}, but another run has changed the fence since: "
            f"{active} serves for {primary} now (epoch {epoch})",
            f"See standby status {plan}, and run again if it is still needed",
        )


class NothingToRollBack(GuardRefused):
    def __init__(self, plan: str, primary: str) -> None:
        super().__init__(
            f"Plan {plan} has no failover of {primary} that could be rolled back: there was none, or it was committed",
            f"To make {primary} serve again, run standby failback {plan}",
        )


class FailoverStopped(StandbyError):
    """Something that must hold does not, so the failover does not continue; it can be forced by the guard's name."""

    def __init__(self, cause: str, next_action: str, guard: str) -> None:
        super().__init__(cause, next_action)
        self.guard = guard


class ReplicationAtWork(FailoverStopped):
    def __init__(self, pair: tuple[str, str], seconds: float) -> None:
        super().__init__(
            f"A replication from {pair[0]} to {pair[1]} that began earlier was still running after {seconds:.0f} s",
            "Stop it or wait until it ends, then run again; --force replication does not wait for it",
            "replication",
        )


class SyncIncomplete(FailoverStopped):
    def __init__(self, source: str, target: str, reasons: Sequence[str]) -> None:
        cause = f"The last sync from {source} to {target} is not complete: {some_sentences(reasons, 1)}"
        super().__init__(cause, "Fix that and run again, or continue without those edits with --force sync", "sync")


class TargetNotReady(FailoverStopped):
    def __init__(self, target: str, reasons: Sequence[str]) -> None:
        cause = f"{target} is not ready: {some_sentences(reasons)}"
        super().__init__(cause, "Fix that and run again, or fail over anyway with --force readiness", "readiness")


class NotPublished(FailoverStopped):
    def __init__(self, reasons: Sequence[str]) -> None:
        cause = " ".join(sentence(reason) for reason in reasons).removesuffix(".")
        super().__init__(cause, "Fix the sink and run again, or continue without it with --force sinks", "sinks")


class FailbackNeeded(GuardRefused):
    def __init__(self, plan: str, primary: str, active: str) -> None:
        super().__init__(
            f"{active} serves in plan {plan}, and edits made since {primary} served last are not at {primary}",
            f"Run standby failback {plan}, which copies them back; if {active} is lost, use --unplanned",
        )


class RollbackTargetUnhealthy(GuardRefused):
    def __init__(self, plan: str, resource: str, summary: str) -> None:
        cause = f"Plan {plan} is not rolled back to {resource}, which is not known to be healthy: {summary}"
        super().__init__(cause, "Wait until it answers, or roll back anyway with --force standby-health")


class FailoverRefused(GuardRefused):
    def __init__(self, plan: str, to: str, decision_id: str, decision: Decision) -> None:
        against = decision.against
        reasons = " ".join(sentence(result.text) for result in against).removesuffix(".")
        super().__init__(f"Plan {plan} does not fail over to {to}: {reasons}", _way_out(plan, against))
        self.decision_id = decision_id
        self.decision = decision


class ApprovalNeeded(FailoverRefused):
    """Everything else holds: another person has to order the same."""

    def __init__(self, plan: str, request: FailoverRequest, decision_id: str, decision: Decision, within: str) -> None:
        super().__init__(plan, request.to, decision_id, decision)
        self.next_action = (
            f"Another person has to run the same command within {within}, or to start failover/manual with the same "
            "values and Your name; in an emergency, use --force approvals, which the audit log records"
        )
        self.request = request


class NotApproved(GuardRefused):
    def __init__(self, plan: str, to: str, names: Sequence[str], needed: int) -> None:
        super().__init__(
            f"Plan {plan} does not fail over to {to}: {needed} different persons have to approve it, "
            f"and {' and '.join(names) or 'nobody who gave a name'} did so far",
            "Let another person order the same; in an emergency, use --force approvals",
        )


def _way_out(plan: str, against: Sequence[GuardResult]) -> str:
    # Another person can still approve it: nobody is led past that.
    guards = [result.guard for result in against if result.guard is not Guard.APPROVALS]
    if Guard.SOURCE_ANSWERS in guards:
        return "If it is lost, use --unplanned"
    if Guard.ONE_AT_A_TIME in guards:
        return f"Commit that failover with standby commit {plan}, or end it as standby status {plan} says"
    if any(guard in NEVER_FORCED for guard in guards):
        return f"See standby status {plan}"
    forces = " ".join(f"--force {guard}" for guard in guards)
    fix = f"Fix that, as standby status {plan} says"
    first = fix if Guard.READINESS in guards else "Allow it in the plan" if Guard.RESIDENCY in guards else "Wait"
    return f"{first}, or fail over anyway with {forces}"
