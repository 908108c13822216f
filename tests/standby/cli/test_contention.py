"""Processes that change what serves at the same time, by one vault in real object storage."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from standby.vault.storage import Storage
from standby.vault.vault import open_place
from tests.patience import PATIENCE
from tests.standby.cli.conftest import WITHOUT_PREFECT, Cloud, Ran, Workspace
from tests.storage.azurite import KEY, Azurite
from tests.storage.faulty import Call, Fault, Proxy, answered, cut, halved, masked, running_proxy, stale, swallowed

FENCE = "recovery/invoices/fence.json"


class Site:
    """A plan whose copies are in sync, with a vault of its own for each round."""

    def __init__(self, workspace: Workspace, azurite: Azurite, container: str) -> None:
        self._workspace = workspace
        self._azurite = azurite
        self._container = container
        workspace.edit("targets: [west, north]}]", "targets: [west, north]}]\n    exclude: [claim]")
        workspace.environment["VAULT_KEY"] = KEY
        self._beginning = workspace.file.read_text(encoding="utf-8")

    def configure(self, vault: str, file: str = "standby.yaml", port: int | None = None) -> None:
        """Write a configuration that leads to a vault, through a proxy where there is one."""
        text = (
            f"vault:\n  url: az://{self._container}/{vault}\n  endpoint: {self._azurite.endpoint(port)}\n"
            "  credentials: {kind: key, key: '${VAULT_KEY}'}\n"
            f"activation:\n  - {{kind: file, path: ./{vault}.json}}\n"
        )
        (self._workspace.folder / file).write_text(self._beginning + text, encoding="utf-8")

    @asynccontextmanager
    async def opened(self, vault: str) -> AsyncIterator[Storage]:
        async with open_place(self._azurite.place(self._container, vault)) as storage:
            yield storage

    async def copy(self, old: str, new: str) -> None:
        """Begin a round where another one began."""
        async with self.opened(old) as source, self.opened(new) as target:
            for each in await source.list():
                await target.write(each.path, await source.read(each.path) or b"")

    async def served(self, vault: str) -> tuple[str, int]:
        """Give what serves, and the epoch, where the fence and the sink say the same."""
        async with self.opened(vault) as storage:
            fence = json.loads(await storage.read(FENCE) or b"")
        said = json.loads(self._read(f"{vault}.json"))["plans"]["invoices"]
        side = fence["sides"]["east"]
        assert side["phase"] != "switching"
        # What was rolled back before it was published has an epoch that no application hears of.
        assert said["epoch"] <= fence["epoch"]
        assert said["sources"]["east"]["resource"] == side["active"]
        return side["active"], fence["epoch"]

    def _read(self, file: str) -> str:
        return (self._workspace.folder / file).read_text(encoding="utf-8")

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            cwd=self._workspace.folder,
            env={**os.environ, **self._workspace.environment},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=10_000_000,
        )

    @asynccontextmanager
    async def shell(self) -> AsyncIterator[Callable[..., Awaitable[Ran]]]:
        """Run a process that carries out command after command."""
        process = await self.start("-c", WITHOUT_PREFECT)
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        async def run(*arguments: str) -> Ran:
            stdin.write(f"{json.dumps([*arguments, '--json'])}\n".encode())
            return Ran(*json.loads(await stdout.readline()))

        try:
            yield run
        finally:
            await process.communicate(b"")

    async def actions(self, run: Callable[..., Awaitable[Ran]], file: str = "standby.yaml") -> list[str]:
        """Give the actions in the audit log, which is whole."""
        ran = await run("-c", file, "audit", "show", "invoices", "-n", "1000")
        assert ran.status == 0, ran.out
        return [line["deed"] for line in ran.document["plans"][0]["lines"]]


BEGINS_AND_ENDS = ("failover.fenced", "failover.activated")


def failover(to: str, *more: str) -> tuple[str, ...]:
    return ("failover", "invoices", "--to", to, "--yes", "--reason", "a test", *more)


@pytest.fixture
def site(workspace: Workspace, azurite: Azurite, blob_container: str) -> Site:
    return Site(workspace, azurite, blob_container)


async def test_of_two_processes_that_fail_over_at_once_exactly_one_does(site: Site, chaos: bool) -> None:
    async with AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(site.shell()) for _ in range(2)]
        site.configure("beginning")
        assert (await one("replicate", "invoices")).status == 0
        for number in range(60 if chaos else 2):
            site.configure(vault := f"round-{number}")
            await site.copy("beginning", vault)
            ends = await asyncio.gather(one(*failover("west", "--unplanned")), other(*failover("north", "--unplanned")))
            # Whoever is second finds the fence held, or that it has changed since it decided, or the cool-down.
            assert sorted(ran.status for ran in ends) == [0, 4], ends
            winner = "west" if ends[0].status == 0 else "north"
            assert await site.served(vault) == (winner, 1)
            actions = await site.actions(one)
            assert [action for action in actions if action in BEGINS_AND_ENDS] == list(BEGINS_AND_ENDS)


async def stopped_at_its_fence(site: Site, proxy: Proxy, number: signal.Signals) -> asyncio.subprocess.Process:
    """Start a failover to the west in a process that gets a signal as soon as it has written the fence."""
    fenced = asyncio.Event()

    def chance(call: Call) -> Fault | None:
        async def then_stop(call: Call) -> Any:
            answer = await call.forward()
            process.send_signal(number)
            fenced.set()
            return answer

        return then_stop if call.is_write and call.request.url.path.endswith(FENCE) else None

    proxy.chance = chance
    process = await site.start("-m", "standby", "-c", "behind.yaml", *failover("west", "--unplanned"))
    async with asyncio.timeout(PATIENCE):
        await fenced.wait()
    proxy.chance = lambda _call: None
    return process


async def grow_old(storage: Storage) -> None:
    """Let a lease look as if its owner had not been seen for an hour."""
    path = f"{FENCE}.lock"
    lease = await storage.read_version(path)
    if lease is None or not (note := json.loads(lease.content))["owner"]:
        return
    note["until"] = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    await storage.swap(path, json.dumps(note).encode(), lease.tag)


FAULTS = [answered(503), answered(412), masked(503), masked(412), cut, swallowed]
"""What becomes of writes; the last four leave open whether they were carried out."""

READ_FAULTS = [answered(503), swallowed, halved, stale]


@pytest.mark.parametrize("seed", range(2))
async def test_through_a_bad_connection_a_failover_ends_or_says_what_to_do_and_then_does(
    site: Site, azurite: Azurite, cloud: Cloud, seed: int
) -> None:
    drawn = random.Random(seed)

    def chance(call: Call) -> Fault | None:
        if drawn.random() > 0.15:
            return None
        return drawn.choice(FAULTS if call.is_write else READ_FAULTS)

    async with running_proxy(azurite.port) as proxy, site.shell() as run:
        site.configure("vault", "behind.yaml", proxy.port)
        site.configure("vault")
        proxy.chance = chance
        for arguments in (("replicate", "invoices"), ("commit", "invoices", "--yes"), failover("west", "--unplanned")):
            ran = await run("-c", "behind.yaml", *arguments)
            if ran.status != 0:
                error = ran.document.get("error", ran.document)
                assert (ran.status in {1, 3, 4}, bool(error["next_action"])) == (True, True), ran
                async with site.opened("vault") as storage:
                    await grow_old(storage)
                assert (await run(*arguments)).status == 0
        assert await site.served("vault") == ("west", 1)
        assert (await site.actions(run))[-2:] == ["failover.fenced", "failover.activated"]
        assert cloud.stats("west")["copies_accepted"] == dict.fromkeys(("contract", "invoice", "receipt", "router"), 1)


@pytest.mark.parametrize(
    ("number", "to", "actions"),
    [
        (signal.SIGKILL, "west", ["failover.decided", "failover.fenced", "failover.activated"]),
        (signal.SIGSTOP, "east", ["failover.decided", "failover.fenced", "failover.rolled_back"]),
    ],
    ids=["killed", "asleep"],
)
async def test_a_failover_whose_process_is_gone_is_taken_over_and_that_process_does_nothing_more(
    site: Site, azurite: Azurite, number: signal.Signals, to: str, actions: list[str]
) -> None:
    site.configure("vault")
    async with running_proxy(azurite.port) as proxy, site.shell() as run:
        assert (await run("replicate", "invoices")).status == 0
        assert (await run("commit", "invoices", "--yes")).status == 0
        site.configure("vault", "behind.yaml", proxy.port)
        gone = await stopped_at_its_fence(site, proxy, number)
        async with site.opened("vault") as storage:
            await grow_old(storage)
        after = await run(*failover(to))
        assert after.status == 0, after.out + after.err
        assert after.document["side"] == to
        served = await site.served("vault")
        if number == signal.SIGSTOP:
            gone.send_signal(signal.SIGCONT)
        out, err = await gone.communicate(b"")
        assert gone.returncode in {-signal.SIGKILL, 1}, (out, err)
        if number == signal.SIGSTOP:
            assert b"Another run took over" in out + err
        assert await site.served("vault") == served
        assert (served[0], (await site.actions(run))[-len(actions) :]) == (to, actions)
