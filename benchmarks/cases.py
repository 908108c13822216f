"""How near a run is to the time of the service itself: rows of one table, as ratios to an ideal or to a peer.

Seconds of one machine say nothing about another; what both sides of a ratio take on one machine, side by side, does.
Each case of `make bench` gives the rows that it adds; the peers that ours is held against come last.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, closing
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import httpx
from azure.ai.contentunderstanding import ContentUnderstandingClient
from azure.core.credentials import AzureKeyCredential
from cu_cli_core.operations.analyzer_copy import copy_analyzer
from rich import box
from rich.table import Table

from benchmarks.stage import PLAN, SOURCE, TARGETS, Ran, Scene, Stage, name_of, run, say, set_stage
from standby.config.configuration import load_configuration
from standby.replication.items import Selection
from standby.replication.pacing import play
from standby.replication.replicate import open_run, survey
from standby.replication.verdict import CopyRecord

WINDOW = 60.0  # Seconds of the service's quota
FEWEST_CALLS = 2  # That a target answers about one copy: the copy, and one question after it that shows the whole copy


def ideal(
    jobs: Mapping[str, Collection[str]],  # what each analyzer waits for
    slots: int,
    seconds: Sequence[float],  # what copies took at the emulator, in the order in which they were begun
    quota: int,  # calls a minute that the target answers, all of which may come at once
) -> float:
    """Say how long a run takes in which nothing costs anything: every slot is in use whenever something is ready."""
    takes = iter(seconds)
    by_quota = (FEWEST_CALLS * len(jobs) - 1) // quota * WINDOW
    return max(play(jobs, slots, lambda _: next(takes)), by_quota)


@dataclass(frozen=True)
class Row:
    """One line of the table, as it is shown; `verdict` is empty where nothing must be reached."""

    name: str
    ideal: str
    peers: str
    ours: str
    ratio: str = ""
    must: str = "shown"
    verdict: str = ""


def figure(value: float, unit: str) -> str:
    """Write a figure as exactly as it is of use."""
    digits = 0 if value >= 100 or value == int(value) else 1 if value >= 10 else 2
    return f"{value:,.{digits}f} {unit}".strip()


def _verdict(good: bool) -> str:
    return "reached" if good else "missed"


def timed(
    name: str, ours: Sequence[float], below: Sequence[float], most: float | None, *, peers: str = "", flaw: str = ""
) -> Row:
    """Divide by the ideal, or by the peer that a name ends with, round by round: what slows a machine slows both.

    `flaw` is what is wrong whatever the figure.
    """
    ratio = median(one / other for one, other in zip(ours, below, strict=True))
    said = "; ".join(filter(None, (peers, flaw and f"but {flaw}")))
    row = Row(name, figure(median(below), "s"), said, figure(median(ours), "s"), f"{ratio:.2f}")
    return row if most is None else replace(row, must=f"≤ {most:.2f}", verdict=_verdict(ratio <= most and not flaw))


def counted(name: str, ours: float, unit: str, most: float, *, ideal: str = "", peers: str = "") -> Row:
    """Make a row of a figure that is held against a limit by itself."""
    return Row(name, ideal, peers, figure(ours, unit), "", f"≤ {figure(most, unit)}", _verdict(ours <= most))


def table_of(rows: Iterable[Row]) -> Table:
    table = Table("", "ideal", "peers", "ours", "ratio", "must reach", "verdict", box=box.MARKDOWN)
    for row in rows:
        table.add_row(*astuple(row))
    return table


QUOTA = 3000  # Calls a minute that each resource answers
STEPS = 5  # Task runs a copy
ROUNDS = 5  # Of what takes a second or two
FEW = 6  # Copies of a peer that makes one after the other
PLANNING = ("list", "get_defaults")  # Calls that are made once a run, whatever it copies


def copies(folder: Path, share: float) -> Iterator[Row]:
    """Copy as many as twenty slots take in ten turns: directly, by hand, under Prefect and with the vendor's SDK."""
    size = max(20, round(200 * share))
    with set_stage(Scene.of(size, slots=20), folder) as stage:
        say(f"{size} copies, direct")
        ran, of = _replicate(stage)
        seconds, best = ran.document["seconds"], _ideal(stage)
        calls, polls = stage.calls(*PLANNING) / size, stage.stats()["calls"]["poll"] / size
        idle, _ = _replicate(stage, again=True)
        say(f"{size} copies by hand, asyncio and httpx")
        stage.new_vault()
        by_hand = _seconds(lambda: asyncio.run(copy_by_hand(stage)))
        hand_calls = stage.calls() / size
        yield timed(f"direct / ideal, {of}", [seconds], [best], 1.05, peers=f"asyncio + httpx {by_hand:.1f} s")
        yield timed(f"whole command / ideal, {of}", [ran.seconds], [best], None)
        yield counted("calls a copy, direct", calls, "", 6, ideal="3", peers=f"asyncio + httpx {hand_calls:.1f}")
        yield counted("polls a copy, direct", polls, "", 4, ideal="1")
        yield counted("CPU a copy, direct", (ran.cpu - idle.cpu) / size * 1000, "ms", 10)
        yield from _under_prefect(stage, of)
        yield from _with_sdk(stage, seconds)


