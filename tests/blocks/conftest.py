"""A configuration with everything in it that blocks keep."""

from __future__ import annotations

from pathlib import Path

import pytest

from standby.config.configuration import Configuration
from standby.config.plan import GivenKey, Objectives, RecoveryPlan, RegionPair, RetryPolicy, StepRetries
from standby.config.resource import EntraCredentials, KeyCredentials, Resource
from standby.config.sinks import FileSink, VariableSink, WebhookSink
from standby.config.vault import HmacSigning, SasCredentials, SecondPlace, VaultSettings

CANARIES = (
    "canary-subscription-key",
    "canary-client-secret",
    "canary-encryption-key",
    "canary-webhook-secret",
    "canary-signing-key",
    "canary-storage-signature",
)


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    """Three resources with every kind of credentials and a plan with no field at its default."""
    key, client_secret, encryption_key, hook_secret, signing_key, sas = CANARIES
    credentials = {
        "east": KeyCredentials(key=key),
        "west": EntraCredentials(tenant_id="tenant", client_id="client", client_secret=client_secret),
        "north": EntraCredentials(),
    }
    plan = RecoveryPlan.model_validate(
        {
            "name": "invoices",
            "pairs": [RegionPair(source="east", targets=("west", "north"))],
            "include": ["inv*", "router"],
            "exclude": ["projectAnalyzer_*"],
            "on_existing": "version",
            "missing_defaults": "sync",
            "deployments": {"west": {"chatCompletion": "gpt41-west", "embedding": "emb-west"}},
            "encryption": GivenKey(key=encryption_key),
            "objectives": Objectives.model_validate({"rpo": "24h", "rto": "15m"}),
            "retries": StepRetries(copy_=RetryPolicy(attempts=7, delays=(0.5, 2.0), jitter=0.0)),
            "deadlines": {"poll": 60, "first_interval": 0.1, "longest_interval": 1},
            "ignore": ["tags.projectId"],
            "failover": {"automatic": True, "prefer": ["north"], "quorum": 5, "cool_down": "2h"},
            "snapshots": {"keep": 7, "keep_for": "14d"},
        }
    )
    return Configuration(
        resources={
            name: Resource(
                name=name,
                endpoint=f"https://{name}.services.ai.azure.com",
                region=f"{name}us",
                resource_id=(
                    f"/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/{name}"
                ),
                api_version="2025-05-01-preview",
                credentials=credentials[name],
                arm_endpoint="",
                max_concurrent_copies=3,
                operations_per_minute=200,
            )
            for name in ("east", "west", "north")
        },
        plans={"invoices": plan},
        vault=VaultSettings(
            path=tmp_path / "vault",
            second=SecondPlace(
                url="az://container/second",
                endpoint="https://second.blob.core.windows.net",
                credentials=SasCredentials(sas=sas),
            ),
            signing=HmacSigning(key=signing_key),
        ),
        activation=(
            FileSink(path=tmp_path / "active.json"),
            WebhookSink(url="https://applications.example/active", secret=hook_secret),
            VariableSink(name="active-endpoints"),
        ),
    )


@pytest.fixture
def canaries() -> tuple[str, ...]:
    """Secrets of the configuration, to be looked for where they must not be."""
    return CANARIES
