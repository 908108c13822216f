"""The context of a recovery: plan, clients, vault, and the sinks as far as this library can open them."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol, TypeVar, assert_never
from uuid import uuid4

from standby.clock import Clock
from standby.config.configuration import Configuration
from standby.config.plan import RecoveryPlan
from standby.config.sinks import FileSink, Sink, VariableSink, WebhookSink
from standby.document import Document
from standby.fencing import Assignment, Fence
from standby.recovery.activation.file import FileActivation
from standby.recovery.activation.sinks import ActivationSink, DeferredSink
from standby.recovery.activation.webhook import WebhookActivation, webhook_name
from standby.replication.inventory import Connections
from standby.replication.replicate import open_run
from standby.replication.report import Via
from standby.replication.steps import RunContext
from standby.text import this_user
from standby.vault.signing import LogMark, Signer, signer_for
from standby.vault.storage import Storage, Version
from standby.vault.vault import open_either

T = TypeVar("T")


class Stage(StrEnum):
    """Kind of a stage of a recovery: under Prefect the name of its task, which the UI can filter by."""

    SNAPSHOT = "snapshot"
    COMPARE = "compare"
    ANALYZE = "analyze"
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


class PlainStages:
    """Stages that nobody watches."""

    async def run(self, stage: Stage, name: str, work: Callable[[], Awaitable[T]]) -> T:  # noqa: ARG002
        return await work()


@dataclass(frozen=True)
class Known:
    """What was found out of a plan's records before anything else, by `witnesses.py`."""

    log: LogMark | None = None  # the newest line of the audit log that anything knows
    problem: str = ""  # why the fence or the log is not the one that was written last; empty where it is
    # What serves, by primary, where the fence is not the last one and something else knows.
    serving: Mapping[str, Assignment] = field(default_factory=dict)
    fence: Fence | None = None  # as it was found, for what is decided at once
    # What was written again because an operator goes on by force, as a sentence; empty where nothing was.
    went_on: str = ""

    def correct(self, fence: Fence) -> Fence:
        """Give a fence with what serves by what is known beside it."""
        return fence.model_copy(update={"assignments": {**fence.assignments, **self.serving}})


@dataclass
class LogEnd:
    """The audit log and its head as this run read or wrote them last; whoever else writes them makes a swap fail."""

    # The vault and the plan whose log it is; `None` where nothing is known to be current.
    of: tuple[Storage, str] | None = None
    head: Version | None = None
    log: Version | None = None

    def is_known(self, vault: Storage, plan: str) -> bool:
        return self.of is not None and self.of[0] is vault and self.of[1] == plan

    def remember(self, vault: Storage, plan: str, head: Version | None, log: Version | None) -> None:
        """Keep what was just read or written of head and log, which agree, for the next line."""
        self.of, self.head, self.log = (vault, plan), head, log


class RunReport(Document):
    """What every report says first: which run of which plan it is of."""

    plan: str
    run_id: str
    via: Via


@dataclass(frozen=True)
class RecoveryContext:
    configuration: Configuration
    run: RunContext  # what replication works with; its vault is the recovery's, too
    second: Storage | None  # the replica of the vault, where there is one: for reading what the vault lost
    signer: Signer | None
    sinks: Sequence[ActivationSink]
    via: Via
    actor: str  # who asks for it: a person at a machine, or a flow run
    run_id: str
    known: Known | None = None  # `None` where the records were not compared
    log_end: LogEnd = field(default_factory=LogEnd, compare=False)  # spares the vault the same reads for each line

    @property
    def plan(self) -> RecoveryPlan:
        return self.run.recovery_plan

    @property
    def vault(self) -> Storage:
        return self.run.vault

    @property
    def connections(self) -> Connections:
        return self.run.connections

    @property
    def clock(self) -> Clock:
        return self.run.clock

    @property
    def of_run(self) -> dict[str, Any]:
        """What a `RunReport` of this run begins with."""
        return {"plan": self.plan.name, "run_id": self.run_id, "via": self.via}


def allowing(context: RecoveryContext, target: str) -> RecoveryContext:
    """Give the context of somebody who goes on by force: the target may lie outside the data's geography."""
    return replace(context, run=replace(context.run, recovery_plan=context.plan.allowing(target)))


def open_sinks(
    sinks: Sequence[Sink], *, variable: Callable[[VariableSink], ActivationSink] | None = None
) -> Sequence[ActivationSink]:
    """Make the sinks of a configuration; no two have the same name. `variable` makes the Prefect variables."""
    opened: list[ActivationSink] = []
    seen: Counter[str] = Counter()
    for sink in sinks:
        match sink:
            case FileSink():
                opened.append(FileActivation(sink.path, sink.mode, sink.required))
            case WebhookSink():
                name = webhook_name(sink)
                seen[name] += 1
                # Their paths distinguish them, and are often part of their secret.
                opened.append(WebhookActivation(sink, name if seen[name] == 1 else f"{name} ({seen[name]})"))
            case VariableSink():
                opened.append(variable(sink) if variable else DeferredSink(f"variable {sink.name}", sink.required))
            case _:
                assert_never(sink)
    return opened


SinkOpener = Callable[[Sequence[Sink]], Sequence[ActivationSink]]


@asynccontextmanager
async def open_recovery(
    configuration: Configuration,
    plan_name: str,
    *,
    via: Via = "direct",
    sinks: SinkOpener = open_sinks,  # opens the sinks; this library alone opens files and webhooks
    actor: str = "",  # who asks; without it, the user of this machine
    run_id: str = "",
) -> AsyncIterator[RecoveryContext]:
    """Open everything a recovery of one plan needs; no call is made yet."""
    settings = configuration.vault
    async with open_run(configuration, plan_name) as run, AsyncExitStack() as stack:
        second = None
        if settings.second is not None and settings.promotion is None:
            second = await open_either(stack, settings.second)
        opened, signer = sinks(configuration.activation), signer_for(settings.signing)
        actor, run_id = actor or this_user(), run_id or uuid4().hex[:12]
        yield RecoveryContext(configuration, run, second, signer, opened, via, actor, run_id)
