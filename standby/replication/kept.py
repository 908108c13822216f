"""What a target held before a run replaced it, so that nothing is lost."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from pathlib import Path

from standby.replication.context import RunContext
from standby.replication.planning import PlanItem
from standby.service.models import Analyzer

log = logging.getLogger("standby.replication")


async def keep_definition(context: RunContext, item: PlanItem, analyzer: Analyzer) -> None:
    """Write the definition that is about to be replaced into the vault; it is on the disk afterwards."""
    folder = context.vault / "replaced" / item.target / item.target_analyzer
    path = folder / f"{context.clock.now():%Y%m%dT%H%M%S.%fZ}.json"
    text = json.dumps(analyzer.to_json(), indent=1, ensure_ascii=False)
    await asyncio.to_thread(_write, path, text)
    log.info("kept what %s had under %s in %s", item.target, item.target_analyzer, path)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    with fresh.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
