"""Everything in prefect.yaml is known to Prefect and fits our flows: it drops typos in silence."""

from __future__ import annotations

import importlib
import json
import platform
import shlex
import subprocess
import sys
from datetime import timedelta
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
from prefect.events.schemas.automations import EventTrigger
from prefect.events.schemas.deployment_triggers import DeploymentEventTrigger
from prefect.server.schemas.schedules import CronSchedule
from pydantic import BaseModel

from standby.config.configuration import KeepRuns
from standby.config.plan import RecoveryPlan
from standby.flows.bootstrap import FILE, RECOVERY_POOL, TAG, WORK_POOL, full_name, wanted_deployments
from standby.flows.errors import DeploymentsUnusable
from standby.flows.events import SERVED_BY, UNHEALTHY, plan_id
from standby.flows.health import end_of_the_dead

CONTENT: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
DEPLOYMENTS: list[dict[str, Any]] = CONTENT["deployments"]
each_deployment = pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=full_name)


def plan(name: str, **policy: str) -> RecoveryPlan:
    pairs = [{"source": "east", "targets": ["west"]}]
    return RecoveryPlan.model_validate({"name": name, "pairs": pairs, "failover": policy})


def made_for(*plans: RecoveryPlan) -> dict[str, dict[str, Any]]:
    return {full_name(entry): entry for entry in wanted_deployments(plans)["deployments"]}


def unknown_keys(model: type[BaseModel], content: dict[str, Any]) -> set[str]:
    """Name what a model of Prefect's would drop."""
    fields = {field.alias or name for name, field in model.model_fields.items()}
    return content.keys() - fields


def flow_of(deployment: dict[str, Any]) -> Flow[..., Any]:
    module, _, function = deployment["entrypoint"].rpartition(".")
    found = getattr(importlib.import_module(module), function)
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
    for trigger in deployment.get("triggers", []):
        assert trigger["type"] == "event"
        assert not unknown_keys(DeploymentEventTrigger, trigger)
        DeploymentEventTrigger.model_validate(trigger)


@each_deployment
def test_a_deployment_leads_to_a_flow_of_its_name_and_its_parameters_fit(deployment: dict[str, Any]) -> None:
    flow = flow_of(deployment)
    assert full_name(deployment).split("/")[0] == flow.name
    for parameters in (
        deployment.get("parameters", {}),
        *(schedule.get("parameters", {}) for schedule in deployment.get("schedules", [])),
        *(trigger["parameters"] for trigger in deployment.get("triggers", [])),
    ):
        assert parameters.keys() <= flow.parameters.properties.keys()
        if parameters:
            flow.validate_parameters(parameters)


@each_deployment
def test_a_deployment_runs_on_a_pool_of_ours_and_has_our_tag(deployment: dict[str, Any]) -> None:
    assert deployment["work_pool"]["name"] in {WORK_POOL, RECOVERY_POOL}
    assert TAG in deployment["tags"]


def test_watch_and_failover_have_a_pool_in_which_no_copy_stands_before_them() -> None:
    there = {full_name(each) for each in DEPLOYMENTS if each["work_pool"]["name"] == RECOVERY_POOL}
    assert there == {
        "watch/scheduled",
        "failover/on-outage",
        "failover/manual",
        "commit/manual",
        "automation/manual",
    }


@each_deployment
def test_every_parameter_is_described_for_the_form(deployment: dict[str, Any]) -> None:
    flow = flow_of(deployment)
    assert flow.description
    for name, schema in flow.parameters.properties.items():
        assert schema.get("description"), name


def test_the_deployments_of_the_contract_are_there() -> None:
    assert {full_name(deployment) for deployment in DEPLOYMENTS} == {
        "replicate/scheduled",
        "replicate/manual",
        "replicate-chunk/worker",
        "check/scheduled",
        "snapshot/scheduled",
        "restore/manual",
        "watch/scheduled",
        "failover/manual",
        "failover/on-outage",
        "commit/manual",
        "failback/manual",
        "automation/manual",
        "drill/scheduled",
        "compare/scheduled",
        "compare/manual",
        "prune/scheduled",
    }


def test_a_schedule_lets_one_run_pass_and_cancels_those_that_come_meanwhile() -> None:
    limits = {full_name(entry): entry.get("concurrency_limit") for entry in DEPLOYMENTS if "schedules" in entry}
    del limits["watch/scheduled"]
    assert set(map(str, limits.values())) == {"{'limit': 1, 'collision_strategy': 'CANCEL_NEW'}"}, limits


