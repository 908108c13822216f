"""What deploys Standby: each file is read by a tool of its kind, and says what the program really takes."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.settings import Settings
from prefect.settings.legacy import _get_settings_fields
from prefect_redis.client import RedisMessagingSettings
from pycep import BicepParser
from typer.testing import CliRunner

from standby.cli.app import app
from standby.config.configuration import load_configuration

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBECTL = Path(__file__).parent / "node_modules" / "layer" / "kubectl" / "kubectl"
BIN = Path(sys.executable).parent
WORKER = "prefect worker start --pool standby"
RECOVERY = "prefect worker start --pool standby-recovery --limit 20"
LARGE_RUNS = re.findall(
    r"^(PREFECT_SERVER_SERVICES\w+)=(\S+)$",
    (ROOT / "docs" / "how-to" / "large-runs.md").read_text(encoding="utf-8"),
    flags=re.MULTILINE,
)


def ran(*command: str | Path) -> str:
    """Run a tool; what it prints is shown where it refuses."""
    done = subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    rendered = yaml.safe_load(ran("docker-compose", "-f", "deploy/compose.yaml", "--profile", "command", "config"))
    found: dict[str, Any] = rendered["services"]
    return found


@pytest.fixture(scope="module")
def objects() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(ran(KUBECTL, "kustomize", "deploy")))


def unit(name: str) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(DEPLOY / "systemd" / f"standby-{name}.service", encoding="utf-8")
    return parser["Service"]


def containers(objects: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for each in objects:
        if each["kind"] == "Deployment":
            pod = each["spec"]["template"]["spec"]
            yield each["metadata"]["name"], pod, pod["containers"][0]


def must_be_settings(names: set[str]) -> None:
    """Refuse what looks like a setting of Prefect and is none."""
    known = set(_get_settings_fields(Settings))
    known |= {f"PREFECT_REDIS_MESSAGING_{name.upper()}" for name in RedisMessagingSettings.model_fields}
    known |= {"PREFECT_MESSAGING_BROKER", "PREFECT_MESSAGING_CACHE", "PREFECT_SERVER_ENCRYPTION_KEY"}
    assert {name for name in names if name.startswith("PREFECT_")} <= known


@cache
def help_of_prefect(*command: str) -> str:
    return ran(BIN / "prefect", *command, "--help")


def must_be_a_command(command: str) -> None:
    """Let the real command line read a command; it stops at --help, having seen every option before."""
    words = shlex.split(command)
    if words[0] == "standby":
        assert CliRunner().invoke(app, [*words[1:], "--help"]).exit_code == 0, command
    else:
        help_text = help_of_prefect(*words[1:3])
        assert all(word in help_text for word in words if word.startswith("--")), command


def test_the_containerfile_is_as_hadolint_wants_it() -> None:
    ran(BIN / "hadolint", "deploy/Containerfile")
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    bases = re.findall(r"^FROM (\S+)", text, flags=re.MULTILINE)
    assert len(bases) == 2
    assert all(":" in base and not base.endswith(":latest") for base in bases)
    assert "USER 10001:10001" in text
    must_be_settings(set(re.findall(r"\b(PREFECT_\w+)=", text)))


def test_the_containers_run_what_the_readme_says(services: dict[str, Any], objects: list[dict[str, Any]]) -> None:
    of_kubernetes = {name: (container["args"], container) for name, _, container in containers(objects)}
    commands = {
        **{
            f"compose {name}": shlex.join(it["command"])
            for name, it in services.items()
            if it["image"].startswith("sta")
        },
        **{f"kubernetes {name}": shlex.join(args) for name, (args, _) in of_kubernetes.items()},
        **{name: unit(name)["ExecStart"].removeprefix("/opt/standby/bin/") for name in ("prefect", "gateway")},
        **{name: unit(name)["ExecStart"].removeprefix("/opt/standby/bin/") for name in ("worker", "recovery")},
    }
    for command in commands.values():
        must_be_a_command(command if command.startswith(("standby", "prefect")) else f"standby {command}")
    for where in ("compose ", "kubernetes ", ""):
        assert commands[f"{where}worker"].removesuffix(" --with-healthcheck") == WORKER
        assert commands[f"{where}recovery"].removesuffix(" --with-healthcheck") == RECOVERY
    assert services["recovery"]["environment"]["PREFECT_WORKER_QUERY_SECONDS"] == "2"
    assert {"name": "PREFECT_WORKER_QUERY_SECONDS", "value": "2"} in of_kubernetes["recovery"][1]["env"]


def test_the_server_has_the_settings_of_large_runs(services: dict[str, Any], objects: list[dict[str, Any]]) -> None:
    (server,) = (container for name, _, container in containers(objects) if name == "prefect")
    of_kubernetes = {each["name"]: each["value"] for each in server["env"]}
    assert len(LARGE_RUNS) == 2
    for environment in (services["prefect"]["environment"], of_kubernetes):
        must_be_settings(set(environment))
        assert dict(LARGE_RUNS).items() <= environment.items()
        assert environment["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"] == "prefect_redis.lease_storage"


def test_each_container_has_its_health_limits_and_no_rights(objects: list[dict[str, Any]]) -> None:
    for name, pod, container in containers(objects):
        ports = {port["name"] for port in container["ports"]}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[probe]["httpGet"]["port"] in ports, name
        assert {"requests", "limits"} <= container["resources"].keys()
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["image"] == "registry.example.com/standby:1.0.0"


def test_what_kubernetes_objects_refer_to_exists(objects: list[dict[str, Any]]) -> None:
    named = {(each["kind"], each["metadata"]["name"]) for each in objects}
    page = (ROOT / "docs" / "how-to" / "deploy.md").read_text(encoding="utf-8")
    apps = {name for name, _, _ in containers(objects)}
    for name, pod, container in containers(objects):
        assert ("ServiceAccount", pod.get("serviceAccountName", "standby")) in named
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes.keys(), name
        secrets = {source["secretRef"]["name"] for source in container["envFrom"]}
        secrets |= {volume["secret"]["secretName"] for volume in volumes.values() if "secret" in volume}
        assert all(f"create secret generic {secret}" in page for secret in secrets), name
        maps = {volume["configMap"]["name"] for volume in volumes.values() if "configMap" in volume}
        assert all(("ConfigMap", each) in named for each in maps), name
        must_be_settings({each["name"] for each in container["env"]})
    for each in objects:
        if each["kind"] == "Service":
            assert each["spec"]["selector"]["app"] in apps
        if each["kind"] == "PodDisruptionBudget":
            assert each["spec"]["selector"]["matchLabels"]["app"] in apps
    assert {name for kind, name in named if kind == "PodDisruptionBudget"} == apps - {"prefect"}
    assert ("NetworkPolicy", "default-deny") in named


def test_kubernetes_takes_every_object(tmp_path: Path) -> None:
    rendered = tmp_path / "all.yaml"
    rendered.write_text(ran(KUBECTL, "kustomize", "deploy"), encoding="utf-8")
    ran(BIN / "kubernetes-validate", "--strict", "-k", "1.33", rendered)


def test_what_compose_services_refer_to_exists(services: dict[str, Any], tmp_path: Path) -> None:
    written = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    ran("cp", DEPLOY / "secrets.sh", tmp_path)
    ran("sh", tmp_path / "secrets.sh")
    made = {f"./secrets/{file.name}": file.read_bytes() for file in (tmp_path / "secrets").iterdir()}
    assert {secret["file"] for secret in written["secrets"].values()} == made.keys()
    ran("sh", tmp_path / "secrets.sh")
    assert made == {f"./secrets/{file.name}": file.read_bytes() for file in (tmp_path / "secrets").iterdir()}
    for name, service in services.items():
        assert service["image"].rpartition(":")[2], name
        assert "healthcheck" in service or name == "command"
        must_be_settings(set(service.get("environment", {})))
    must_be_settings(set(written["secrets"]) - {"gateway-token", "vault-key"})


def test_the_configuration_loads_with_the_secrets_as_files(tmp_path: Path) -> None:
    text = (DEPLOY / "standby.yaml").read_text(encoding="utf-8").replace("/run/secrets/", f"{tmp_path}/")
    for name in ("vault-key", "gateway-token"):
        (tmp_path / name).write_text("0123456789abcdef0123456789abcdef", encoding="utf-8")
    (tmp_path / "standby.yaml").write_text(text, encoding="utf-8")
    assert list(load_configuration(tmp_path / "standby.yaml", {}).plans) == ["invoices"]


def test_the_entrypoint_makes_variables_of_prefects_secrets_only(tmp_path: Path) -> None:
    (tmp_path / "PREFECT_API_AUTH_STRING").write_text("a:b", encoding="utf-8")
    (tmp_path / "vault-key").write_text("hidden", encoding="utf-8")
    script = tmp_path / "entrypoint.sh"
    text = (DEPLOY / "entrypoint.sh").read_text(encoding="utf-8")
    script.write_text(text.replace("/run/secrets/", f"{tmp_path}/"), encoding="utf-8")
    printed = ran("sh", script, "env")
    assert "PREFECT_API_AUTH_STRING=a:b" in printed
    assert "hidden" not in printed


ROLES = {
    "a97b65f3-24c7-4388-baec-2e87135dc908",  # Cognitive Services User
    "acdd72a7-3385-48ef-bd42-f606fba81ae7",  # Reader
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe",  # Storage Blob Data Contributor
    "4633458b-17de-408a-b874-0445c86b69e6",  # Key Vault Secrets User
}


def test_bicep_gives_each_role_and_what_standby_init_asks_for() -> None:
    texts = {name: (DEPLOY / "azure" / f"{name}.bicep").read_text(encoding="utf-8") for name in ("main", "resource")}
    main, resource = (BicepParser(cache=False).parse(text=texts[name]) for name in ("main", "resource"))
    both = texts["main"] + texts["resource"]
    assert set(re.findall(r"'([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})'", both)) == ROLES
    for symbol in set(re.findall(r"^ +roleDefinitionId: (\w+)$", both, flags=re.MULTILINE)):
        assert symbol in {**main["variables"], **resource["variables"]}
    given = json.loads((DEPLOY / "azure" / "main.parameters.json").read_text(encoding="utf-8"))["parameters"]
    needed = {name for name in main["parameters"] if f"param {name} string = " not in texts["main"]}
    assert given.keys() == needed
    assert {"name", "version", "sku", "capacity"} == set.union(*(set(model) for model in given["models"]["value"]))
    assert {"subscriptionId", "resourceNames", "endpoints", "vaultEndpoint", "workerClientId"} <= main["outputs"].keys()
    passed = {
        word
        for module in re.findall(r"params: \{(.*?)\}", texts["main"], flags=re.DOTALL)
        for word in re.findall(r"(\w+):", module)
    }
    assert passed == resource["parameters"].keys() - {"customSubdomain"}