def many(folder: Path, share: float) -> Iterator[Row]:
    """Copy so many at once that the quota matters."""
    size = max(60, round(600 * share))
    with set_stage(Scene.of(size, slots=60), folder) as stage:
        say(f"{size} copies, direct, 60 at once")
        ran, of = _replicate(stage)
        refused = stage.stats()["statuses"].get("429", 0)
        flaw = f"{refused} × 429" if refused else ""
        most = stage.stats()["most_operations_in_a_minute"]
        yield timed(f"direct / ideal, {of}", [ran.document["seconds"]], [_ideal(stage)], 1.10, flaw=flaw)
        yield counted(f"calls in the busiest minute, {of}", most, "", QUOTA)


def deep(folder: Path, share: float) -> Iterator[Row]:
    """Copy analyzers that wait for others, five levels of them, with a slot for each that is ready."""
    width = max(10, round(100 * share))
    jobs = {
        name_of(level * width + place): [
            name_of((level - 1) * width + child % width) for child in (place, place + 1) if level
        ]
        for level in range(5)
        for place in range(width)
    }
    with set_stage(Scene(jobs, slots=width), folder) as stage:
        say(f"{len(jobs)} copies, five levels deep")
        ran, _ = _replicate(stage)
        yield timed(f"deep / critical path, {len(jobs)} in 5 levels", [ran.document["seconds"]], [_ideal(stage)], 1.08)


def check(folder: Path, share: float) -> Iterator[Row]:
    """Find that nothing has changed, against reading the same lists and nothing else."""
    size = max(20, round(1000 * share))
    with set_stage(Scene.of(size, targets=3, replicated=True), folder) as stage:
        os.environ.update(stage.environment)
        asyncio.run(_note_copies(stage))
        say(f"check of {size} × 3, and bare list calls")
        places = [part for each in stage.resources.values() for part in (each["endpoint"], each["key"])]
        lists, checks, others = [], [], 0
        for _ in range(ROUNDS):
            lists.append(run("-c", BARE, *places, env=stage.environment).seconds)
            before = stage.calls("list")
            checks.append(stage.standby("check", PLAN).seconds)
            others += stage.calls("list") - before
        flaw = f"{others / ROUNDS:.0f} calls are no lists" if others else ""
        yield timed(f"check / bare lists, {size:,} × 3 unchanged", checks, lists, 1.3, flaw=flaw)
        yield counted(f"check of {size:,} × 3 unchanged", median(checks), "s", 2.0)


def start(_folder: Path, _share: float) -> Iterator[Row]:
    say("standby --help")
    found = [run("-m", "standby", "--help", env=os.environ).seconds for _ in range(ROUNDS)]
    yield counted("standby --help", median(found), "s", 0.3)


