"""The end of a flow run, the same for every flow: its report, an artifact, an event and a final state."""

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import wraps
from inspect import signature
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, cast

import prefect
from prefect import Flow, artifacts, context, get_client, runtime, states
from prefect.client.schemas.objects import State
from pydantic import BaseModel

from standby import telemetry
from standby.document import JsonObject
from standby.errors import GuardRefused, sentence
from standby.flows.events import REPLICATED, PlanEvent, every_text
from standby.flows.run import hand_over
from standby.replication.items import GOOD, ReplicationPlan, Status
from standby.replication.report import Ended, Report, plan_document, plan_totals, unseen_words
from standby.replication.verdict import Action
from standby.tasks.stage import tried
from standby.text import alike, clean, counted, lasting, some_of, totals

if TYPE_CHECKING:
    from standby.recovery.failover.report import PhaseTime  # A watch begins with a fifth fewer modules without it.

P = ParamSpec("P")
Body = Callable[P, Coroutine[Any, Any, State[Any]]]


@dataclass(frozen=True)
class FlowOutcome:
    """The outcome of a flow run. Every flow ends by `finish`, so all leave the same things in the same order."""

    name: str  # of the final state
    message: str  # the result in a few sentences: of the state, and the summary of the event
    # The result of the run; the caller that started it in this process gets it as well.
    report: BaseModel | JsonObject | None = None
    # Whether it did what it is there for; otherwise the run counts as failed, and somebody has to check it.
    good: bool = True
    interrupted: bool = False  # whether it was cancelled; then the run counts as cancelled
    artifact: artifacts.Artifact | None = None  # what people see of it in the Prefect UI
    event: PlanEvent | None = None  # what automations and notifications react to

    @property
    def state(self) -> State[Any]:
        message = clean(in_prefect(self.message))
        if self.interrupted:
            return states.Cancelled(message=message)
        data = self.report.model_dump(mode="json") if isinstance(self.report, BaseModel) else self.report
        return (states.Completed if self.good else states.Failed)(name=self.name, message=message, data=data)

    async def finish(self) -> State[Any]:
        if isinstance(self.report, BaseModel):
            hand_over(self.report)
        if self.artifact is not None:
            await tried(f"the artifact {self.artifact.key}", shown(self.artifact).acreate)
        if self.event is not None:
            self.event.emit(self.message)
        return self.state


def flow(**options: Any) -> Callable[[Body[P]], Flow[P, Coroutine[Any, Any, State[Any]]]]:
    """Make a flow as Prefect does; its runs are tagged by plan, measured, and end as refused where a guard refuses.

    What was measured is sent after all of its work.
    """

    def make(body: Body[P]) -> Flow[P, Coroutine[Any, Any, State[Any]]]:
        @wraps(body)
        async def run(*args: P.args, **kwargs: P.kwargs) -> State[Any]:
            plan = str(signature(body).bind(*args, **kwargs).arguments.get("plan") or "")
            tagging = asyncio.create_task(tried("the tag of this run's plan", lambda: _tag(plan)))
            try:
                async with telemetry.measured(options["name"], plan) as measured:
                    state = await body(*args, **kwargs)
                    measured.result = _result(state)
            except GuardRefused as error:
                return refused(error)
            finally:
                await asyncio.wait({tagging})
            return state

        made = cast(Flow[P, Coroutine[Any, Any, State[Any]]], prefect.flow(**options)(body))
        # Not given to Prefect at once: it would take this file for the flow's own.
        made.fn = run
        return made

    return make


OF_PLAN = "plan:"  # What the tag begins with that names the plan of a run


async def _tag(plan: str) -> None:
    """Tag this run by its plan, where its deployment could not: it is of none until somebody starts it."""
    found = context.FlowRunContext.get()
    run = found.flow_run if found else None
    tag = f"{OF_PLAN}{plan}"
    if run is not None and plan and tag not in run.tags:
        async with get_client() as client:
            await client.update_flow_run(run.id, tags=[*run.tags, tag])


