"""Which deployments a configuration wants: those of `prefect.yaml`, the scheduled ones once per plan."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from flows.errors import NoDeploymentsFile

FILE = Path(__file__).resolve().parents[1] / "prefect.yaml"

TAG = "standby"
"""Tag of every deployment of ours."""


def wanted_deployments(plans: Sequence[str], file: Path = FILE) -> dict[str, Any]:
    """Give the content of a `prefect.yaml` for some plans.

    A scheduled deployment lets one run at a time pass and cancels those that come meanwhile. That must not
    hit another plan's run, so each plan has a deployment of its own: the first plan has the name in the file,
    any other one has its plan's name behind it.

    Args:
        plans: names of recovery plans, in the order of the configuration.
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
        for made in (_per_plan(deployment, plans) if "schedules" in deployment else [deployment])
    ]
    return {**described, "deployments": [{**made, "version": _version(made, file)} for made in deployments]}


def full_name(deployment: dict[str, Any]) -> str:
    """Give a deployment's name as flow/deployment; a flow has the name of its function, with dashes."""
    function = deployment["entrypoint"].rsplit(":", 1)[1]
    return f"{function.replace('_', '-')}/{deployment['name']}"


def _per_plan(deployment: dict[str, Any], plans: Sequence[str]) -> Iterator[dict[str, Any]]:
    for position, plan in enumerate(plans):
        own = {"plan": plan}
        yield {
            **deployment,
            "name": deployment["name"] if position == 0 else f"{deployment['name']}-{plan}",
            "parameters": {**deployment.get("parameters", {}), **own},
            "schedules": [
                {**schedule, "slug": plan, "parameters": {**schedule.get("parameters", {}), **own}}
                for schedule in deployment["schedules"]
            ],
        }


def _version(deployment: dict[str, Any], file: Path) -> str:
    """Tell by a version whether what is deployed is what is wanted, from where it is wanted."""
    text = yaml.safe_dump([deployment, str(file.parent)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
