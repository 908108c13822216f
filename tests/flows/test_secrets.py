"""No secret stays anywhere: the `2025-05-01-preview` protocol with canaries, which every byte is searched for."""

from __future__ import annotations

import asyncio
import logging
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from prefect import get_client
from prefect.deployments import arun_deployment

from standby.config.sinks import WebhookSink
from standby.config.vault import VaultSettings
from standby.flows.bootstrap import pause_schedules, save_what_runs_need, save_what_starts_runs
from standby.flows.failover import failover
from standby.flows.snapshot import snapshot
from standby.flows.watch import watch
from standby.vault.vault import open_place
from tests.flows.receiver import receiving
from tests.flows.working import worker
from tests.patience import PATIENCE
from tests.storage.azurite import KEY, Azurite, signature

MADE_UP = "canary-number-{:04}-of-those-that-were-made-up"
"""Predictable, so that the emulated service can quote them all."""

GIVEN_KEY = "canary-encryption-key-0123456789"
HOOK_KEY = "canary-webhook-secret-0123456789"
SIGNING_KEY = "canary-signing-key-0123456789"


@pytest.fixture
def random_secrets(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every key and token that anybody here makes up: the emulator's and ours."""
    made: list[str] = []

    def token_urlsafe(_length: int | None = None) -> str:
        made.append(MADE_UP.format(len(made)))
        return made[-1]

    monkeypatch.setattr(secrets, "token_urlsafe", token_urlsafe)
    return made


def written(server: Any, *folders: Path) -> Iterator[tuple[str, bytes]]:
    """Everything on the disk, the database's pages and its log included."""
    with sqlite3.connect(server.database) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    for folder in (server.database.parent, server.home, *folders):
        for path in folder.rglob("*"):
            if path.is_file():
                yield str(path), path.read_bytes()


@pytest.mark.parametrize("encryption", ["generate", {"kind": "given", "key": GIVEN_KEY}])
async def test_nothing_that_is_written_holds_a_key_or_a_token(
    make_scene: Any,
    make_analyzer: Any,
    run_replicate: Any,
    task_runs: Any,
    prefect_server: Any,
    random_secrets: list[str],
    encryption: Any,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    analyzers = [make_analyzer(name) for name in ("good", "hanging", "refused", "quoted", "failing")]
    # A service that quotes what it was sent, in an error that is reported, logged and stored.
    key = GIVEN_KEY if encryption != "generate" else "that was sent"
    quoted = f"The key {key} does not open the token."
    faults = (
        {
            "resource": "west",
            "call": "copy",
            "analyzer": "quoted",
            "fault": {"kind": "status", "status": 400, "code": "InvalidRequest", "message": quoted},
        },
        {"resource": "east", "call": "authorize", "analyzer": "refused", "fault": {"kind": "void_grant"}},
        {"resource": "west", "call": "poll", "analyzer": "hanging", "fault": {"kind": "drop"}},
    )
    async with make_scene(
        analyzers,
        targets=("west",),
        api_version="2025-05-01-preview",
        faults=faults,
        encryption=encryption,
    ) as scene:
        keys = [served.key for served in scene.emulator.resources.values()]
        # Those that will be made up before any copy ends: tokens, and fresh encryption keys.
        made_up = [MADE_UP.format(len(random_secrets) + number) for number in range(len(analyzers))]
        await quote_in_operations(scene, [*keys, *made_up, *([GIVEN_KEY] if encryption != "generate" else [])])
        state = await run_replicate(scene.configuration)
        await task_runs(state.state_details.flow_run_id, 4 * 3)
    items = (await state.aresult(raise_on_failure=False))["items"]
    reasons = {item["analyzer"]: item["reason"] for item in items}
    assert {name for name, reason in reasons.items() if reason} == {"quoted", "failing"}
    assert "*** ***" in reasons["failing"]

    canaries = {*random_secrets, *keys, GIVEN_KEY}
    assert len(canaries) > 6
    assert ("***" in str(reasons["quoted"])) == (encryption != "generate")
    places = await everything(prefect_server, tmp_path, caplog, capfd)
    assert any(b"refused" in content for content in places.values())
    assert not leaks(places, canaries)


async def quote_in_operations(scene: Any, given: Sequence[str]) -> None:
    """Have the service quote what it was given: in message and code of an operation that failed."""
    failing = {"kind": "operation_fails", "code": given[0], "message": f"Not with {' '.join(given)}."}
    await scene.control("/faults", {"resource": "west", "call": "copy", "analyzer": "failing", "fault": failing})


async def test_a_worker_runs_the_deployment_and_writes_no_key(
    make_scene: Any, make_analyzer: Any, prefect_server: Any, tmp_path: Path, only_deploy: Any
) -> None:
    only_deploy("replicate/manual")
    analyzers = [make_analyzer(name) for name in ("good", "failing")]
    given = {"kind": "given", "key": GIVEN_KEY}
    async with make_scene(analyzers, targets=("west",), api_version="2025-05-01-preview", encryption=given) as scene:
        keys = [served.key for served in scene.emulator.resources.values()]
        await quote_in_operations(scene, [*keys, GIVEN_KEY])
        await save_what_runs_need(scene.configuration)
        await save_what_starts_runs(scene.configuration)
        await pause_schedules()
        async with worker(prefect_server), asyncio.timeout(PATIENCE):
            run = await arun_deployment("replicate/manual", parameters={"plan": "p"}, poll_interval=1)
        assert (await scene.stats("west"))["copies_accepted"] == {"good": 1, "failing": 1}
    assert run.state is not None
    assert run.state.name == "PartiallyFailed", run.state.message
    places = dict(written(prefect_server, tmp_path))
    assert any(b"*** *** ***" in content for content in places.values())
    assert not leaks(places, {*keys, GIVEN_KEY})


async def test_a_recovery_writes_no_key_either(
    make_scene: Any,
    make_analyzer: Any,
    run_replicate: Any,
    prefect_server: Any,
    tmp_path: Path,
    azurite: Azurite,
    blob_container: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A webhook that is told and one that does not answer; signatures on everything; a replica; an outage."""
    place = azurite.place(blob_container)
    sas = signature("rwdlac")
    replica = {"url": f"az://{blob_container}/replica", "credentials": {"kind": "sas", "sas": sas}}
    caplog.set_level(logging.DEBUG)
    policy = {"automatic": True, "probe_every": "1s", "quorum": 2, "minimum_outage": "1s"}
    async with make_scene([make_analyzer("invoice")], targets=("west",), failover=policy) as scene:
        with receiving() as application:
            configuration = scene.configuration.model_copy(
                update={
                    "activation": (
                        WebhookSink(url=f"{application.url}?code=canary-in-the-url", secret=HOOK_KEY),
                        WebhookSink(url="http://127.0.0.1:9/?code=canary-in-the-url", secret=HOOK_KEY, required=False),
                    ),
                    "vault": VaultSettings.model_validate(
                        place.model_dump()
                        | {"second": replica | {"endpoint": place.endpoint}}
                        | {"signing": {"kind": "hmac", "key": SIGNING_KEY}}
                    ),
                }
            )
            await run_replicate(configuration)
            await snapshot(plan="p", return_state=True)
            await scene.control("/outages", {"resource": "east", "kind": "refuse"})
            await watch(plan="p", return_state=True)
            state = await failover(plan="p", outage_of="east", return_state=True)
            keys = [served.key for served in scene.emulator.resources.values()]
    assert application.bodies, state.message
    assert state.name != "Failed", state.message
    places = await everything(prefect_server, tmp_path, caplog, capfd)
    for kept in (configuration.vault, configuration.vault.second):
        assert kept is not None
        async with open_place(kept) as storage:
            found = {storage.where(each.path): await storage.read(each.path) or b"" for each in await storage.list()}
        assert any(b"failover.fenced" in content for content in found.values())
        places |= found
    hidden = {KEY, sas, sas.partition("sig=")[2], unquote(sas.partition("sig=")[2])}
    assert not leaks(places, {*keys, *hidden, HOOK_KEY, SIGNING_KEY, "canary-in-the-url"})


async def everything(
    server: Any, folder: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> dict[str, bytes]:
    """Whatever was written anywhere: files, the database, logs, parameters, output."""
    async with get_client() as client:
        texts = {
            "logs": str(await client.read_logs()),
            "parameters": str([run.parameters for run in await client.read_flow_runs()]),
            "log records": caplog.text,
            "output": str(capfd.readouterr()),
        }
    return {**dict(written(server, folder)), **{name: text.encode() for name, text in texts.items()}}


def leaks(places: Mapping[str, bytes], canaries: Iterable[str]) -> set[str]:
    """Name the places that hold a canary."""
    return {name for canary in canaries for name, content in places.items() if canary.encode() in content}
