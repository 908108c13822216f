"""What a target held before a run replaced it, so that nothing is lost."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

from standby.replication.context import RunContext
from standby.replication.planning import PlanItem
from standby.service.errors import AnalyzerNotFound

log = logging.getLogger("standby.replication")


async def keep_definition(context: RunContext, item: PlanItem) -> None:
    """Write the definition that is about to be replaced into the vault."""
    try:
        analyzer = await context.connections[item.target].get_analyzer(item.target_analyzer)
    except AnalyzerNotFound:
        return
    folder = context.vault / "replaced" / item.target / item.target_analyzer
    path = folder / f"{context.clock.now():%Y%m%dT%H%M%S.%fZ}.json"
    text = json.dumps(analyzer.to_json(), indent=1, ensure_ascii=False)
    await asyncio.to_thread(_write, path, text)
    log.info("kept what %s had under %s in %s", item.target, item.target_analyzer, path)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