def test_nothing_of_the_recovery_has_a_limit() -> None:
    """One run that was given up would blind the watch; and Prefect kills limited runs that wait for approval."""
    there = [each for each in DEPLOYMENTS if each["work_pool"]["name"] == RECOVERY_POOL]
    assert not [full_name(each) for each in there if "concurrency_limit" in each]


def test_each_plan_has_a_schedule_that_another_plans_run_does_not_cancel() -> None:
    made = made_for(plan("invoices"), plan("contracts"))
    scheduled = {
        name: (entry["parameters"]["plan"], [s["parameters"]["plan"] for s in entry["schedules"]])
        for name, entry in made.items()
        if entry["entrypoint"].endswith(".replicate") and "schedules" in entry
    }
    assert scheduled == {
        "replicate/scheduled": ("invoices", ["invoices"]),
        "replicate/scheduled-contracts": ("contracts", ["contracts"]),
    }


def test_each_plan_has_a_trigger_for_the_resources_that_serve_for_it() -> None:
    made = made_for(plan("invoices"), plan("contracts"))
    for name, of in (("failover/on-outage", "invoices"), ("failover/on-outage-contracts", "contracts")):
        (described,) = made[name]["triggers"]
        trigger = DeploymentEventTrigger.model_validate(described)
        assert trigger.name == f"standby outage of {of}"
        assert trigger.expect == {UNHEALTHY}
        assert described["match_related"] == {
            "prefect.resource.id": plan_id(of),
            "prefect.resource.role": SERVED_BY,
        }
        assert trigger.for_each == {"prefect.resource.id"}
        assert trigger.parameters == {"plan": of, "outage_of": "{{ event.resource.name }}"}
        assert made[name]["parameters"] == {"plan": of}


@pytest.mark.parametrize(("probe_every", "interval", "within"), [("30s", 30, 90), ("5m", 300, 900), ("1s", 10, 90)])
def test_the_watch_and_what_follows_it_go_by_the_plans_probe_period(
    probe_every: str, interval: float, within: float
) -> None:
    made = made_for(plan("invoices", probe_every=probe_every))
    assert [schedule["interval"] for schedule in made["watch/scheduled"]["schedules"]] == [interval]
    assert [trigger["within"] for trigger in made["failover/on-outage"]["triggers"]] == [within]


def test_the_file_is_what_the_examples_plan_gets() -> None:
    """So that `prefect deploy --all` does what bootstrap does."""
    made = wanted_deployments([plan("invoices")])
    without_version = [{key: each[key] for key in each if key != "version"} for each in made["deployments"]]
    assert {**made, "deployments": without_version} == CONTENT


def start_of(module: str) -> list[str]:
    """What a worker starts a run with, but for another module than Prefect's engine."""
    (entry, *_) = wanted_deployments([plan("invoices")])["deployments"]
    words = shlex.split(entry["work_pool"]["job_variables"]["command"])
    return [word.replace("prefect.engine", module) for word in words]


def output_of(*command: str, **options: Any) -> str:
    return str(subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout)


WORKER = """
import subprocess, sys
path = {"PATH": "/usr/bin:/bin"}
print(subprocess.run(sys.argv[1:], cwd="/", env=path, check=True, capture_output=True, text=True).stdout, end="")
"""


@pytest.mark.parametrize("python", [sys.executable, "bin/python"], ids=["whole path", "path from its folder"])
def test_a_run_starts_with_the_python_of_its_worker_which_need_not_be_on_the_path(python: str) -> None:
    said = output_of(python, "-c", WORKER, *start_of("platform"), cwd=sys.prefix)
    assert said == f"{platform.platform()}\n"


def test_a_run_starts_with_the_python_on_the_path_where_it_was_not_python_that_started_it() -> None:
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    said = output_of("/bin/sh", "-c", '"$@"; exit $?', "sh", *start_of("platform"), env={"PATH": path})
    assert said == f"{platform.platform()}\n"


