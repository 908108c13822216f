"""The first half of the demonstration: analyzers are kept warm in two more regions."""

from __future__ import annotations

from typing import Any

import httpx

from standby.cli.demo.outage import tell_outage
from standby.cli.demo.stage import PLAN, DemoWentWrong, Stage, edit, head, replicate
from standby.cli.output import Output
from standby.cli.render import drift_lines
from standby.config.configuration import Configuration
from standby.config.resource import PREVIEW_2025
from standby.document import JsonValue
from standby.replication.items import Selection, Status
from standby.replication.replicate import open_run, survey
from standby.replication.report import Report

EDITED = "contract"
HELD_BACK = 1
"""Copies the first runs must hold back: north has no deployment of the model that one analyzer needs."""


async def tell(stage: Stage, output: Output) -> JsonValue:
    """Play all of it; give the report of every run.

    Raises:
        DemoWentWrong: something did not come out as it must.
    """
    output.result(f"Prefect's UI is at {stage.ui} while this runs.")
    configuration = stage.configuration()
    analyzers = len((await _survey(configuration)).items) // 2

    head(output, f"1. First run: east has {analyzers} analyzers, west and north have none")
    first = await replicate(stage, output, configuration)
    _must(first, succeeded=2 * analyzers - HELD_BACK, blocked=HELD_BACK)
    output.result("insurance-claim is held back: at north it would be ready and fail at its first document.")
    output.result("Children went first, so that no router was ever ready before what it routes to.")
    output.result("One answer was lost on its way: the target was looked at, and nothing was copied twice.")

    head(output, "2. Second run: there is nothing left to do")
    second = await replicate(stage, output, configuration)
    _must(second, skipped=2 * analyzers - HELD_BACK, blocked=HELD_BACK)

    head(output, f"3. Somebody adds a field to {EDITED} in the east; `standby check` notices")
    await edit(
        configuration,
        "east",
        EDITED,
        "GoverningLaw",
        {"type": "string", "method": "extract", "description": "Whose law applies"},
    )
    output.results(drift_lines(await _survey(configuration), verbose=False))

    head(output, "4. Third run, with leave to replace")
    third = await replicate(stage, output, configuration, analyzers=(EDITED,), on_existing="replace")
    _must(third, succeeded=2)

    head(
        output,
        "5. The same with the 2025-05-01-preview protocol and encrypted tokens",
    )
    fourth = await replicate(stage, output, stage.configuration(PREVIEW_2025))
    _must(fourth, succeeded=2 * analyzers - HELD_BACK, blocked=HELD_BACK)

    outage = await tell_outage(stage, output, configuration)

    head(output, "What the regions themselves counted")
    for line in await _counted(stage, configuration):
        output.result(line)
    output.result("")
    output.result(
        f"Done. {analyzers} analyzers stand by in two regions; one region was lost and brought back. In "
        f"Prefect: Runs → replicate-{PLAN} shows every authorize, validate-deployments, copy, poll, verify; "
        "Runs → failover-… what happened in the night; Artifacts has every report. "
        "`standby demo --keep` leaves it open to look at."
    )
    runs: list[JsonValue] = [report.model_dump(mode="json") for report in (first, second, third, fourth)]
    return {"runs": runs, "outage": dict(outage)}


async def _survey(configuration: Configuration) -> Any:
    async with open_run(configuration, PLAN) as context:
        return await survey(context, Selection())


async def _counted(stage: Stage, configuration: Configuration) -> list[str]:
    async with httpx.AsyncClient() as http:
        stats = (await http.get(f"{stage.control}/stats")).json()["resources"]
    lines = []
    for name in configuration.plan(PLAN).targets:
        seen, limit = stats[name], configuration.resource(name).max_concurrent_copies
        if seen["max_copies_in_flight"] > limit:
            raise DemoWentWrong(f"{name} saw {seen['max_copies_in_flight']} copies at once")
        lines.append(
            f"{name}: {sum(seen['copies_accepted'].values())} copies accepted, "
            f"never more than {seen['max_copies_in_flight']} at once (limit {limit})."
        )
    return lines


def _must(report: Report, **expected: int) -> None:
    wanted = {status: expected.get(status.value, 0) for status in Status}
    if dict(report.totals) != wanted:
        raise DemoWentWrong(f"expected {expected}, got {dict(report.totals)}")