def _result(state: State[Any]) -> str:
    if state.is_completed() or state.is_cancelled():
        return "done" if state.is_completed() else "interrupted"
    return {"Refused": "refused", "PartiallyFailed": "partial"}.get(state.name or "", "failed")


def refused(error: GuardRefused) -> State[Any]:
    """Give the final state of a run that a guard refused: nothing was done, and the error is its result."""
    return states.Failed(name="Refused", message=clean(in_prefect(str(error))), data=error)


BY_HAND = {"drill", "check", "snapshot", "watch"}  # Flows whose scheduled deployment is the only one


def in_prefect(text: str) -> str:
    """Say where in Prefect an option is, that a text names without its command."""
    where = where_options_are([text])
    return f"{sentence(text)} {where}" if where else text


def where_options_are(texts: Iterable[str]) -> str:
    """Say on which form the options are that some texts name without their command; nothing where there are none."""
    flow = runtime.flow_run.flow_name
    parts = (part for text in texts for part in text.split(". "))
    if flow is None or not any(" --" in part and "standby " not in part for part in parts):
        return ""
    where = f"{flow}/{'scheduled' if flow in BY_HAND else 'manual'}"
    return f"Options (--…) are fields on the form of {where}, and of the command standby {flow}."


class Ending(Protocol):
    """How something went for one analyzer."""

    @property
    def analyzer(self) -> str: ...
    @property
    def status(self) -> Status: ...
    @property
    def reason(self) -> str: ...


MOST_CAUSES = 2  # Causes that a state message has; all are in the run's artifact


def causes(items: Iterable[Ending]) -> list[str]:
    """Say what went wrong and what to do next, each once, the causes before what only follows from them."""
    wrong = sorted((item for item in items if item.status not in GOOD), key=lambda item: item.status is Status.BLOCKED)
    said = alike((item.status.value, item.analyzer, item.reason) for item in wrong)
    first = [f"{some_of(names)}: {sentence(text)}" for names, text in said[:MOST_CAUSES]]
    more = f"And {counted(len(said) - MOST_CAUSES, 'other reason')}: see the artifacts of this run."
    return [*first, *([more] if len(said) > MOST_CAUSES else [])]


async def finish_plan(plan: ReplicationPlan) -> State[Any]:
    description = f"Plan **{plan.recovery_plan.name}**: {plan_totals(plan)}. Nothing was changed."
    columns = ("analyzer", "from", "to", "action", "reason", "verdict", "as", "warnings")
    artifact = item_table("replication-plan", description, plan.items, columns)
    text = f"{plan_totals(plan)}; nothing was changed."
    return await FlowOutcome("Completed", text, plan_document(plan), artifact=artifact).finish()


async def finish_replication(
    ended: Ended, artifact: artifacts.Artifact | None = None, event: PlanEvent | None = None
) -> State[Any]:
    report = ended.report
    unseen = map(sentence, unseen_words(report.unseen))
    summary = f"{'The run was cancelled: ' if ended.interrupted else ''}{totals(report.totals)}."
    name = "CompletedWithSkips" if report.totals[Status.SKIPPED] else "Completed"
    return await FlowOutcome(
        name if report.complete else "PartiallyFailed",
        " ".join([summary, *unseen, *causes(report.items)]),
        report,
        good=report.complete,
        interrupted=ended.interrupted,
        artifact=artifact,
        event=event,
    ).finish()


def report_table(report: Report) -> artifacts.TableArtifact:
    """Make the table of a replication; what needs somebody's attention comes first."""
    description = f"Plan **{report.plan}**: {totals(report.totals)} in {lasting(report.seconds)}."
    columns = ("analyzer", "from", "to", "status", "reason", "verdict", "action", "as", "seconds", "warnings")
    items = sorted(report.items, key=lambda item: item.status in GOOD)
    return item_table("replication-report", description, items, columns)


def replicated(report: Report) -> PlanEvent:
    totals: JsonObject = {status.value: count for status, count in report.totals.items()}
    facts: JsonObject = {"seconds": report.seconds, "rpo_missed": len(report.objectives.missed), "totals": totals}
    return PlanEvent(REPLICATED, report.plan, facts)


