"""Saves everything that a configuration needs on a Prefect server, forms too; a second time changes nothing."""

import asyncio
import logging
import os
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml
from prefect import Flow, get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolCreate
from prefect.client.schemas.filters import DeploymentFilter
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import construct_schedule
from prefect.client.schemas.sorting import DeploymentSort
from prefect.events.schemas.deployment_triggers import DeploymentEventTrigger
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectException
from prefect.flows import load_flow_from_entrypoint
from prefect.settings import get_current_settings

from standby.blocks import ContentUnderstandingResource
from standby.blocks import RecoveryPlan as PlanBlock
from standby.blocks.store import saving_blocks
from standby.config.configuration import Configuration, KeepRuns
from standby.config.plan import RecoveryPlan
from standby.document import digest_of
from standby.flows import QUICKLY, errors, limits
from standby.flows.events import plan_id
from standby.flows.outcome import OF_PLAN
from standby.flows.processes import started
from standby.recovery.decision.input import FORCEABLE

log = logging.getLogger("standby.flows")

FILE = Path(__file__).resolve().parents[1] / "prefect.yaml"  # At the top of the repository, and in what is installed
TAG = "standby"  # Tag of every deployment of Standby
OURS = DeploymentFilter.model_validate({"tags": {"all_": [TAG]}})
ENTRYPOINTS = ("standby.flows.", "flows/")  # What those of this and of earlier versions begin with

OUTAGE = "standby outage of"
"""What the name of the automation begins with that starts a plan's failover; the plan's name follows."""

SHORTEST_INTERVAL = 10.0  # Seconds between two watches, at least: each is a process that takes some of them to start
PROBES = 3  # Probe periods within which repeated unhealthy events start a failover's evaluation
SHORTEST_WINDOW = 90.0  # Seconds that they may lie apart in any case: a watch may start late


