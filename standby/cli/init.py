"""`standby init`: a first standby.yaml, made of what is found in Azure; and `standby schema`."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory
from typing import Annotated, Literal
from urllib.parse import urlsplit

import typer
from pydantic import ValidationError

from standby.cli.doctor import LONGEST, PATIENCE
from standby.cli.output import Line, Output, ask, can_ask, cause_of, must_be_writable, write_files
from standby.cli.proposal import Found, Proposal, configuration_text, propose
from standby.cli.run import DEFAULT_FILE, Exit, Yes
from standby.clock import SystemClock
from standby.concurrency import do_for_each
from standby.config.configuration import configuration_schema, load_configuration
from standby.config.errors import ConfigurationError, UnknownName, summary
from standby.config.resource import ARM_HOSTS, PUBLIC, RESOURCE_ID, RESOURCE_NAME, Resource, is_loopback, plain_region
from standby.config.yaml_file import fill
from standby.document import JsonObject, json_text, write_whole
from standby.errors import StandbyError, sentence
from standby.replication.inventory import take_inventory
from standby.service.calls import trusted_certificates
from standby.service.client import ArmClient, ContentUnderstandingClient, open_arm
from standby.service.errors import NotAuthorized, ServiceError
from standby.service.models import ListedAccount
from standby.text import counted, some_of

KIND = "AIServices"  # Of the resources that Content Understanding is in
AT_ONCE = 8  # Resources that are read side by side


class NothingFound(StandbyError):
    def __init__(self, problems: Sequence[str]) -> None:
        cause = [f"No resource of kind {KIND} was found that can be used, so nothing was written", *problems]
        super().__init__(cause, "Correct that (az login signs in), or name resources: standby init --resource NAME")


class NotValid(StandbyError):
    def __init__(self, problems: Sequence[str]) -> None:
        cause = ["The resources that were found make no valid configuration, so nothing was written", *problems]
        super().__init__(cause, "Leave that resource out: name the others with --resource")


@dataclass
class Discovery:
    """Asks Azure, and keeps what could not be found out."""

    arm: ArmClient
    problems: list[str] = field(default_factory=list)
    signed_in: bool = False

    async def accounts(self, subscriptions: Sequence[str], named: Sequence[str]) -> list[ListedAccount]:
        """List the resources of some subscriptions, or of all; what cannot be read costs itself only."""
        ids = [each for each in named if re.match(RESOURCE_ID, each)]
        try:
            # What is only named may be in any of them.
            if not subscriptions and not (ids and ids == [*named]):
                subscriptions = [each.id for each in await self.arm.list_subscriptions()]
        except ServiceError as error:
            self.problems.append(f"Azure did not list the subscriptions: {cause_of(error)}")
        places = dict.fromkeys([*subscriptions, *ids])
        if not places and not self.problems:
            problem = "The identity can read no subscription. Give it the role Reader on your subscriptions"
            self.problems.append(problem)
        lists = await do_for_each(places, self._listed, AT_ONCE)
        return [*{each.id: each for found in lists for each in found if each.kind == KIND}.values()]

    async def _listed(self, place: str) -> Sequence[ListedAccount]:
        try:
            by_id = re.match(RESOURCE_ID, place)
            found = [await self.arm.find_account(place)] if by_id else await self.arm.list_accounts(place)
        except ServiceError as error:
            why = str(error) if isinstance(error, NotAuthorized) and error.status else cause_of(error)
            self.problems.append(f"The content of {place} is unknown: {why}")
            return ()
        self.signed_in = True
        return found


def called(wanted: str) -> str:
    """Give the name of a resource that is named by its name, its id or its endpoint."""
    return (urlsplit(wanted).hostname or "").partition(".")[0] if "://" in wanted else wanted.rpartition("/")[2]


def is_meant(account: ListedAccount, wanted: str) -> bool:
    if re.match(RESOURCE_ID, wanted):
        return account.id.lower() == wanted.lower()
    return called(wanted).lower() in {account.name.lower(), account.subdomain.lower()}


def from_azure(account: ListedAccount, name: str, arm_endpoint: str, *, by_key: bool) -> Found:
    urls = [account.endpoints.get("AI Foundry API"), account.endpoints.get("Content Understanding"), account.endpoint]
    region = plain_region(account.location)
    notes = []
    if by_key and account.keys_disabled:
        by_key = False
        notes.append("keys are switched off in Azure, so it is called by an Entra identity")
    if account.public_access.lower() == "disabled" or account.others_may.lower() == "deny":
        notes.append("(!) it is closed to public networks: run Standby where it can be reached")
    settings: JsonObject = {
        "endpoint": next((each.rstrip("/") for each in urls if each), ""),
        "region": region,
        "resource_id": account.id,
        "credentials": access(name, by_key=by_key),
    }
    if arm_endpoint != PUBLIC.arm:
        settings["arm_endpoint"] = arm_endpoint
    left_out = ""
    if not account.subdomain:
        group, there = account.id.split("/")[4] if re.match(RESOURCE_ID, account.id) else "GROUP", account.name
        more = f"az cognitiveservices account update -g {group} -n {there} --custom-domain {there}"
        left_out = f"it has no custom subdomain, so it cannot receive copies. Give it one: {more}"
    else:
        try:
            Resource.model_validate({"name": name, **settings})
        except ValidationError as error:
            left_out = f"it cannot be used as Azure shows it: {summary(error)}"
    return Found(name, settings, region, tuple(notes), left_out)


def from_name(wanted: str, name: str, *, by_key: bool) -> Found:
    """Make the best of a name, an id or an endpoint: what else is needed comes from the environment."""
    prefix = f"${{{variable(name)}"
    endpoint = wanted if "://" in wanted else f"https://{called(wanted)}.services.ai.azure.com"
    settings: JsonObject = {
        "endpoint": endpoint.rstrip("/"),
        "region": f"{prefix}_REGION}}",
        "resource_id": wanted if re.match(RESOURCE_ID, wanted) else f"{prefix}_ID}}",
        "credentials": access(name, by_key=by_key),
    }
    return Found(name, settings, notes=("(!) this was not read from Azure: check it",))


def access(name: str, *, by_key: bool) -> JsonObject:
    return {"kind": "key", "key": f"${{{variable(name)}_KEY}}"} if by_key else {"kind": "entra"}


def variable(name: str) -> str:
    """Give the beginning of the names of a resource's variables."""
    return re.sub(r"[^A-Z0-9]", "_", name.upper()) if not name[0].isdigit() else f"R{variable('_' + name)}"


