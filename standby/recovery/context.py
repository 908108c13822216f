"""The context of a recovery: plan, clients, vault, sinks."""

from __future__ import annotations

import getpass
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar
from uuid import uuid4

from standby.clock import Clock
from standby.config.configuration import Configuration
from standby.config.plan import RecoveryPlan
from standby.config.sinks import Sink
from standby.errors import GuardRefused
from standby.fencing import read_fence
from standby.recovery.activation.opening import open_sinks
from standby.recovery.activation.sinks import ActivationSink
from standby.replication.inventory import Connections
from standby.replication.replicate import open_run
from standby.replication.report import Via
from standby.replication.steps import RunContext
from standby.vault.filesystem import FileSystem
from standby.vault.folder import LocalFolder
from standby.vault.signing import Signer, signer_for

T = TypeVar("T")


class Stage(StrEnum):
    """Kind of a stage of a recovery: under Prefect the name of its task, which the UI can filter by."""

    SNAPSHOT = "snapshot"
    COMPARE = "compare"
    WAIT = "wait-for-replication"
    SYNC = "sync"
    READINESS = "readiness"
    RESTORE = "restore"
    FENCE = "fence"
    WITHDRAW = "withdraw"
    PUBLISH = "publish"
    VERIFY_SINKS = "verify-sinks"
    VERIFY = "verify-target"
    COMMIT = "commit"
    PLAN_DRILL = "plan-drill"
    CLEAN_UP = "clean-up"
    AUTOMATION = "automation"


class Stages(Protocol):
    """Runs one stage at a time: plainly, or as task runs that people can watch."""

    async def run(self, stage: Stage, name: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do a stage and give its result; its error is the caller's to see. `name` is such as `restore at west`."""
        ...


@dataclass(frozen=True)
class RecoveryContext:
    """One plan, its connections, its vault and its sinks.

    Attributes:
        run: what replication works with; its vault is the recovery's, too.
        second: the other place for snapshots, where there is one.
        actor: who asks for it: a person at a machine, or a flow run.
    """

    configuration: Configuration
    run: RunContext
    second: FileSystem | None
    signer: Signer | None
    sinks: Sequence[ActivationSink]
    via: Via
    actor: str
    run_id: str

    @property
    def plan(self) -> RecoveryPlan:
        return self.run.recovery_plan

    @property
    def vault(self) -> FileSystem:
        return self.run.vault

    @property
    def connections(self) -> Connections:
        return self.run.connections

    @property
    def clock(self) -> Clock:
        return self.run.clock


SinkOpener = Callable[[Sequence[Sink]], Sequence[ActivationSink]]


@asynccontextmanager
async def open_recovery(
    configuration: Configuration,
    plan_name: str,
    *,
    via: Via = "direct",
    vault: FileSystem | None = None,
    second: FileSystem | None = None,
    sinks: SinkOpener = open_sinks,
    actor: str = "",
    run_id: str = "",
) -> AsyncIterator[RecoveryContext]:
    """Open everything a recovery of one plan needs; no call is made yet.

    Args:
        vault: as it was opened by who can; without it, the local folder is.
        second: likewise; without it, the second store's local folder, where it is one.
        sinks: opens the sinks; this library alone opens files and webhooks.
        actor: who asks; without it, the user of this machine.

    Raises:
        UnknownName: there is no such plan.
        VaultNeedsPrefect: there is no local folder.
        KeyUnusable: a signing key is not one.
    """
    settings = configuration.vault
    if second is None and settings.second is not None and settings.second.path is not None:
        second = LocalFolder(settings.second.path)
    async with open_run(configuration, plan_name, vault) as run:
        yield RecoveryContext(
            configuration=configuration,
            run=run,
            second=second,
            signer=signer_for(settings.signing),
            sinks=sinks(configuration.activation),
            via=via,
            actor=actor or f"{getpass.getuser()}@{socket.gethostname()}",
            run_id=run_id or uuid4().hex[:12],
        )


VAULT = "vault"
"""Continue by the fence in the folder, although flows keep theirs in a block."""


class FenceElsewhere(GuardRefused):
    """Flows keep the fence in a block, and the folder beside it has no failover."""

    def __init__(self, plan: str, block: str, folder: str) -> None:
        super().__init__(
            f"Flows keep the fence of plan {plan} in the block {block}, and {folder} has no record of a failover",
            f"Use --via prefect; if Prefect is lost, start with standby failover {plan} --to RESOURCE --force {VAULT}, "
            "and pause the deployments of the plan before Prefect runs again",
        )


async def must_be_the_flows_fence(context: RecoveryContext, *, forced: bool = False) -> None:
    """Refuse to work with a fence that is not the one which flows use.

    Once a failover was forced by the fence of the folder, that fence is used from then on.

    Raises:
        FenceElsewhere: it is not, and that is not forced.
    """
    block = context.configuration.vault.block
    if block is None or context.via == "prefect" or forced:
        return
    if (await read_fence(context.vault, context.plan)).epoch == 0:
        raise FenceElsewhere(context.plan.name, block, context.vault.where("."))
