"""What documents say, and how their files are called, stays with them: canaries, which every byte is searched for."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from standby.config.vault import VaultSettings
from standby.flows.check import check
from standby.flows.compare import compare
from standby.flows.drill import drill
from standby.flows.snapshot import snapshot
from tests.documents import SAID, document, holding, noting_what_is_read
from tests.flows.test_secrets import everything

NAMES = ("alike", "other", "hanging", "failing", "refused")
FIELDS = {
    "Vendor": {"type": "string", "method": "extract"},
    "Lines": {"type": "array", "items": {"type": "object", "properties": {"Price": {"type": "number"}}}},
    "Summary": {"type": "string", "method": "generate"},
}


def planted(analyzer: str, **fault: Any) -> dict[str, Any]:
    return {"resource": "west", "call": "analyze", "analyzer": analyzer, "times": None, "fault": fault}


FAULTS = (
    planted("other", kind="answers_differently", fields=1.0, markdown=True),
    planted("hanging", kind="analysis_hangs"),
    # A service that quotes what it read.
    planted("failing", kind="analysis_fails", code="InvalidRequest", message=f"Not this: {SAID} 1."),
    planted("refused", kind="status", status=400, code="InvalidRequest", message=f"Not this: {SAID} 1."),
)


async def test_nothing_that_is_written_holds_a_document_or_what_was_read_in_one(
    make_scene: Any,
    make_analyzer: Any,
    run_replicate: Any,
    task_runs: Any,
    events: Any,
    prefect_server: Any,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A comparison of copies that answer alike, otherwise, late and not at all; and all that goes on about it."""
    caplog.set_level(logging.DEBUG)
    read, folder = noting_what_is_read(monkeypatch), tmp_path_factory.mktemp("samples")
    for name in NAMES:
        (folder / name).mkdir()
        for number in range(2):
            (folder / name / f"{SAID} {number}.pdf").write_bytes(document(number))
    analyzers = [make_analyzer(name, fieldSchema={"name": name, "fields": FIELDS}) for name in NAMES]
    samples = {"path": str(folder), "deadline": "1s", "at_once": 20}
    async with make_scene(analyzers, targets=("west",), faults=FAULTS, samples=samples) as scene:
        vault = VaultSettings.model_validate({**scene.configuration.vault.model_dump(), "report": True})
        await run_replicate(scene.configuration.model_copy(update={"vault": vault}))
        await snapshot(plan="p", return_state=True)
        state = await compare(plan="p", return_state=True)
        runs = await task_runs(state.state_details.flow_run_id, len(NAMES) * 2 * 3)
        for flow in (check, drill):
            await flow(plan="p", return_state=True)
        left = {name: (await scene.stats(name))["results"] for name in ("east", "west")}

    assert state.name == "Differs", state.message
    assert left == {"east": 0, "west": 0}
    assert len([run for run in runs if "analyze " in run.name]) == len(NAMES) * 2 * 3
    assert {it["analyzer"] for event in await events("standby.proof.changed") for it in event["payload"]["changed"]}
    assert len(read) > len(NAMES)
    places = await everything(prefect_server, tmp_path, caplog, capfd)
    assert any(b"other at west answers differently" in content for content in places.values())
    assert not holding(places, read)
