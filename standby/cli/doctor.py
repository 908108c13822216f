"""`standby doctor`: is everything in place, and if not, what is the one thing to do?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Annotated

import typer

from standby.cli.diagnosis import Check, diagnose
from standby.cli.exits import Exit
from standby.cli.lines import Line
from standby.cli.output import Output
from standby.cli.running import run
from standby.clock import SystemClock
from standby.concurrency import side_by_side
from standby.config.configuration import Configuration
from standby.config.vault import VaultSettings
from standby.errors import sentence
from standby.orchestrator import NoOrchestrator, Orchestrator, load_orchestrator
from standby.service.client import ContentUnderstandingClient
from standby.service.errors import Unreachable
from standby.service.resource import Resource
from standby.service.retrying import HttpRetries
from standby.service.tls import Tls, trusted_certificates

PATIENCE = HttpRetries(attempts=2, total=15.0, retry_after_cap=5.0)
"""Whoever asks what is wrong wants to hear it soon: a run tries for longer."""

LONGEST = 25.0
"""Seconds after which a resource that neither answers nor refuses is given up."""

_MARKS = {True: "ok", False: "NO", None: "??"}
_STYLES = {True: "green", False: "red", None: "yellow"}


def command(
    context: typer.Context,
    plan: Annotated[str | None, typer.Argument(metavar="PLAN", help="Only what this plan uses.")] = None,
) -> None:
    """Check connections, permissions, models, clock and Prefect, and name the next action for each.

    Exit status: 0 nothing is wrong, 1 something is.
    """

    async def examine(output: Output) -> Exit:
        configuration = output.load()
        names = configuration.plan(plan).resources if plan else tuple(configuration.resources)
        tls = trusted_certificates()
        async with side_by_side() as group:
            resources = [group.create_task(_resource(configuration.resource(name), tls)) for name in names]
            prefect = group.create_task(_prefect(configuration))
        checks = [check for found in [*resources, prefect] for check in found.result()]
        output.results(_lines(checks))
        output.document({"checks": [asdict(check) for check in checks]})
        return Exit.ERROR if any(check.well is False for check in checks) else Exit.DONE

    run(context, examine)


def _lines(checks: Sequence[Check]) -> Iterator[Line]:
    for subject, found in groupby(checks, key=lambda check: check.subject):
        told = list(found)
        yield Line(subject, wrong=any(check.well is False for check in told))
        for check in told:
            wrong = check.well is False
            text = sentence(f"{check.name}: {check.detail}")
            yield Line(text, 2, _MARKS[check.well], _STYLES[check.well], wrong=wrong)
            if check.next_action:
                yield Line(sentence(check.next_action), 5, "→", wrong=wrong)
    bad, unknown = (sum(check.well is value for check in checks) for value in (False, None))
    unsure = f" {unknown} could not be told." if unknown else ""
    yield Line("")
    yield Line(f"{len(checks)} checks, {bad or 'nothing'} wrong.{unsure}", wrong=bool(bad))


async def _resource(resource: Resource, tls: Tls) -> list[Check]:
    checks: list[Check] = []
    async with ContentUnderstandingClient(resource, tls=tls, retries=PATIENCE) as client:
        try:
            async with asyncio.timeout(LONGEST):
                async for check in diagnose(client, SystemClock()):
                    checks.append(check)
        except TimeoutError:
            detail = f"{resource.endpoint} did not answer within {LONGEST:g} s"
            checks.append(Check(resource.name, "connection", False, detail, Unreachable.advice))
    return checks


async def _prefect(configuration: Configuration) -> list[Check]:
    try:
        orchestrator = load_orchestrator()
    except NoOrchestrator as error:
        return [Check("prefect", "server", None, error.cause, error.next_action)]
    health = await orchestrator.health()
    # Recovery must work without it: a Prefect that is down is worth knowing, not a failure.
    checks = [Check("prefect", "server", health.well or None, health.detail, health.next_action)]
    if health.well and _has_a_block(configuration.vault):
        checks.append(await _vault(orchestrator, configuration))
    return checks


async def _vault(orchestrator: Orchestrator, configuration: Configuration) -> Check:
    try:
        async with asyncio.timeout(LONGEST):
            vault = await orchestrator.vault(configuration)
    except TimeoutError:
        detail = f"it could not be written within {LONGEST:g} s"
        return Check("prefect", "vault", False, detail, "See that its storage answers")
    return Check("prefect", "vault", vault.well, vault.detail, vault.next_action)


def _has_a_block(vault: VaultSettings) -> bool:
    return vault.block is not None or (vault.second is not None and vault.second.block is not None)
