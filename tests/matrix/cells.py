"""A fault and a call: what is run, and the judgement of it."""

from __future__ import annotations

import math
import random
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.matrix.faults import Exchange, Fault
from tests.matrix.regions import ANALYZERS, KEYS, PLAN, PREVIEW_2025, RELEASED, SOURCE, TARGET, Ran, Regions, prepared
from tests.standby.recovery.attack.machine import booted

REPLICATE = ("replicate", PLAN)
REPLACE = ("replicate", PLAN, "--on-existing", "replace")
RESTORE = ("restore", PLAN, "--to", TARGET)
CHECK = ("check", PLAN)
SNAPSHOT = ("snapshot", PLAN)
STATUS = ("status", PLAN)

ENDINGS = {0: "goes on", 1: "stops", 2: "stops", 3: "stops", 4: "stops"}
"""How a command ended, by its exit status."""

DEADLINES = {
    "list": 60.0,
    "next page": 60.0,
    "defaults": 60.0,
    "grant": 180.0,
    "copy": 180.0,
    "put": 180.0,
    "delete": 180.0,
    "get": 700.0,
    "poll": 800.0,
}
"""Seconds within which a run ends, whatever happens to one kind of call."""


@dataclass(frozen=True)
class Call:
    """A call to the service, in a command that makes it.

    Attributes:
        kind: what is called, as faults name it.
        begins: which scene it is played in.
        certain: it can be repeated where it is unknown to have been taken; what replaces is not sent twice.
    """

    name: str
    where: str
    kind: str
    order: tuple[str, ...] = REPLICATE
    begins: str = "empty"
    api_version: str = RELEASED
    certain: bool = True

    @property
    def label(self) -> str:
        return f"{'source' if self.where == SOURCE else 'target'} {self.name}"

    def is_made_by(self, request: httpx.Request) -> bool:
        """Say whether a request is this call; of calls about one analyzer, that about the invoice."""
        return request.url.host.startswith(f"{self.where}.") and kind_of(request) == self.kind


def kind_of(request: httpx.Request) -> str:
    """Say what is called; nothing, where it is about another analyzer than the one that is watched."""
    path = request.url.path.removeprefix("/contentunderstanding")
    if path == "/defaults":
        return "defaults" if request.method == "GET" else "set defaults"
    if path == "/analyzers":
        return "next page" if "skip" in request.url.params else "list"
    name, _, rest = path.removeprefix("/analyzers/").partition("/")
    name, _, action = name.partition(":")
    if name != "invoice":
        return ""
    if rest:
        return "poll"
    if action:
        return "copy" if action == "copy" else "grant"
    return request.method.lower()


CALLS = (
    Call("list", SOURCE, "list"),
    Call("next page", SOURCE, "next page"),
    Call("list", TARGET, "list"),
    Call("next page", TARGET, "next page"),
    Call("defaults", SOURCE, "defaults"),
    Call("defaults", TARGET, "defaults"),
    Call("grant", SOURCE, "grant"),
    Call("copy", TARGET, "copy"),
    Call("poll", TARGET, "poll"),
    Call("get", TARGET, "get"),
    Call("get to replace", TARGET, "get", REPLACE, "edited", certain=False),
    Call("copy to replace", TARGET, "copy", REPLACE, "edited", certain=False),
    Call("grant of 2025-05-01-preview", SOURCE, "grant", api_version=PREVIEW_2025),
    Call("copy of 2025-05-01-preview", TARGET, "copy", api_version=PREVIEW_2025),
    Call("poll of 2025-05-01-preview", TARGET, "poll", api_version=PREVIEW_2025),
    Call("delete of 2025-05-01-preview", TARGET, "delete", REPLICATE, "broken", PREVIEW_2025),
    Call("list of restore", TARGET, "list", RESTORE, "lost"),
    Call("put of restore", TARGET, "put", RESTORE, "lost"),
    Call("poll of restore", TARGET, "poll", RESTORE, "lost"),
    Call("get of restore", TARGET, "get", RESTORE, "lost"),
    Call("list of check", SOURCE, "list", CHECK, "copied"),
    Call("list of check", TARGET, "list", CHECK, "copied"),
    Call("list of snapshot", SOURCE, "list", SNAPSHOT, "copied"),
)


