"""Keep what a plan protects in the vault."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.listening import tell_report
from flows.outcome import ended, fell_short
from flows.recovery import TaskStages, recovering
from standby.errors import sentence
from standby.recovery.snapshots.take import SnapshotTaken, take_snapshot


@flow(name="snapshot", flow_run_name="snapshot-{plan}", persist_result=False)
async def snapshot(plan: str) -> State[Any]:
    """Write the definitions, defaults and deployments of a recovery plan to the vault and its second store.

    What the vault already has is not written again. Old snapshots are removed by number and age.

    Args:
        plan: Name of a saved recovery-plan block.
    """
    async with recovering(plan) as context:
        taken = await TaskStages().run(f"snapshot {plan}", lambda: take_snapshot(context))
    tell_report(taken)
    if taken.complete:
        return ended("Completed", _told(taken), taken)
    return fell_short("PartiallyFailed", _told(taken), taken)


def _told(taken: SnapshotTaken) -> str:
    held = ", ".join(f"{count} analyzer(s) of {name}" for name, count in sorted(taken.resources.items()))
    parts = [
        f"Snapshot {taken.id} has {held or 'nothing'}",
        *(f"{name} did not answer: {reason}" for name, reason in sorted(taken.missing.items())),
        *taken.problems,
    ]
    return " ".join(sentence(part) for part in parts)