def names_of(given: Sequence[tuple[str, str]]) -> list[str]:
    """Give each resource a name of its own in standby.yaml, by its name in Azure and its region."""
    names: list[str] = []
    for name, region in given:
        plain = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")[:50] or "resource"
        choices = (plain, f"{plain}-{region}", *(f"{plain}-{number}" for number in range(2, 1000)))
        names.append(next(each for each in choices if each not in names and each.strip("-") == each))
    return names


async def read(found: Found, *, signed_in: bool) -> Found:
    """Read the analyzers, defaults and deployments of a resource, where it can be called."""
    if found.left_out:
        return found
    filled = fill({"name": found.name, **found.settings}, os.environ)
    if filled.problems and signed_in:
        # For this once whoever is signed in may do instead of a key that nobody has set yet.
        filled = fill({"name": found.name, **found.settings, "credentials": access("", by_key=False)}, os.environ)
    try:
        resource = Resource.model_validate(filled.data)
        client = ContentUnderstandingClient(resource, tls=trusted_certificates(), retries=PATIENCE)
        async with client, asyncio.timeout(LONGEST):
            return replace(found, inventory=await take_inventory(client))
    except ServiceError as error:
        why = str(error)
    except TimeoutError:
        why = f"it did not answer within {LONGEST:g} s"
    except ValidationError as error:
        why = "; ".join(problem.message for problem in filled.problems) or summary(error)
    return replace(found, unread=f"its analyzers were not read: {why}")


