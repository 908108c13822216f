"""Prefect, as the command line sees it, with a server and workers of our own where a demo or a machine has none.

Prefect reads its settings when it is first imported, and importing it takes seconds: both are why the imports
of this module are inside its functions.
"""

import asyncio
import os
import re
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from inspect import isawaitable
from pathlib import Path
from typing import Any, cast

import httpx
from pydantic import BaseModel, ValidationError

from standby.config.configuration import Configuration
from standby.config.plan import RecoveryPlan
from standby.document import JsonValue
from standby.errors import StandbyError, must_not_be_read_only
from standby.flows import QUICKLY, errors, processes
from standby.orchestrator import Health
from standby.recovery.witnesses import FENCE
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
        for name, value in {**processes.SETTINGS, **QUIET}.items():
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
        asked = {
            "plan": plan,
            "analyzers": list(selection.analyzers),
            "targets": list(selection.targets),
            "force": [*selection.force, *([] if past_loss is None else [FENCE])],
            "on_existing": selection.on_existing,
            "reason": past_loss or "",
            "apply": None if apply is None else str(apply),
        }
        report, interrupted = await _run_here(configuration.only(plan), "replicate", asked, on_progress)
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
        async with processes.own_server(home) as url:
            os.environ["PREFECT_API_URL"] = f"{url}/api"
            os.environ["PREFECT_HOME"] = str(home)
            os.environ.setdefault("HOME", str(home))  # In a container the user may have none.
            try:
                yield url
            finally:
                await _flush()

    @asynccontextmanager
    async def own_workers(self, folder: Path) -> AsyncIterator[None]:
        settings = _settings().to_environment_variables(exclude_unset=True)
        from standby.flows.bootstrap import RECOVERY_POOL, WORK_POOL

        async with AsyncExitStack() as stack:
            for pool in (WORK_POOL, RECOVERY_POOL):
                command = ("prefect", "worker", "start", "--pool", pool, "--type", "process")
                environment = {**processes.PROMPT, **os.environ, **settings}
                worker = processes.started(folder / f"{pool}.log", environment, *QUICKLY, *command)
                await stack.enter_async_context(worker)
            yield

    async def bootstrap(self, configuration: Configuration) -> list[str]:
        must_not_be_read_only("A bootstrap")
        await _must_be_there()
        from prefect.exceptions import PrefectException

        from standby.blocks.store import register_types
        from standby.flows.bootstrap import save_what_runs_need, save_what_starts_runs, wanted_deployments
        from standby.flows.health import end_of_the_dead
        from standby.flows.notifications import save_automations, wanted_automations

        # Whatever can be wrong is found before the first thing is saved.
        wanted_deployments(list(configuration.plans.values()), keep=configuration.keep_runs)
        automations = [*await wanted_automations(configuration), end_of_the_dead()]
        saved: list[str] = []
        try:
            await save_what_runs_need(configuration, saved)
            await save_what_starts_runs(configuration, saved)
            await save_automations(automations, saved)
            await register_types()
        except (StandbyError, httpx.HTTPError, PrefectException, OSError) as error:
            raise errors.BootstrapUnfinished(saved, error) from error
        return saved

    async def removable(self, configuration: Configuration) -> list[str]:
        await _must_be_there()
        from standby.flows.uninstall import removable

        return await removable(configuration)

    async def remove(self, configuration: Configuration, names: Sequence[str]) -> None:
        must_not_be_read_only("A removal")
        from standby.flows.uninstall import remove

        await remove(configuration, names)

    async def notify(self, blocks: Sequence[str]) -> Mapping[str, Health]:
        must_not_be_read_only("A test message")
        from standby.flows.notifications import send_tests

        return await send_tests(blocks)

    async def pause_schedules(self) -> None:
        must_not_be_read_only("A pause of schedules")
        from standby.flows.bootstrap import pause_schedules

        await pause_schedules()

    async def health(self) -> Health:
        try:
            await _must_be_there()
            return Health(True, f"the server at {_configured()} answers")
        except StandbyError as error:
            return Health(False, error.cause, error.next_action.removesuffix(errors.OR_DIRECT))

    async def watching(self, plans: Sequence[RecoveryPlan]) -> Mapping[str, Health]:
        from standby.flows.health import inspect_pools, inspect_runs, inspect_watches

        try:
            runs = await inspect_runs([plan.name for plan in plans])
            schedules = {f"{flow} of {plan}": each for plan, of in runs.items() for flow, each in of.items()}
            return {**await inspect_pools(), **await inspect_watches(plans), **schedules}
        except httpx.HTTPError as error:
            return {"watch": Health(None, f"the server does not say whether it runs ({type(error).__name__})")}


