"""Regions in memory that also build analyzers, and stores in memory that can be looked into and spoilt."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from standby.config.configuration import Configuration
from standby.config.plan import RecoveryPlan
from standby.document import JsonObject
from standby.fencing import Assignment, Fence
from standby.recovery.context import RecoveryContext
from standby.recovery.snapshots.fidelity import RestorePlan
from standby.recovery.snapshots.plan import plan_restore
from standby.recovery.snapshots.restore import RestoreReport, restore
from standby.recovery.snapshots.snapshot import Snapshot, open_snapshot, readable_definitions
from standby.recovery.snapshots.take import SnapshotTaken, take_snapshot
from standby.replication.fingerprint import fingerprint
from standby.replication.ledger import write_ledger
from standby.replication.verdict import CopyRecord, sight
from standby.service.models import Analyzer
from standby.vault.errors import VaultUnavailable
from standby.vault.replica import Replicated
from standby.vault.signing import HmacSigner, Signer
from tests.standby.replication.world import (
    DEFAULTS,
    MODELS,
    RELEASED,
    START,
    Region,
    Service,
    definition,
    operation_answer,
    recovery_plan,
    refusal,
)
from tests.standby.vault.world import MemoryVault

SIGNER = HmacSigner(b"a key of the tests")


class Died(BaseException):
    """Nothing of ours runs after it."""


class Files(MemoryVault):
    """A store in memory.

    Attributes:
        down: whether it answers nobody.
        dies_at: number of the change before which the process dies.
    """

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        super().__init__(files)
        self.down = False
        self.changes = 0
        self.dies_at: int | None = None
        self.written: list[str] = []

    async def get(self, path: str) -> bytes | None:
        self._answer(path, "read")
        return await super().get(path)

    async def put(self, path: str, content: bytes) -> None:
        self._change(path, "written")
        self.written.append(path)
        await super().put(path, content)

    async def drop(self, path: str) -> None:
        self._change(path, "removed")
        await super().drop(path)

    def _answer(self, path: str, action: str) -> None:
        if self.down:
            raise VaultUnavailable(self.where(path), action, "down")

    def _change(self, path: str, action: str) -> None:
        self._answer(path, action)
        self.changes += 1
        if self.dies_at is not None and self.changes >= self.dies_at:
            raise Died


@dataclass
class Cloud(Service):
    """The service in memory, which also builds what is put.

    Attributes:
        down: regions that do not answer.
        built: builds that were taken, in order, by resource and analyzer.
        sent: what was put, by resource and analyzer.
        fails: analyzers whose build ends as failed.
    """

    down: set[str] = field(default_factory=set)
    built: list[tuple[str, str]] = field(default_factory=list)
    sent: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    fails: set[str] = field(default_factory=set)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.host.partition(".")[0] in self.down:
            raise httpx.ConnectError("down", request=request)
        return super()._answer(request)

    def _serve(self, region: Region, where: str, request: httpx.Request, path: str) -> httpx.Response:
        if request.method != "PUT":
            return super()._serve(region, where, request, path)
        name = path.removeprefix("/analyzers/")
        if name in region.analyzers and "allowReplace" not in request.url.params:
            return refusal(409, "Conflict", "ModelExists", "It exists.")
        body = json.loads(request.content)
        stamp = f"{self.clock.now():%Y-%m-%dT%H:%M:%SZ}"
        made = {**copy.deepcopy(body), "analyzerId": name, "status": "creating"}
        made |= {
            "createdAt": stamp,
            "lastModifiedAt": stamp,
            "config": {"enableOcr": True, **body.get("config", {})},
        }
        region.analyzers[name] = made
        self.built.append((where, name))
        self.sent[where, name] = body
        operation = f"build-{len(self.built)}"
        region.operations[operation] = {"left": self.polls, "analyzer": name, "over": False}
        location = f"{request.url.copy_with(query=None)}/operations/{operation}?api-version={RELEASED}"
        return httpx.Response(201, json=made, headers={"operation-location": location})

    def _operation(self, region: Region, operation: str) -> httpx.Response:
        known = region.operations[operation]
        if known["analyzer"] in self.fails:
            region.analyzers[known["analyzer"]]["status"] = "failed"
            error = {"code": "InvalidRequest", "message": "No training data was found."}
            return operation_answer("Failed", operation, error=error)
        return super()._operation(region, operation)


@dataclass
class World:
    """A plan over regions in memory, and one or two stores."""

    plan: RecoveryPlan = field(default_factory=lambda: recovery_plan(targets=("west", "north")))
    cloud: Cloud = field(default_factory=Cloud)
    vault: Files = field(default_factory=Files)
    second: Files | None = None
    signer: Signer | None = SIGNER

    def context(self) -> RecoveryContext:
        vault = self.vault if self.second is None else Replicated(self.vault, self.second)
        run = self.cloud.context(self.plan, vault, arm_endpoint="")
        resources = {name: client.resource for name, client in run.connections.clients.items()}
        return RecoveryContext(
            configuration=Configuration(resources=resources, plans={self.plan.name: self.plan}),
            run=run,
            second=self.second,
            signer=self.signer,
            sinks=(),
            via="direct",
            actor="ada@desk",
            run_id="run-1",
        )

    def hold(self, where: str, *definitions: Mapping[str, Any]) -> None:
        self.cloud.hold(where, *definitions)

    async def take(self) -> SnapshotTaken:
        """Take a snapshot a minute after whatever was before."""
        self.cloud.clock.seconds += 60
        return await take_snapshot(self.context())

    async def planned(self, to: str = "west", **options: Any) -> RestorePlan:
        context = self.context()
        return await plan_restore(context, await open_snapshot(context), to, **options)

    async def restored(self, to: str = "west", **options: Any) -> RestoreReport:
        context = self.context()
        return await restore(context, await plan_restore(context, await open_snapshot(context), to, **options))

    def switch(self, epoch: int = 1, **active: str) -> None:
        """Let other resources serve in the place of sources."""
        primaries = {pair.source: Assignment(active=active.get(pair.source, pair.source)) for pair in self.plan.pairs}
        fence = Fence(plan=self.plan.name, epoch=epoch, assignments=primaries)
        self.vault.files[f"recovery/{self.plan.name}/fence.json"] = fence.model_dump_json().encode()

    def meanings(self, where: str) -> dict[str, str]:
        """The fingerprint of everything a region holds."""
        return {name: fingerprint(each) for name, each in self.cloud.region(where).analyzers.items()}


def served(world: World, *regions: str) -> World:
    """Give regions defaults, so that they can serve what is named."""
    for name in regions or ("east", "west", "north"):
        world.cloud.region(name).defaults = dict(DEFAULTS)
    return world


def analyzer(name: str, *children: str, **fields: Any) -> dict[str, Any]:
    return definition(name, *children, models=dict(MODELS), **fields)


def labelled_by(url: str, name: str = "trained", **fields: Any) -> dict[str, Any]:
    source = {"kind": "labeledData", "containerUrl": url, "prefix": "set/", "fileListPath": "set/list.jsonl"}
    return analyzer(name, knowledgeSources=[source], **fields)


async def recorded(world: World, *copies: str, **source: Any) -> None:
    """Let the ledger tell of verified copies from east to west."""
    async with write_ledger(world.vault, "east", "west", RELEASED) as ledger:
        for name in copies:
            there = Analyzer.model_validate(world.cloud.region("east").analyzers[name] | source)
            here = Analyzer.model_validate(world.cloud.region("west").analyzers[name])
            ledger.record({name: CopyRecord(sight(there, there.to_json()), sight(here, here.to_json()), START)})


def flipped(content: bytes, place: int, mask: int) -> bytes:
    """Change some bits of one byte."""
    changed = bytearray(content)
    changed[place % len(changed)] ^= mask
    return bytes(changed)


async def definitions_of(context: RecoveryContext, snapshot: Snapshot, resource: str) -> Mapping[str, JsonObject]:
    """Read the definitions of one resource, of which none may be damaged."""
    definitions, damaged = await readable_definitions(context, snapshot, resource)
    assert not damaged
    return definitions
