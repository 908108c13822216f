"""Asks a person, by a flow run that waits in the Prefect UI."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from prefect.flow_runs import apause_flow_run
from prefect.input import RunInput
from pydantic import Field

LOOK = 2
"""Seconds between two looks whether somebody answered."""

SPARE = 600
"""Seconds for which Prefect lets the run wait beyond its time: then it would fail the run itself."""


class Approval(RunInput):
    """The form that somebody fills in."""

    approve: bool = Field(description="Switch over. It is looked at once more before anything is done.")
    to: str = Field("", description="Another target than the one that is proposed.")
    comment: str = Field("", description="Why; it goes into the audit log.")


async def ask(text: str, patience: timedelta) -> Approval | None:
    """Pause this flow run until somebody resumes it with the form filled in.

    Args:
        text: what is asked, shown beside the form.
        patience: how long an answer is waited for.

    Returns:
        `None` where nobody answered in time.
    """
    form = Approval.with_initial_data(description=text)
    seconds = patience.total_seconds()
    try:
        async with asyncio.timeout(seconds):
            return await apause_flow_run(form, timeout=int(seconds) + SPARE, poll_interval=LOOK)
    except TimeoutError:
        return None