async def gather(
    output: Output, arm_endpoint: str, subscriptions: Sequence[str], named: list[str], credentials: str | None
) -> tuple[list[Found], list[str]]:
    """Find the resources and read them; give what could not be found out, too."""
    output.say("Reading the list of resources from Azure.")
    async with open_arm(arm_endpoint, PATIENCE) as arm:
        discovery = Discovery(arm)
        accounts = await discovery.accounts(subscriptions, named)
    if not discovery.signed_in and not named and can_ask(output):
        for problem in discovery.problems:
            output.say(problem)
        named = (await ask(output, "Names, ids or endpoints of the resources, with spaces between them:")).split()
    unknown: list[str] = []  # what is only named
    if named:
        meant = {each: [it for it in accounts if is_meant(it, each)] for each in named}
        accounts = [*{it.id: it for found in meant.values() for it in found}.values()]
        unknown = [each for each, found in meant.items() if not found]
        if unknown and discovery.signed_in:
            # What Azure does not know, though it could be asked, is a problem.
            where = f"is called {some_of(unknown, 10)} in the subscriptions that were read"
            discovery.problems.append(f"No resource of kind {KIND} {where}")
            unknown = []
    names = iter(names_of([(it.name, it.location) for it in accounts] + [(called(each), "") for each in unknown]))
    found = [from_azure(it, next(names), arm_endpoint, by_key=credentials == "key") for it in accounts]
    found += [from_name(it, next(names), by_key=credentials != "entra") for it in unknown]
    if all(each.left_out for each in found):
        raise NothingFound([*discovery.problems, *(f"{each.name}: {each.left_out}" for each in found)])
    output.say(f"Reading the analyzers of {counted(len(found), 'resource')}.")
    return await do_for_each(found, partial(read, signed_in=discovery.signed_in), AT_ONCE), discovery.problems


async def choose(output: Output, found: list[Found], plan: str) -> tuple[list[Found], list[Proposal]]:
    """Let whoever sits at the terminal say which of the resources are meant, and what the plan is called."""
    for each in found:
        state = each.problem or f"{counted(len(each.own), 'analyzer')} of its own"
        output.say(f"{each.name} ({each.region or 'region unknown'}): {sentence(state)}", 2)
    known = {each.name: each for each in found}
    wanted = (await ask(output, "Which of them? Their names, or Enter for all:")).replace(",", " ").split()
    for name in wanted:
        if name not in known:
            raise UnknownName("resource", name, known)
    chosen = [known[name] for name in wanted] or found
    plans = propose(chosen, plan)
    if len(plans) == 1 and not plan:
        named = await ask(output, f"Name of the plan? Enter for {plans[0].name}:")
        plans = propose(chosen, _checked(named))
    return chosen, plans


def _checked(plan: str) -> str:
    if plan and not re.fullmatch(RESOURCE_NAME, plan):
        raise typer.BadParameter(f"{plan} must be lower-case letters, digits and dashes", param_hint="--plan")
    return plan


def _arm(endpoint: str) -> str:
    host = urlsplit(endpoint).hostname
    if not is_loopback(host) and not (host in ARM_HOSTS and endpoint.startswith("https://")):
        raise typer.BadParameter(f"must be a management plane of Azure, such as {PUBLIC.arm}")
    return endpoint.rstrip("/")


def validate(text: str) -> None:
    """Read what is to be written as every command will, with something in place of each variable."""
    names = set(re.findall(r"\$\{(\w+)\}", text))
    some = {name: f"some-value-for-{name.lower()}" for name in names}
    some |= {name: "eastus" for name in names if name.endswith("_REGION")}
    account = "/subscriptions/1/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts"
    some |= {name: f"{account}/{name}" for name in names if name.endswith("_ID")}
    with TemporaryDirectory() as folder:
        file = Path(folder) / "standby.yaml"
        file.write_text(text, encoding="utf-8")
        try:
            load_configuration(file, some)
        except ConfigurationError as error:
            raise NotValid(error.problems) from None


def exports(text: str, found: Sequence[Found]) -> list[str]:
    """Give the commands that set the variables which the file needs and nobody has set."""
    counting = "\n".join(line.partition("#")[0] for line in text.splitlines())
    commands = {"VAULT_KEY": '"$(head -c 24 /dev/urandom | base64)"'}
    for each in found:
        parts = str(each.settings["resource_id"]).split("/")
        if len(parts) > 8:
            where = f"-n {quote(parts[8])} -g {quote(parts[4])} --subscription {quote(parts[2])}"
            listed = f"az cognitiveservices account keys list {where} --query key1 -o tsv"
            commands[f"{variable(each.name)}_KEY"] = f'"$({listed})"'
    wanted = dict.fromkeys(re.findall(r"\$\{(\w+)\}", counting))
    return [f"export {name}={commands.get(name, '…')}" for name in wanted if name not in os.environ]


