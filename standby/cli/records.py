"""`standby audit`, `standby vault move` and `standby automation`: the log, the vault elsewhere, and the off switch."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import ValidationError

from standby.cli.output import Line, Output
from standby.cli.run import PLANS, Exit, Reason, Via, with_home
from standby.clock import SystemClock
from standby.config.configuration import Configuration
from standby.config.errors import ConfigurationError, summary
from standby.config.vault import Place, VaultSettings
from standby.errors import sentence
from standby.orchestrator import run_flow
from standby.recovery.audit import HOW_TO_GO_ON, AuditCheck, facts_of_line, words_of_line
from standby.recovery.context import open_recovery
from standby.recovery.decision import automation as switch
from standby.recovery.witnesses import verify_by_witnesses
from standby.text import counted, this_user
from standby.vault.errors import NoSecond
from standby.vault.replica import replica_state
from standby.vault.role import Move, Moved, read_role
from standby.vault.signing import PUT_IT_BACK, signer_for
from standby.vault.vault import open_place, open_vault


def verify_lines(checks: Mapping[str, AuditCheck], key_id: str) -> Iterator[Line]:
    for plan, check in checks.items():
        if not check.problems:
            yield Line(f"{plan}: {_whole(check, key_id)}", mark="✓", style="green")
            for line in check.gaps:
                text = f"Lines before {line.sequence} are lost: {line.actor} continued without them, which it records."
                yield Line(text, 2, "!", "yellow", wrong=True)
            continue
        yield Line(f"{plan}: {check.where} {check.ending}.", mark="✗", style="red", wrong=True)
        for problem in check.problems:
            yield Line(sentence(problem), 2, wrong=True)
        todo = "Do not change it. Compare it with another copy of the vault"
        if check.other_key:
            todo = f"{PUT_IT_BACK}. If it was replaced on purpose, begin a new log: move this one and its head out of "
            todo += f'the vault, keep both, and run standby commit {plan} --force fence --reason "..."'
        yield Line(sentence(todo), 2, "→", wrong=True)
        if check.breaks:
            yield Line(sentence(HOW_TO_GO_ON), 2, "→", wrong=True)


def show_lines(check: AuditCheck, newest: int, *, verbose: bool = False) -> Iterator[Line]:
    """Show the newest lines of a log, oldest first; with the facts as they were written, where asked."""
    shown = check.lines[-newest:]
    if len(shown) < len(check.lines):
        yield Line(f"The newest {len(shown)} of {len(check.lines)} lines (-n shows more):")
    for line in shown:
        epoch = "" if line.epoch is None else f", epoch {line.epoch}"
        yield Line(f"{line.sequence}  {line.at:%Y-%m-%d %H:%M:%S}Z  {sentence(words_of_line(line))}")
        yield Line(f"by {line.actor} ({line.via}), run {line.run_id}{epoch}", 4)
        if verbose and (facts := facts_of_line(line)):
            yield Line(f"{line.action}: {facts}", 4)


def check_document(plan: str, check: AuditCheck, shown: int) -> dict[str, object]:
    document = {
        "plan": plan,
        "log": check.where,
        "whole": not check.problems,
        "problems": check.problems,
        "length": len(check.lines),
        "gaps": [line.sequence for line in check.gaps],
        "signed": sum(line.signature is not None for line in check.lines),
        "epoch": check.epoch,
        "newest_digest": check.lines[-1].digest if check.lines else None,
    }
    return document | {"lines": check.lines[-shown:]} if shown else document


def _whole(check: AuditCheck, key_id: str) -> str:
    if not check.lines:
        return "no log yet."
    last, unchecked = check.lines[-1], sum(line.signature is not None for line in check.lines)
    signed = f"{unchecked} signed, but not checked: vault.signing has no key" if unchecked else "not signed"
    signed = f"signed with key {key_id}" if key_id else signed
    epoch = "" if check.epoch is None else f", the last epoch is {check.epoch}"
    count = counted(len(check.lines), "line")
    return f"{count}, complete, {signed}; the last is of {last.at:%Y-%m-%d %H:%M}Z{epoch}."


async def audit(
    output: Output,
    asked: Annotated[
        Literal["verify", "show"], typer.Argument(metavar="verify|show", help="Check every line, or show them.")
    ],
    plan: Annotated[
        str | None, typer.Argument(metavar="PLAN", autocompletion=PLANS, help="A plan; verify without one checks all.")
    ] = None,
    newest: Annotated[
        int, typer.Option("-n", "--lines", min=1, metavar="N", help="How many of the newest lines to show.")
    ] = 20,
) -> Exit:
    """Check the log of who did what and why, or show it. Neither needs a resource or Prefect.

    Exit status: 0 every line is as it was written and none is missing, 1 something is wrong with the log.
    """
    if asked == "show" and plan is None:
        raise typer.BadParameter("name the plan, as in standby audit show PLAN", param_hint="PLAN")

    configuration = output.load()
    signer = signer_for(configuration.vault.signing)
    names = [configuration.plan(plan).name] if plan else list(configuration.plans)
    checks: dict[str, AuditCheck] = {}
    for name in names:
        async with open_recovery(configuration, name) as recovery:
            checks[name] = await verify_by_witnesses(recovery)
    async with open_vault(configuration.vault) as vault:
        replica = await replica_state(vault)
    refused = replica if replica is not None and replica.refused else None
    whole = refused is None and not any(check.problems for check in checks.values())
    if asked == "show":
        output.results(line for check in checks.values() for line in show_lines(check, newest, verbose=output.verbose))
    output.results(verify_lines(checks, signer.key_id if signer else ""))
    if refused is not None:
        output.result(Line(refused.words, mark="✗", style="red", wrong=True))
        output.result(Line(sentence(refused.next_action), 2, "→", wrong=True))
    shown = newest if asked == "show" else 0
    plans = [check_document(name, check, shown) for name, check in checks.items()]
    problems, key_id = [refused.words] if refused else [], signer.key_id if signer else None
    output.document({"whole": whole, "key_id": key_id, "problems": problems, "plans": plans})
    return Exit.DONE if whole else Exit.ERROR


PROGRESS_EVERY = 5.0  # Seconds between two lines about how far a move is


def _place(settings: VaultSettings, text: str, endpoint: str) -> Place:
    if text == "vault":
        return settings
    if text == "second":
        if settings.second is None:
            raise NoSecond
        return settings.second
    if "://" not in text:
        return Place(path=with_home(Path(text)).absolute())
    scheme = text.partition(":")[0]
    known = [place for place in (settings, settings.second) if place is not None and place.scheme == scheme]
    like = next((place for place in known if endpoint in ("", place.endpoint)), known[0] if known else Place())
    try:
        return Place(url=text, endpoint=endpoint or like.endpoint, credentials=like.credentials)
    except ValidationError as error:
        raise typer.BadParameter(summary(error), param_hint=text) from None


def _is(place: Place, other: Place | None) -> bool:
    def whereabouts(of: Place) -> tuple[str, ...]:
        return (os.path.realpath(of.folder),) if of.folder is not None else ((of.url or "").rstrip("/"), of.endpoint)

    return other is not None and whereabouts(place) == whereabouts(other)


def _next_action(settings: VaultSettings, moved: Moved, place: Place) -> str:
    if _is(place, settings) or _is(place, settings.second):
        return "standby.yaml names it already; check it with standby audit verify"
    key = "vault" if moved.becomes == "vault" else "vault.second"
    value = f"path: {place.path}" if place.url is None else f"url: {place.url}"
    more = f", endpoint: {place.endpoint} and its credentials" if place.endpoint else ""
    return (
        f"Before anything else runs, write {value}{more} under {key} in standby.yaml, and run standby bootstrap if "
        f"flows use it; keep {moved.source} until standby audit verify says that the copy is complete"
    )


def _shown(output: Output) -> Callable[[int, int], None]:
    last = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= PROGRESS_EVERY:
            last = time.monotonic()
            output.say(f"{done} of {counted(total, 'file')}")

    return show


async def move(
    output: Output,
    _asked: Annotated[Literal["move"], typer.Argument(metavar="move", help="Copy a vault.")],
    source: Annotated[
        str, typer.Argument(metavar="FROM", help="vault, second, a folder, or a URL such as az://container/folder.")
    ],
    target: Annotated[str, typer.Argument(metavar="TO", help="The same; it must be empty, or an earlier copy.")],
    endpoint: Annotated[
        str,
        typer.Option("--endpoint", metavar="URL", help="Endpoint of the storage account, if standby.yaml has another."),
    ] = "",
) -> Exit:
    """Copy the vault to another place, every file compared afterwards. FROM stays as it is.

    An interrupted copy is continued by the same command. Pause the schedules meanwhile: a vault that runs write to
    is not copied. URLs are opened with the endpoint and credentials that the configuration has for such a place.

    Exit status: 0 everything is there, 1 it could not be read or written, 4 refused: TO holds other records, or runs
    use FROM.
    """
    settings = output.load().vault
    places = [_place(settings, text, endpoint) for text in (source, target)]
    if _is(places[0], places[1]):
        raise typer.BadParameter("it is the same place as FROM", param_hint="TO")
    async with AsyncExitStack() as stack:
        here, there = [await stack.enter_async_context(open_place(place)) for place in places]
        is_replica = _is(places[1], settings.second)
        if not is_replica and not _is(places[1], settings):
            own = await read_role(here)
            is_replica = own is not None and own.kind == "replica"
        becomes: Literal["vault", "replica"] = "replica" if is_replica else "vault"
        moved = await Move(here, there, becomes, SystemClock(), this_user()).run(_shown(output))
    next_action = _next_action(settings, moved, places[1])
    output.result(
        f"{moved.target} has everything that {moved.source} has: {counted(moved.copied, 'file')} copied, "
        f"{moved.equal} there already, {moved.size} bytes in all."
    )
    output.result(Line(f"{next_action}.", 2, "→"))
    output.document({**moved.model_dump(mode="json"), "next_action": next_action})
    return Exit.DONE


class NoPlans(ConfigurationError):
    def __init__(self) -> None:
        super().__init__(["there are no plans, so there is no automation"], "Add a plan under plans")


async def automation(
    output: Output,
    position: Annotated[
        Literal["on", "off"] | None,
        typer.Argument(
            metavar="[on|off]", help="Allow (on) or forbid (off); without it, the current setting is shown."
        ),
    ] = None,
    reason: Reason = "",
    via: Via = "direct",
) -> Exit:
    """Show or set whether outages may start a failover, in all plans of this vault.

    It does not stop what an operator starts.

    Exit status: 0.
    """
    if reason and position is None:
        raise typer.BadParameter("say on or off with it", param_hint="--reason")
    configuration = output.load()
    on = None if position is None else position == "on"
    names = list(configuration.plans)
    if not names and (via == "prefect" or on is not None):
        raise NoPlans
    if via == "prefect":
        # It is set once per plan, so that it is in the audit log of each.
        for name in names[: 1 if on is None else None]:
            asked = {"on": on, "reason": reason}
            now = await run_flow(switch.Automation, configuration, name, "automation", asked)
    elif on is not None:
        async with AsyncExitStack() as stack:
            plans = [await stack.enter_async_context(open_recovery(configuration, name)) for name in names]
            now = await switch.set_automation(plans, on=on, reason=reason)
    async with open_vault(configuration.vault) as vault:
        if on is None and via == "direct":
            now = await switch.read_automation(vault)
        where = vault.where(switch.AUTOMATION_PATH)
    output.results(_switch_lines(now, configuration))
    shown = {name: {"automatic": plan.failover.automatic} for name, plan in sorted(configuration.plans.items())}
    output.document({**now.model_dump(mode="json"), "where": where, "plans": shown})
    return Exit.DONE


def _switch_lines(now: switch.Automation, configuration: Configuration) -> Iterator[Line]:
    yield Line(sentence(switch.position_words(now)), wrong=not now.on)
    for name, plan in sorted(configuration.plans.items()):
        consequence = "an outage proposes a failover, which waits for approval (failover.automatic is false)."
        if not now.on:
            consequence = "an outage is reported, and no failover is started."
        elif plan.failover.automatic:
            consequence = "an outage starts a failover."
        yield Line(f"{name}: {consequence}", 2)