NAMES = {"from": "source", "to": "target", "as": "target_analyzer"}
"""Columns that are shown by another name than the item's own."""


def item_table(
    key: str, description: str, items: Iterable[object], columns: Sequence[str], empty: str = "none selected"
) -> artifacts.TableArtifact:
    """Make a table of some items, whose attributes are its columns; what is the same of several is said once."""
    found = [{column: getattr(item, NAMES.get(column, column)) for column in columns} for item in items]
    flat = [{name: " ".join(it) if isinstance(it, tuple) else it for name, it in row.items()} for row in found]
    rows = [*_grouped(flat)]
    # A page breaks no line within a table, so that the end of a long reason is out of sight there.
    wrong = [row for row in rows if row.get("status") not in GOOD and row.get("action") != Action.SKIP]
    said = [f"{row['analyzer']}: {row['reason']}" for row in wrong if row.get("reason")]
    more = [f"and {len(said) - MOST_REASONS} other reasons, in the table"] if len(said) > MOST_REASONS else []
    lines = "\n".join(f"- {clean(line)}" for line in (*said[:MOST_REASONS], *more))
    return artifacts.TableArtifact(
        key=key, table=rows or [{"analyzer": empty}], description=page(description, lines, where_options_are(said))
    )


MOST_REASONS = 20  # Reasons above a table


OWN = ("as", "seconds")  # Columns that differ from analyzer to analyzer, beside its id and its reason


def _grouped(rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Put rows together that say the same, with a reason or a warning, of several analyzers."""
    same: dict[object, dict[str, dict[str, Any]]] = {}
    for number, row in enumerate(rows):
        shared = tuple(row[column] for column in row if column not in {"analyzer", "reason", *OWN})
        same.setdefault(shared if row.get("reason") or row.get("warnings") else number, {})[row["analyzer"]] = row
    for of in same.values():
        for names, reason in alike((None, name, row.get("reason", "")) for name, row in of.items()):
            row = of[names[0]]
            if len(names) > 1:
                said = {"analyzer": some_of(names), "reason": reason}
                row = {column: "" if column in OWN else said.get(column, value) for column, value in row.items()}
                row["analyzers"] = ", ".join(names)
            yield row


MARKS = str.maketrans({**{mark: f"\\{mark}" for mark in "\\`|"}, "<": "&lt;", ">": "&gt;", "&": "&amp;"})


def escaped(text: str) -> str:
    """Make any text fit for a page: one line, and no link, image, HTML or column of its own."""
    return re.sub(r"\](?=[\[(:])", r"]\\", clean(text).translate(MARKS))


def shown(artifact: artifacts.Artifact) -> artifacts.Artifact:
    """Give an artifact as it may be shown: Prefect renders description and cells as Markdown, and HTML in them.

    What is in a page is escaped where it is written, and what is in a line of a description has no line end.
    """
    lines = map(escaped, (artifact.description or "").split("\n"))
    changes: dict[str, Any] = {"description": "\n".join(lines)}
    if isinstance(artifact, artifacts.TableArtifact):
        changes["table"] = every_text(artifact.table, escaped)
    if isinstance(artifact, artifacts.MarkdownArtifact):
        changes["markdown"] = "\n".join(map(clean, artifact.markdown.split("\n")))
    return artifact.model_copy(update=changes)


def page(*parts: str) -> str:
    """Put the parts of a page below each other, without those that are empty."""
    return "\n\n".join(part for part in parts if part)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a table; nothing where it has no rows."""
    lines = [_table_row(row) for row in rows]
    return "\n".join([_table_row(head), _table_row("---" for _ in head), *lines]) if lines else ""


def phase_table(phases: "Iterable[PhaseTime]") -> str:
    rows = ((phase.name, f"{phase.started_at:%H:%M:%S}", seconds(phase.seconds), phase.outcome) for phase in phases)
    return table(("phase", "began (UTC)", "took", "outcome"), rows)


def bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {escaped(line)}" for line in lines)


def seconds(value: float | None) -> str:
    return "not known" if value is None else lasting(value)


def _table_row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(escaped(str(cell)) for cell in cells)} |"
