"""What commands share: their options, each with one spelling and explanation, and how they run and end."""

import asyncio
import gc
import logging
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum
from functools import wraps
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Literal, TypeVar

import typer
from rich.console import Console

from standby import telemetry
from standby.cli.output import Line, Output, show
from standby.config.durations import parse_seconds
from standby.config.plan import OnExisting
from standby.document import from_home
from standby.errors import GuardRefused, ReadOnly, StandbyError, is_read_only
from standby.replication.items import Selection
from standby.text import this_user
from standby.vault.errors import VaultUnavailable


def of_the_configuration(section: str) -> Callable[[typer.Context, str], list[str]]:
    """Complete a name of standby.yaml, of which nothing else has to be right, and no variable set."""

    def complete(context: typer.Context, incomplete: str) -> list[str]:
        from standby.config.yaml_file import read_yaml  # noqa: PLC0415 - most commands read it later, and --help never

        try:
            text = with_home(Path(context.find_root().params.get("config") or DEFAULT_FILE)).read_text(encoding="utf-8")
        except (OSError, ValueError, typer.TyperException):
            return []
        data = read_yaml(text).data
        names = data.get(section) if isinstance(data, dict) else None
        return [name for name in names if name.startswith(incomplete)] if isinstance(names, dict) else []

    return complete


DEFAULT_FILE = "standby.yaml"
PLANS, RESOURCES = of_the_configuration("plans"), of_the_configuration("resources")

