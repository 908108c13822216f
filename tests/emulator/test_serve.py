"""Starting, announcing and ending."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from standby.emulator.config import EmulatorConfig
from standby.emulator.serve import running, serve
from tests.patience import PATIENCE

SERVING = """
import asyncio, sys
from pathlib import Path
from standby.emulator.config import load_emulator_config
from standby.emulator.serve import serve
try:
    asyncio.run(serve(load_emulator_config(Path(sys.argv[1])), print))
except KeyboardInterrupt:
    sys.exit(130)
"""


async def test_it_starts_and_ends_at_once_and_leaves_nothing_behind(config: EmulatorConfig) -> None:
    loop = asyncio.get_running_loop()
    before = asyncio.all_tasks()
    started = loop.time()
    async with running(config) as emulator:
        assert loop.time() - started < 0.3
        endpoint = emulator.resources["east"].endpoint
    assert loop.time() - started < 0.5
    assert asyncio.all_tasks() == before
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", httpx.URL(endpoint).port)) != 0


async def test_it_ends_at_once_with_calls_that_hang_or_wait_and_connections_kept_alive(
    config: EmulatorConfig,
) -> None:
    loop = asyncio.get_running_loop()
    before = asyncio.all_tasks()
    async with httpx.AsyncClient() as client:
        async with running(config) as emulator:
            urls = {
                name: f"{served.endpoint}/contentunderstanding/analyzers" for name, served in emulator.resources.items()
            }
            await client.post(f"{emulator.control}/outages", json={"resource": "east", "kind": "hang"})
            await client.post(f"{emulator.control}/settings", json={"resource": "west", "latency": 60})
            calls = [asyncio.create_task(client.get(url)) for url in urls.values()]
            async with asyncio.timeout(PATIENCE):
                while True:
                    stats = (await client.get(f"{emulator.control}/stats")).json()["resources"]
                    if all(stats[name]["calls"] for name in urls):
                        break
            ending = loop.time()
        assert loop.time() - ending < 0.5
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(each, httpx.TransportError) for each in ended)
    assert asyncio.all_tasks() == before


async def test_the_announcement_has_what_a_client_needs(config: EmulatorConfig) -> None:
    async with running(config) as emulator:
        told = emulator.announcement()
        assert told == json.loads(json.dumps(told))
        assert told.keys() == {"control", "arm", "identity", "resources"}
        east = emulator.resources["east"]
        assert told["resources"] == {
            name: {
                "endpoint": served.endpoint,
                "region": served.region,
                "resource_id": served.resource_id,
                "key": served.key,
            }
            for name, served in emulator.resources.items()
        }
        assert east.resource_id == (
            "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/emulator"
            "/providers/Microsoft.CognitiveServices/accounts/east"
        )
        assert east.key != emulator.resources["west"].key


async def test_serving_goes_on_until_it_is_cancelled(config: EmulatorConfig) -> None:
    lines: asyncio.Queue[str] = asyncio.Queue()
    serving = asyncio.create_task(serve(config, lines.put_nowait))
    told = json.loads(await lines.get())
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{told['control']}/stats")).status_code == 200
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert lines.empty()


async def test_callers_who_leave_in_the_middle_of_a_request_do_no_harm(config: EmulatorConfig) -> None:
    async with running(config) as emulator, httpx.AsyncClient() as client:
        url = httpx.URL(emulator.resources["east"].endpoint)
        path = "/contentunderstanding/analyzers/x"
        for sent in ("PUT", f"PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{{"):
            _, writer = await asyncio.open_connection(url.host, url.port)
            writer.write(sent.encode())
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        assert (await client.get(url.join(path))).status_code == 401
        stats = (await client.get(f"{emulator.control}/stats")).json()["resources"]
        assert stats["east"]["calls"] == {"get": 1}


async def test_calls_leave_nothing_in_the_log(config: EmulatorConfig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with running(config) as emulator, httpx.AsyncClient() as client:
        await client.get(emulator.resources["east"].endpoint)
    assert [record for record in caplog.records if record.name.startswith("uvicorn")] == []


def test_a_process_announces_one_line_and_ends_cleanly_when_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "emulator.yaml"
    path.write_text("tls: true\nresources: {east: {region: eastus}}", encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SERVING, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        assert httpx.get(f"{told['control']}/stats").status_code == 200
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, rest, errors) == (130, "", "")
    assert not Path(told["ca_file"]).exists()