@contextmanager
def scenes(folder: Path) -> Iterator[Callable[..., Regions]]:
    """Prepare what calls begin with, each once, and give copies."""
    made: dict[tuple[str, str], Regions] = {}
    number = 0

    def scene(begins: str, api_version: str = RELEASED) -> Regions:
        nonlocal number
        key = (begins, api_version)
        if key not in made:
            place = folder / "-".join(key)
            place.mkdir()
            made[key] = _prepare(place, *key)
        number += 1
        place = folder / str(number)
        place.mkdir()
        return made[key].copied_to(place)

    yield scene


def _prepare(folder: Path, begins: str, api_version: str) -> Regions:
    orders = () if begins == "empty" else (REPLICATE, SNAPSHOT)
    with prepared(folder, api_version, *orders) as regions:
        if begins == "edited":
            regions.edit("invoice", description="edited since")
        if begins == "kept":
            for order in ("failover --to west --planned", "commit", "failback", "commit"):
                name, *options = order.split()
                regions.done(name, PLAN, *options, "--yes")
            regions.remove(TARGET, "receipt")
        if begins == "broken":
            regions.break_copy("invoice")
        if begins == "lost":
            for name in ANALYZERS:
                regions.remove(TARGET, name)
        regions.service.resources[TARGET].stats.copies_accepted.clear()
        return regions


@dataclass
class Armed:
    """Lets a fault happen to a call, until all is calm."""

    regions: Regions
    fault: Fault
    call: Call
    met: int = 0
    calm: bool = False

    def __call__(self, request: httpx.Request, carry_out: Callable[[], httpx.Response]) -> httpx.Response | float:
        hit = self.call.is_made_by(request)
        if self.fault.spreads and self.met:
            hit = request.url.host.startswith(f"{self.call.where}.")
        left = math.inf if self.fault.times is None else self.fault.times - self.met
        if self.calm or not hit or left <= 0:
            return carry_out()
        self.met += 1
        return self.fault.happens(Exchange(self.regions, request, carry_out))