PlanName = Annotated[str, typer.Argument(metavar="PLAN", help="A plan of the configuration.", autocompletion=PLANS)]
Via = Annotated[
    Literal["direct", "prefect"],
    typer.Option("--via", help="direct: run here, without Prefect; prefect: as a Prefect flow run."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]


def resource_option(name: str, about: str, *also: str) -> Any:
    return typer.Option(name, *also, metavar="RESOURCE", autocompletion=RESOURCES, help=about)


Primary = Annotated[str, resource_option("--primary", "Which primary, if the plan has several.")]


def _seconds(given: str | float) -> float:
    try:
        seconds = float(str(parse_seconds(given)))
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 600:
        raise typer.BadParameter(f"{given} is not a time between 0.1 and 600 seconds, such as 20, 20s or 2m")
    return seconds


Wait = Annotated[
    float,
    typer.Option("--wait", metavar="TIME", parser=_seconds, help="How long a resource may take to answer: 20s, 2m."),
]
Analyzers = Annotated[
    list[str] | None, typer.Option("--analyzer", metavar="GLOB", help="Only these analyzers; can be repeated.")
]
Targets = Annotated[list[str] | None, resource_option("--target", "Only this target; can be repeated.")]
Existing = Annotated[
    OnExisting | None, typer.Option("--on-existing", help="What to do with older or different analyzers at a target.")
]
Forced = Annotated[
    list[str] | None,
    typer.Option(
        "--force",
        metavar="ID",
        help="Overwrite this analyzer at the targets, even if it was edited there; can be repeated. With "
        "--reason, the value fence continues after the loss of the fence or the audit log.",
    ),
]


PastLoss = Annotated[
    Literal["fence"] | None,
    typer.Option("--force", metavar="fence", help="With --reason: continue after the loss of fence or audit log."),
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Reason, for the audit log.")]

T = TypeVar("T")


def with_home(value: T | Path) -> T | Path:
    """Give the value of an option; of a path, with what `~` means: a shell leaves that in `--out=~/plan.json`."""
    if not isinstance(value, Path):
        return value
    try:
        return from_home(value)
    except ValueError as error:
        raise typer.BadParameter(f"{value} {error}") from None


def present_name(option: str) -> str:
    """Give the name of today for an option of an earlier version, which scripts may use and --help does not show."""
    return "primary" if option in {"from", "home"} else option


def selection(analyzers: Analyzers, targets: Targets, on_existing: Existing, forced: Forced) -> Selection:
    chosen, force = tuple(analyzers or ["*"]), tuple(name for name in forced or [] if name != "fence")
    return Selection(analyzers=chosen, targets=tuple(targets or []), on_existing=on_existing, force=force)


class Exit(IntEnum):
    """Exit statuses that scripts rely on."""

    DONE = 0
    ERROR = 1
    DIFFERENCES = 2
    PARTIAL = 3
    REFUSED = 4
    INTERRUPTED = 130


RESULTS = {Exit.DONE: "done", Exit.PARTIAL: "partial", Exit.REFUSED: "refused", Exit.INTERRUPTED: "interrupted"}
"""How metrics name the end of a command."""


def exit_of(*, complete: bool, interrupted: bool = False) -> Exit:
    if interrupted:
        return Exit.INTERRUPTED
    return Exit.DONE if complete else Exit.PARTIAL


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STDERR = 2
SHOW_CURSOR = b"\x1b[?25h"  # A live line hides it
GARBAGE = (50_000, 20, 20)  # How seldom garbage is looked for: a plan of many makes little, and each look goes over it
GRACE = 1.0  # Seconds after a second Ctrl-C in which files are closed and our own processes stopped


@contextmanager
def stopped_by_signals(task: asyncio.Task[Exit], on_first: Callable[[], None]) -> Iterator[None]:
    """Let signals cancel a task of the running loop while inside; `on_first` is called in the loop at the first."""
    loop = asyncio.get_running_loop()
    asked = 0

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked += 1
        if asked > 1:
            if os.isatty(STDERR):
                os.write(STDERR, SHOW_CURSOR)
            # A thread, because the loop may be what hangs.
            timer = threading.Timer(GRACE, os._exit, [int(Exit.INTERRUPTED)])
            timer.daemon = True
            timer.start()
        elif not task.done():
            # Not from here: what is being printed just now must not be printed into.
            loop.call_soon_threadsafe(on_first)
        loop.call_soon_threadsafe(task.cancel)

    # What nohup ignores stays ignored.
    heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


SILENT = ("azure", "stamina")  # Loggers of libraries: their messages come back as Standby's errors, without secrets


class _Handler(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        show(self._console, Line(f"{record.levelname.lower()}: {record.getMessage()}"))
        if record.exc_info:
            for line in logging.Formatter().formatException(record.exc_info).split("\n"):
                show(self._console, Line(line, 2))


@contextmanager
def logging_to(console: Console, *, verbose: bool, quiet: bool) -> Iterator[None]:
    """Send the log to a console for a while, as much of it as was asked for."""
    ours, others = logging.getLogger("standby"), logging.getLogger()
    handler = _Handler(console)
    changed = [ours, others, *(logging.getLogger(name) for name in SILENT)]
    before = [(log, log.level, log.propagate) for log in changed]
    ours.setLevel(logging.DEBUG if verbose else logging.ERROR if quiet else logging.WARNING)
    # Prefect takes the root's handlers away when it is imported, so ours has its own.
    ours.propagate = False
    others.setLevel(logging.WARNING if verbose else logging.CRITICAL)
    for name in SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    ours.addHandler(handler)
    others.addHandler(handler)
    try:
        yield
    finally:
        ours.removeHandler(handler)
        others.removeHandler(handler)
        for log, level, propagate in before:
            log.setLevel(level)
            log.propagate = propagate


LOOKING = frozenset(
    {"schema", "doctor", "plan", "check", "status", "snapshots", "explain", "audit", "report", "automation"}
)
"""Commands that read-only may run; all others end before they look at anything, but where an option only looks."""

Command = Callable[..., Coroutine[None, None, Exit]]

log = logging.getLogger("standby.cli")


def runnable(command: Command) -> Callable[..., None]:
    """Let typer call a command: it runs in one event loop, and the process ends with its status."""

    @wraps(command)
    def run(**options: Any) -> None:
        context: typer.Context = options.pop("output")
        output: Output = context.obj
        with logging_to(output.stderr, verbose=output.verbose, quiet=output.quiet):
            only_looks = context.info_name in LOOKING or options.get("dry_run") or options.get("verify")
            if is_read_only() and not only_looks:
                output.error(ReadOnly(f"standby {context.info_name}"))
                raise typer.Exit(Exit.REFUSED)
            given = {name: with_home(each) for name, each in options.items()}
            name = str(context.info_name)
            work = _on_second(command, name, output, given) if output.second else command(output, **given)
            if plan := options.get("plan"):
                work = _measured(work, name, plan)
            status = _status(work, output)
        if output.stdout.failure:
            cause = f"The result could not be written to stdout: {output.stdout.failure}"
            output.problem(
                "NotPrinted", cause, "Free space there, or redirect the output; the command itself was carried out"
            )
            status = status or Exit.ERROR
        raise typer.Exit(status)

    # What a command takes first is in typer's context, which typer gives where that is named.
    run.__annotations__ = {**command.__annotations__, "output": typer.Context}
    return run


async def _measured(work: Coroutine[None, None, Exit], command: str, plan: str) -> Exit:
    async with telemetry.measured(command, plan) as run:
        status = await work
        # That there are differences is an answer, and no failure.
        run.result = "done" if status is Exit.DIFFERENCES else RESULTS.get(status, "failed")
    return status


async def _on_second(command: Command, name: str, output: Output, options: Mapping[str, object]) -> Exit:
    # What --help and most commands do not need they do not wait for.
    from standby.vault.vault import on_second  # noqa: PLC0415

    if options.get("via") == "prefect":
        raise typer.BadParameter("a flow takes the vault of its blocks; leave out --via prefect", param_hint="--vault")
    asked = " ".join(str(part) for part in ("standby", name, options.get("plan")) if part)
    output.go_on_from(await on_second(output.load().vault, this_user(), str(options.get("reason") or asked)))
    return await command(output, **options)


def _status(work: Coroutine[None, None, Exit], output: Output) -> Exit:
    if not gc.isenabled():
        # Turned off while everything was imported, which now counts as what never becomes garbage.
        gc.freeze()
        gc.set_threshold(*GARBAGE)
        gc.enable()
    try:
        return asyncio.run(_stoppable(work, output))
    except typer.TyperException:
        raise
    except StandbyError as error:
        if isinstance(error, VaultUnavailable) and output.may_use_second:
            error.next_action += ". If the vault is lost, add --vault second to continue from its replica"
        output.error(error)
        return Exit.REFUSED if isinstance(error, GuardRefused) else Exit.ERROR
    except OSError as error:
        # What this machine does not give: a file, a folder, room, another open file.
        log.debug("where the error happened:", exc_info=error)
        about = f"{error.filename}: " if error.filename else ""
        cause = f"The operating system refused: {about}{error.strerror or type(error).__name__}"
        next_action = "Correct that, then run it again: it continues, and repeats nothing"
        output.problem(type(error).__name__, cause, next_action)
        return Exit.ERROR
    except (KeyboardInterrupt, asyncio.CancelledError):
        output.say("Interrupted.")
        cause, next_action = "The command was interrupted", "Run it again"
        output.document({"error": {"kind": "Interrupted", "cause": cause, "next_action": next_action}})
        return Exit.INTERRUPTED
    except Exception as error:
        # A defect of ours: where it happened helps whoever fixes it.
        log.debug("where the error happened:", exc_info=error)
        output.problem(
            type(error).__name__,
            f"A defect in Standby ended the command ({type(error).__name__}); some of its work may be unfinished",
            "Run it again: it continues, and repeats nothing. If it ends like this again, add -v and report the output",
        )
        return Exit.ERROR


async def _stoppable(work: Coroutine[None, None, Exit], output: Output) -> Exit:
    task = asyncio.create_task(work)
    with stopped_by_signals(task, lambda: output.say("Stopping. Press Ctrl-C again to end at once.")):
        return await task
