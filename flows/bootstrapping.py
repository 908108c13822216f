"""Puts everything a configuration needs on a Prefect server; a second time changes nothing."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import yaml
from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from blocks import save_configuration
from flows.errors import DeployFailed, NoDeploymentsFile
from flows.leases import ensure_limits
from standby.config.configuration import Configuration

WORK_POOL = "standby"
DEPLOYMENTS = Path(__file__).resolve().parents[1] / "prefect.yaml"
DEPLOY_SECONDS = 180.0
"""How long `prefect deploy` may take."""


async def save_what_runs_need(configuration: Configuration) -> list[str]:
    """Save blocks and concurrency limits; give a line for each that changed."""
    changes = [f"block {saved.slug} {saved.outcome}" for saved in await save_configuration(configuration)]
    async with get_client() as client:
        targets = {target for plan in configuration.plans.values() for target in plan.targets}
        changes += [f"concurrency limit {name}" for name in await ensure_limits(client, sorted(targets))]
    return changes


async def save_what_starts_runs(configuration: Configuration) -> list[str]:
    """Create the work pool and deploy `prefect.yaml`, one schedule per plan; give a line for each change."""
    wanted = _with_schedules(_read_deployments(), sorted(configuration.plans))
    async with get_client() as client:
        changes = await _work_pool(client)
        stale = [entry async for entry in _stale(client, wanted)]
        if stale:
            await _deploy(wanted)
            changes += [f"deployment {entry}" for entry in stale]
        changes += [line async for line in _retired_schedules(client, wanted)]
    return changes


async def _work_pool(client: PrefectClient) -> list[str]:
    try:
        await client.read_work_pool(WORK_POOL)
    except ObjectNotFound:
        await client.create_work_pool(WorkPoolCreate(name=WORK_POOL, type="process"))
        return [f"work pool {WORK_POOL}"]
    return []


def _read_deployments() -> dict[str, Any]:
    try:
        read: dict[str, Any] = yaml.safe_load(DEPLOYMENTS.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NoDeploymentsFile(str(DEPLOYMENTS)) from None
    return read


def _with_schedules(prefect_yaml: dict[str, Any], plans: list[str]) -> dict[str, Any]:
    """Give every schedule once per plan, and every deployment a version that tells if it is current."""
    deployments = []
    for deployment in prefect_yaml["deployments"]:
        changed = dict(deployment)
        if "schedules" in deployment:
            changed["schedules"] = [
                {**schedule, "slug": plan, "parameters": {**schedule.get("parameters", {}), "plan": plan}}
                for schedule in deployment["schedules"]
                for plan in plans
            ]
            if plans:
                changed["parameters"] = {**deployment.get("parameters", {}), "plan": plans[0]}
        changed["version"] = _version(changed)
        deployments.append(changed)
    return {**prefect_yaml, "deployments": deployments}


def _version(deployment: dict[str, Any]) -> str:
    text = yaml.safe_dump([deployment, str(DEPLOYMENTS.parent)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


async def _stale(client: PrefectClient, wanted: dict[str, Any]) -> AsyncIterator[str]:
    for deployment in wanted["deployments"]:
        found = await _read(client, deployment)
        if found is None or found.version != deployment["version"]:
            yield _full_name(deployment)


async def _read(client: PrefectClient, deployment: dict[str, Any]) -> DeploymentResponse | None:
    try:
        return await client.read_deployment_by_name(_full_name(deployment))
    except ObjectNotFound:
        return None


def _full_name(deployment: dict[str, Any]) -> str:
    # By our convention a flow has the name of its function, with dashes.
    function = deployment["entrypoint"].rsplit(":", 1)[1]
    return f"{function.replace('_', '-')}/{deployment['name']}"


async def _retired_schedules(client: PrefectClient, wanted: dict[str, Any]) -> AsyncIterator[str]:
    """Delete the schedules of plans that are no longer configured: a deploy leaves them in place."""
    for deployment in wanted["deployments"]:
        if "schedules" not in deployment:
            continue
        slugs = {schedule["slug"] for schedule in deployment["schedules"]}
        found = await _read(client, deployment)
        if found is None:
            continue
        for schedule in found.schedules:
            if schedule.slug not in slugs:
                await client.delete_deployment_schedule(found.id, schedule.id)
                yield f"schedule {schedule.slug} of {_full_name(deployment)} removed"


async def _deploy(wanted: dict[str, Any]) -> None:
    """Let Prefect's own command deploy: it alone knows triggers, schedules and entrypoints whole."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "prefect.yaml"
        file.write_text(yaml.safe_dump(wanted, sort_keys=False), encoding="utf-8")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(file)),
            cwd=DEPLOYMENTS.parent,
            env={**os.environ, "NO_COLOR": "1"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(DEPLOY_SECONDS):
                told, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    if process.returncode:
        raise DeployFailed(told.decode(errors="replace").strip().splitlines()[-1:])
