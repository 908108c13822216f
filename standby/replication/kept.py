"""What a target held before a run replaced it, so that nothing is lost."""

from __future__ import annotations

import json
import logging

from standby.replication.context import RunContext
from standby.replication.planning import PlanItem
from standby.service.models import Analyzer

log = logging.getLogger("standby.replication")


async def keep_definition(context: RunContext, item: PlanItem, analyzer: Analyzer) -> str:
    """Write the definition that is about to be replaced into the vault; it is safe afterwards.

    Returns:
        A sentence that says where it is.

    Raises:
        VaultUnavailable: it could not be kept, so it must not be replaced.
    """
    moment = f"{context.clock.now():%Y%m%dT%H%M%S.%fZ}"
    path = f"replaced/{item.target}/{item.target_analyzer}/{moment}.json"
    text = json.dumps(analyzer.to_json(), indent=1, ensure_ascii=False)
    await context.vault.write(path, text.encode())
    sentence = f"What {item.target} had as {item.target_analyzer} is kept in {context.vault.where(path)}."
    log.info("%s", sentence)
    return sentence