def plan(folder: Path, share: float) -> Iterator[Row]:
    size = max(20, round(10_000 * share))
    say(f"plan of {size} × 2")
    with set_stage(Scene.of(size, targets=2), folder) as stage:
        yield counted(f"plan of {size:,} × 2", stage.standby("plan", PLAN, expect=2).seconds, "s", 10)


CASES = (start, copies, many, deep, check, plan)


def _replicate(stage: Stage, *more: str, again: bool = False) -> tuple[Ran, str]:
    """Replicate by the command, in a new vault unless there is nothing to do; say of what size it was."""
    if not again:
        stage.new_vault()
    ran = stage.standby("--json", "replicate", PLAN, *more)
    if not again:
        stage.must_have_copied_once()
    return ran, f"{len(stage.scene.jobs)} × 1, limit {stage.scene.slots}"


def _ideal(stage: Stage) -> float:
    return ideal(stage.scene.jobs, stage.scene.slots, stage.stats()["copy_seconds"], QUOTA)


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _under_prefect(stage: Stage, of: str) -> Iterator[Row]:
    size = len(stage.scene.jobs)
    say(f"{size} copies under Prefect, with the server that the command starts itself")
    # The first server of a folder makes its database.
    _replicate(stage, "--via", "prefect", again=True)
    ran, _ = _replicate(stage, "--via", "prefect")
    best = _ideal(stage)
    with closing(sqlite3.connect(stage.folder / "prefect" / "prefect.db")) as database:
        (recorded,) = database.execute("select count(*) from task_run where state_type = 'COMPLETED'").fetchone()
    flaw = "" if recorded == size * STEPS else f"{recorded} task runs recorded"
    idle, _ = _replicate(stage, "--via", "prefect", again=True)
    seconds = ran.document["seconds"]
    yield timed(f"Prefect inline / ideal, {of}", [seconds], [best], 1.12, flaw=flaw)
    yield timed(f"whole command, Prefect / ideal, {of}", [ran.seconds], [best], None)
    yield counted("CPU a copy, Prefect", (ran.cpu - idle.cpu) / size * 1000, "ms", 120)
    yield counted("around a run, own server", ran.seconds - seconds, "s", 12)


def _with_sdk(stage: Stage, ours: float) -> Iterator[Row]:
    """Copy with the vendor's SDK as its own tool has it poll, each second, in as many threads as there are slots."""
    names, scene = list(stage.scene.jobs), stage.scene
    say(f"{len(names)} copies with the vendor's SDK in {scene.slots} threads; some one by one, at the same time")
    stage.new_vault()
    local = threading.local()

    def copy(name: str) -> None:
        if not hasattr(local, "vendor"):
            local.vendor = Vendor(stage, polling_interval=1)
        local.vendor.copy(name, name)

    def one_by_one(copied: Callable[[str, str], object], suffix: str) -> float:
        return _seconds(lambda: [copied(name, f"{name}-{suffix}") for name in names[:FEW]]) / FEW * len(names)

    # Those who copy one by one wait most of the time, and are measured beside the others.
    with ThreadPoolExecutor(2) as beside, ThreadPoolExecutor(scene.slots) as pool:
        serial = beside.submit(one_by_one, Vendor(stage).copy, "serially")
        loop = beside.submit(one_by_one, Vendor(stage, polling_interval=1).copy_as_cu_does, "cu")
        took = _seconds(lambda: list(pool.map(copy, names)))
    for name, peer in (
        (f"SDK in {scene.slots} threads / direct", took),
        ("SDK one by one / direct, scaled", serial.result()),
        ("cu in a loop / direct, scaled", loop.result()),
    ):
        row = f"{name}, {len(names)} × 1"
        yield Row(row, "", figure(peer, "s"), figure(ours, "s"), f"{peer / ours:.2f}")


