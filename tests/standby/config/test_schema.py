"""What an editor says of standby.yaml by its JSON schema: the same as the loader, as far as a schema can."""

from __future__ import annotations

import copy
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from standby.config.configuration import configuration_schema, load_configuration
from standby.config.errors import ConfigurationError, Where
from standby.config.yaml_file import read_yaml
from tests.standby.config.test_load import CONTRACT

ROOT = Path(__file__).parents[3]
SCHEMA: Any = configuration_schema()
EDITOR = Draft202012Validator(SCHEMA)
BY_NAME = {"resources", "plans", "deployments"}  # Keys of mappings whose keys are names
FULL = """
resources:
  east:
    endpoint: https://east.services.ai.azure.com
    region: eastus
    resource_id: /subscriptions/1/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/east
    credentials: {kind: key, key: ${EAST_KEY}}
  west:
    endpoint: https://west.services.ai.azure.com
    region: westus
    resource_id: /subscriptions/1/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/west
    credentials: {kind: entra, tenant_id: t, client_id: c, client_secret: ${SECRET}}
plans:
  p:
    pairs: [{source: east, targets: [west]}]
    deployments: {west: {chatCompletion: a, embedding: b}}
    encryption: {key: ${EAST_KEY}}
    tags: [team=legal]
    modified_since: 30d
    objectives: {rpo: 24h, rto: 15m}
    retries: {copy: {delays: [1, 2.5, 3s]}}
    deadlines: {poll: 10m}
    failover: {prefer: [west], missing: refuse}
    snapshots: {keep: 3}
vault:
  url: az://container/folder
  endpoint: https://account.blob.core.windows.net
  credentials: {kind: sas, sas: ${SAS}}
  second: {path: ./second}
  signing: {kind: hmac, key: ${VAULT_KEY}}
activation:
  - {kind: file, path: ./active.json, mode: 0640}
  - {kind: webhook, url: https://example.com/hook, secret: ${HOOK}, required: no}
  - {kind: variable, name: active}
notifications: [slack-webhook/oncall]
keep_runs: {looks: 6h}
gateway: {token: ${TOKEN}, metrics_token: ${METRICS}}
"""


class _Everything(defaultdict[str, str]):
    """An environment in which every variable is set."""

    def __missing__(self, name: str) -> str:
        some = {
            "ENDPOINT": f"https://{name.lower()}.services.ai.azure.com",
            "ID": f"/subscriptions/1/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/{name}",
            "VERSION": "2025-11-01",
            "REGION": "eastus",
        }
        if name == "ARM_ENDPOINT":
            return "https://management.azure.com"
        return some.get(name.rpartition("_")[2], f"a value of {name}, long enough for a secret")

    def __contains__(self, name: object) -> bool:
        return True


def loads(folder: Path, data: Any) -> bool:
    file = folder / "standby.yaml"
    file.write_text(data if isinstance(data, str) else yaml.safe_dump(data), encoding="utf-8")
    try:
        load_configuration(file, _Everything())
    except ConfigurationError:
        return False
    return True


def objections(data: Any) -> list[str]:
    return [f"{error.json_path}: {error.message[:200]}" for error in EDITOR.iter_errors(data)]


def examples() -> Iterator[tuple[str, Any]]:
    """Every configuration in the repository, and every part of one on a page, with what it lacks to be whole."""
    yield "the contract", read_yaml(CONTRACT).data
    yield "one with every part", read_yaml(FULL).data
    base: Any = read_yaml(FULL).data
    for folder, inner, names in os.walk(ROOT):
        # What is installed is not looked through: that took longer than to read every file of ours.
        inner[:] = sorted(name for name in inner if name != "node_modules" and not name.startswith("."))
        for path in (Path(folder, name) for name in sorted(names) if fnmatch(name, "standby*.yaml")):
            yield str(path.relative_to(ROOT)), read_yaml(path.read_text(encoding="utf-8")).data
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)):
            data = read_yaml(block).data
            if isinstance(data, dict) and data.keys() <= SCHEMA["properties"].keys():
                yield f"{page.relative_to(ROOT)}, block {number}", {**base, **data}


EXAMPLES = dict(examples())


def places(data: Any, where: Where = ()) -> Iterator[tuple[Where, Any]]:
    yield where, data
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in inner:
        yield from places(value, (*where, key))


def changed(data: Any, where: Where, value: Any) -> Any:
    made = copy.deepcopy(data)
    inner = made
    for part in where[:-1]:
        inner = inner[part]
    inner[where[-1]] = value
    return made


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_editor_takes_what_the_loader_takes(name: str, tmp_path: Path) -> None:
    if loads(tmp_path, EXAMPLES[name]):
        assert objections(EXAMPLES[name]) == []


