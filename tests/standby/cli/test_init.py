"""`standby init` and `standby schema`: a file that only has to be read, and works."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from standby.config.configuration import Configuration, configuration_schema, load_configuration
from standby.config.yaml_file import read_yaml
from standby.emulator.config import EmulatorConfig
from tests.standby.cli.conftest import CANARIES, Cloud, Ran, Workspace, deployments, schema

ONE, TWO = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
MODELS = ("gpt-4.1", "text-embedding-3-large")
ANALYZERS = 200


def made(prefix: str, count: int) -> list[dict[str, Any]]:
    models = {"completion": MODELS[0], "embedding": MODELS[1]}
    return [
        {
            "analyzerId": f"{prefix}-{number:03}",
            "baseAnalyzerId": "prebuilt-document",
            "models": models,
            "fieldSchema": schema(f"{prefix} {number}"),
        }
        for number in range(count)
    ]


def region(name: str, subscription: str, **more: Any) -> dict[str, Any]:
    served = {"defaults": {model: model for model in MODELS}, "deployments": deployments(MODELS)}
    return {"region": name, "subscription": subscription, **served, **more}


CONTOSO = EmulatorConfig.model_validate(
    {
        "service_time": 0.05,
        "page_size": 50,
        "resources": {
            "contoso-east": region(
                "eastus", ONE, key=CANARIES["east"], analyzers=[*made("invoice", 80), *made("claim", 20)]
            ),
            "contoso-west": {
                "region": "westus3",
                "subscription": ONE,
                "key": CANARIES["west"],
                "deployments": [
                    {"name": "gpt41-west", "model": MODELS[0]},
                    {"name": "emb-west", "model": MODELS[1]},
                ],
            },
            "contoso-south": region("southcentralus", ONE, analyzers=made("contract", 60)),
            "contoso-sweden": region("swedencentral", TWO, analyzers=made("rechnung", 40)),
            "contoso-north": region("northeurope", TWO),
        },
    }
)
NO_TOKEN = {"IDENTITY_ENDPOINT": "", "IDENTITY_HEADER": "", "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential"}


@pytest.fixture(scope="module")
def contoso() -> Iterator[Cloud]:
    """Five resources in two subscriptions, with 200 analyzers of three teams."""
    cloud = Cloud(CONTOSO)
    cloud.start()
    yield cloud
    cloud.stop()


@pytest.fixture
def empty(contoso: Cloud, authority_file: Path, tmp_path: Path) -> Iterator[Workspace]:
    """An empty folder, with an identity that may read everything there is."""
    contoso.tell("reset")
    environment = {
        "COLUMNS": "80",
        "PREFECT_API_URL": "",
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "SSL_CERT_FILE": str(authority_file),
        "IDENTITY_ENDPOINT": contoso.emulator.identity.endpoint,
        "IDENTITY_HEADER": contoso.emulator.identity.header,
    }
    workspace = Workspace(tmp_path / "folder", environment, contoso)
    workspace.folder.mkdir()
    yield workspace
    workspace.close()


def init(workspace: Workspace, *args: str) -> Ran:
    return workspace.run("init", "--arm-endpoint", workspace.cloud.emulator.arm, *args)


def written(workspace: Workspace) -> tuple[str, Configuration]:
    """The file, which an editor takes as well as the loader, and which has no secret."""
    text = workspace.file.read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=./standby.schema.json\n")
    beside = json.loads((workspace.folder / "standby.schema.json").read_text(encoding="utf-8"))
    assert [error.message for error in Draft202012Validator(beside).iter_errors(read_yaml(text).data)] == []
    assert not any(place.key in text for place in workspace.cloud.emulator.resources.values())
    needed = dict.fromkeys(re.findall(r"\$\{(\w+_KEY)\}", text), "x" * 32)
    return text, load_configuration(workspace.file, {**workspace.environment, **needed})


def flat(text: str) -> str:
    """A file without the breaks of its comments."""
    return re.sub(r"\n\s*#\s+", " ", text)


def test_a_platform_team_only_has_to_read_it(empty: Workspace) -> None:
    ran = init(empty, "--json")
    assert ran.status == 0, ran.err
    text, configuration = written(empty)
    assert {name: (each.region, each.credentials.kind) for name, each in configuration.resources.items()} == {
        name: (each.region, "entra") for name, each in CONTOSO.resources.items()
    }
    for name, place in empty.cloud.emulator.resources.items():
        assert configuration.resource(name).endpoint == place.endpoint
        assert configuration.resource(name).resource_id == place.resource_id
    plans = {name: (plan.pairs[0].source, plan.targets) for name, plan in configuration.plans.items()}
    assert plans == {
        "contoso-east": ("contoso-east", ("contoso-west",)),
        "contoso-south": ("contoso-south", ("contoso-west",)),
        "contoso-sweden": ("contoso-sweden", ("contoso-north",)),
    }
    east, sweden = configuration.plan("contoso-east"), configuration.plan("contoso-sweden")
    assert (set(east.include), sweden.include) == ({"invoice-*", "claim-*"}, ("*",))
    assert east.deployments["contoso-west"].model_dump() == {"chat_completion": "gpt41-west", "embedding": "emb-west"}
    assert (east.missing_defaults, sweden.missing_defaults, sweden.deployments) == ("sync", "fail", {})
    assert not any(plan.failover.automatic for plan in configuration.plans.values())
    assert "contoso-west is a target: in another region (westus3)" in flat(text)
    assert "residency: {allow: [contoso-sweden, contoso-north]}" in flat(text)
    doctor = f"standby doctor -c {empty.file}"
    assert ran.document["next"] == ['export VAULT_KEY="$(head -c 24 /dev/urandom | base64)"', doctor]
    assert [plan["analyzers"] for plan in ran.document["plans"]] == [100, 60, 40]
    assert ran.document["problems"] == []
    assert empty.cloud.stats("contoso-east")["calls"]["list"] > 2


def test_what_it_says_to_do_next_works_at_once(empty: Workspace) -> None:
    ran = empty.ended(empty.start("init", "--arm-endpoint", empty.cloud.emulator.arm, stdin=subprocess.DEVNULL))
    steps = [line.strip() for line in ran.out.partition("Read it, then:\n")[2].splitlines()]
    assert steps[-1] == "standby doctor"
    script = "\n".join([*steps, "standby plan contoso-east || exit $?"])
    environment = {**os.environ, **empty.environment, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    ended = subprocess.run(
        ["bash", "-ec", script], cwd=empty.folder, env=environment, text=True, capture_output=True, check=False
    )
    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert "nothing wrong" in ended.stdout
    assert "the next replication sets what is needed" in ended.stdout
    assert "Plan contoso-east: 100 to copy" in ended.stdout


def test_each_option_counts_without_its_mark(empty: Workspace) -> None:
    assert init(empty).status == 0
    text, _ = written(empty)
    option = re.compile(r"^(\s+)# ([a-z_]+: \S.*?)  # ", re.MULTILINE)
    assert {found[2].partition(":")[0] for found in option.finditer(text)} >= {
        "api_version",
        "on_existing",
        "target_id",
    }
    body, vault, rest = text.partition("\nvault:")
    empty.file.write_text(option.sub(r"\1\2  # ", body) + vault + rest, encoding="utf-8")
    written(empty)


def test_a_subscription_that_may_not_be_read_costs_itself_only(empty: Workspace) -> None:
    empty.cloud.fault("arm_accounts", "status", resource="contoso-sweden", status=403, times=None)
    ran = init(empty)
    assert ran.status == 3
    text, configuration = written(empty)
    assert [*configuration.resources] == ["contoso-east", "contoso-west", "contoso-south"]
    assert f"The content of {TWO} is unknown" in flat(text)
    assert f"the role Reader on subscription {TWO}" in flat(text)


@pytest.mark.parametrize("kind", ["refuse", "unavailable"])
def test_a_resource_that_does_not_answer_costs_itself_only(empty: Workspace, kind: str) -> None:
    empty.cloud.tell("outages", resource="contoso-south", kind=kind)
    ran = init(empty, "--json")
    assert ran.status == 3
    text, configuration = written(empty)
    assert [*configuration.plans] == ["contoso-east", "contoso-sweden"]
    assert "(!) its analyzers were not read" in flat(text)
    assert [each["name"] for each in ran.document["resources"] if each["problem"]] == ["contoso-south"]


@pytest.mark.parametrize(
    ("pattern", "text", "said"),
    [
        ('"publicNetworkAccess":"(Enabled)"', "Disabled", "(!) it is closed to public networks"),
        ('"publicNetworkAccess":"Enabled"()', ',"networkAcls":{"defaultAction":"Deny"}', "(!) it is closed to public"),
        ('"publicNetworkAccess":"Enabled"()', ',"disableLocalAuth":true', "keys are switched off in Azure"),
    ],
)
def test_what_azure_says_of_a_resource_stands_beside_it(empty: Workspace, pattern: str, text: str, said: str) -> None:
    empty.cloud.fault("arm_accounts", "rewritten", resource="contoso-east", pattern=pattern, text=text)
    assert init(empty, "--subscription", ONE, "--credentials", "key").status == 0
    assert said in flat(written(empty)[0].partition("contoso-west:")[0])


def test_a_resource_without_a_subdomain_is_left_out(empty: Workspace) -> None:
    pattern = '"customSubDomainName":"(contoso-south)"'
    empty.cloud.tell("settings", page_size=None)
    empty.cloud.fault("arm_accounts", "rewritten", resource="contoso-east", pattern=pattern, text="")
    assert init(empty, "--subscription", ONE).status == 3
    text, configuration = written(empty)
    assert [*configuration.resources] == ["contoso-east", "contoso-west"]
    assert "# contoso-south:" in text
    assert "az cognitiveservices account update -g emulator -n contoso-south --custom-domain contoso-south" in flat(
        text
    )


def test_resources_without_analyzers_make_a_plan_that_says_so(empty: Workspace) -> None:
    ran = init(empty, "--resource", "contoso-north", "--resource", "contoso-sweden", "--plan", "documents")
    assert ran.status == 0
    assert [*written(empty)[1].plans] == ["documents"]
    for state in empty.cloud.emulator.world.resources.values():
        for version in state.api_versions:
            for name in [each for each, _ in state.listing(version) if state.own(version, each)]:
                state.remove(version, name)
    assert init(empty, "--yes").status == 0
    text, configuration = written(empty)
    assert len(configuration.plans) == 1
    assert "no analyzer was seen there: no resource has any yet" in flat(text)


def test_data_leaves_its_geography_only_by_a_decision_of_people(empty: Workspace) -> None:
    assert init(empty, "--resource", "contoso-east", "--resource", "contoso-north").status == 0
    text, configuration = written(empty)
    assert configuration.plans == {}
    assert "(!) no plan can be proposed" in flat(text)
    assert "#   pairs: [{source: contoso-east, targets: [TARGET]}]" in text


def test_copies_at_a_standby_are_no_plan_of_their_own(empty: Workspace) -> None:
    assert init(empty, "--subscription", ONE).status == 0
    empty.environment["VAULT_KEY"] = "x" * 32
    assert empty.run("replicate", "contoso-east").status == 0
    assert init(empty, "--subscription", ONE, "--yes").status == 0
    _, configuration = written(empty)
    assert configuration.plan("contoso-east").targets == ("contoso-west",)
    assert [*configuration.plans] == ["contoso-east", "contoso-south"]


def test_without_a_token_names_are_enough_for_a_file_to_complete(empty: Workspace) -> None:
    empty.environment |= {**NO_TOKEN, "CONTOSO_EAST_KEY": CANARIES["east"]}
    account = empty.cloud.emulator.resources["contoso-west"].resource_id
    ran = init(empty, "--resource", "contoso-east", "--resource", account, "--plan", "p", "--json")
    assert ran.status == 3
    text = empty.file.read_text(encoding="utf-8")
    assert "Azure did not list the subscriptions" in flat(text)
    assert "endpoint: https://contoso-east.services.ai.azure.com" in text
    assert f"resource_id: {account}" in text
    wanted = [step.partition("=")[0] for step in ran.document["next"][:-1]]
    assert wanted == [
        "export CONTOSO_EAST_REGION",
        "export CONTOSO_EAST_ID",
        "export CONTOSO_WEST_REGION",
        "export CONTOSO_WEST_KEY",
        "export VAULT_KEY",
    ]
    given = {"REGION": "eastus", "ID": account.replace("west", "east"), "KEY": "x" * 32}
    environ = {step.split()[1]: given[step.rpartition("_")[2]] for step in wanted}
    loaded = load_configuration(empty.file, {**environ, "CONTOSO_EAST_KEY": "x"})
    assert loaded.plan("p").pairs[0].targets == ("contoso-west",)


def test_keys_are_named_and_never_asked_for(empty: Workspace) -> None:
    empty.environment["CONTOSO_EAST_KEY"] = CANARIES["east"]
    ran = init(empty, "--subscription", ONE, "--credentials", "key", "--json")
    assert ran.status == 0
    text, configuration = written(empty)
    assert {each.credentials.kind for each in configuration.resources.values()} == {"key"}
    assert "credentials: {kind: key, key: '${CONTOSO_WEST_KEY}'}" in text
    where = f"-n contoso-west -g emulator --subscription {ONE}"
    assert ran.document["next"][0] == (
        f'export CONTOSO_WEST_KEY="$(az cognitiveservices account keys list {where} --query key1 -o tsv)"'
    )
    assert [each["analyzers"] for each in ran.document["resources"]] == [100, 0, 60]


def test_a_resource_may_be_named_by_its_id_or_its_endpoint(empty: Workspace) -> None:
    account = empty.cloud.emulator.resources["contoso-west"].resource_id
    ran = init(empty, "--resource", "https://contoso-east.services.ai.azure.com/", "--resource", account.upper())
    assert ran.status == 0
    assert {*written(empty)[1].resources} == {"contoso-east", "contoso-west"}


def test_who_may_read_a_resource_only_names_it_by_its_id(empty: Workspace) -> None:
    for name in ("contoso-east", "contoso-sweden"):
        empty.cloud.fault("arm_accounts", "status", resource=name, status=403, times=None)
    empty.cloud.fault("arm_subscriptions", "status", resource="contoso-east", status=403, times=None)
    ids = [empty.cloud.emulator.resources[name].resource_id for name in ("contoso-east", "contoso-west")]
    assert init(empty, "--resource", ids[0], "--resource", ids[1]).status == 0
    assert [*written(empty)[1].plans] == ["contoso-east"]
    assert init(empty, "--resource", ids[0], "--resource", "contoso-north", "--yes").status == 3
    assert [*written(empty)[1].resources] == ["contoso-east"]


def test_without_a_token_and_names_it_says_what_to_do(empty: Workspace) -> None:
    empty.environment |= NO_TOKEN
    ran = init(empty)
    assert (ran.status, [*empty.folder.iterdir()]) == (1, [])
    assert "az login" in ran.err
    assert "--resource NAME" in ran.err


def test_a_resource_that_is_not_there_is_said(empty: Workspace) -> None:
    ran = init(empty, "--resource", "contoso-east", "--resource", "contoso-west", "--resource", "fabrikam")
    assert ran.status == 3
    assert "is called fabrikam" in flat(written(empty)[0])


def test_nothing_that_is_there_is_overwritten_unasked(empty: Workspace) -> None:
    empty.file.write_text("mine", encoding="utf-8")
    ran = init(empty, "--json")
    assert (ran.status, ran.document["error"]["kind"]) == (4, "FileIsThere")
    assert [path.name for path in empty.folder.iterdir()] == ["standby.yaml"]
    assert empty.file.read_text(encoding="utf-8") == "mine"
    assert init(empty, "--out", str(empty.folder / "other.yaml")).status == 0
    assert empty.file.read_text(encoding="utf-8") == "mine"
    empty.file.write_bytes(b"\xff not text")
    assert init(empty).status == 4
    assert init(empty, "--yes").status == 0
    assert init(empty).status == 0
    written(empty)


@pytest.mark.parametrize("endpoint", ["https://example.com", "http://management.azure.com", "management.azure.com"])
def test_no_token_goes_to_another_host(empty: Workspace, endpoint: str) -> None:
    ran = empty.run("init", "--arm-endpoint", endpoint)
    assert (ran.status, [*empty.folder.iterdir()]) == (1, [])
    assert "--arm-endpoint" in ran.err


def test_ctrl_c_leaves_no_half_file(empty: Workspace, until: Callable[[Callable[[], bool]], None]) -> None:
    empty.cloud.tell("outages", resource="contoso-south", kind="hang")
    process = empty.start("init", "--arm-endpoint", empty.cloud.emulator.arm, stdin=subprocess.DEVNULL)
    until(lambda: bool(empty.cloud.stats("contoso-south")["calls"].get("list")))
    process.send_signal(signal.SIGINT)
    assert empty.ended(process).status == 130
    assert [*empty.folder.iterdir()] == []


def test_at_a_terminal_it_asks(empty: Workspace) -> None:
    ours, theirs = pty.openpty()
    empty.file.write_text("mine", encoding="utf-8")
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
    process = empty.start("init", "--arm-endpoint", empty.cloud.emulator.arm, **streams)
    shown = ""
    for question, answer in (
        ("Enter for all:", "contoso-east contoso-west"),
        ("Enter for contoso-east:", "invoices"),
        ("[y/N]", "y"),
    ):
        end = time.monotonic() + 60
        while question not in shown:
            assert time.monotonic() < end
            shown += os.read(ours, 4096).decode()
        os.write(ours, f"{answer}\n".encode())
    assert process.wait(60) == 0
    os.close(theirs)
    os.close(ours)
    assert "contoso-sweden (swedencentral): 40 analyzers of its own" in shown
    assert [*written(empty)[1].plans] == ["invoices"]


def test_the_schema_is_printed_and_nothing_else(workspace: Workspace) -> None:
    ran = workspace.run("schema")
    assert (ran.status, ran.err) == (0, "")
    assert ran.document == configuration_schema()


def test_the_schema_is_written_where_asked(workspace: Workspace) -> None:
    file = workspace.folder / "deep" / "s.json"
    ran = workspace.run("schema", "--out", str(file), "--json")
    assert (ran.status, ran.document) == (0, {"file": str(file)})
    assert json.loads(file.read_text(encoding="utf-8")) == configuration_schema()


def test_a_file_that_cannot_be_written_is_said(workspace: Workspace) -> None:
    ran = workspace.run("schema", "--out", str(workspace.folder))
    assert ran.status == 1
    assert "Name another file with --out" in ran.err
