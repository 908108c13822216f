"""What /metrics serves, to whom, and what deploy/ and docs/ make of it."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from standby import telemetry
from standby.config.plan import Objectives, SampleSettings
from standby.gateway.app import make_app
from standby.gateway.metrics import KEPT, exposition
from standby.recovery.proof.records import Proof, Verdict, add_proofs, reserve
from tests.standby.gateway.conftest import NOW, TOKEN

if TYPE_CHECKING:
    from tests.standby.gateway.conftest import Gateway

SCRAPER = "canary-scraper-0123456789"
ROOT = Path(__file__).parents[3]


async def scraped(gateway: Gateway) -> Any:
    assert gateway.configuration.gateway is not None
    settings = gateway.configuration.gateway.model_copy(update={"metrics_token": SecretStr(SCRAPER)})
    configuration = gateway.configuration.model_copy(update={"gateway": settings})

    async def post(_: object) -> None:
        raise AssertionError

    app = make_app(configuration, post, gateway.vault, gateway.clock)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")


def values(text: str) -> dict[tuple[str, ...], float]:
    samples = [each for family in text_string_to_metric_families(text) for each in family.samples]
    return {(each.name, *(each.labels[name] for name in sorted(each.labels))): each.value for each in samples}


async def test_only_the_scrapers_own_token_opens_it(gateway: Gateway) -> None:
    assert (await gateway.http.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})).status_code == 404
    async with await scraped(gateway) as http:
        for headers, query in (({}, {}), ({"Authorization": f"Bearer {TOKEN}"}, {}), ({}, {"token": SCRAPER})):
            assert (await http.get("/metrics", headers=headers, params=query)).status_code == 401
        bearer = {"Authorization": f"Bearer {SCRAPER}"}
        assert (await http.get("/metrics", headers=bearer)).status_code == 200
        assert (await http.post("/azure-monitor", headers=bearer, json={})).status_code == 401


async def test_what_cannot_be_read_costs_itself_only_and_what_is_missing_is_not_zero(gateway: Gateway) -> None:
    await gateway.vault.write("recovery/invoices/readiness.json", b"{broken")
    async with await scraped(gateway) as http:
        bearer = {"Authorization": f"Bearer {SCRAPER}"}
        found = values((await http.get("/metrics", headers=bearer)).text)
        assert found["standby_vault_readable", "readiness", "invoices"] == 0
        assert found["standby_vault_readable", "readiness", "claims"] == 1
        assert found["standby_epoch", "invoices"] == 0
        assert not [name for name, *_ in found if name in {"standby_rpo_age_seconds", "standby_concerns"}]

        ready = b'{"format": 1, "states": {"east/west": "ready"}}'
        await gateway.vault.write("recovery/invoices/readiness.json", ready)
        assert values((await http.get("/metrics", headers=bearer)).text) == found
        gateway.clock.seconds += KEPT
        found = values((await http.get("/metrics", headers=bearer)).text)
        assert found["standby_readiness_state", "invoices", "east", "ready", "west"] == 1
        assert found["standby_readiness_state", "invoices", "east", "unknown", "west"] == 0


async def test_what_samples_showed_of_each_target_and_what_they_cost(gateway: Gateway) -> None:
    plans, plan = gateway.configuration.plans, gateway.configuration.plan("invoices")
    proved = {"samples": SampleSettings(), "objectives": Objectives(proof=timedelta(days=30))}
    plans = {**plans, "invoices": plan.model_copy(update=proved)}
    gateway.configuration = gateway.configuration.model_copy(update={"plans": plans})
    about = {"source": "east", "target": "west", "samples": 12}
    known = {"invoice": ("agrees", 3, 0.94), "receipt": ("differs", 5, 0.47), "claim": ("no_verdict", 1, None)}
    proofs = [
        Proof(
            **about,
            analyzer=name,
            target_analyzer=name,
            verdict=Verdict(it),
            agreement=share,
            compared_at=NOW - timedelta(days=days),
        )
        for name, (it, days, share) in known.items()
    ]
    await add_proofs(gateway.vault, "invoices", proofs)
    assert await reserve(gateway.vault, "invoices", NOW, 36, most=100) == 36

    async with await scraped(gateway) as http:
        found = values((await http.get("/metrics", headers={"Authorization": f"Bearer {SCRAPER}"})).text)

    counted = {it: found["standby_proof_analyzers", "invoices", "east", "west", it.value] for it in Verdict}
    assert counted == {Verdict.AGREES: 1, Verdict.DIFFERS: 1, Verdict.NO_VERDICT: 1, Verdict.TOO_FEW: 0}
    assert found["standby_proof_agreement_ratio", "invoices", "east", "west"] == 0.47
    assert found["standby_proof_age_seconds", "invoices", "east", "west"] == timedelta(days=5).total_seconds()
    assert found["standby_proof_objective_seconds", "invoices"] == timedelta(days=30).total_seconds()
    assert found["standby_proof_analyses", "invoices"] == 36
    assert not [labels for labels in found if labels[0].startswith("standby_proof") and "claims" in labels]


def exported() -> set[str]:
    """Every name that the gateway serves or a collector makes of what is pushed."""
    samples = [(metric, 1.0, tuple("x" for _ in metric.attributes)) for metric in telemetry.OF_THE_GATEWAY]
    served = {name for name, *_ in values(exposition(samples).decode())}
    return served | {f"{each.exposed}{'_count' * (each.kind == 'histogram')}" for each in telemetry.OF_RUNS}


def test_dashboard_and_alerts_use_only_metrics_that_there_are() -> None:
    dashboard = json.loads((ROOT / "deploy/grafana-dashboard.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked += re.findall(r"expr: (.*)", (ROOT / "deploy/standby-alerts.yml").read_text())
    attributes = {name.replace(".", "_") for each in telemetry.METRICS for name in each.attributes}
    words = {word for each in asked for word in re.findall(r"\b(?:standby|http)_[a-z_]+", each)}
    assert words - attributes <= exported()


@pytest.mark.browser  # `make browser` installs promtool
@pytest.mark.parametrize("check", [("check", "standby-alerts.yml"), ("test", "standby-alerts.test.yml")])
def test_promtool_accepts_the_alerts_and_they_fire_as_they_should(check: tuple[str, str]) -> None:
    command = ["promtool", check[0], "rules", f"deploy/{check[1]}"]
    said = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr


def test_the_page_lists_every_metric() -> None:
    page = (ROOT / "docs/how-to/metrics.md").read_text(encoding="utf-8")
    for each in telemetry.METRICS:
        attributes = ", ".join(f"`{name}`" for name in each.attributes)
        row = f"| `{each.name}` | `{each.exposed}` | {each.kind} | `{each.unit}` | {each.description} | {attributes} |"
        assert row in page
