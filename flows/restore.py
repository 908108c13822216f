"""Rebuild analyzers from the vault, without the resource they came from."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from prefect.client.schemas.objects import State

from standby.flows.compare import changed
from standby.flows.limits import SHORT_WAIT, hold_targets
from standby.flows.outcome import FlowOutcome, causes, flow, item_table
from standby.flows.recovery import recovering
from standby.flows.run import ProgressArtifact, to_its_report
from standby.recovery.failover.failover import completed
from standby.recovery.proof.records import Proofs
from standby.recovery.snapshots import restore as restoring
from standby.recovery.snapshots.plan import plan_restore
from standby.recovery.snapshots.snapshot import open_snapshot
from standby.recovery.witnesses import settle
from standby.replication.items import GOOD
from standby.text import some_sentences, totals


@flow(name="restore", flow_run_name="restore-{plan}-at-{to}", persist_result=False)
async def restore(
    plan: str,
    to: str,
    as_of: datetime | None = None,
    analyzers: Sequence[str] = ("*",),
    force: Sequence[str] = (),
    reason: str = "",
) -> State[Any]:
    """Rebuild the analyzers of a recovery plan at a resource from a snapshot, children first.

    No other resource is called. Analyzers that it already has are not replaced, unless they failed or are stuck; each
    rebuilt one is read back. What a failover left out and works by now is in the active map again afterwards.
    If the plan has samples, what was rebuilt analyses them, and is compared with the baselines.

    Args:
        plan: Name of a saved recovery-plan block.
        to: Name of the resource to restore to.
        as_of: Take the newest snapshot up to this moment; empty means the newest.
        analyzers: Patterns of analyzer ids; the analyzers that they depend on are included.
        force: "fence" continues although the fence or the audit log was lost.
        reason: Why, where that is forced.
    """
    moment = as_of.replace(tzinfo=UTC) if as_of is not None and as_of.tzinfo is None else as_of
    title = f"Restoring plan {plan} at {to}"
    async with recovering(plan) as opened, hold_targets([to], SHORT_WAIT), ProgressArtifact(title) as bar:
        context = await settle(opened, force, reason)
        known = await Proofs.read(context.vault, plan)
        found = await open_snapshot(context, as_of=moment)
        wanted = await plan_restore(context, found, to, analyzers=analyzers)
        report = await to_its_report(restoring.restore(context, wanted, on_progress=bar.show))
        report = await completed(context, report)
    # The proofs of what was built take the place of those of what was there.
    event = changed(plan, known, Proofs(proofs=report.proofs))
    items = sorted(report.items, key=lambda item: item.status in GOOD)
    summary = f"{'The run was cancelled: ' if report.interrupted else ''}{totals(report.totals)}."
    return await FlowOutcome(
        "Completed" if report.complete else "PartiallyFailed",
        " ".join(filter(None, [summary, *causes(items), some_sentences(report.problems)])),
        report,
        good=report.complete,
        interrupted=report.interrupted,
        event=event,
        artifact=item_table(
            "restore-report",
            f"Plan **{plan}**, snapshot {report.snapshot}: {totals(report.totals)}.",
            items,
            ("analyzer", "as", "fidelity", "status", "reason", "seconds", "warnings"),
        ),
    ).finish()