def wanted_deployments(
    plans: Sequence[RecoveryPlan], file: Path = FILE, keep: KeepRuns | None = None
) -> dict[str, Any]:
    """Give the content of a `prefect.yaml` for some plans; `DeploymentsUnusable` where no file describes it.

    A scheduled deployment lets one run at a time pass and cancels those that come meanwhile. That must not
    hit another plan's run, so each plan has a deployment of its own, and so has what has a trigger: the
    first plan has the name in the file, any other one has its plan's name behind it. What names no plan is of all.
    """
    try:
        described: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
        deployments = [
            # The version tells whether what is deployed is what is wanted.
            {**made, "version": digest_of(yaml.safe_dump(made, sort_keys=True).encode())[:12]}
            for described_one in described["deployments"]
            for made in _made(described_one, plans, keep or KeepRuns())
        ]
        for deployment in deployments:
            _must_fit(deployment)
    except OSError as error:
        raise errors.DeploymentsUnusable(file, error.strerror or type(error).__name__) from None
    except (yaml.YAMLError, PrefectException, ImportError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise errors.DeploymentsUnusable(file, f"{type(error).__name__}: {error}") from None
    return {**described, "deployments": deployments}


def _must_fit(deployment: dict[str, Any]) -> None:
    """Find out before anything is saved whether Prefect will take a deployment, and our flow what it is given."""
    flow: Flow[..., Any] = load_flow_from_entrypoint(deployment["entrypoint"], use_placeholder_flow=False)
    schedules, triggers = (deployment.get(key, ()) for key in ("schedules", "triggers"))
    for trigger in triggers:
        DeploymentEventTrigger.model_validate(trigger)
    for schedule in schedules:
        construct_schedule(schedule.get("interval"), None, schedule.get("cron"), None, schedule["timezone"])
    for part in (deployment, *schedules, *triggers):
        if "parameters" in part:
            flow.validate_parameters(part["parameters"])


def full_name(deployment: dict[str, Any]) -> str:
    """Give a deployment's name as flow/deployment; a flow has the name of its function, with dashes."""
    return f"{flow_of(deployment['entrypoint'])}/{deployment['name']}"


def flow_of(entrypoint: str | None) -> str:
    """Give the name of the flow at an entrypoint; earlier versions deployed `flows/replicate.py:replicate`."""
    return (entrypoint or "").replace(":", ".").rpartition(".")[2].replace("_", "-")


def _starts_by_itself(deployment: dict[str, Any]) -> bool:
    return "schedules" in deployment or "triggers" in deployment


def _made(deployment: dict[str, Any], plans: Sequence[RecoveryPlan], keep: KeepRuns) -> Iterator[dict[str, Any]]:
    if not _starts_by_itself(deployment):
        yield deployment
    elif "plan" not in deployment["parameters"]:
        yield from [{**deployment, "parameters": keep.model_dump(mode="json")}] if plans else []
    else:
        for position, plan in enumerate(plans):
            made = _for_plan(deployment, plan)
            made["name"] += f"-{plan.name}" if position else ""
            for key, of_plan in (("schedules", _schedule), ("triggers", _trigger)):
                if key in made:
                    made[key] = [of_plan(each, plan) for each in made[key]]
            yield made


def _for_plan(described: dict[str, Any], plan: RecoveryPlan) -> dict[str, Any]:
    made = {**described, "parameters": {**described.get("parameters", {}), "plan": plan.name}}
    if "tags" in described:
        # A run has them before it starts, and if it never does: until then Prefect calls it by two random words.
        made["tags"] = [tag for tag in described["tags"] if not tag.startswith(OF_PLAN)] + [f"{OF_PLAN}{plan.name}"]
    return made


def _schedule(schedule: dict[str, Any], plan: RecoveryPlan) -> dict[str, Any]:
    made = {**_for_plan(schedule, plan), "slug": plan.name}
    return {**made, "interval": probe_period(plan)} if "interval" in schedule else made


def _trigger(trigger: dict[str, Any], plan: RecoveryPlan) -> dict[str, Any]:
    related = {**trigger["match_related"], "prefect.resource.id": plan_id(plan.name)}
    within = max(PROBES * probe_period(plan), SHORTEST_WINDOW)
    return {**_for_plan(trigger, plan), "name": f"{OUTAGE} {plan.name}", "match_related": related, "within": within}


def probe_period(plan: RecoveryPlan) -> float:  # Seconds between two runs of its watch
    return max(plan.failover.probe_every.total_seconds(), SHORTEST_INTERVAL)


WORK_POOL = "standby"
RECOVERY_POOL = "standby-recovery"
"""The work pool of watch and failover, with a worker of its own: no copy that takes long stands before them."""

DEPLOY_SECONDS = 180.0  # How long `prefect deploy` may take


async def save_what_runs_need(configuration: Configuration, changes: list[str] | None = None) -> list[str]:
    """Save blocks and concurrency limits; give a line for each change, in `changes` as soon as it is made."""
    changes = [] if changes is None else changes
    async for slug, outcome in saving_blocks(configuration):
        changes.append(f"block {slug} {outcome}")
    async with get_client() as client:
        for target in sorted({target for plan in configuration.plans.values() for target in plan.targets}):
            made = await limits.ensure_limits(client, [limits.limit_name(target)])
            changes += [f"concurrency limit {name} created" for name in made]
    return changes


async def save_what_starts_runs(configuration: Configuration, changes: list[str] | None = None) -> list[str]:
    """Create the work pools and deploy `prefect.yaml`, scheduled per plan; give a line for each change too."""
    changes = [] if changes is None else changes
    wanted = wanted_deployments(list(configuration.plans.values()), keep=configuration.keep_runs)
    entries = wanted["deployments"]
    async with get_client() as client:
        for pool in (WORK_POOL, RECOVERY_POOL):
            try:
                await client.read_work_pool(pool)
            except ObjectNotFound:
                with suppress(ObjectAlreadyExists):  # A worker that starts just now makes its pool, too.
                    await client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
                    changes.append(f"work pool {pool} created")
        stale = [each for each in entries if getattr(await _read(client, each), "version", None) != each["version"]]
        failure = await _deploy({**wanted, "deployments": stale}) if stale else None
        saved = [(entry, there) for entry in entries if (there := await _read(client, entry))]
        changes += [
            f"deployment {full_name(entry)} saved"
            for entry, there in saved
            if entry in stale and there.version == entry["version"]
        ]
        if failure:
            raise failure
        async for entry in _saving_forms(client, configuration, saved):
            if entry not in stale:
                changes.append(f"form of {full_name(entry)} saved")
        await _remove_schedules(client, saved, changes)
        await _retire(client, wanted, changes)
    return changes


async def pause_schedules() -> None:
    """Let nothing start by the clock: a demonstration, or a test, has a clock of its own."""
    async with get_client() as client:
        for deployment in await read_deployments(client):
            if deployment.schedules:
                await client.pause_deployment(deployment.id)


async def _read(client: PrefectClient, deployment: dict[str, Any]) -> DeploymentResponse | None:
    try:
        return await client.read_deployment_by_name(full_name(deployment))
    except ObjectNotFound:
        return None


Saved = Sequence[tuple[dict[str, Any], DeploymentResponse]]
"""What is wanted of some deployments, and what is there."""

NO_FORM = {"replicate-chunk/worker"}  # What only other runs start


async def _saving_forms(
    client: PrefectClient, configuration: Configuration, saved: Saved
) -> AsyncIterator[dict[str, Any]]:
    """Let the forms offer what is saved here, a plan's own one that plan; give the deployments whose form changed."""
    blocks = [
        await client.read_block_documents_by_type(kind.get_block_type_slug())
        for kind in (PlanBlock, ContentUnderstandingResource)
    ]
    plans, resources = ({str(block.name) for block in found if block.name} for found in blocks)
    targets = {target for plan in configuration.plans.values() for target in plan.targets}
    every = Choices(
        *map(tuple, map(sorted, (plans | {*configuration.plans}, targets, resources | {*configuration.resources})))
    )
    for deployment, found in saved:
        if found.parameter_openapi_schema is None or full_name(deployment) in NO_FORM:
            continue
        own = deployment.get("parameters", {}).get("plan")
        choices = replace(every, plans=(own,)) if own else every
        there = found.parameter_openapi_schema
        made = form(there, full_name(deployment).partition("/")[0], choices, started_by_events="triggers" in deployment)
        if made != there:
            # A form may be older than what is saved; no recovery is refused for that.
            enforced = found.work_pool_name != RECOVERY_POOL
            update = DeploymentUpdate(parameter_openapi_schema=made, enforce_parameter_schema=enforced)
            await client.update_deployment(found.id, update)
            yield deployment


async def _remove_schedules(client: PrefectClient, saved: Saved, changes: list[str]) -> None:
    """Remove the schedules of other plans: a deploy leaves them in place."""
    for deployment, found in saved:
        slugs = {schedule["slug"] for schedule in deployment.get("schedules", [])}
        for schedule in found.schedules:
            # One without a slug was made by hand, in the UI.
            if schedule.slug and schedule.slug not in slugs:
                await client.delete_deployment_schedule(found.id, schedule.id)
                changes.append(f"schedule {schedule.slug} of {full_name(deployment)} removed")


async def _retire(client: PrefectClient, wanted: dict[str, Any], changes: list[str]) -> None:
    """Delete the deployments that were made for plans which are no longer configured."""
    names = {full_name(entry) for entry in wanted["deployments"]}
    per_plan = tuple(f"{full_name(entry)}-" for entry in wanted["deployments"] if _starts_by_itself(entry))
    for name, deployment in (await deployed_by_us(client, wanted)).items():
        if name not in names and name.startswith(per_plan):
            await client.delete_deployment(deployment)
            changes.append(f"deployment {name} removed")


async def deployed_by_us(client: PrefectClient, wanted: dict[str, Any]) -> dict[str, UUID]:
    """Find by tag, entrypoint and name what was deployed of a `prefect.yaml`, for whichever plans; give their ids."""
    names = tuple(f"{full_name(entry)}-" for entry in wanted["deployments"])
    found = {
        f"{flow_of(each.entrypoint)}/{each.name}": each.id
        for each in await read_deployments(client, deployment_filter=OURS)
        if (each.entrypoint or "").startswith(ENTRYPOINTS)
    }
    return {name: it for name, it in found.items() if f"{name}-".startswith(names)}


async def read_deployments(client: PrefectClient, **filters: Any) -> list[DeploymentResponse]:
    """Read all deployments that fit; Prefect gives 200 at a time."""
    found: list[DeploymentResponse] = []
    while page := await client.read_deployments(**filters, sort=DeploymentSort.NAME_ASC, offset=len(found)):
        found += page
    return found


async def _deploy(wanted: dict[str, Any]) -> errors.DeployFailed | None:
    """Let Prefect's own command deploy, which alone knows triggers, schedules and entrypoints whole; give its failure.

    It runs in an empty folder: what lies in the one of this process is no part of a deployment.
    """
    # They name the server that this process uses, and need not come from the environment.
    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file, said = folder / "prefect.yaml", folder / "said"
        file.write_text(yaml.safe_dump(wanted, sort_keys=False), encoding="utf-8")
        command = ("prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(file))
        environment = {**os.environ, **settings, "NO_COLOR": "1"}
        try:
            async with (
                started(said, environment, *QUICKLY, *command, folder=folder) as process,
                asyncio.timeout(DEPLOY_SECONDS),
            ):
                failed = await process.wait()
        except TimeoutError:
            return errors.DeployFailed([f"no end after {DEPLOY_SECONDS:.0f} s"])
        output = said.read_text(errors="replace").strip()
    log.debug("prefect deploy: %s", output)
    return errors.DeployFailed(output.splitlines()[-1:]) if failed else None


Schema = Mapping[str, Any]

TITLES = {
    "plan": "Recovery plan",
    "targets": "Target resources",
    "on_existing": "If a target has a different one",
    "dry_run": "Only show what would be done",
    "apply": "Saved plan to carry out",
    "dispatch": "Where copies are made",
    "samples": "Samples of each analyzer",
    "to": "To resource",
    "as_of": "Snapshot up to",
    "home": "Primary",
    "by": "Your name",
    "scratch": "Scratch resource",
    "keep": "Which edit to keep",
    "on": "Outages may start a failover",
    "outage_of": "Resource that was reported",
}
"""What parameters are called on a form, where their own names are no words for it."""

INTERNAL = frozenset({"outage_of"})
"""What only automations give; a deployment that no automation starts has it not on its form."""

LOSS = ("fence",)  # What may be forced where a guard is none


@dataclass(frozen=True)
class Choices:
    """What can be chosen on a form, by name."""

    plans: tuple[str, ...]
    targets: tuple[str, ...]  # resources that analyzers are copied to
    resources: tuple[str, ...]

    def of(self, flow: str) -> dict[str, tuple[str, ...]]:
        """Give the choices of a flow's parameters; any text fits the others."""
        # A switch that nobody touches looks like "off".
        every = {"plan": self.plans, "targets": self.targets, "on": ("on", "off")}
        every |= dict.fromkeys(("to", "home", "scratch", "outage_of", "source", "target"), self.resources)
        forced = {"failover": FORCEABLE, **dict.fromkeys(("commit", "drill", "restore"), LOSS)}
        return {**every, "force": forced[flow]} if flow in forced else every


def form(schema: Schema, flow: str, choices: Choices, *, started_by_events: bool) -> dict[str, Any]:
    """Make the form of a deployment out of its parameters' schema; made of a form, it is the same again."""
    properties = {
        name: _field(name, field, choices.of(flow).get(name, ()))
        for name, field in schema["properties"].items()
        if started_by_events or name not in INTERNAL
    }
    return {**schema, "properties": properties}


def _field(name: str, field: Schema, choices: Iterable[str]) -> dict[str, Any]:
    """Make one field: titled in words, without line ends, of one type, and with choices where there are any."""
    made = {**field, "title": TITLES.get(name, name.replace("_", " ").capitalize())}
    made["description"] = " ".join(str(field.get("description", "")).split())
    # "This or nothing" is shown as two types to choose between; what is left empty is not sent.
    kinds = [kind for kind in made.pop("anyOf", []) if kind.get("type") != "null"]
    if len(kinds) == 1:
        made |= kinds[0]
        del made["default"]
    elif kinds:
        made["anyOf"] = kinds
    if offered := list(choices):
        made["type"] = "array" if made["type"] == "array" else "string"
        if made["type"] == "array":
            made["items"] = {**made["items"], "enum": offered}
        else:
            made["enum"] = offered if made.get("default") is None else list(dict.fromkeys(("", *offered)))
    return made
