"""Test a failover, and prove that nothing of it is left."""

from collections.abc import Sequence
from typing import Any

from prefect.artifacts import MarkdownArtifact
from prefect.client.schemas.objects import State

from standby.document import JsonObject
from standby.fencing import read_fence
from standby.flows import events, limits, outcome, recovery, run
from standby.recovery.assignments import choose_assignment
from standby.recovery.drill import drill as drilling
from standby.recovery.drill.findings import facts, message
from standby.recovery.witnesses import settle
from standby.tasks.stage import TaskStages


@outcome.flow(name="drill", flow_run_name="drill-{plan}", persist_result=False)
async def drill(
    plan: str, to: str = "", scratch: str = "", home: str = "", force: Sequence[str] = (), reason: str = ""
) -> State[Any]:
    """Test the failover of a recovery plan, measure it, and remove everything it made.

    It runs the code of a real failover under temporary ids; the sinks are not changed and the primary is not
    called. It passes only if its clean-up is proven. The evidence is kept in the vault, signed where there is
    a key.

    Args:
        plan: Name of a saved recovery-plan block.
        to: The target; empty means the one that an outage would choose.
        scratch: Name of another resource where the analyzers are made, under the real ids.
        home: The primary whose loss is simulated, where there are several.
        force: "fence" continues although the fence or the audit log was lost.
        reason: Why, where that is forced.
    """
    async with recovery.recovering(plan, scratch=scratch) as opened:
        context = await settle(opened, force, reason)
        fence = await read_fence(context.vault, context.plan)
        primary, target = choose_assignment(context.plan, fence, to=to, named=home)
        async with limits.hold_targets([scratch or target], limits.SHORT_WAIT):
            work = drilling.drill(context, primary, target, TaskStages(), scratch=scratch or None)
            report = await run.to_its_report(work)
    summary = message(report)
    text = outcome.page(
        f"# {outcome.escaped(f'{report.title}: {report.ending}')}",
        outcome.bullets(report.reasons),
        outcome.table(("", ""), ((fact.label, fact.text) for fact in facts(report))),
        "## Phases",
        outcome.phase_table(report.phases),
    )
    payload: JsonObject = {"home": report.primary, "to": report.to, "passed": report.passed}
    payload["evidence"] = report.evidence
    return await outcome.FlowOutcome(
        "Passed" if report.passed else "NotPassed",
        summary,
        report,
        good=report.passed,
        interrupted=report.interrupted,
        artifact=MarkdownArtifact(key="drill-report", markdown=text, description=summary),
        event=events.PlanEvent(events.DRILLED, plan, payload, "info" if report.passed else "warning"),
    ).finish()
