"""Prefect as the command line uses it: the real command, in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from prefect import get_client

from standby.config.configuration import Configuration


def write_configuration(configuration: Configuration, file: Path) -> dict[str, str]:
    """Write a `standby.yaml`; the environment with its keys comes back."""
    resources: dict[str, Any] = {}
    keys: dict[str, str] = {}
    for name, resource in configuration.resources.items():
        written = resource.model_dump(mode="json", exclude={"name", "credentials"})
        variable = f"{name.upper()}_KEY"
        resources[name] = {**written, "credentials": {"kind": "key", "key": f"${{{variable}}}"}}
        credentials = resource.credentials
        assert credentials.kind == "key"
        keys[variable] = credentials.key.get_secret_value()
    plan = configuration.plan("p")
    pairs = [{"source": pair.source, "targets": list(pair.targets)} for pair in plan.pairs]
    deadlines = plan.deadlines.model_dump()
    document = {"resources": resources, "plans": {"p": {"pairs": pairs, "deadlines": deadlines}}}
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    return keys


async def start(server: Any, file: Path, keys: Mapping[str, str], *arguments: str) -> asyncio.subprocess.Process:
    environment = {"PREFECT_API_URL": server.api_url, "PREFECT_HOME": str(server.home), **keys}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "standby", "-c", str(file), *arguments),
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


def comparable(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Leave out what differs between two emulators: durations, operations and ports."""
    report = json.loads(re.sub(r"127\.0\.0\.1:\d+", "HOST", json.dumps(report)))
    return [
        {key: value for key, value in item.items() if key not in {"seconds", "operation_id"}}
        for item in report["items"]
    ]


async def test_prefect_and_direct_give_the_same_items(
    make_scene: Any, make_analyzer: Any, prefect_server: Any, tmp_path: Path
) -> None:
    analyzers = [
        make_analyzer("router", "invoice"),
        make_analyzer("invoice"),
        make_analyzer("unserved", models={"completion": "gpt-4o"}),
    ]
    reports = {}
    for via in ("prefect", "direct"):
        async with make_scene(analyzers) as scene:
            file = tmp_path / via / "standby.yaml"
            file.parent.mkdir()
            keys = write_configuration(scene.configuration, file)
            process = await start(prefect_server, file, keys, "replicate", "p", "--json", "--via", via)
            told, errors = await process.communicate()
            assert process.returncode == 3, errors.decode()
            reports[via] = json.loads(told)
    assert reports["prefect"]["totals"] == {
        "succeeded": 4,
        "skipped": 0,
        "failed": 0,
        "blocked": 2,
        "refused": 0,
    }
    assert comparable(reports["prefect"]) == comparable(reports["direct"])
    assert [reports[via]["via"] for via in ("prefect", "direct")] == ["prefect", "direct"]


async def test_an_interrupted_run_tells_what_is_still_under_way(
    make_scene: Any, make_analyzer: Any, prefect_server: Any, tmp_path: Path, until: Any
) -> None:
    async with make_scene([make_analyzer("invoice")], targets=("west",), service_time=60) as scene:
        file = tmp_path / "standby.yaml"
        keys = write_configuration(scene.configuration, file)
        process = await start(prefect_server, file, keys, "replicate", "p", "--json", "--via", "prefect")

        async def under_way() -> bool:
            return bool((await scene.stats("west"))["calls"].get("poll"))

        await until(under_way)
        process.send_signal(signal.SIGINT)
        told, errors = await process.communicate()
        assert (await scene.stats("west"))["copies_accepted"] == {"invoice": 1}
    assert process.returncode == 130, errors.decode()
    (item,) = json.loads(told)["items"]
    assert item["status"] == "failed"
    assert item["operation_id"]
    assert item["operation_id"] in item["reason"]
    async with get_client() as client:
        runs = await client.read_flow_runs()
    interrupted = [run for run in runs if str(run.id) == json.loads(told)["run_id"]]
    assert [run.state is not None and run.state.is_final() for run in interrupted] == [True]
