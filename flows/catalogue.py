"""Which deployments a configuration wants: those of `prefect.yaml`, what starts by itself once per plan."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from flows.errors import NoDeploymentsFile
from standby.config.plan import RecoveryPlan

FILE = Path(__file__).resolve().parents[1] / "prefect.yaml"

TAG = "standby"
"""Tag of every deployment of ours."""

OUTAGE = "standby outage of"
"""What the name of the automation begins with that starts a plan's failover; the plan's name follows."""

SHORTEST_INTERVAL = 10.0
"""Seconds between two watches, at least: each is a process that takes some of them to start."""

PROBES = 3
"""Probe periods within which repeated unhealthy events start a failover's evaluation."""

SHORTEST_WINDOW = 90.0
"""Seconds that they may lie apart in any case: a watch may start late."""


def wanted_deployments(plans: Sequence[RecoveryPlan], file: Path = FILE) -> dict[str, Any]:
    """Give the content of a `prefect.yaml` for some plans.

    A scheduled deployment lets one run at a time pass and cancels those that come meanwhile. That must not
    hit another plan's run, so each plan has a deployment of its own, and likewise of what has a trigger: the
    first plan has the name in the file, any other one has its plan's name behind it.

    Args:
        plans: recovery plans, in the order of the configuration.
        file: where the deployments are described.

    Raises:
        NoDeploymentsFile: the file is not there.
    """
    try:
        described: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NoDeploymentsFile(str(file)) from None
    deployments = [
        made
        for deployment in described["deployments"]
        for made in (_per_plan(deployment, plans) if starts_by_itself(deployment) else [deployment])
    ]
    return {**described, "deployments": [{**made, "version": _version(made, file)} for made in deployments]}


def full_name(deployment: dict[str, Any]) -> str:
    """Give a deployment's name as flow/deployment; a flow has the name of its function, with dashes."""
    function = deployment["entrypoint"].rsplit(":", 1)[1]
    return f"{function.replace('_', '-')}/{deployment['name']}"


def starts_by_itself(deployment: dict[str, Any]) -> bool:
    """Say whether a schedule or a trigger starts it, so that each plan has one of its own."""
    return "schedules" in deployment or "triggers" in deployment


def _per_plan(deployment: dict[str, Any], plans: Sequence[RecoveryPlan]) -> Iterator[dict[str, Any]]:
    for position, plan in enumerate(plans):
        made = {
            **deployment,
            "name": deployment["name"] if position == 0 else f"{deployment['name']}-{plan.name}",
            "parameters": {**deployment.get("parameters", {}), "plan": plan.name},
        }
        if "schedules" in deployment:
            made["schedules"] = [_schedule(schedule, plan) for schedule in deployment["schedules"]]
        if "triggers" in deployment:
            made["triggers"] = [_trigger(trigger, plan) for trigger in deployment["triggers"]]
        yield made


def _schedule(schedule: dict[str, Any], plan: RecoveryPlan) -> dict[str, Any]:
    made = {
        **schedule,
        "slug": plan.name,
        "parameters": {**schedule.get("parameters", {}), "plan": plan.name},
    }
    if "interval" in schedule:
        made["interval"] = max(plan.failover.probe_every.total_seconds(), SHORTEST_INTERVAL)
    return made


def _trigger(trigger: dict[str, Any], plan: RecoveryPlan) -> dict[str, Any]:
    period = max(plan.failover.probe_every.total_seconds(), SHORTEST_INTERVAL)
    return {
        **trigger,
        "name": f"{OUTAGE} {plan.name}",
        "match_related": {**trigger["match_related"], "prefect.resource.id": f"standby.plan.{plan.name}"},
        "within": max(PROBES * period, SHORTEST_WINDOW),
        "parameters": {**trigger["parameters"], "plan": plan.name},
    }


def _version(deployment: dict[str, Any], file: Path) -> str:
    """Tell by a version whether what is deployed is what is wanted, from where it is wanted."""
    text = yaml.safe_dump([deployment, str(file.parent)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
