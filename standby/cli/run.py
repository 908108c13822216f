"""Runs a command: its event loop, signals, log and exit status."""

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
from types import FrameType

import typer
from rich.console import Console

from standby import telemetry
from standby.cli.options import with_home
from standby.cli.output import Line, Output, show
from standby.errors import GuardRefused, ReadOnly, StandbyError, is_read_only
from standby.text import this_user
from standby.vault.errors import VaultUnavailable


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
    def run(context: typer.Context, **options: object) -> None:
        output: Output = context.obj
        with logging_to(output.stderr, verbose=output.verbose, quiet=output.quiet):
            only_looks = context.info_name in LOOKING or options.get("dry_run") or options.get("verify")
            if is_read_only() and not only_looks:
                output.error(ReadOnly(f"standby {context.info_name}"))
                raise typer.Exit(Exit.REFUSED)
            given = {name: with_home(each) for name, each in options.items()}
            work = _on_second(command, context, given) if output.second else command(context, **given)
            plan = options.get("plan")
            if isinstance(plan, str) and plan:
                work = _measured(work, str(context.info_name), plan)
            status = _status(work, output)
        if output.stdout.failure:
            cause = f"The result could not be written to stdout: {output.stdout.failure}"
            output.problem(
                "NotPrinted", cause, "Free space there, or redirect the output; the command itself was carried out"
            )
            status = status or Exit.ERROR
        raise typer.Exit(status)

    return run


async def _measured(work: Coroutine[None, None, Exit], command: str, plan: str) -> Exit:
    async with telemetry.measured(command, plan) as run:
        status = await work
        # That there are differences is an answer, and no failure.
        run.result = "done" if status is Exit.DIFFERENCES else RESULTS.get(status, "failed")
    return status


async def _on_second(command: Command, context: typer.Context, options: Mapping[str, object]) -> Exit:
    # What --help and most commands do not need they do not wait for.
    from standby.vault.vault import on_second  # noqa: PLC0415

    if options.get("via") == "prefect":
        raise typer.BadParameter("a flow takes the vault of its blocks; leave out --via prefect", param_hint="--vault")
    asked = " ".join(str(part) for part in ("standby", context.info_name, options.get("plan")) if part)
    output: Output = context.obj
    output.go_on_from(await on_second(output.load().vault, this_user(), str(options.get("reason") or asked)))
    return await command(context, **options)


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