def test_a_run_imports_what_is_installed_and_nothing_that_lies_in_its_folder(tmp_path: Path) -> None:
    for name in ("flows", "tasks", "blocks", "emulator", "standby", "prefect"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit(7)")
    said = output_of(sys.executable, "-P", "-c", WORKER.replace('"/"', repr(str(tmp_path))), *start_of("platform"))
    assert said == f"{platform.platform()}\n"


def test_nothing_in_a_deployment_names_a_place_of_this_machine() -> None:
    made = json.dumps(wanted_deployments([plan("invoices"), plan("contracts")]))
    assert not [place for place in (sys.prefix, str(Path.cwd()), str(FILE.parent), str(Path.home())) if place in made]


MODULES = {"watch": 84, "failover": 130, "replicate": 94, "chunks": 84, "check": 124}
"""How many modules of ours a flow may import before it begins: a worker does so for each of its runs."""

HEAVY = {"azure", "cryptography", "jinja2", "uvicorn", "sqlalchemy"}
"""What no flow needs before it begins, or most never."""


STARTS = """
import importlib, json, os, sys
import prefect.flows, standby.flows

for flow in sys.argv[1:]:
    if not (child := os.fork()):
        importlib.import_module(f"standby.flows.{flow}")
        print(json.dumps([flow, sorted(sys.modules)]), flush=True)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""
"""A program that imports Prefect once, which takes longer than all else, and each flow in a process of its own."""


def test_a_flow_begins_with_few_modules() -> None:
    ran = subprocess.run([sys.executable, "-c", STARTS, *MODULES], check=True, capture_output=True, text=True)
    imported_by = dict(json.loads(line) for line in ran.stdout.splitlines())

    assert imported_by.keys() == MODULES.keys()
    for flow, imported in imported_by.items():
        ours = [name for name in imported if name.split(".")[0] == "standby"]
        assert len(ours) <= MODULES[flow], (flow, ours)
        assert not HEAVY & {name.split(".")[0] for name in imported}, flow
        assert not [name for name in ours if name.startswith(("standby.cli", "standby.gateway", "standby.emulator"))]


def test_every_run_beats_whoever_started_its_worker_and_is_dead_after_some_missed_beats() -> None:
    for entry in wanted_deployments([plan("invoices")])["deployments"]:
        beat = int(entry["work_pool"]["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])
        trigger = end_of_the_dead().trigger
        assert isinstance(trigger, EventTrigger)
        assert beat >= 30, "Prefect beats no faster"
        assert trigger.within >= 5 * timedelta(seconds=beat)


def test_runs_are_kept_as_the_configuration_says_and_pruned_once_for_all_plans() -> None:
    keep = KeepRuns(looks=timedelta(hours=1), others=timedelta(days=7))
    made = wanted_deployments([plan("invoices"), plan("contracts")], keep=keep)["deployments"]
    (pruning,) = [entry for entry in made if full_name(entry).startswith("prune/")]
    assert pruning["parameters"] == {"looks": "1h", "others": "1w"}
    flow_of(pruning).validate_parameters(pruning["parameters"])


def test_a_configuration_without_plans_starts_nothing_by_itself() -> None:
    assert [name for name, entry in made_for().items() if "schedules" in entry or "triggers" in entry] == []


def test_a_version_changes_with_the_deployment_and_not_with_the_machine(tmp_path: Path) -> None:
    def versions(name: str, file: Path = FILE) -> list[str]:
        return [entry["version"] for entry in wanted_deployments([plan(name)], file)["deployments"]]

    elsewhere = tmp_path / "prefect.yaml"
    elsewhere.write_bytes(FILE.read_bytes())
    assert versions("a") == versions("a", elsewhere)
    assert versions("a")[0] != versions("b")[0]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("name: standby\n", "name: [standby\n", "ParserError"),
        ("standby.flows.check.check", "standby.flows.chekc.check", "chekc"),
        ("standby.flows.check.check", "standby.flows.check.chekc", "chekc"),
        ("parameters: {plan: invoices}", "parameters: {plan: invoices, paln: 1}", "paln"),
        ('cron: "17 * * * *"', 'cron: "17 * * *"', "cron"),
        ("posture: Reactive", "posture: Reactiv", "posture"),
        ("    entrypoint: standby.flows.check.check\n", "", "entrypoint"),
    ],
)
def test_deployments_that_prefect_or_a_flow_would_refuse_are_found_before_anything_is_saved(
    old: str, new: str, reason: str, tmp_path: Path
) -> None:
    file = tmp_path / "prefect.yaml"
    text = FILE.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(DeploymentsUnusable, match=reason):
        wanted_deployments([plan("invoices")], file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeploymentsUnusable, match=r"prefect\.yaml cannot be used: No such file"):
        wanted_deployments([plan("a")], tmp_path / "prefect.yaml")


@each_deployment
async def test_prefect_knows_when_a_schedule_is_due(deployment: dict[str, Any]) -> None:
    for line in deployment.get("schedules", ()):
        if "cron" in line:
            assert len(await CronSchedule(cron=line["cron"], timezone=line["timezone"]).get_dates(2)) == 2
