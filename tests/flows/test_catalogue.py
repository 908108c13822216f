"""Everything in prefect.yaml is known to Prefect and fits our flows: it drops typos in silence."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import Flow
from prefect.cli.deploy._models import (
    ConcurrencyLimitSpec,
    DeploymentConfig,
    PrefectYamlModel,
    RawScheduleConfig,
    WorkPoolConfig,
)
from pydantic import BaseModel

from flows.bootstrapping import WORK_POOL
from flows.catalogue import FILE, TAG, full_name, wanted_deployments
from flows.errors import NoDeploymentsFile

CONTENT: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
DEPLOYMENTS: list[dict[str, Any]] = CONTENT["deployments"]
each_deployment = pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=full_name)


def unknown_keys(model: type[BaseModel], content: dict[str, Any]) -> set[str]:
    """Name what a model of Prefect's would drop."""
    fields = {field.alias or name for name, field in model.model_fields.items()}
    return content.keys() - fields


def flow_of(deployment: dict[str, Any]) -> Flow[..., Any]:
    path, function = deployment["entrypoint"].split(":")
    found = getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), function)
    assert isinstance(found, Flow)
    return found


def test_the_file_has_no_key_that_prefect_would_drop() -> None:
    assert not unknown_keys(PrefectYamlModel, CONTENT)
    PrefectYamlModel.model_validate(CONTENT)


@each_deployment
def test_a_deployment_has_no_key_that_prefect_would_drop(deployment: dict[str, Any]) -> None:
    assert not unknown_keys(DeploymentConfig, deployment)
    assert not unknown_keys(WorkPoolConfig, deployment["work_pool"])
    assert not unknown_keys(ConcurrencyLimitSpec, deployment.get("concurrency_limit", {}))
    for schedule in deployment.get("schedules", []):
        RawScheduleConfig.model_validate(schedule)


@each_deployment
def test_a_deployment_leads_to_a_flow_of_its_name_and_its_parameters_fit(deployment: dict[str, Any]) -> None:
    flow = flow_of(deployment)
    assert full_name(deployment).split("/")[0] == flow.name
    assert (FILE.parent / deployment["entrypoint"].split(":")[0]).is_file()
    for parameters in (
        deployment.get("parameters", {}),
        *(schedule["parameters"] for schedule in deployment.get("schedules", [])),
    ):
        assert parameters.keys() <= flow.parameters.properties.keys()
        if parameters:
            flow.validate_parameters(parameters)


@each_deployment
def test_a_deployment_runs_on_our_pool_and_has_our_tag(deployment: dict[str, Any]) -> None:
    assert deployment["work_pool"] == {"name": WORK_POOL}
    assert TAG in deployment["tags"]


@each_deployment
def test_every_parameter_is_described_for_the_form(deployment: dict[str, Any]) -> None:
    flow = flow_of(deployment)
    assert flow.description
    for name, schema in flow.parameters.properties.items():
        assert schema.get("description"), name


def test_the_deployments_of_the_contract_are_there() -> None:
    assert {full_name(deployment) for deployment in DEPLOYMENTS} >= {
        "replicate/scheduled",
        "replicate/manual",
    }


def test_a_schedule_lets_one_run_pass_and_cancels_those_that_come_meanwhile() -> None:
    (scheduled,) = [entry for entry in DEPLOYMENTS if full_name(entry) == "replicate/scheduled"]
    assert scheduled["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}


def test_each_plan_has_a_schedule_that_another_plans_run_does_not_cancel() -> None:
    made = wanted_deployments(["invoices", "contracts"])["deployments"]
    scheduled = {
        full_name(entry): (entry["parameters"]["plan"], [s["parameters"]["plan"] for s in entry["schedules"]])
        for entry in made
        if entry["entrypoint"].endswith(":replicate") and "schedules" in entry
    }
    assert scheduled == {
        "replicate/scheduled": ("invoices", ["invoices"]),
        "replicate/scheduled-contracts": ("contracts", ["contracts"]),
    }


def test_a_configuration_without_plans_has_no_schedule() -> None:
    made = wanted_deployments([])["deployments"]
    assert [full_name(entry) for entry in made if "schedules" in entry] == []


def test_a_version_changes_with_the_deployment_and_with_its_folder(tmp_path: Path) -> None:
    def versions(plans: list[str], file: Path) -> list[str]:
        return [entry["version"] for entry in wanted_deployments(plans, file)["deployments"]]

    elsewhere = tmp_path / "prefect.yaml"
    elsewhere.write_bytes(FILE.read_bytes())
    assert versions(["a"], FILE) == versions(["a"], FILE)
    assert versions(["a"], FILE)[0] != versions(["b"], FILE)[0]
    assert versions(["a"], FILE)[0] != versions(["a"], elsewhere)[0]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoDeploymentsFile, match=r"prefect\.yaml"):
        wanted_deployments(["a"], tmp_path / "prefect.yaml")
