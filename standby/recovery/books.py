"""Whether a run reads the fence that flows read: a vault may have a block for them, and a folder."""

from __future__ import annotations

from standby.errors import GuardRefused
from standby.fencing import read_fence
from standby.recovery.context import RecoveryContext

VAULT = "vault"
"""Go on with the folder's books, though flows keep theirs elsewhere."""


class KeptElsewhere(GuardRefused):
    """Flows keep the fence in a block, and the folder beside it knows of no switch."""

    def __init__(self, plan: str, block: str, folder: str) -> None:
        super().__init__(
            f"Flows keep the fence of plan {plan} in the block {block}, and {folder} knows of no switch",
            f"Use --via prefect; where Prefect is lost, begin with standby failover {plan} --force {VAULT}, "
            "and pause the deployments of the plan before it comes back",
        )
        self.args = (plan, block, folder)


async def must_be_the_books(context: RecoveryContext, *, forced: bool = False) -> None:
    """Refuse to switch by a fence that is not the one which flows go by.

    Once a switch was forced by the folder's books, those are gone on with.

    Raises:
        KeptElsewhere: it is not, and that is not forced.
    """
    block = context.configuration.vault.block
    if block is None or context.via == "prefect" or forced:
        return
    if (await read_fence(context.vault, context.plan)).epoch == 0:
        raise KeptElsewhere(context.plan.name, block, context.vault.where("."))
