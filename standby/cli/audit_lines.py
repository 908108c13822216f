"""An audit log, and what a verification found of it, as lines a person can read on 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from standby.cli.lines import Line
from standby.errors import sentence
from standby.recovery.audit import AuditCheck, AuditLine
from standby.recovery.audit_words import facts_told
from standby.service.models import JsonValue


def verify_lines(checks: Mapping[str, AuditCheck], key_id: str) -> Iterator[Line]:
    """Say of each plan's log whether it is whole, and what is wrong with it."""
    for plan, check in checks.items():
        if not check.problems:
            yield Line(f"{plan}: {_whole(check, key_id)}", mark="✓", style="green")
            continue
        yield Line(f"{plan}: {check.where} is not whole.", mark="✗", style="red", wrong=True)
        for problem in check.problems:
            yield Line(sentence(problem), 2, wrong=True)
        yield Line("Keep it as it is, and compare it with another copy of the vault.", 2, "→", wrong=True)


def show_lines(check: AuditCheck, newest: int) -> Iterator[Line]:
    """Show the newest lines of a log, oldest first."""
    shown = check.lines[-newest:]
    if len(shown) < len(check.lines):
        yield Line(f"Of {len(check.lines)} lines, the newest {len(shown)} (-n shows more):")
    for line in shown:
        epoch = "" if line.epoch is None else f", epoch {line.epoch}"
        at = f"{line.at:%Y-%m-%d %H:%M:%S}Z"
        yield Line(f"{line.sequence}  {at}  {line.deed}{epoch}")
        yield Line(f"by {line.actor} ({line.via}), run {line.run_id}", 4)
        told = facts_told(line)
        if told:
            yield Line(told, 4)


def check_document(plan: str, check: AuditCheck, shown: int) -> dict[str, JsonValue]:
    """Give what was found as JSON, with the newest lines where some are asked for."""
    document: dict[str, JsonValue] = {
        "plan": plan,
        "log": check.where,
        "whole": not check.problems,
        "problems": list(check.problems),
        "length": len(check.lines),
        "signed": sum(line.signature is not None for line in check.lines),
        "epoch": check.epoch,
        "newest_digest": check.lines[-1].digest if check.lines else None,
    }
    lines = [line.model_dump(mode="json") for line in check.lines[-shown:]]
    return document | {"lines": [*lines]} if shown else document


def _whole(check: AuditCheck, key_id: str) -> str:
    if not check.lines:
        return "no log yet."
    count = "1 line" if len(check.lines) == 1 else f"{len(check.lines)} lines"
    last = check.lines[-1]
    epoch = "" if check.epoch is None else f", the last epoch is {check.epoch}"
    return f"{count}, whole, {_signed(check.lines, key_id)}; the last is of {last.at:%Y-%m-%d %H:%M}Z{epoch}."


def _signed(lines: tuple[AuditLine, ...], key_id: str) -> str:
    if key_id:
        return f"signed with key {key_id}"
    signed = sum(line.signature is not None for line in lines)
    return f"{signed} signed and not checked: vault.signing has no key" if signed else "not signed"