def test_there_are_examples(tmp_path: Path) -> None:
    assert sum(loads(tmp_path, data) for data in EXAMPLES.values()) >= 9


@pytest.mark.parametrize("name", ["one with every part", "standby/cli/demo/standby.yaml"])
def test_no_unknown_key_is_taken_anywhere(name: str, tmp_path: Path) -> None:
    data, taken = EXAMPLES[name], []
    for where, value in places(data):
        if isinstance(value, dict) and not (where and where[-1] in BY_NAME):
            wrong = changed(data, (*where, "unknown-key"), "x")
            taken += [where] if loads(tmp_path, wrong) or not objections(wrong) else []
    assert taken == []


def test_a_reference_stands_for_any_value_that_the_loader_fills_in(tmp_path: Path) -> None:
    data, refused = EXAMPLES["one with every part"], []
    for where, value in places(data):
        if not isinstance(value, (dict, list)):
            for reference in ("${NAME}", "${file:/run/secrets/x}", "${keyvault:vault/name}"):
                refused += [(where, found) for found in objections(changed(data, where, reference))]
    assert refused == []


def test_each_default_may_be_written_out(tmp_path: Path) -> None:
    data: Any = EXAMPLES["one with every part"]
    models = {
        (): SCHEMA,
        ("resources", "east"): SCHEMA["$defs"]["Resource"],
        ("plans", "p"): SCHEMA["$defs"]["RecoveryPlan"],
        ("plans", "p", "failover"): SCHEMA["$defs"]["FailoverPolicy"],
        ("plans", "p", "retries"): SCHEMA["$defs"]["StepRetries"],
        ("plans", "p", "deadlines"): SCHEMA["$defs"]["CopyDeadlines"],
        ("activation", 0): SCHEMA["$defs"]["FileSink"],
    }
    wrong = []
    for where, model in models.items():
        for key, field in model["properties"].items():
            if "default" in field:
                written = changed(data, (*where, key), field["default"])
                wrong += [] if loads(tmp_path, written) else [(*where, key, "loader")]
                wrong += [(*where, key, *objections(written))] if objections(written) else []
    assert wrong == []


VALUES = [
    (
        ("plans", "p", "objectives", "rpo"),
        ["1h30m", "PT24H", "2 weeks", "90 s", "1 h and 5 minutes"],
        ["soon", 5, "24x"],
    ),
    (("plans", "p", "deadlines", "poll"), [30, 2.5, "30", "2.5", "45s", "1e2"], ["soon", -1, []]),
    (("plans", "p", "failover", "quorum"), [3, "3", 3.0], ["three", 0, 21, 2.5]),
    (("plans", "p", "failover", "automatic"), [True, "yes", "Off", "TRUE", 0], ["maybe", 2]),
    (("plans", "p", "encryption"), ["generate", "none", {"kind": "none"}, {"kind": "given", "key": "${K}"}], ["x", {}]),
    (("plans", "p", "on_existing"), ["replace"], ["Replace", None]),
    (("plans", "p", "target_id"), ["{id}-dr"], ["dr"]),
    (("plans", "p", "tags"), [["a=b"]], [["ab"], "a=b"]),
    (("activation", 0, "mode"), ["0640", 640, 416, 0o644], ["0777", 777]),
    (("resources", "east", "api_version"), ["2025-11-01"], ["2024-01-01"]),
    (("resources", "east", "credentials"), [{"kind": "entra"}], [{"kind": "other"}, {}, {"kind": "key"}]),
    (("vault", "signing", "key"), ["${K}"], ["written out, which no secret may be", "${K} and more"]),
    (("gateway",), [None, {"token": "${T}"}], [{"token": "written out here, and long enough"}]),
]


@pytest.mark.parametrize(("where", "right", "wrong"), VALUES, ids=[".".join(map(str, each[0])) for each in VALUES])
def test_a_value_is_taken_by_both_or_by_neither(
    where: Where, right: list[Any], wrong: list[Any], tmp_path: Path
) -> None:
    data: Any = EXAMPLES["one with every part"]
    for value in [*right, *wrong]:
        made = changed(data, where, value)
        assert (loads(tmp_path, made), not objections(made)) == (value in right,) * 2, value


def test_every_key_is_described() -> None:
    models = {"standby.yaml": SCHEMA, **SCHEMA["$defs"]}
    bare = [
        f"{name}.{key}"
        for name, model in models.items()
        for key, field in model["properties"].items()
        if "description" not in field and key not in {"kind", "credentials"}
    ]
    assert bare == []
