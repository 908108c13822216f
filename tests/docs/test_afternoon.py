"""The scripted afternoon: from an empty folder to a signed drill and back, by the commands of the pages alone."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from standby.emulator.config import EmulatorConfig
from tests.docs.folder import Folder, bare_environment
from tests.docs.pages import DOCS, Block, read_page
from tests.flows.working import delete_deployments
from tests.standby.cli.conftest import Cloud, deployments, schema

MODELS = ("gpt-4.1", "text-embedding-3-large")
REGIONS = {
    "east": "eastus",
    "west": "westus3",
    "south": "southcentralus",
    "north": "northeurope",
    "sweden": "swedencentral",
}
PLANS = {"invoices": ("east", "west", 80), "claims": ("east", "south", 60), "contracts": ("north", "sweden", 60)}


def cloud() -> Cloud:
    """Five resources with 200 analyzers, none of them at a standby."""

    def analyzers(resource: str) -> list[dict[str, Any]]:
        return [
            {
                "analyzerId": f"{plan}-{number}",
                "baseAnalyzerId": "prebuilt-document",
                "models": {"completion": MODELS[0]},
                "fieldSchema": schema(f"{plan}-{number}"),
            }
            for plan, (source, _, count) in PLANS.items()
            for number in range(count)
            if source == resource
        ]

    resources = {
        name: {
            "region": region,
            "key": f"key-of-{name}-0123456789",
            "defaults": {model: model for model in MODELS},
            "deployments": deployments(MODELS),
            "analyzers": analyzers(name),
        }
        for name, region in REGIONS.items()
    }
    return Cloud(EmulatorConfig.model_validate({"service_time": 0.01, "resources": resources}))


def configuration(served: Cloud) -> str:
    """The `standby.yaml` of step 3, for these resources: JSON is YAML."""
    resources = {
        name: {
            "endpoint": place.endpoint,
            "region": place.region,
            "resource_id": place.resource_id,
            "credentials": {"kind": "key", "key": f"${{{name.upper()}_KEY}}"},
            "arm_endpoint": "",
        }
        for name, place in served.emulator.resources.items()
    }
    plans = {
        name: {
            "pairs": [{"source": source, "targets": [target]}],
            "include": [f"{name}-*"],
            "objectives": {"rpo": "24h", "rto": "15m"},
            "failover": {"automatic": False},
            "deadlines": {"first_interval": 0.02, "longest_interval": 0.1},
        }
        for name, (source, target, _) in PLANS.items()
    }
    vault = {"path": "./vault", "signing": {"kind": "hmac", "key": "${VAULT_KEY}"}}
    activation = [{"kind": "file", "path": "./active.json"}]
    return json.dumps({"resources": resources, "plans": plans, "vault": vault, "activation": activation})


def blocks(page: str, *reasons: str) -> list[Block]:
    """The blocks of a page that are run only here, in their order."""
    return [replace(block, not_run="") for block in read_page(DOCS / page).blocks if block.not_run in reasons]


def test_the_pages_lead_from_an_empty_folder_to_a_signed_drill_and_back(
    tmp_path: Path, authority_file: Path, prefect_server: Any
) -> None:
    asyncio.run(delete_deployments())
    served = cloud()
    served.start()
    keys = {f"{name.upper()}_KEY": f"key-of-{name}-0123456789" for name in REGIONS}
    environment = {**bare_environment(tmp_path, authority_file), **keys, "VAULT_KEY": "a-key-of-sixteen"}
    place = tmp_path / "afternoon"
    place.mkdir()
    (place / "standby.yaml").write_text(configuration(served), encoding="utf-8")
    folder = Folder(place, environment)
    try:
        look, copies, *rest = blocks("how-to/production.md", "production", "a Prefect server")
        folder.use(look)
        for plan, (_, target, _) in PLANS.items():
            text = copies.text.replace("invoices", plan).replace("west", target)
            folder.use(replace(copies, text=text))
        for block in rest:
            text = block.text.replace("http://127.0.0.1:4200/api", prefect_server.api_url)
            folder.use(replace(block, text=text))
        for block in blocks("how-to/upgrade.md", "a Prefect server"):
            folder.use(block)
    finally:
        folder.close()
        served.stop()
    (evidence,) = place.glob("vault/drills/invoices/*/evidence.json.sig")
    assert evidence.stat().st_size
    assert json.loads((place / "active.json").read_text())["plans"]["invoices"]["epoch"] == 2