async def _run_here(
    wanted: Configuration,
    flow: str,
    parameters: Mapping[str, object],
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> tuple[BaseModel, bool]:
    """Save a configuration on the server and run a flow here; give its report, and whether it was interrupted."""
    must_not_be_read_only("A flow run")
    async with _server({**BARE, **UNREAD} if flow == "replicate" else BARE) as until_it_answers:
        from prefect.exceptions import PrefectException, PrefectSignal

        from standby.flows.bootstrap import save_what_runs_need
        from standby.flows.run import listen

        # Each flow has the name of its module.
        run: Any = getattr(import_module(f"standby.flows.{flow}"), flow)
        await until_it_answers()
        await save_what_runs_need(wanted)
        with listen(on_progress) as listener:
            try:
                state = await run(**parameters, return_state=True)
            except asyncio.CancelledError:
                if listener.report is None:
                    raise
                return listener.report, True
            except (httpx.HTTPError, PrefectException, PrefectSignal) as error:
                # The server forgot the run, or is gone. What was done is done, and the report says what that is.
                if listener.report is None:
                    raise errors.RunLost(str(error) or type(error).__name__) from None
                return listener.report, False
        if listener.report is not None:
            return listener.report, state.is_cancelled()
        failure: Any = await state.aresult(raise_on_failure=False)
        if isinstance(failure, StandbyError):
            raise failure
        raise errors.NoReport(str(state.state_details.flow_run_id), str(failure or state.message))


@asynccontextmanager
async def _server(bare: Mapping[str, str]) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Use the configured server; where none is, run one until the end, with the database of this user's Prefect.

    Prefect starts such a server as well, and does nothing else until it answers.
    """
    settings = _settings()
    if settings.api.url:
        yield _must_answer
        return
    if not settings.server.ephemeral.enabled:
        raise errors.NoServer(_lost_profile())
    from prefect.settings import PREFECT_API_URL, temporary_settings

    environment = {**bare, **os.environ, **settings.to_environment_variables(exclude_unset=True)}
    with tempfile.TemporaryDirectory() as folder:
        port, log = processes.free_port(), Path(folder) / "server.log"
        api = f"http://127.0.0.1:{port}/api"
        async with processes.started(log, environment, "-P", "-c", TEMPORARY, port) as process:

            async def answers() -> None:
                try:
                    await processes.until_it_answers(process, api, log)
                except errors.ServerDidNotStart as error:
                    raise errors.NoServer(f", and {error.cause[0].lower()}{error.cause[1:]}") from None
                await _must_answer()

            with temporary_settings({PREFECT_API_URL: api}):
                try:
                    yield answers
                finally:
                    await _flush()


async def _flush() -> None:
    """Send the log lines and events that Prefect still holds to a server that is about to end."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogHandler

    await APILogHandler.aflush()
    drained = EventsWorker.drain_all()
    if isawaitable(drained):
        await drained


def _settings() -> Any:
    """Give Prefect's settings, which it reads when it is first imported; or `SettingsUnusable`."""
    try:
        from prefect.settings import get_current_settings

        return get_current_settings()
    except (OSError, RuntimeError, ValueError) as error:
        reason = _unusable(error)
    raise errors.SettingsUnusable(reason)


def _unusable(error: Exception) -> str:
    """Say which setting of Prefect is wrong, as far as it says so itself, and without its value."""
    if isinstance(error, ValidationError):
        found = error.errors(include_url=False, include_input=False)[0]
        section = re.sub("(?<=[a-z])(?=[A-Z])", "_", error.title.removesuffix("Settings"))
        parts = [part for part in ("PREFECT", section, *found["loc"]) if part]
        # What is wrong with no part, but with all of it, is a URL.
        name = "_".join(map(str, parts)).upper() if found["loc"] else "PREFECT_API_URL or another URL"
        return f"{name}: {found['msg'].removeprefix('Value error, ')}"
    if "home directory" in str(error):
        return "this user has no home folder, and neither HOME nor PREFECT_HOME is set"
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _configured() -> str:
    return cast(str, _settings().api.url or "")


async def _must_be_there() -> None:
    """Make sure that the server of deployments is configured, answers, and knows what this Prefect asks of it."""
    if not _configured():
        raise errors.NoServer(_lost_profile())
    await _must_answer()
    from prefect import __version__, get_client
    from prefect.client.base import ServerType

    async with get_client() as client:
        # Prefect Cloud is always new enough, and has no version.
        found = __version__ if client.server_type is ServerType.CLOUD else await client.api_version()
    if _release(found) < _release(__version__):
        raise errors.ServerTooOld(_configured(), found, ".".join(map(str, _release(__version__))))


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


def _lost_profile() -> str:
    from prefect.settings import load_profiles

    name = os.environ.get("PREFECT_PROFILE", "")
    return "" if name in {"", *load_profiles()} else f": PREFECT_PROFILE names {name}, and there is no such profile"


async def _must_answer() -> None:
    """Make sure that the configured server is one and lets us in."""
    url = _configured()
    from prefect import get_client

    try:
        async with get_client() as client:
            failure = await client.api_healthcheck()
            # Its health every server tells, and a page that is no API may have the status of one.
            answer = await client.hello() if failure is None else None
    except httpx.InvalidURL as error:
        raise errors.SettingsUnusable(f"NO_PROXY or PREFECT_API_URL has a value that is not a URL: {error}") from None
    except (ImportError, RuntimeError, ValueError) as error:
        socks = "a socks proxy that the environment names cannot be used"
        raise errors.ServerUnreachable(url, socks if isinstance(error, ImportError) else str(error)) from None
    except httpx.HTTPError as error:
        failure, answer = error, None
    if isinstance(failure, httpx.HTTPStatusError):
        status = failure.response.status_code
        raise (
            errors.ServerRefuses(url, status)
            if status in {401, 403}
            else errors.NotAnApi(url, f"it answers HTTP {status}")
        )
    if failure is not None:
        raise errors.ServerUnreachable(url, type(failure).__name__)
    if answer is not None and "json" not in answer.headers.get("content-type", ""):
        raise errors.NotAnApi(url, "it answers with a web page")


TEMPORARY = """import sys, standby.flows, uvicorn
from prefect.server.api.server import create_app
uvicorn.run(create_app(ephemeral=True, final=True), host="127.0.0.1", port=int(sys.argv[1]), log_level="error",
    ws_per_message_deflate=False)"""
"""A program that is the server of one run: no pages, no schedules, no automations, but what records task runs."""

BARE: Mapping[str, str] = {"PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false"}
"""Settings of the server of one run: nobody looks for Prefect's own blocks there."""

UNREAD: Mapping[str, str] = {"PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "false"}
"""And of a replication: its events make task runs and start what waits for them, but nobody reads them later. To keep
fifteen a copy takes a third of what the server does."""