@dataclass
class Cell:
    """What a fault did to a call.

    Attributes:
        ended: how the run ended, in a word.
        says: the sentences by which it stopped.
        wrong: what must not be.
    """

    fault: str
    call: str
    ended: str = ""
    seconds: float = 0.0
    says: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    story: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "story"}

    def must(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.wrong.append(otherwise)

    def judge_ending(self, ran: Ran, also: tuple[int, ...] = ()) -> None:
        """Judge how a command ended: it says why it stopped, waited for all it had begun, and is no defect of ours."""
        self.story.append(str(ran))
        self.seconds = ran.seconds
        self.says += sentences(ran)
        self.ended = ENDINGS.get(ran.status, str(ran.status))
        self.must(ran.status in {*ENDINGS, *also}, f"exit status {ran.status}")
        self.must(not ran.left, f"leaves tasks: {ran.left}")
        self.must(ran.status in {0, 2} or bool(ran.said or ran.err), "stops without a reason")
        self.must("defect in Standby" not in ran.out + ran.err, f"defect: {ran.out}{ran.err}")


def play(fault: Fault, call: Call, regions: Regions) -> Cell | None:
    """Let a fault happen to a call, then let all be calm, and judge; `None` where the call was never made."""
    cell = Cell(fault.name, call.label)
    armed = Armed(regions, fault, call)
    regions.wire = armed
    random.seed(1)
    if call.order is RESTORE:
        regions.snapshot = regions.held(SOURCE)
    with booted(regions.machine):
        ran = regions.run(*call.order)
        assert ran is not None
        if not armed.met:
            return None
        _judge_run(cell, fault, call, ran)
        if ran.status == 0 and call.order not in (CHECK, SNAPSHOT) and not fault.stays:
            judge_world(cell, regions)
        armed.calm = True
        regions.become_calm()
        _judge_after(cell, fault, call, regions)
    cell.must(not regions.strays, f"asked elsewhere: {', '.join(regions.strays)}")
    judge_secrets(cell, regions)
    return cell


def _judge_run(cell: Cell, fault: Fault, call: Call, ran: Ran) -> None:
    cell.judge_ending(ran)
    cell.must(ran.status == 0 or not (fault.passes and call.certain), f"stops: {cell.says}")
    within = fault.within or DEADLINES[call.kind]
    cell.must(ran.seconds <= within, f"took {ran.seconds:.0f} s of {within:.0f}")
    others = [each for each in ran.said.get("items", []) if each["analyzer"] == "receipt" and "status" in each]
    if call.kind not in {"list", "next page", "defaults"} and not fault.spreads:
        cell.must(all(each["status"] in {"succeeded", "skipped"} for each in others), "the receipt did not go on")


def sentences(ran: Ran) -> list[str]:
    """Give the reasons a command gave for what it did not do."""
    if "error" in ran.said:
        found = ran.said["error"]
        return [f"{found['kind']}: {found['cause']}. {found.get('next_action', '')}."]
    found = [str(each) for each in ran.said.get("problems", [])]
    bad = [each for each in ran.said.get("items", []) if each.get("status") in {"failed", "blocked", "refused"}]
    return found + [f"{each['analyzer']} {each['status']}: {each['reason']}" for each in bad]


SAME = ("description", "baseAnalyzerId", "config", "fieldSchema", "models", "tags")


def judge_world(cell: Cell, regions: Regions) -> None:
    """Whatever ended well has a target that holds what the source does."""
    at_target = regions.held(TARGET)
    for name, wanted in (regions.snapshot or regions.held(SOURCE)).items():
        found = at_target.get(name)
        if found is None:
            cell.must(False, f"green, but {name} is not there")
        else:
            cell.must(found["status"] == "ready", f"green, but {name} is {found['status']}")
            differ = [key for key in SAME if found.get(key) != wanted.get(key)]
            cell.must(not differ, f"green, but {name} differs in {differ}")


def _judge_after(cell: Cell, fault: Fault, call: Call, regions: Regions) -> None:
    """Once calm, the same command ends well, and nothing was copied twice."""
    again = regions.run(*call.order)
    assert again is not None
    cell.story.append(str(again))
    twice = {
        name: count for name, count in regions.accepted().items() if count > (fault.copies if name == "invoice" else 1)
    }
    cell.must(not twice, f"copied more than once: {twice}")
    if fault.stays:
        cell.judge_ending(again)
        return
    if call.order is CHECK:
        differs = Cell(cell.fault, cell.call)
        judge_world(differs, regions)
        cell.must(again.status == (2 if differs.wrong else 0), f"the check ends with {again.status}: {again.out}")
        return
    cell.must(again.status == 0, f"once calm it ends with {again.status}: {sentences(again)}")
    if call.order is SNAPSHOT:
        return
    judge_world(cell, regions)
    if call.order[0] != "restore":
        check = regions.run(*CHECK)
        assert check is not None
        cell.must(check.status == 0, f"the check ends with {check.status}: {check.out}")


TOKENS = re.compile(rb'"(authorizationToken|encryptionKey|decryptionKey)"')


def judge_secrets(cell: Cell, regions: Regions) -> None:
    texts = {"output": "".join(cell.story).encode()}
    texts |= {str(path): path.read_bytes() for path in regions.vault.rglob("*") if path.is_file()}
    for place, text in texts.items():
        leaked = any(key.encode() in text for key in KEYS.values()) or TOKENS.search(text)
        cell.must(not leaked, f"a credential is in the {place}")


@contextmanager
def stage() -> Iterator[Callable[..., Regions]]:
    """Give copies of the scenes in a folder that goes."""
    folder = Path(tempfile.mkdtemp(prefix="matrix-"))
    try:
        with scenes(folder) as scene:
            yield scene
    finally:
        shutil.rmtree(folder, ignore_errors=True)
