"""Puts everything a configuration needs on a Prefect server; a second time changes nothing."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings

from blocks import save_configuration
from flows.catalogue import FILE, TAG, full_name, starts_by_itself, wanted_deployments
from flows.errors import DeployFailed
from flows.leases import ensure_limits
from standby.config.configuration import Configuration

WORK_POOL = "standby"

DEPLOY_SECONDS = 180.0
"""How long `prefect deploy` may take."""


async def save_what_runs_need(configuration: Configuration) -> list[str]:
    """Save blocks and concurrency limits; give a line for each that changed."""
    changes = [f"block {saved.slug} {saved.outcome}" for saved in await save_configuration(configuration)]
    targets = {target for plan in configuration.plans.values() for target in plan.targets}
    async with get_client() as client:
        created = await ensure_limits(client, sorted(targets))
    return changes + [f"concurrency limit {name} created" for name in created]


async def save_what_starts_runs(configuration: Configuration) -> list[str]:
    """Create the work pool and deploy `prefect.yaml`, scheduled per plan; give a line for each change."""
    wanted = wanted_deployments(list(configuration.plans.values()))
    async with get_client() as client:
        changes = await _work_pool(client)
        stale = [entry for entry in wanted["deployments"] if await _is_stale(client, entry)]
        if stale:
            await _deploy({**wanted, "deployments": stale})
        changes += [f"deployment {full_name(entry)} saved" for entry in stale]
        changes += await _remove_schedules(client, wanted)
        return changes + await _retire(client, wanted)


async def pause_schedules() -> None:
    """Let nothing start by the clock: a demonstration, or a test, has a clock of its own."""
    async with get_client() as client:
        for deployment in await client.read_deployments():
            if deployment.schedules:
                await client.pause_deployment(deployment.id)


async def _work_pool(client: PrefectClient) -> list[str]:
    try:
        await client.read_work_pool(WORK_POOL)
    except ObjectNotFound:
        await client.create_work_pool(WorkPoolCreate(name=WORK_POOL, type="process"))
        return [f"work pool {WORK_POOL} created"]
    return []


async def _is_stale(client: PrefectClient, wanted: dict[str, Any]) -> bool:
    found = await _read(client, wanted)
    return found is None or found.version != wanted["version"]


async def _read(client: PrefectClient, deployment: dict[str, Any]) -> DeploymentResponse | None:
    try:
        return await client.read_deployment_by_name(full_name(deployment))
    except ObjectNotFound:
        return None


async def _remove_schedules(client: PrefectClient, wanted: dict[str, Any]) -> list[str]:
    """Remove the schedules of other plans: a deploy leaves them in place."""
    removed = []
    for deployment in wanted["deployments"]:
        slugs = {schedule["slug"] for schedule in deployment.get("schedules", [])}
        found = await _read(client, deployment)
        for schedule in found.schedules if found else []:
            # One without a slug was made by hand, in the UI.
            if found and schedule.slug and schedule.slug not in slugs:
                await client.delete_deployment_schedule(found.id, schedule.id)
                removed.append(f"schedule {schedule.slug} of {full_name(deployment)} removed")
    return removed


async def _retire(client: PrefectClient, wanted: dict[str, Any]) -> list[str]:
    """Delete the deployments that were made for plans which are no longer configured."""
    names = {full_name(deployment) for deployment in wanted["deployments"]}
    per_plan = {full_name(entry) for entry in wanted["deployments"] if starts_by_itself(entry)}
    retired = []
    for deployment in await client.read_deployments(
        deployment_filter=DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    ):
        flow = await client.read_flow(deployment.flow_id)
        name = f"{flow.name}/{deployment.name}"
        if name not in names and any(name.startswith(f"{base}-") for base in per_plan):
            await client.delete_deployment(deployment.id)
            retired.append(f"deployment {name} removed")
    return retired


async def _deploy(wanted: dict[str, Any]) -> None:
    """Let Prefect's own command deploy: it alone knows triggers, schedules and entrypoints whole.

    Raises:
        DeployFailed: it ended with an error, or not in time.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "prefect.yaml"
        file.write_text(yaml.safe_dump(wanted, sort_keys=False), encoding="utf-8")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(file)),
            cwd=FILE.parent,
            env={**os.environ, **_where(), "NO_COLOR": "1"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(DEPLOY_SECONDS):
                told, _ = await process.communicate()
        except TimeoutError:
            raise DeployFailed([f"no end after {DEPLOY_SECONDS:.0f} s"]) from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    if process.returncode:
        raise DeployFailed(told.decode(errors="replace").strip().splitlines()[-1:])


def _where() -> dict[str, str]:
    """Name the server that this process uses: its settings need not come from the environment."""
    return get_current_settings().to_environment_variables(exclude_unset=True)
