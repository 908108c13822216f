"""Prefect, as the command line sees it.

Prefect reads its settings when it is first imported, and importing it takes seconds: both are why the imports
of this module are inside its functions.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from inspect import isawaitable
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel

from flows.errors import NoReport, NoServer, ServerUnreachable
from flows.server import SETTINGS, own_server, own_worker
from standby.config.configuration import Configuration
from standby.document import JsonValue
from standby.errors import StandbyError
from standby.orchestrator import Health
from standby.recovery.loss import FENCE
from standby.replication.items import Progress, Selection
from standby.replication.report import Ended, Report

QUIET: Mapping[str, str] = {
    # The command itself says what happened, and a run's log goes to the server as well.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    # No usage statistics leave a recovery tool.
    "DO_NOT_TRACK": "1",
}
"""Settings of Prefect's client in a process of Standby."""


class Prefect:
    """Runs Standby's flows in this process, and sets a server up for running them elsewhere."""

    def __init__(self) -> None:
        """Set Prefect up for our work, and for a server that it may start for us."""
        for name, value in {**SETTINGS, **QUIET}.items():
            os.environ.setdefault(name, value)

    async def replicate(
        self,
        configuration: Configuration,
        plan: str,
        selection: Selection,
        *,
        apply: Path | None,
        on_progress: Callable[[Progress], None],
        past_loss: str | None = None,
    ) -> Ended:
        """Save what the plan needs on the server, run the flow here and give its report."""
        parameters = {
            "analyzers": list(selection.analyzers),
            "targets": list(selection.targets),
            "on_existing": selection.on_existing,
            "force": [*selection.force, *([] if past_loss is None else [FENCE])],
            "reason": past_loss or "",
            "apply": None if apply is None else str(apply),
        }
        report, interrupted = await _run_here(
            configuration.only(plan), "replicate", {**parameters, "plan": plan}, on_progress
        )
        return Ended(cast(Report, report), interrupted)

    async def recover(
        self, configuration: Configuration, plan: str, flow: str, parameters: Mapping[str, JsonValue]
    ) -> dict[str, JsonValue]:
        """Save what the plan needs on the server, run one of the recovery's flows here and give its report."""
        # All of its resources: a drill may be asked for at one that the plan does not use.
        wanted = configuration.model_copy(update={"plans": {plan: configuration.plan(plan)}})
        report, _ = await _run_here(wanted, flow, {**parameters, "plan": plan})
        return report.model_dump(mode="json")

    @asynccontextmanager
    async def own_server(self, home: Path) -> AsyncIterator[str]:
        """Run a server of our own and have everything in this process use it; give the URL of its UI."""
        async with own_server(home) as url:
            os.environ["PREFECT_API_URL"] = f"{url}/api"
            os.environ["PREFECT_HOME"] = str(home)
            try:
                yield url
            finally:
                await _flush()

    @asynccontextmanager
    async def own_worker(self, log: Path) -> AsyncIterator[None]:
        """Run a worker against the server that this process uses."""
        from prefect.settings import get_current_settings

        from flows.bootstrap import WORK_POOL

        settings = get_current_settings().to_environment_variables(exclude_unset=True)
        async with own_worker(log, WORK_POOL, settings):
            yield

    async def bootstrap(self, configuration: Configuration) -> list[str]:
        """Save everything a configuration needs on a server; give a line for each thing that changed."""
        await _must_be_there()
        from blocks import register_types
        from flows.bootstrap import save_what_runs_need, save_what_starts_runs
        from flows.notifications import save_automations, wanted_automations

        await register_types()
        # First of all, since a notification block that is missing is an error.
        automations = await wanted_automations(configuration)
        return [
            *await save_what_runs_need(configuration),
            *await save_what_starts_runs(configuration),
            *await save_automations(automations),
        ]

    async def pause_schedules(self) -> None:
        """Pause all schedules, until somebody resumes them."""
        from flows.bootstrap import pause_schedules

        await pause_schedules()

    async def health(self) -> Health:
        """See whether the configured server answers."""
        try:
            await _must_be_there()
        except (NoServer, ServerUnreachable) as error:
            return Health(False, error.cause, error.next_action)
        return Health(True, f"the server at {_configured()} answers")


async def _run_here(
    wanted: Configuration,
    flow: str,
    parameters: Mapping[str, object],
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> tuple[BaseModel, bool]:
    """Save a configuration on the server and run a flow here; give its report, and whether it was interrupted."""
    await _must_answer()
    from flows.bootstrap import save_what_runs_need
    from flows.run import listen

    # Each flow has the name of its module.
    run: Any = getattr(import_module(f"flows.{flow}"), flow)
    await save_what_runs_need(wanted)
    with listen(on_progress) as listener:
        try:
            state = await run(**parameters, return_state=True)
        except asyncio.CancelledError:
            if listener.report is None:
                raise
            return listener.report, True
    if listener.report is not None:
        return listener.report, state.is_cancelled()
    failure: Any = await state.aresult(raise_on_failure=False)
    if isinstance(failure, StandbyError):
        raise failure
    raise NoReport(str(state.state_details.flow_run_id), str(failure or state.message))


async def _flush() -> None:
    """Send the log lines and events that Prefect still holds to a server that is about to end."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogHandler

    await APILogHandler.aflush()
    drained = EventsWorker.drain_all()
    if isawaitable(drained):
        await drained


def _configured() -> str:
    from prefect.settings import get_current_settings

    return get_current_settings().api.url or ""


async def _must_be_there() -> None:
    if not _configured():
        raise NoServer
    await _must_answer()


async def _must_answer() -> None:
    from prefect import get_client

    url = _configured()
    if not url:
        return  # Prefect will start a server of its own.
    async with get_client() as client:
        if await client.api_healthcheck() is not None:
            raise ServerUnreachable(url)
