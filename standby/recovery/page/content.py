"""What the page shows, gathered while a region may be dark."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from standby.config.plan import RecoveryPlan
from standby.errors import StandbyError
from standby.fencing import Fence, read_fence
from standby.recovery.audit import AuditCheck, verify_audit
from standby.recovery.context import RecoveryContext
from standby.recovery.drill.summary import LatestDrills, read_latest
from standby.recovery.readiness.document import Readiness
from standby.recovery.readiness.gathering import assess_plan
from standby.recovery.readiness.looking import LOOK_SECONDS
from standby.recovery.snapshots.listing import SnapshotEntry, list_snapshots


@dataclass(frozen=True)
class PageContent:
    """One plan at one moment.

    Attributes:
        regions: Azure region by name of the resource.
        readiness: of every pair.
        audit: the log, and what is wrong with it.
        drills: the last one at each resource.
        snapshots: newest first.
        snapshots_problem: why they could not be listed; empty where they could.
    """

    plan: RecoveryPlan
    made_at: datetime
    actor: str
    regions: dict[str, str]
    fence: Fence
    readiness: tuple[Readiness, ...]
    audit: AuditCheck
    drills: LatestDrills
    snapshots: tuple[SnapshotEntry, ...]
    snapshots_problem: str = ""


async def gather_content(context: RecoveryContext, *, seconds: float = LOOK_SECONDS) -> PageContent:
    """Look at everything that the page is about; nothing is changed.

    Args:
        context: the plan, its connections and its vault.
        seconds: that every resource has to answer.

    Raises:
        FenceUnreadable: what says which side is active cannot be understood.
        VaultUnavailable: what was recorded cannot be read.
    """
    plan, vault = context.plan, context.vault
    readiness = await assess_plan(context, seconds=seconds)
    snapshots: tuple[SnapshotEntry, ...] = ()
    problem = ""
    try:
        snapshots = await list_snapshots(context)
    except StandbyError as error:
        # A page about what goes wrong must not be lost to one of the things that do.
        problem = str(error)
    return PageContent(
        plan=plan,
        made_at=context.clock.now(),
        actor=context.actor,
        regions={name: context.configuration.resource(name).region for name in plan.resources},
        fence=await read_fence(vault, plan),
        readiness=readiness,
        audit=await verify_audit(vault, plan.name, context.signer),
        drills=await read_latest(vault, plan.name),
        snapshots=snapshots,
        snapshots_problem=problem,
    )
