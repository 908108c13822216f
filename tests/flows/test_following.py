"""What is done about a chunk's flow run, from how it looks."""

from __future__ import annotations

import pytest
from prefect.client.schemas.objects import StateType

from flows.dispatch import LOST_AFTER, UNTAKEN_AFTER, Look, Step, decide


@pytest.mark.parametrize(
    ("state", "quiet", "idle", "step"),
    [
        (StateType.RUNNING, 0, 0, Step.WAIT),
        (StateType.RUNNING, LOST_AFTER, 0, Step.SEND_AGAIN),
        (StateType.PENDING, LOST_AFTER, 0, Step.SEND_AGAIN),
        (StateType.CRASHED, 0, 0, Step.SEND_AGAIN),
        (StateType.SCHEDULED, LOST_AFTER, 0, Step.WAIT),
        (StateType.SCHEDULED, UNTAKEN_AFTER, UNTAKEN_AFTER, Step.GIVE_UP),
        (StateType.COMPLETED, 0, 0, Step.READ),
        (StateType.FAILED, 0, 0, Step.READ),
        (StateType.CANCELLED, 0, 0, Step.READ),
        (StateType.CANCELLING, 0, 0, Step.WAIT),
        (StateType.CANCELLING, LOST_AFTER, 0, Step.READ),
    ],
)
def test_each_look_leads_to_one_step(state: StateType, quiet: float, idle: float, step: Step) -> None:
    assert decide(Look(state, None), quiet=quiet, idle=idle) is step
