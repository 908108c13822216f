"""What can go wrong with a recorded decision."""

from __future__ import annotations

from standby.recovery.errors import RecoveryError


class NoSuchDecision(RecoveryError):
    """Nothing is recorded under this id."""

    def __init__(self, decision_id: str, where: str) -> None:
        super().__init__(
            f"No decision {decision_id} is recorded: there is no {where}",
            "Take an id from a report, an event or the audit log, such as invoices-20260131T031402Z-1a2b",
        )
        self.args = (decision_id, where)


class DecisionUnreadable(RecoveryError):
    """What is recorded under this id is no decision."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(
            f"{where} is not the record of a decision, or was damaged: {reason}",
            "Bring back an older version of that file; standby audit verify checks the log beside it",
        )
        self.args = (where, reason)