class Vendor:
    """The vendor's SDK between two resources."""

    def __init__(self, stage: Stage, **options: Any) -> None:
        ends = {"source": stage.resources[SOURCE], "target": stage.resources[TARGETS[0]]}
        self._from, self._to = (
            {f"{end}_azure_resource_id": each["resource_id"], f"{end}_region": each["region"]}
            for end, each in ends.items()
        )
        self._source, self._target = (
            ContentUnderstandingClient(each["endpoint"], AzureKeyCredential(each["key"]), **options)
            for each in ends.values()
        )

    def copy(self, name: str, as_name: str) -> None:
        self._source.grant_copy_authorization(name, **self._to)
        self._target.begin_copy_analyzer(as_name, source_analyzer_id=name, **self._from).result()

    def copy_as_cu_does(self, name: str, as_name: str) -> None:
        copy_analyzer(self._source, name, as_name, target_client=self._target, **self._from, **self._to)


INTERVAL = 0.25  # Seconds between two questions of somebody who writes the loop by hand


async def copy_by_hand(stage: Stage) -> None:
    """Copy with asyncio and httpx, as many at once as there are slots."""
    source, target = stage.resources[SOURCE], stage.resources[TARGETS[0]]
    slots = asyncio.Semaphore(stage.scene.slots)
    async with AsyncExitStack() as stack:
        read, write = [await stack.enter_async_context(_client(each)) for each in (source, target)]

        async def copy(name: str) -> None:
            path = f"/contentunderstanding/analyzers/{name}"
            async with slots:
                to = {"targetAzureResourceId": target["resource_id"], "targetRegion": target["region"]}
                (await read.post(f"{path}:grantCopyAuthorization", json=to)).raise_for_status()
                of = {"sourceAzureResourceId": source["resource_id"], "sourceRegion": source["region"]}
                while (
                    begun := await write.post(f"{path}:copy", json={"sourceAnalyzerId": name, **of})
                ).status_code == 429:
                    await asyncio.sleep(1.0)
                place = httpx.URL(begun.raise_for_status().headers["operation-location"]).copy_remove_param(
                    "api-version"
                )
                while True:
                    # Asked so often, the quota is used up at times: then it only waits.
                    answer = await write.get(place)
                    if answer.status_code != 429 and answer.raise_for_status().json()["status"] != "Running":
                        break
                    await asyncio.sleep(INTERVAL)
                while (answer := await write.get(path)).status_code == 429:
                    await asyncio.sleep(1.0)
                if answer.raise_for_status().json()["status"] != "ready":
                    raise RuntimeError(f"{name} was not copied by hand")

        async with asyncio.TaskGroup() as group:
            for name in stage.scene.jobs:
                group.create_task(copy(name))


def _client(resource: dict[str, Any]) -> httpx.AsyncClient:
    headers = {"Ocp-Apim-Subscription-Key": resource["key"]}
    query = {"api-version": "2025-11-01"}
    return httpx.AsyncClient(base_url=resource["endpoint"], params=query, headers=headers, trust_env=False)


BARE = """
import asyncio, sys, httpx

async def read(endpoint, key):
    async with httpx.AsyncClient(headers={"Ocp-Apim-Subscription-Key": key}) as http:
        place = endpoint + "/contentunderstanding/analyzers?api-version=2025-11-01"
        while place:
            place = (await http.get(place)).raise_for_status().json().get("nextLink")

async def main(*places):
    await asyncio.gather(*map(read, places[::2], places[1::2]))

asyncio.run(main(*sys.argv[1:]))
"""
"""A program that reads the lists of several resources at once, and no more."""


async def _note_copies(stage: Stage) -> None:
    """Write into the ledgers that everything at the targets was copied there."""
    async with open_run(load_configuration(stage.file), PLAN) as context:
        found = await survey(context, Selection())
        for target in TARGETS[: stage.scene.targets]:
            async with context.write_ledger(SOURCE, target) as ledger:
                there = {item.target_analyzer: item for item in found.items if item.target == target}
                now = datetime.now(UTC)
                ledger.record(
                    {name: CopyRecord(it.expected, it.found, now, name) for name, it in there.items() if it.found}
                )
