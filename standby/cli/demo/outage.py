"""The second half of the demonstration: a region goes dark, and comes back with nothing lost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx

from standby.cli.audit import verify_lines
from standby.cli.demo.stage import PLAN, DemoWentWrong, Stage, edit, head, replicate
from standby.cli.drill import drill_lines
from standby.cli.failback import divergence_lines, failback_lines
from standby.cli.failover import decision_lines
from standby.cli.output import Output
from standby.cli.snapshots import taken_lines
from standby.config.configuration import Configuration
from standby.document import JsonValue
from standby.errors import GuardRefused
from standby.fencing import read_fence
from standby.recovery.activation.sinks import Activation, ActivationBook
from standby.recovery.audit import verify_audit
from standby.recovery.context import open_recovery
from standby.recovery.decision.record import explain
from standby.recovery.drill.report import DrillReport
from standby.recovery.failback.report import FailbackReport
from standby.recovery.failover.report import CommitReport
from standby.recovery.probe import WatchReport
from standby.recovery.snapshots.take import SnapshotTaken
from standby.replication.items import Status

EDITED_AWAY = "receipt"
"""Analyzer that somebody edits while the standby side serves."""

PATIENCE = 90.0
"""Seconds for the automation to have switched over."""


async def tell_outage(stage: Stage, output: Output, configuration: Configuration) -> Mapping[str, JsonValue]:
    """Play it; give the reports.

    Raises:
        DemoWentWrong: something did not come out as it must.
    """
    head(output, "6. While all is well: a signed snapshot, and a rehearsal in scratch ids")
    taken = SnapshotTaken.model_validate(await _flow(stage, configuration, "snapshot"))
    output.results(taken_lines(taken))
    drilled = DrillReport.model_validate(await _flow(stage, configuration, "drill", to="west"))
    output.results(drill_lines(drilled))
    if not drilled.passed:
        raise DemoWentWrong("the drill did not pass")

    head(output, "7. The lights go out in the east; nobody is awake")
    await _outage(stage, "unavailable")
    active = await _watch_until_switched(stage, output, configuration)
    output.result(f"Applications were told: call {_called(active)} (epoch {active.epoch}, {_file(configuration)}).")
    await _tell_why(output, configuration)
    try:
        await replicate(stage, output, configuration)
    except GuardRefused as error:
        output.result(f"The hourly replication that follows is refused: {error}")
    else:
        raise DemoWentWrong("a replication from the dark side was let through")

    head(output, f"8. In the morning: the switch is made final, and {EDITED_AWAY} is edited in the west")
    committed = CommitReport.model_validate(await _flow(stage, configuration, "commit"))
    await edit(
        configuration,
        "west",
        EDITED_AWAY,
        "Tip",
        {"type": "number", "method": "extract", "description": "What was given on top"},
    )

    head(output, "9. The east is back, and gets what it missed")
    await _outage(stage, "none")
    back = FailbackReport.model_validate(await _flow(stage, configuration, "failback"))
    if back.divergence is not None:
        output.results(divergence_lines(back.divergence, verbose=False))
    output.results(failback_lines(back))
    if not back.complete:
        raise DemoWentWrong("the failback is not complete")
    after = await replicate(stage, output, configuration, targets=("west",))
    if after.totals[Status.SUCCEEDED] or not after.complete:
        raise DemoWentWrong("something was left to copy after the failback")
    await _tell_audit(output, configuration)
    return {
        "snapshot": taken.model_dump(mode="json"),
        "drill": drilled.model_dump(mode="json"),
        "active": active.model_dump(mode="json"),
        "commit": committed.model_dump(mode="json"),
        "failback": back.model_dump(mode="json"),
    }


async def _flow(stage: Stage, configuration: Configuration, flow: str, **parameters: JsonValue) -> Any:
    return await stage.orchestrator.recover(configuration, PLAN, flow, parameters)


async def _outage(stage: Stage, kind: str) -> None:
    async with httpx.AsyncClient() as http:
        answer = await http.post(f"{stage.control}/outages", json={"resource": "east", "kind": kind})
        answer.raise_for_status()


async def _watch_until_switched(stage: Stage, output: Output, configuration: Configuration) -> Activation:
    """Watch, faster than its schedule would, until Prefect's automation has done the rest on the worker."""
    clock = asyncio.get_running_loop().time
    begun = clock()
    noticed = False
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                told = await _flow(stage, configuration, "watch")
                east = WatchReport.model_validate(told).observations["east"]
                if not noticed and east.healthy is False:
                    noticed = True
                    output.result(f"The watch sees it after {clock() - begun:.1f} s: {east.summary}.")
                    output.result(
                        "Its events make Prefect start failover/on-outage on a worker; that looks for itself."
                    )
                active = await _active(configuration)
                if active is not None and _called(active) == "west":
                    output.result(f"West serves {clock() - begun:.1f} s after the lights went out.")
                    return active
                await asyncio.sleep(1.0)
    except TimeoutError:
        raise DemoWentWrong(f"nothing was switched over within {PATIENCE:.0f} s") from None


async def _active(configuration: Configuration) -> Activation | None:
    file = configuration.activation[0]
    if file.kind != "file" or not await asyncio.to_thread(file.path.exists):
        return None
    book = ActivationBook.model_validate_json(await asyncio.to_thread(file.path.read_bytes))
    return book.plans.get(PLAN)


def _called(active: Activation) -> str:
    east = active.sources["east"]
    return "nobody" if east is None else east.resource


def _file(configuration: Configuration) -> str:
    file = configuration.activation[0]
    return file.path.name if file.kind == "file" else file.kind


async def _tell_why(output: Output, configuration: Configuration) -> None:
    """Show the decision as it can be read in the morning, once the flow has finished with the fence."""
    async with open_recovery(configuration, PLAN) as context:
        checked = await verify_audit(context.vault, PLAN, context.signer)
        decided = [line for line in checked.lines if line.action == "failover.decided"]
        if not decided:
            raise DemoWentWrong("the decision is not in the audit log")
        explanation = await explain(context.vault, str(decided[-1].facts["decision"]), context.signer)
        output.results(decision_lines(explanation.record.decision, explanation.record.id))
        if not explanation.same or explanation.problems:
            raise DemoWentWrong("the decision cannot be replayed")
        fence = await read_fence(context.vault, context.plan)
    if fence.assignments["east"].active != "west":
        raise DemoWentWrong(f"the fence says {fence.assignments['east'].active}")


async def _tell_audit(output: Output, configuration: Configuration) -> None:
    async with open_recovery(configuration, PLAN) as context:
        checked = await verify_audit(context.vault, PLAN, context.signer)
        output.results(verify_lines({PLAN: checked}, context.signer.key_id if context.signer else ""))
    if checked.problems:
        raise DemoWentWrong("the audit log is not whole")
