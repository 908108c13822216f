"""Write a snapshot of what a plan protects to the vault."""

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.outcome import FlowOutcome, refused
from flows.recovery import recovering
from standby.errors import GuardRefused
from standby.recovery.context import Stage
from standby.recovery.loss import settle
from standby.recovery.snapshots.take import take_snapshot
from tasks.stage import TaskStages


@flow(name="snapshot", flow_run_name="snapshot-{plan}", persist_result=False)
async def snapshot(plan: str) -> State[Any]:
    """Write the definitions, defaults and deployments of a recovery plan to the vault and its second store.

    A definition that the vault already has is not written again. Old snapshots are removed by number and age.

    Args:
        plan: Name of a saved recovery-plan block.
    """
    try:
        async with recovering(plan) as opened:
            context = await settle(opened)
            taken = await TaskStages().run(Stage.SNAPSHOT, f"snapshot {plan}", lambda: take_snapshot(context))
    except GuardRefused as error:
        return refused(error)
    message = " ".join([taken.summary, *taken.shortcomings])
    name = "Completed" if taken.complete else "PartiallyFailed"
    return await FlowOutcome(name, message, taken, good=taken.complete).finish()
