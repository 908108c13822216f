"""Decisions, switches and commits, as lines a person can read on 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from standby.cli.lines import Line
from standby.errors import sentence
from standby.recovery.activation.publishing import SinkResult
from standby.recovery.decision.verdict import Decision, Verdict
from standby.recovery.failover.report import CommitReport, FailoverReport

_VERDICTS = {
    Verdict.PASS: ("ok", "green"),
    Verdict.WAIT: ("..", "yellow"),
    Verdict.REFUSE: ("NO", "red"),
    Verdict.FORCED: ("!!", "yellow"),
}
_SINKS = {"told": ("ok", "green"), "deferred": ("..", "yellow"), "failed": ("NO", "red")}


def decision_lines(decision: Decision, decision_id: str) -> Iterator[Line]:
    """Show what each guard says."""
    for result in decision.reasons:
        mark, style = _VERDICTS[result.verdict]
        against = result.verdict in {Verdict.WAIT, Verdict.REFUSE}
        forced = " (passed by force)" if result.verdict is Verdict.FORCED else ""
        yield Line(sentence(f"{result.guard}: {result.text}{forced}"), 2, mark, style, against)
    yield Line(f"Decision {decision_id}: {decision.outcome}. standby explain {decision_id} replays it.")


def failover_lines(report: FailoverReport, *, verbose: bool = False) -> Iterator[Line]:
    """Show how a switch ended, who was told what, and what to do next."""
    if verbose:
        for phase in report.phases:
            yield Line(f"{phase.name}: {phase.outcome} ({phase.seconds:.1f} s)", 2)
    if report.restored is not None:
        yield Line(
            f"{len(report.restored.created)} restored from snapshot {report.restored.snapshot_id} "
            f"of {report.restored.taken_at:%Y-%m-%d %H:%M:%S} UTC.",
            2,
        )
        for analyzer, reason in report.restored.failed.items():
            yield Line(f"{analyzer}: {reason}", 2, "!", "red", True)
    yield from _sink_lines(report.sinks, reasons=False)
    if not report.sinks and report.state == "activated":
        yield Line("No activation sink is configured: no application was told.", 2, "!", "yellow", True)
    for problem in report.problems:
        yield Line(sentence(problem), 2, "!", "red", True)
    yield Line(_ending(report), wrong=not report.complete)
    if times := _times(report):
        yield Line(times)
    if report.next_action:
        yield Line(report.next_action, 2, "→", wrong=not report.complete)


def commit_lines(report: CommitReport) -> Iterator[Line]:
    """Show what was made final, and what serves now."""
    yield from _sink_lines(report.sinks, reasons=True)
    if not report.committed:
        yield Line("Nothing waited to be committed; the sinks were told again what serves.")
    for home, side in report.sides.items():
        final = " for good" if home in report.committed else ""
        yield Line(f"{side} serves{final} in the place of {home}." if side != home else f"{home} serves.")
    if report.next_action:
        yield Line(sentence(report.next_action), 2, "→", wrong=True)


def _sink_lines(sinks: Sequence[SinkResult], *, reasons: bool) -> Iterator[Line]:
    """Show the sinks; why one failed is among a switch's problems already."""
    for sink in sinks:
        mark, style = _SINKS[sink.status]
        if sink.status == "told":
            text = f"{sink.name}: names {sink.told}."
        elif reasons or sink.status == "deferred":
            text = f"{sink.name}: {sink.reason}"
        else:
            text = f"{sink.name}: not told."
        yield Line(text, 2, mark, style, sink.status != "told")


def _ending(report: FailoverReport) -> str:
    about = f"plan {report.plan}, epoch {report.epoch}"
    instead = f" in the place of {report.home}" if report.side != report.home else ""
    match report.state:
        case "activated":
            return f"{report.side} serves now{instead} ({about})."
        case "rolled_back" if report.complete:
            return f"{report.side} serves again{instead} ({about})."
        case "rolled_back":
            return f"Not switched to {report.to}: {report.side} still serves{instead} ({about})."
        case _:
            return (
                f"The switch from {report.from_resource} to {report.to} has not ended; "
                f"{report.side} is the last side that served{instead} ({about})."
            )


def _times(report: FailoverReport) -> str:
    parts = []
    if report.detection_seconds is not None:
        parts.append(f"detected after {_seconds(report.detection_seconds)}")
    if report.recovery_seconds is not None:
        parts.append(f"switched in {_seconds(report.recovery_seconds)}")
    if report.rto_met is not None and report.rto_objective_seconds is not None:
        kept = "within" if report.rto_met else "beyond"
        parts.append(f"{kept} the RTO of {_seconds(report.rto_objective_seconds)}")
    text = ", ".join(parts)
    return sentence(f"{text[:1].upper()}{text[1:]}") if parts else ""


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 600 else f"{seconds / 60:.0f} min"
