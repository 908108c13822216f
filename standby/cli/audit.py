"""`standby audit`: who did what, and whether the log of it is whole."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

import typer

from standby.cli.options import PLANS
from standby.cli.output import Line, Output
from standby.cli.run import Exit
from standby.errors import sentence
from standby.recovery.audit import HOW_TO_GO_ON, AuditCheck, facts_of_line, words_of_line
from standby.recovery.context import open_recovery
from standby.recovery.witnesses import verify_by_witnesses
from standby.text import counted
from standby.vault.replica import replica_state
from standby.vault.signing import PUT_IT_BACK, signer_for
from standby.vault.vault import open_vault


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


async def command(
    context: typer.Context,
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

    output: Output = context.obj
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
