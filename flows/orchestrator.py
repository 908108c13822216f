"""Prefect, as the command line sees it.

Prefect reads its settings when it is first imported, and importing it takes seconds: both are why the imports
of this module are inside its functions.
"""

from __future__ import annotations

import os
from typing import Any

from flows.errors import NoReport, ServerUnreachable
from standby.config.configuration import Configuration
from standby.orchestrator import Health
from standby.replication.planning import Selection
from standby.replication.report import Report

RECORDER = {
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
}
"""Server settings without which a busy server, or one that ends with us, loses task runs."""


class Prefect:
    """Runs Standby's flows in this process, and sets a server up for running them elsewhere."""

    def __init__(self) -> None:
        """Prepare for a server that Prefect may start for us."""
        for name, value in RECORDER.items():
            os.environ.setdefault(name, value)

    async def replicate(self, configuration: Configuration, plan: str, selection: Selection) -> Report:
        """Save what the plan needs on the server, run the flow here and give its report.

        Raises:
            NoReport: the flow ended before it could make one.
            ServerUnreachable: a server is configured and does not answer.
        """
        await _must_answer()
        from flows.bootstrapping import save_what_runs_need
        from flows.replicate import replicate

        await save_what_runs_need(configuration.only(plan))
        state = await replicate(
            plan=plan,
            analyzers=list(selection.analyzers),
            targets=list(selection.targets),
            on_existing=selection.on_existing,
            return_state=True,
        )
        result: Any = await state.aresult(raise_on_failure=False)
        if isinstance(result, dict):
            return Report.model_validate(result)
        raise NoReport(str(state.state_details.flow_run_id), str(result or state.message))

    async def bootstrap(self, configuration: Configuration) -> list[str]:
        """Save blocks, limits, work pool and deployments; give a line for each thing that changed."""
        await _must_answer()
        from flows.bootstrapping import save_what_runs_need, save_what_starts_runs

        return await save_what_runs_need(configuration) + await save_what_starts_runs(configuration)

    async def health(self) -> Health:
        """See whether the configured server answers."""
        from prefect.settings import get_current_settings

        url = get_current_settings().api.url
        if not url:
            return Health(
                False, "no Prefect server is configured", "Start one and set PREFECT_API_URL, or use --via direct"
            )
        try:
            await _must_answer()
        except ServerUnreachable as error:
            return Health(False, error.cause, error.next_action)
        return Health(True, f"the server at {url} answers")


async def _must_answer() -> None:
    from prefect import get_client
    from prefect.settings import get_current_settings

    url = get_current_settings().api.url
    if not url:
        return  # Prefect will start a server of its own.
    async with get_client() as client:
        if await client.api_healthcheck() is not None:
            raise ServerUnreachable(url)
