"""A recovery of one plan without any resource: vault, clock, key, and who asks."""

from __future__ import annotations

from standby.clock import Clock
from standby.config.configuration import Configuration
from standby.recovery.context import RecoveryContext
from standby.replication.inventory import Connections
from standby.replication.steps import RunContext
from standby.vault.signing import Signer
from standby.vault.storage import Storage

CONFIGURATION = Configuration.model_validate(
    {
        "resources": {
            name: {
                "endpoint": f"https://{name}.services.ai.azure.com",
                "region": f"{name}us",
                "resource_id": "/subscriptions/s-1/resourceGroups/group-1/providers/"
                f"Microsoft.CognitiveServices/accounts/{name}",
                "credentials": {"kind": "key", "key": "secret-key"},
            }
            for name in ("east", "west", "north")
        },
        "plans": {"p": {"pairs": [{"source": "east", "targets": ["west", "north"]}]}},
    }
)


def bare_context(
    vault: Storage,
    clock: Clock,
    signer: Signer | None = None,
    *,
    actor: str = "ada@desk",
    run_id: str = "run-1",
) -> RecoveryContext:
    """Make the context of plan `p`."""
    return RecoveryContext(
        configuration=CONFIGURATION,
        run=RunContext(CONFIGURATION.plan("p"), Connections({}), vault, clock),
        second=None,
        signer=signer,
        sinks=(),
        via="direct",
        actor=actor,
        run_id=run_id,
    )