Subscriptions = Annotated[
    list[str] | None,
    typer.Option("--subscription", metavar="ID", help="Only resources of this subscription; can be repeated."),
]
Named = Annotated[
    list[str] | None,
    typer.Option("--resource", metavar="NAME", help="Only this resource, by name, id or endpoint; can be repeated."),
]
By = Annotated[
    Literal["entra", "key"] | None,
    typer.Option("--credentials", help="How resources are called; by default entra where Azure could be asked."),
]
Endpoint = Annotated[
    str, typer.Option("--arm-endpoint", metavar="URL", parser=_arm, help="Azure's management plane, in another cloud.")
]


async def command(
    output: Output,
    subscription: Subscriptions = None,
    resource: Named = None,
    plan: Annotated[str, typer.Option("--plan", metavar="NAME", help="Name of the plan, or its beginning.")] = "",
    credentials: By = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="What to write; by default standby.yaml.")
    ] = None,
    arm_endpoint: Endpoint = PUBLIC.arm,
    yes: Yes = False,
) -> Exit:
    """Write a first standby.yaml: resources that Azure shows, plans that fit them, and the reasons as comments.

    Nothing is changed in Azure. No secret is written. A file that is there is overwritten only with --yes, or after a
    question.

    Exit status: 0 written, 1 nothing was written, 3 written without what could not be found out, 4 a file is there.
    """
    _checked(plan)
    file = out or output.config
    named = list(dict.fromkeys(resource or []))
    found, problems = await gather(output, arm_endpoint, subscription or [], named, credentials)
    if can_ask(output) and not yes and not resource:
        found, plans = await choose(output, found, plan)
    else:
        plans = propose(found, plan)
    schema_file = file.with_name(f"{file.stem}.schema.json")
    text = configuration_text(found, plans, problems, schema_file.name, f"{SystemClock().now():%Y-%m-%d}")
    validate(text)
    if not yes and file.exists() and can_ask(output):
        yes = (await ask(output, f"{file} exists already. Overwrite it? [y/N]")).lower() in {"y", "yes"}
    for path in (schema_file, file):
        must_be_writable(path)
    write_files({schema_file: schema_text(), file: text}, "file with --out", overwrite=yes)
    doctor = "standby doctor" if file == Path(DEFAULT_FILE) else f"standby doctor -c {quote(str(file))}"
    steps = [*exports(text, found), doctor]
    wrong = [*problems, *(f"{each.name}: {each.problem}" for each in found if each.problem)]
    ready = [each for each in plans if each.targets]
    output.result(f"Written: {file}, with {counted(len(found), 'resource')} and {counted(len(ready), 'plan')}")
    output.results(Line(each.summary, 2) for each in ready)
    output.results(Line(sentence(problem), 2, "!", "yellow", wrong=True) for problem in wrong)
    output.result("Read it, then:")
    output.results(Line(step, 2) for step in steps)
    made = {"resources": [each.to_json() for each in found], "plans": [each.to_json() for each in ready]}
    output.document({"file": file, **made, "problems": problems, "next": steps})
    return Exit.PARTIAL if wrong else Exit.DONE


def schema_text() -> str:
    return json_text(configuration_schema()) + "\n"


async def schema(
    output: Output,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write it to this file.")] = None,
) -> Exit:
    """Print the JSON schema of standby.yaml, by which editors complete and check it.

    Exit status: 0.
    """
    if out is None:
        output.stdout.write(schema_text())
        return Exit.DONE
    must_be_writable(out)
    write_whole(out, schema_text())
    output.result(f"Written: {out}")
    output.result(f"Name it in the first line of standby.yaml: # yaml-language-server: $schema={out}")
    output.document({"file": str(out)})
    return Exit.DONE
