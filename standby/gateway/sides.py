"""Which resources serve in each plan, as far as it can be told here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping

from standby.config.plan import RecoveryPlan
from standby.errors import StandbyError
from standby.fencing import read_fence
from standby.vault.filesystem import Objects

log = logging.getLogger("standby.gateway")

FENCES_SECONDS = 2.0
"""Seconds in which all fences must have been read: an alert is passed on without them rather than late."""

Serving = Mapping[str, frozenset[str]]
"""The resources that serve, by the name of the plan."""


async def read_serving(plans: Iterable[RecoveryPlan], vault: Objects | None) -> Serving:
    """Read the fence of each plan; where it cannot be read, the plan's sources are taken to serve.

    Whoever decides reads the fence again: this only says which automation hears of an event.

    Args:
        plans: of the configuration.
        vault: where the fences are; `None` where it cannot be opened here.
    """
    found = {plan.name: frozenset(pair.source for pair in plan.pairs) for plan in plans}
    if vault is None:
        return found
    try:
        async with asyncio.timeout(FENCES_SECONDS):
            for plan in plans:
                try:
                    fence = await read_fence(vault, plan)
                except StandbyError as error:
                    log.warning("The sources of %s are taken for the side that serves: %s", plan.name, error)
                else:
                    found[plan.name] = frozenset(side.active for side in fence.sides.values())
    except TimeoutError:
        log.warning("The vault does not answer, so sources are taken for the side that serves")
    return found
