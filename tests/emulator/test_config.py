"""The emulator's file, right and wrong."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import httpx
import pytest

from standby.emulator.config import EmulatorConfig, EmulatorConfigError, load_emulator_config
from standby.emulator.serve import running
from standby.errors import StandbyError

SMALLEST = "resources: {east: {region: eastus}}"


def written(folder: Path, text: str) -> Path:
    path = folder / "emulator.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_file_of_the_demonstration_loads() -> None:
    config = load_emulator_config(Path(str(files("standby.cli") / "demo" / "emulator.yaml")))
    assert list(config.resources) == ["east", "west", "north"]
    assert len(config.resources["east"].analyzers) == 12


def test_almost_everything_has_a_default(tmp_path: Path) -> None:
    config = load_emulator_config(written(tmp_path, SMALLEST))
    east = config.resources["east"]
    assert (config.service_time, config.service_spread, config.latency, config.tls) == (2.0, 0.0, 0.0, False)
    assert (east.defaults, east.operations_per_minute) == (None, 3000)
    assert set(east.api_versions) == {"2025-05-01-preview", "2025-11-01", "2026-06-01-preview"}


def test_unquoted_versions_are_taken_as_they_look(tmp_path: Path) -> None:
    text = """
    resources:
      east:
        region: eastus
        api_versions: [2025-11-01]
        deployments: [{name: a, model: gpt-4.1, version: 2025-04-14}, {name: b, model: gpt-4o, version: 1}]
    """
    east = load_emulator_config(written(tmp_path, text)).resources["east"]
    assert east.api_versions == ("2025-11-01",)
    assert [deployment.version for deployment in east.deployments] == ["2025-04-14", "1"]


@pytest.mark.parametrize(("name", "dump"), [("many.json", json.dumps), ("many.yaml", str)])
def test_analyzers_may_have_a_file_of_their_own(tmp_path: Path, name: str, dump: type[str]) -> None:
    (tmp_path / name).write_text(dump([{"analyzerId": "one"}, {"analyzerId": "two"}]), encoding="utf-8")
    path = written(tmp_path, f"resources: {{east: {{region: eastus, analyzers: {name}}}}}")
    analyzers = load_emulator_config(path).resources["east"].analyzers
    assert [analyzer["analyzerId"] for analyzer in analyzers] == ["one", "two"]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "no mapping"),
        ("a: [", "neither YAML nor JSON"),
        ("resources: {}", "resources: "),
        ("resources: {east: {}}", "resources.east.region: Field required"),
        (SMALLEST + "\nregion: eastus", "region: this key is not known"),
        ("resources: {East: {region: eastus}}", "resources.East"),
        ("resources: {east: {region: eastus, analyzers: nowhere.yaml}}", "nowhere.yaml cannot be read"),
        ("resources: {east: {region: eastus, analyzers: [{}]}}", "not an analyzerId"),
        ("resources: {east: {region: e, analyzers: [{analyzerId: prebuilt-x}]}}", "reserved"),
        ("resources: {east: {region: e, analyzers: [{analyzerId: a}, {analyzerId: a}]}}", "more than once"),
        ("resources: {east: {region: e, api_versions: ['2024']}}", "api_versions"),
        (SMALLEST + "\nservice_time: -1", "service_time"),
        (SMALLEST + "\nservice_spread: 2", "service_spread"),
        (SMALLEST + "\noutages: [{resource: north, kind: hang}]", "north is not one of the resources"),
        (SMALLEST + "\nfaults: [{resource: north, fault: {kind: drop}}]", "north is not one"),
    ],
)
def test_a_wrong_file_is_told_with_where_and_what_to_do(tmp_path: Path, text: str, cause: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(EmulatorConfigError) as raised:
        load_emulator_config(path)
    assert isinstance(raised.value, StandbyError)
    assert cause in raised.value.cause
    assert raised.value.next_action
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(EmulatorConfigError, match="cannot be read: No such file"):
        load_emulator_config(tmp_path / "none.yaml")


async def test_what_the_file_says_of_an_analyzers_past_is_believed(config: EmulatorConfig) -> None:
    past = {"analyzerId": "old", "status": "failed", "createdAt": "2025-12-01T00:00:00Z"}
    resources = {"east": {"region": "eastus", "key": "given", "analyzers": [past]}}
    async with (
        running(EmulatorConfig.model_validate({"resources": resources})) as emulator,
        httpx.AsyncClient(headers={"Ocp-Apim-Subscription-Key": "given"}) as client,
    ):
        url = f"{emulator.resources['east'].endpoint}/contentunderstanding/analyzers/old"
        found = (await client.get(url, params={"api-version": "2025-11-01"})).json()
        assert found | past == found


async def test_a_resource_answers_only_to_the_versions_it_offers() -> None:
    resources = {"east": {"region": "eastus", "key": "given", "api_versions": ["2025-11-01"]}}
    async with (
        running(EmulatorConfig.model_validate({"resources": resources})) as emulator,
        httpx.AsyncClient(headers={"Ocp-Apim-Subscription-Key": "given"}) as client,
    ):
        url = f"{emulator.resources['east'].endpoint}/contentunderstanding/analyzers"
        answer = await client.get(url, params={"api-version": "2026-06-01-preview"})
        assert answer.status_code == 400
        assert answer.headers["api-supported-versions"] == "2025-11-01"


def test_a_port_is_given_to_one_only_and_the_rest_follow_the_first_where_one_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(EmulatorConfigError, match="port 8740 is there more than once"):
        load_emulator_config(written(tmp_path, "{port: 8740, resources: {east: {region: eastus, port: 8740}}}"))
    config = load_emulator_config(written(tmp_path, "resources: {b: {region: eastus, port: 1}, a: {region: westus}}"))
    moved = config.from_port(9000)
    assert (moved.port, {name: part.port for name, part in moved.resources.items()}) == (9000, {"b": 9001, "a": 9002})
