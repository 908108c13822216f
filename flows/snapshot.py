"""Write a snapshot of what a plan protects to the vault."""

from contextlib import nullcontext
from typing import Any

from prefect.client.schemas.objects import State

from standby.errors import sentence
from standby.flows import events, outcome, recovery
from standby.recovery.concerns import Kind, Look, grouped
from standby.recovery.context import Stage
from standby.recovery.snapshots.take import SnapshotTaken, take_snapshot
from standby.recovery.witnesses import settle
from standby.tasks.stage import TaskStages
from standby.vault.replica import ReplicaState, replica_state


@outcome.flow(name="snapshot", flow_run_name="snapshot-{plan}", persist_result=False)
async def snapshot(plan: str) -> State[Any]:
    """Write the definitions, defaults and deployments of a recovery plan to the vault and its second store.

    A definition that the vault already has is not written again. Old snapshots are removed by number and age.

    Args:
        plan: Name of a saved recovery-plan block.
    """
    async with recovery.recovering(plan) as opened:
        async with events.told_if_failing(opened, Kind.SNAPSHOT, "snapshot"):
            context = await settle(opened)
            taken = await TaskStages().run(Stage.SNAPSHOT, f"snapshot {plan}", lambda: take_snapshot(context))
        look = lacking(taken, await replica_state(context.vault))
        await events.tell_concerns(nullcontext(context.vault), plan, look)
    message = " ".join([taken.summary, *taken.shortcomings])
    name = "Completed" if taken.complete else "PartiallyFailed"
    return await outcome.FlowOutcome(name, message, taken, good=taken.complete).finish()


def lacking(taken: SnapshotTaken, replica: ReplicaState | None) -> Look:
    kinds = frozenset({Kind.SNAPSHOT, Kind.SNAPSHOT_AGE, Kind.REPLICA})
    again, found = f"Correct that, then run standby snapshot {taken.plan}", []
    behind = sentence(replica.words) if replica is not None and not replica.whole else ""
    if replica is not None and behind:
        found.append(grouped(Kind.REPLICA, "", "warning", [(behind, replica.next_action or again)]))
    if reasons := [(reason, again) for reason in taken.shortcomings if reason != behind]:
        prefix = f"The last snapshot of plan {taken.plan} is not whole: "
        found.append(grouped(Kind.SNAPSHOT, "", "warning", reasons, prefix))
    return Look(kinds, tuple(found))
