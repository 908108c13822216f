"""What is done about a chunk's run, from how it looks."""

from __future__ import annotations

import pytest
from prefect.client.schemas.objects import StateType

from standby.flows.dispatch import chunk_state
from standby.replication.chunks import LOST_AFTER, UNTAKEN_AFTER, NextStep, next_step


@pytest.mark.parametrize(
    ("state", "quiet", "idle", "step"),
    [
        (StateType.RUNNING, 0, 0, NextStep.WAIT),
        (StateType.RUNNING, LOST_AFTER, 0, NextStep.SEND_AGAIN),
        (StateType.PENDING, LOST_AFTER, 0, NextStep.SEND_AGAIN),
        (StateType.CRASHED, 0, 0, NextStep.SEND_AGAIN),
        (StateType.SCHEDULED, LOST_AFTER, 0, NextStep.WAIT),
        (StateType.SCHEDULED, UNTAKEN_AFTER, UNTAKEN_AFTER, NextStep.GIVE_UP),
        (StateType.COMPLETED, 0, 0, NextStep.READ),
        (StateType.FAILED, 0, 0, NextStep.READ),
        (StateType.CANCELLED, 0, 0, NextStep.READ),
        (StateType.CANCELLING, 0, 0, NextStep.WAIT),
        (StateType.CANCELLING, LOST_AFTER, 0, NextStep.READ),
    ],
)
def test_each_look_leads_to_one_step(state: StateType, quiet: float, idle: float, step: NextStep) -> None:
    assert next_step(chunk_state(state), quiet=quiet, idle=idle) is step
