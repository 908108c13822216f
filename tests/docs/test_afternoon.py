"""The scripted afternoon: from an empty folder to a signed drill and back, by the commands of the pages alone."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from standby.emulator.config import EmulatorConfig
from tests.docs.folder import Folder, bare_environment
from tests.docs.pages import DOCS, Block, read_page
from tests.flows.working import delete_deployments
from tests.standby.cli.conftest import Cloud, deployments, schema
from tests.storage.azurite import KEY, Azurite

MODELS = ("gpt-4.1", "text-embedding-3-large")
AMERICA, EUROPE = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
RESOURCES = {
    "east": ("eastus", AMERICA, 80),
    "south": ("southcentralus", AMERICA, 60),
    "west": ("westus3", AMERICA, 0),
    "north": ("northeurope", EUROPE, 60),
    "sweden": ("swedencentral", EUROPE, 0),
}
"""Region, subscription and number of analyzers of each; without --chaos there are a tenth of them."""
PLANS = {"invoices": ("east", "west", 80), "claims": ("south", "west", 60), "contracts": ("north", "sweden", 60)}
"""What each plan is called by whoever follows the page, its source, target and number of analyzers."""


def cloud(tenths: int) -> Cloud:
    """Five resources in two subscriptions with up to 200 analyzers, none of them at a standby."""
    resources = {
        name: {
            "region": region,
            "subscription": subscription,
            "key": f"key-of-{name}-0123456789",
            "defaults": {model: model for model in MODELS},
            "deployments": deployments(MODELS),
            "analyzers": [
                {
                    "analyzerId": f"{name}-{number}",
                    "baseAnalyzerId": "prebuilt-document",
                    "models": {"completion": MODELS[0]},
                    "fieldSchema": schema(f"{name}-{number}"),
                }
                for number in range(count * tenths // 10)
            ],
        }
        for name, (region, subscription, count) in RESOURCES.items()
    }
    return Cloud(EmulatorConfig.model_validate({"service_time": 0.01, "resources": resources}))


def edited(written: str, vault: str, azurite: Azurite) -> str:
    """Edit what `standby init` wrote, as step 3 of the page says: the names of the plans, and the vault."""
    assert written.count("(!)") == 1, written  # That is the first line, which says what the mark means.
    before, plans, rest = re.split(r"^(?=plans:|# Where Standby keeps)", written, flags=re.MULTILINE)
    for name, (source, _, _) in PLANS.items():
        plans, changed = re.subn(rf"^  {source}:$", f"  {name}:", plans, flags=re.MULTILINE)
        assert changed == 1
    for account in ("contosovault", "contosoreplica"):
        vault = vault.replace(f"https://{account}.blob.core.windows.net", azurite.endpoint())
    # Azurite has no identities; its account has a key.
    vault = vault.replace("{kind: entra}", '{kind: key, key: "${ACCOUNT_KEY}"}')
    _, *after = re.split(r"^(?=vault:|# Where applications)", rest, flags=re.MULTILINE)
    return "".join((before, plans, vault + "\n", after[1]))


class Afternoon:
    """Somebody who follows pages, step by step.

    Attributes:
        number: of the drill, once there was one.
    """

    def __init__(self, folder: Folder, server: str) -> None:
        self.folder = folder
        self.server = server
        self.number = ""

    def follow(self, block: Block, plan: str = "invoices") -> None:
        """Run the commands of a block, with the names of a plan."""
        target = PLANS[plan][1]
        places = {"http://127.0.0.1:4200/api": self.server, "invoices": plan, "west": target}

        def filled(text: str) -> str:
            for place, value in places.items():
                text = text.replace(place, value)
            return text.replace("NUMBER", self.number or "…")

        for command in block.commands:
            expected = tuple(filled(line) for line in command.expected)
            printed = self.folder.run(replace(command, text=filled(command.text), expected=expected))
            if drill := re.search(r"Drill (\S+) of plan", printed):
                self.number = drill[1]


def blocks(page: str) -> list[Block]:
    """The blocks of a page in their order, but those that are for a machine which runs flows."""
    return [block for block in read_page(DOCS / page).blocks if block.not_run != "a worker"]


def test_the_pages_lead_from_an_empty_folder_to_a_signed_drill_and_back(
    tmp_path: Path, authority_file: Path, prefect_server: Any, azurite: Azurite, chaos: bool
) -> None:
    asyncio.run(delete_deployments())
    tenths = 10 if chaos else 1
    served = cloud(tenths)
    served.start()
    azurite.make_container("standby")
    identity = served.emulator.identity
    environment = {
        **bare_environment(tmp_path, authority_file),
        "ACCOUNT_KEY": KEY,
        "IDENTITY_ENDPOINT": identity.endpoint,
        "IDENTITY_HEADER": identity.header,
    }
    place = tmp_path / "afternoon"
    place.mkdir()
    folder = Folder(place, environment)
    afternoon = Afternoon(folder, prefect_server.api_url)
    file = place / "standby.yaml"
    write, vault, look, copy, *rest = blocks("how-to/production.md")
    # The page asks Azure itself; emulated resources have a management plane of their own.
    init = write.text.replace("standby init", f"standby init --arm-endpoint {served.emulator.arm}")
    try:
        afternoon.follow(replace(write, text=init))
        file.write_text(edited(file.read_text(encoding="utf-8"), vault.text, azurite), encoding="utf-8")
        for plan, (_, target, analyzers) in PLANS.items():
            afternoon.follow(look, plan)
            afternoon.follow(copy, plan)
            assert served.stats(target)["calls"]["copy"] >= analyzers * tenths // 10
        for block in (*rest, *blocks("how-to/upgrade.md")):
            afternoon.follow(block)
        status, printed = folder.standby(["drill", "invoices", "--verify", afternoon.number, "--json"])
    finally:
        folder.close()
        served.stop()
    evidence = json.loads(printed)
    assert (status, evidence["genuine"], evidence["problems"]) == (0, True, [])
    assert evidence["signed_with"]
    assert evidence["report"]["passed"]
    assert json.loads((place / "active.json").read_text())["plans"]["invoices"]["epoch"] == 2
