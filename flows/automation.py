"""The global off switch, where flows keep it."""

from functools import partial
from typing import Any

from prefect.client.schemas.objects import State

from standby.errors import sentence
from standby.flows.outcome import FlowOutcome, flow
from standby.flows.recovery import recovering
from standby.recovery.context import Stage
from standby.recovery.decision.automation import position_words, read_automation, set_automation
from standby.tasks.stage import TaskStages


@flow(name="automation", flow_run_name="automation-{plan}", persist_result=False)
async def automation(plan: str, on: bool | None = None, reason: str = "") -> State[Any]:
    """Allow or forbid that outages start a failover, in every plan of the vault.

    It does not stop an operator.

    Args:
        plan: Name of a saved recovery-plan block; the change is recorded in its audit log.
        on: Whether outages may start a failover; empty only shows whether they may.
        reason: Reason, for the audit log.
    """
    async with recovering(plan) as context:
        if on is None:
            switch = await read_automation(context.vault)
        else:
            work = partial(set_automation, [context], on=on, reason=reason)
            switch = await TaskStages().run(Stage.AUTOMATION, f"automation {plan}", work)
    return await FlowOutcome("On" if switch.on else "Off", sentence(position_words(switch)), switch).finish()
