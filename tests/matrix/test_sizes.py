"""Memory grows with what a run is about, and not faster; files that are open do not grow at all."""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from standby.cli.app import app
from tests.matrix.regions import ENVIRONMENT, OTHER, PLAN, TARGET, Regions
from tests.standby.recovery.attack.machine import Machine, Process, Time, booted

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload([__name__])

FILES = Path("/proc/self/fd")

SIZES = {"replicate": (10, 400, 4_000), "plan": (10, 1_000, 10_000), "check": (10, 1_000, 10_000)}
"""How many analyzers a run is about; copies take a minute for a thousand."""

POOLED = 20
"""Connections that a large run keeps open and a small one does not need."""

PER_ITEM = 1.5
"""How much more each item may cost in a large run than in a small one: everything is held once, not in its square."""


@dataclass(frozen=True)
class Measured:
    """What a process needed at most: kilobytes, and open files."""

    memory: int
    files: int


def command(pipe: Connection, folder: str, order: tuple[str, ...]) -> None:
    """Run a command, in a process of its own, whose calls are answered by another one."""
    time = Time()
    files: list[int] = []

    def network(request: httpx.Request) -> httpx.Response:
        files.append(sum(1 for _ in FILES.iterdir()))
        headers = [(name.decode(), value.decode()) for name, value in request.headers.raw]
        pipe.send((time.seconds, request.method, str(request.url), headers, request.content))
        status, answered, content = pipe.recv()
        return httpx.Response(status, headers=answered, content=content)

    machine = Machine(time, network, ENVIRONMENT)
    with booted(machine):
        ended = machine.run(Process(), lambda: CliRunner().invoke(app, ["-q", "-c", f"{folder}/standby.yaml", *order]))
    assert ended is not None
    pipe.send((ended.exit_code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, max(files)))


def measure(folder: Path, size: int, targets: tuple[str, ...], order: tuple[str, ...]) -> Measured:
    """Say what a command needs for so many analyzers."""
    folder.mkdir()
    regions = Regions(folder, size=size, targets=targets)
    ours, theirs = processes.Pipe()
    process = processes.Process(target=command, args=(theirs, str(folder), order))
    process.start()
    theirs.close()
    with booted(regions.machine):
        while len(said := ours.recv()) == 5:
            regions.time.seconds, method, url, headers, content = said
            answer = asked(regions, httpx.Request(method, url, headers=headers, content=content))
            ours.send((answer.status_code, answer.headers.multi_items(), answer.content))
    process.join(60)
    status, memory, files = said
    assert status in {0, 2}
    return Measured(memory, files)


def asked(regions: Regions, request: httpx.Request) -> httpx.Response:
    answer = regions.machine.network(request)
    assert isinstance(answer, httpx.Response)
    return answer


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("order", "targets"),
    [
        (("replicate", PLAN), (TARGET,)),
        (("plan", PLAN), (TARGET, OTHER)),
        (("check", PLAN), (TARGET, OTHER)),
    ],
    ids=["copies", "plan of two targets", "check of two targets"],
)
def test_memory_grows_no_faster_than_what_a_run_is_about(
    order: tuple[str, ...],
    targets: tuple[str, ...],
    chaos: bool,
    tmp_path: Path,
    record_property: Callable[[str, Any], None],
) -> None:
    sizes = SIZES[order[0]] if chaos else (10, 50)
    least, *more = (measure(tmp_path / str(size), size, targets, order) for size in sizes)
    assert more[-1].files <= least.files + POOLED
    if chaos:  # What a few need is lost in what a process needs.
        small, large = (
            (each.memory - least.memory) / (size - sizes[0]) for each, size in zip(more, sizes[1:], strict=True)
        )
        told = f"MB for {sizes[-1]:,}, {large:.1f} kB each; of {sizes[1]:,} {small:.1f} kB each"
        record_property(told, round(more[-1].memory / 1024))
        assert large <= small * PER_ITEM
