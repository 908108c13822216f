"""What pages find in their folders: nothing, or a scene that they ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from standby.emulator.config import EmulatorConfig
from tests.docs.folder import Folder, bare_environment, free_ports
from tests.docs.pages import PageText
from tests.standby.cli.conftest import Cloud, deployments, schema

MODELS = ("gpt-4.1", "text-embedding-3-large")
KEYS = {name: f"key-of-{name}-0123456789" for name in ("east", "west", "north")}
REGIONS = {"east": "eastus", "west": "westus3", "north": "northeurope"}


@pytest.fixture(scope="session")
def invoices() -> Iterator[Cloud]:
    """The emulated resources of the scene `invoices`: three analyzers in the east, none elsewhere."""
    analyzers = [
        {
            "analyzerId": name,
            "baseAnalyzerId": "prebuilt-document",
            "models": {"completion": MODELS[0]},
            "fieldSchema": schema(name),
        }
        for name in ("contract", "invoice", "receipt")
    ]
    resources = {
        name: {
            "region": region,
            "key": KEYS[name],
            "defaults": {model: model for model in MODELS},
            "deployments": deployments(MODELS),
            "analyzers": analyzers if name == "east" else [],
        }
        for name, region in REGIONS.items()
    }
    cloud = Cloud(EmulatorConfig.model_validate({"service_time": 0.02, "resources": resources}))
    cloud.start()
    yield cloud
    cloud.stop()


def write_configuration(folder: Path, cloud: Cloud) -> None:
    """Write the `standby.yaml` of the scene."""
    lines = ["resources:"]
    for name, place in cloud.emulator.resources.items():
        lines += [
            f"  {name}:",
            f"    endpoint: {place.endpoint}",
            f"    region: {place.region}",
            f"    resource_id: {place.resource_id}",
            f"    credentials: {{kind: key, key: '${{{name.upper()}_KEY}}'}}",
            '    arm_endpoint: ""',
        ]
    lines += [
        "plans:",
        "  invoices:",
        "    pairs: [{source: east, targets: [west, north]}]",
        "    residency: {allow: [north]}",
        "    objectives: {rpo: 24h, rto: 15m}",
        "    deadlines: {first_interval: 0.02, longest_interval: 0.1}",
        "vault: {path: ./vault, signing: {kind: hmac, key: '${VAULT_KEY}'}}",
        "activation: [{kind: file, path: ./active.json}]",
    ]
    (folder / "standby.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def folder_of(
    request: pytest.FixtureRequest, tmp_path: Path, authority_file: Path
) -> Iterator[Callable[[PageText], Folder]]:
    """Makes the folder of a page."""
    made: list[Folder] = []

    def make(page: PageText) -> Folder:
        place = tmp_path / "page"
        place.mkdir()
        folder = Folder(place, bare_environment(tmp_path, authority_file), free_ports())
        made.append(folder)
        if page.scene:
            assert page.scene == "invoices", f"{page.path} asks for the scene {page.scene}, and there is only invoices"
            cloud: Cloud = request.getfixturevalue("invoices")
            cloud.tell("reset")
            write_configuration(place, cloud)
            keys = {f"{name.upper()}_KEY": key for name, key in KEYS.items()}
            folder.environment |= {**keys, "VAULT_KEY": "a-key-of-sixteen", "CONTROL": cloud.emulator.control}
        return folder

    yield make
    for folder in made:
        folder.close()
