"""`standby doctor` and `standby bootstrap`: what is in place, what is missing, and what Prefect has to keep."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Annotated

import httpx
import typer
from pydantic import SecretStr

from standby.cli.output import Line, Output, cause_of, confirm, must_be_confirmed
from standby.cli.run import PLANS, Exit, Yes
from standby.clock import Clock, SystemClock
from standby.concurrency import all_of
from standby.config.configuration import Configuration
from standby.config.plan import RecoveryPlan
from standby.config.resource import LASTING, PREVIEW_2025, PREVIEW_2025_RETIRES, Resource, plain_region
from standby.config.vault import Place
from standby.errors import StandbyError, is_read_only, sentence
from standby.orchestrator import Health, NoOrchestrator, load_orchestrator
from standby.recovery.context import RecoveryContext, open_recovery, open_sinks
from standby.recovery.proof.samples import list_samples, sampled, tally
from standby.recovery.witnesses import look
from standby.service.calls import Tls, route_to, trusted_certificates
from standby.service.client import ContentUnderstandingClient
from standby.service.errors import ArmUnavailable, DefaultsNotSet, NotAuthorized, ServiceError, Unreachable
from standby.service.failures import clock_skew
from standby.service.models import Account
from standby.service.redaction import LEAST_SECRET
from standby.service.retries import HttpRetries
from standby.text import counted, some_of
from standby.vault.errors import VaultError, VaultUnavailable
from standby.vault.replica import replica_state
from standby.vault.role import records
from standby.vault.vault import open_place, open_vault


@dataclass(frozen=True)
class Check:
    """One thing that was checked; `well` is `None` if it could not be, `warns` if it is right and should be changed."""

    subject: str
    name: str
    well: bool | None
    detail: str
    next_action: str = ""
    warns: bool = False


async def diagnose(
    client: ContentUnderstandingClient, clock: Clock, *, gets_defaults: bool = False
) -> AsyncIterator[Check]:
    """Check one resource, whose defaults a run may set; where it does not answer or refuses us, only why."""
    name = client.resource.name
    if client.resource.api_version == PREVIEW_2025:
        detail = f"api_version {PREVIEW_2025} was due to be retired on {PREVIEW_2025_RETIRES}"
        lasting = " or ".join(LASTING)
        action = (
            f"Set api_version: {lasting} for {name} and for each resource that it copies from or to, then copy again"
        )
        yield Check(name, "api_version", True, detail, action, warns=True)
    answers = Check(name, "connection", True, f"{client.resource.endpoint} answers")
    try:
        analyzers = await client.list_analyzers()
    except NotAuthorized as error:
        if error.status is not None:
            yield answers
        yield _failed(name, "permission", error)
        # Entra refuses a client whose clock differs.
        yield await _clock(client, clock)
        return
    except ServiceError as error:
        yield _failed(name, "connection", error)
        return
    own = sum(not analyzer.is_prebuilt for analyzer in analyzers)
    yield answers
    yield Check(name, "permission", True, f"its own analyzers can be listed ({own})")
    defaults: Mapping[str, str] = {}
    if client.resource.api_version != PREVIEW_2025:
        try:
            defaults = (await client.get_defaults()).model_deployments
            yield Check(name, "defaults", True, f"its defaults name deployments for {counted(len(defaults), 'model')}")
        except ServiceError as error:
            later = "its defaults were never set; the next replication sets what is needed"
            sets = gets_defaults and isinstance(error, DefaultsNotSet)
            yield Check(name, "defaults", True, later) if sets else _failed(name, "defaults", error)
    async for check in _management(client, defaults):
        yield check
    yield await _clock(client, clock)


def _failed(subject: str, name: str, error: StandbyError, well: bool | None = False) -> Check:
    return Check(subject, name, well, cause_of(error), error.next_action)


async def _management(client: ContentUnderstandingClient, defaults: Mapping[str, str]) -> AsyncIterator[Check]:
    name = client.resource.name
    try:
        yield _identity(client.resource, await client.arm.get_account())
        deployments = {deployment.name for deployment in await client.arm.list_deployments()}
    except ServiceError as error:
        yield _failed(name, "deployments", error, well=None if isinstance(error, ArmUnavailable) else False)
        return
    # A deployment of a connected resource is not in this one's list (REFERENCE, *The analyzer*).
    named = sorted((model, name) for model, name in defaults.items() if "/" not in name)
    missing = [f"{name} for {model}" for model, name in named if name not in deployments]
    if missing:
        detail = f"its defaults name deployments that it does not have: {', '.join(missing)}"
        action = "Create these deployments, or name others by PATCH of its /contentunderstanding/defaults"
        yield Check(name, "deployments", False, detail, action)
    else:
        yield Check(name, "deployments", True, f"its deployments can be read ({len(deployments)})")


def _identity(resource: Resource, account: Account) -> Check:
    right = f"resource id and region {resource.region} are right"
    wrong = action = ""
    # The service was seen to compare resource ids by case (REFERENCE): the spelling has to be Azure's own.
    if account.id != resource.resource_id:
        wrong = "its resource_id is spelled differently in Azure, and upper and lower case matter to the service"
        action = f"Change the configuration to resource_id: {account.id}"
    elif plain_region(account.location) != resource.region:
        wrong = f"it is in {account.location}, and the configuration says {resource.region}"
        action = f"Change the configuration to region: {plain_region(account.location)}"
    return Check(resource.name, "identity", not wrong, wrong or right, action)


async def _clock(client: ContentUnderstandingClient, clock: Clock) -> Check:
    name = client.resource.name
    try:
        proxy = route_to(client.resource.endpoint).proxy
        # No credentials are needed, or sent: the refusal has a date, too. Nobody knows what its body is.
        plain = httpx.AsyncClient(timeout=10, verify=client.tls, proxy=proxy, trust_env=False)
        async with plain, plain.stream("GET", client.resource.endpoint) as answer:
            date, now = answer.headers["Date"], clock.now()
        there = parsedate_to_datetime(date)
    except (httpx.HTTPError, KeyError, ValueError):
        detail = "the service's answer has no date"
        return Check(name, "clock", None, detail, "Compare this machine's clock with another one")
    seconds = abs(now - there).total_seconds()
    if clock_skew(date, now):
        detail = f"the clock of this machine is wrong by {seconds:.0f} s"
        return Check(name, "clock", False, detail, "Set the clock by NTP")
    return Check(name, "clock", True, f"the clock is within {max(seconds, 1):.0f} s of the service's")


PATIENCE = HttpRetries(attempts=2, total=15.0, retry_after_cap=5.0)
"""Fewer and shorter than those of a run: the answer is wanted soon."""

LONGEST = 25.0  # Seconds after which a resource that does not respond is no longer waited for
_MARKS = {True: ("ok", "green"), False: ("NO", "red"), None: ("??", "yellow")}
_WARNS = ("!!", "yellow")


async def command(
    output: Output,
    plan: Annotated[
        str | None, typer.Argument(metavar="PLAN", autocompletion=PLANS, help="Only what this plan uses.")
    ] = None,
    notify: Annotated[
        bool, typer.Option("--notify", help="Send a test message by every block under notifications.")
    ] = False,
) -> Exit:
    """Check connections, permissions, models, clock and Prefect, and name the next action for each.

    Exit status: 0 nothing is wrong, 1 something is.
    """
    configuration = output.load()
    names = configuration.plan(plan).resources if plan else tuple(configuration.resources)
    plans = [plan] if plan else [*configuration.plans]
    tls = trusted_certificates()
    sync = {to for plan in map(configuration.plan, plans) if plan.missing_defaults == "sync" for to in plan.targets}
    resources = [_resource(configuration.resource(name), tls, name in sync) for name in names]
    prefect = _prefect([configuration.plan(name) for name in plans])
    ours = [_vault(configuration, plans), _records(configuration, plan), prefect]
    told = [_notified(configuration)] if notify else []
    found = await all_of([*resources, *ours, *told, asyncio.to_thread(_workers, configuration)])
    checks = [check for each in found for check in each]
    output.report(_lines(checks), {"checks": checks})
    return Exit.ERROR if any(check.well is False for check in checks) else Exit.DONE


def _lines(checks: Sequence[Check]) -> Iterator[Line]:
    for subject, found in groupby(checks, key=lambda check: check.subject):
        of_it = list(found)
        yield Line(subject, wrong=any(check.well is False or check.warns for check in of_it))
        for check in of_it:
            wrong = check.well is False or check.warns
            mark, style = _WARNS if check.warns else _MARKS[check.well]
            yield Line(sentence(f"{check.name}: {check.detail}"), 2, mark, style, wrong)
            if check.next_action:
                yield Line(sentence(check.next_action), 5, "→", wrong=wrong)
    bad, unknown = (sum(check.well is value for check in checks) for value in (False, None))
    unsure = f" {unknown} could not be checked." if unknown else ""
    warned = sum(check.warns for check in checks)
    more = f" {counted(warned, 'warning')}." if warned else ""
    yield Line("")
    yield Line(f"{len(checks)} checks, {bad or 'nothing'} wrong.{unsure}{more}", wrong=bool(bad))


async def _resource(resource: Resource, tls: Tls, gets_defaults: bool) -> list[Check]:
    checks: list[Check] = []
    try:
        async with ContentUnderstandingClient(resource, tls=tls, retries=PATIENCE) as client, asyncio.timeout(LONGEST):
            async for check in diagnose(client, SystemClock(), gets_defaults=gets_defaults):
                checks.append(check)
    except TimeoutError:
        detail = f"{resource.endpoint} did not answer within {LONGEST:g} s"
        checks.append(Check(resource.name, "connection", False, detail, Unreachable.advice))
    return checks


async def _prefect(plans: Sequence[RecoveryPlan]) -> list[Check]:
    try:
        orchestrator = load_orchestrator()
    except NoOrchestrator as error:
        return [_failed("prefect", "server", error, None)]
    health = await orchestrator.health()
    # Recovery must work without it: a Prefect that is down is worth knowing, not a failure.
    found = {"server": replace(health, well=health.well or None)}
    return _checks("prefect", {**found, **(await orchestrator.watching(plans) if health.well else {})})


def _checks(subject: str, found: Mapping[str, Health]) -> list[Check]:
    return [Check(subject, name, each.well, each.detail, each.next_action) for name, each in found.items()]


async def _notified(configuration: Configuration) -> list[Check]:
    subject, blocks = "notifications", configuration.notifications
    if not blocks:
        action = "Save a notification block in the Prefect UI, name it there, then run standby bootstrap"
        return [Check(subject, "blocks", False, "the configuration names none, so no notification is sent", action)]
    if is_read_only():
        cause = "nothing was sent, because Standby is read-only here"
        return [Check(subject, "messages", False, cause, "Leave out --read-only")]
    try:
        orchestrator = load_orchestrator()
    except NoOrchestrator as error:
        return [_failed(subject, "server", error)]
    health = await orchestrator.health()
    if not health.well:
        return [Check(subject, "server", False, f"nothing was sent: {health.detail}", health.next_action)]
    return _checks(subject, await orchestrator.notify(blocks))


OF_AZURE = {b"AZURE_CLIENT_SECRET", b"AZURE_CLIENT_CERTIFICATE_PASSWORD"}
PROCESSES = Path("/proc")  # Where Linux tells of every process


def _workers(configuration: Configuration) -> list[Check]:
    """Find workers on this machine whose environment has secrets: Prefect writes it into a file for each run."""
    secrets = {secret.encode() for secret in _secrets(configuration.model_dump()) if len(secret) >= LEAST_SECRET}
    found: dict[str, set[str]] = {}
    for process in PROCESSES.glob("[0-9]*"):
        try:
            command, given = ((process / part).read_bytes().split(b"\0") for part in ("cmdline", "environ"))
        except OSError:
            continue  # It has ended, or is somebody else's.
        if b"worker" in command and any(part.endswith(b"prefect") for part in command):
            for name, _, value in (pair.partition(b"=") for pair in given):
                if any(secret in value for secret in secrets) or (name in OF_AZURE and value):
                    found.setdefault(process.name, set()).add(name.decode(errors="replace"))
    if not found:
        return []
    named = sorted(set().union(*found.values()))
    detail = (
        f"{counted(len(found), 'worker process')} ({some_of(sorted(found))}) with secrets in the environment, "
        f"which Prefect writes into a file for each run: {some_of(named, 10)}"
    )
    action = f"Start it without: env {' '.join(f'-u {name}' for name in named)} prefect worker start; runs read blocks"
    return [Check("prefect", "secrets of workers", True, detail, action, warns=True)]


def _secrets(value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, dict | list | tuple):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _secrets(each)


LOST = (
    "Mount or correct it. If it is lost, restore it with standby vault move second vault if there is a replica, "
    "or from a backup"
)
WRITTEN = "doctor/written.txt"  # File of a vault that is written to see whether the vault can be written


async def _vault(configuration: Configuration, plans: Sequence[str]) -> list[Check]:
    settings = configuration.vault
    checks = [await _place("vault", settings, await _known(configuration))]
    if settings.second is not None:
        checks.append(await _place("second", settings.second, ""))
        async with open_vault(settings) as vault:
            replica = await replica_state(vault, LONGEST)
        if replica is not None and all(check.well for check in checks):
            action = "" if replica.whole else replica.next_action or "Run standby snapshot PLAN, which updates it"
            well, detail = replica.whole or not replica.refused, replica.words.removesuffix(".")
            checks.append(Check("vault", "replica", well, detail, action, warns=well and not replica.whole))
    for name, place in (("vault", settings), ("second", settings.second)):
        if place is not None and place.folder is not None:
            checks += await asyncio.to_thread(_modes, name, place.folder)
    automatic = [name for name in plans if configuration.plan(name).failover.automatic]
    if automatic and settings.folder is not None:
        detail = f"{some_of(automatic)} may fail over automatically, and the vault is a folder of this machine"
        action = "Move it to object storage in a third region: standby vault move vault az://CONTAINER/FOLDER"
        checks.append(Check("vault", "storage", True, detail, action, warns=True))
    return checks


async def _known(configuration: Configuration) -> str:
    """Say who knows of the vault, which then cannot be empty; nothing where nobody does."""
    if configuration.vault.second is not None:
        try:
            async with asyncio.timeout(LONGEST), open_place(configuration.vault.second) as second:
                if there := await records(second):
                    return f"its replica has {counted(len(there), 'file')}"
        except (VaultError, TimeoutError):
            pass  # That is told with the second itself.
    for sink in open_sinks(configuration.activation):
        for plan in configuration.plans:
            try:
                published = await sink.read(plan)
            except StandbyError:
                continue  # That a sink cannot be read is told where it is published to.
            if published is not None:
                return f"{sink.name} has the active map of plan {plan} under epoch {published.epoch}"
    return ""


MOST_MODES = 20_000  # Files of a folder whose permissions are looked at


def _modes(name: str, folder: Path) -> list[Check]:
    """Find what others than the owner may read: it tells what serves, and definitions may be confidential."""
    open_to_others = 0
    with suppress(OSError):  # What is wrong is told already.
        for each in islice(chain([folder], folder.rglob("*")), MOST_MODES):
            with suppress(FileNotFoundError):  # It was removed since.
                open_to_others += bool(each.lstat().st_mode & 0o077) and not each.is_symlink()
    if not open_to_others:
        return []
    detail = f"others may read {counted(open_to_others, 'path')} in {folder}"
    return [Check("vault", f"{name} permissions", True, detail, f"Run chmod -R go= {folder}", warns=True)]


async def _records(configuration: Configuration, plan: str | None) -> list[Check]:
    """Give a check for each plan of which something knows more than its records, or may and cannot be asked."""
    checks = []
    for name in [plan] if plan else configuration.plans:
        try:
            async with asyncio.timeout(LONGEST), open_recovery(configuration, name) as recovery:
                finding = await look(recovery)
                if recovery.plan.samples is not None:
                    checks += await _samples(recovery)
        except VaultError:
            continue  # The check of the vault says that.
        except StandbyError as error:
            checks.append(_failed("records", name, error))
        except TimeoutError:
            checks.append(Check("records", name, None, f"they could not be read within {LONGEST:g} s"))
        else:
            if finding.problem:
                checks.append(Check("records", name, False, finding.problem, finding.next_action))
            again = "Correct it or what keeps it from being read: a failover needs it"
            checks += [Check("records", name, None, unread, again) for unread in finding.evidence.unread]
    return checks


async def _samples(recovery: RecoveryContext) -> list[Check]:
    """Check that a plan which is to be proved by samples has any that the service reads."""
    name = recovery.plan.name
    found = await list_samples(recovery, await sampled(recovery))
    if not found:
        action = "Put documents there, in a folder for each analyzer that is named by its id, or leave out samples"
        return [Check("samples", name, False, "no document was found, so no copy can be proved", action)]
    documents, pages = tally(found)
    detail = f"{counted(documents, 'document')} of {counted(len(found), 'analyzer')}, {counted(pages, 'page')}"
    skipped = (Check("samples", name, True, each, "Replace or remove it", warns=True) for each in found.skipped)
    return [Check("samples", name, True, detail), *skipped]


async def _place(name: str, place: Place, known: str) -> Check:
    written = b"Written by standby doctor, to check that the vault can be written.\n"
    try:
        async with asyncio.timeout(LONGEST), open_place(place) as storage:
            where = storage.where(WRITTEN)
            if known and not await records(storage):
                detail = f"there is nothing in the vault at {storage.where('')}, although {known}"
                return Check("vault", name, False, detail, LOST)
            if is_read_only():
                return Check("vault", name, None, f"{where} can be read; whether it can be written was not tried")
            await storage.write(WRITTEN, written)
            if await storage.read(WRITTEN) != written:
                raise VaultUnavailable(where, "read", "a file that was just written cannot be read back")
    except VaultError as error:
        return _failed("vault", name, error)
    except TimeoutError:
        detail = f"it could not be written within {LONGEST:g} s"
        return Check("vault", name, False, detail, "Check that its storage answers")
    return Check("vault", name, True, f"{where} can be written")


class BootstrapNeedsServer(StandbyError):
    def __init__(self, found: str, next_action: str) -> None:
        cause = f"Bootstrap saves on a Prefect server, but {found[:1].lower()}{found[1:]}"
        super().__init__(cause, f"{next_action}, and run this again")


Remove = Annotated[bool, typer.Option("--remove", help="Remove from the server everything that Standby made there.")]


async def bootstrap(output: Output, remove: Remove = False, yes: Yes = False) -> Exit:
    """Save blocks, limits, work pools and deployments on a Prefect server; it is safe to repeat."""
    if remove:
        must_be_confirmed(output, yes=yes, what="removes Standby from a Prefect server")
    configuration = output.load()
    orchestrator = load_orchestrator()
    health = await orchestrator.health()
    if not health.well:
        raise BootstrapNeedsServer(health.detail, health.next_action)
    if remove:
        ours = await orchestrator.removable(configuration)
        if ours and not yes:
            await confirm(output, "Remove all of this?", map(Line, ours))
        await orchestrator.remove(configuration, ours)
        changes, nothing = [f"{each} removed" for each in ours], "Nothing to remove: the server has nothing of Standby."
    else:
        changes, nothing = await orchestrator.bootstrap(configuration), "Nothing to change: the server has everything."
    for change in changes or [nothing]:
        output.result(change)
    output.document({"changes": changes})
    return Exit.DONE
