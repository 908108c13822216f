"""The HTML page about one plan or several: one file that needs nothing else; text from elsewhere is escaped."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from standby.config.durations import format_duration, roughly
from standby.config.plan import RecoveryPlan
from standby.errors import StandbyError, sentence
from standby.fencing import Fence, Phase, read_fence
from standby.recovery.activation.seen import SinkView, under_way_words
from standby.recovery.audit import AuditCheck, words_of_line
from standby.recovery.concerns import Concerns, Severity, Tracked
from standby.recovery.concerns import Kind as About
from standby.recovery.context import RecoveryContext
from standby.recovery.failover.attendance import Told, read_told, since_then
from standby.recovery.failover.state import sinks_seen
from standby.recovery.readiness import wording
from standby.recovery.readiness.assess import assess_plan
from standby.recovery.readiness.document import Bucket, LastStates, Readiness, Reason, Sample, State
from standby.recovery.snapshots.snapshot import SnapshotEntry, list_snapshots
from standby.recovery.witnesses import Finding, look
from standby.replication.needs import Severity as Weight
from standby.service.calls import ANSWER_SECONDS
from standby.text import clean, counted, some_sentences, utc
from standby.vault.replica import ReplicaState, replica_state

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup


@cache
def template(package: str, name: str) -> Template:
    """Load a template from the folder `templates` of a package."""
    # Only a page needs it.
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415

    environment = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # What a macro gives was cleaned in it.
        finalize=lambda value: clean(value) if type(value) is str else value,
    )
    environment.filters |= {"soft": _soft, "sentence": sentence}
    return environment.get_template(name)


SEPARATORS = re.compile(r"(?<=[-_./:])(?=\w)")


def _soft(text: str) -> Markup:
    """Let a long id or path be broken where its parts meet, and not within a word."""
    from markupsafe import Markup, escape  # noqa: PLC0415 - as above

    return Markup("<wbr>").join(escape(part) for part in SEPARATORS.split(clean(text)))


T = TypeVar("T")


@dataclass(frozen=True)
class PageContent:
    plan: RecoveryPlan
    made_at: datetime
    actor: str
    regions: Mapping[str, str]
    fence: Fence
    finding: Finding
    readiness: tuple[Readiness, ...]
    last: LastStates
    concerns: tuple[Tracked, ...]
    told: Mapping[str, Told]
    snapshots: tuple[SnapshotEntry, ...]
    replica: ReplicaState | None
    sinks: tuple[SinkView, ...]
    problems: tuple[str, ...]  # what could not be read, and is missing on the page

    @property
    def audit(self) -> AuditCheck | None:
        return self.finding.evidence.audit


async def gather_content(
    context: RecoveryContext, readiness: tuple[Readiness, ...] = (), *, seconds: float = ANSWER_SECONDS
) -> PageContent:
    """Gather everything that the page shows; nothing is changed. Raises as `assess_plan` does.

    `readiness` is given where the caller has assessed the plan just now; a resource has `seconds` to answer.
    """
    plan, vault = context.plan, context.vault
    problems: list[str] = []

    async def part(reading: Awaitable[T], otherwise: T) -> T:
        # The page must be written even where a part of it is missing.
        try:
            return await reading
        except StandbyError as error:
            problems.append(str(error))
            return otherwise

    finding, replica = await look(context), await replica_state(vault)
    if not readiness:
        readiness = await assess_plan(replace(context, known=finding.known), replica, seconds=seconds)
    told = await part(read_told(vault, plan.name), {})
    return PageContent(
        plan=plan,
        made_at=context.clock.now(),
        actor=context.actor,
        regions={name: context.configuration.resource(name).region for name in plan.resources},
        fence=await read_fence(vault, plan),
        finding=finding,
        readiness=readiness,
        last=await part(LastStates.read(vault, plan.name), LastStates()),
        concerns=(await part(Concerns.read(vault, plan.name), Concerns())).open,
        told=since_then(told, finding.evidence.fence, lost=bool(finding.problem)),
        snapshots=await part(list_snapshots(context), ()),
        replica=replica,
        sinks=await part(sinks_seen(context), ()),
        problems=tuple(problems),
    )


class Matter(NamedTuple):
    severity: Severity
    about: str
    text: str
    next_action: str = ""
    since: datetime | None = None


CAUSES = (About.VAULT, About.REPLICA, About.RUNS, About.ACCESS, About.RESOURCE, About.MODELS, About.REPLICATION)
SYMPTOMS = (About.RPO, About.READINESS)


def matters(content: PageContent) -> Iterator[Matter]:
    """Give what needs attention, causes before symptoms."""
    finding, audit = content.finding, content.audit
    if finding.fence:
        yield Matter("critical", "records", finding.fence, finding.next_action)
    if wrong := (audit.problems if audit else ()) or tuple(filter(None, [finding.log])):
        text = f"The audit log is damaged: {some_sentences(wrong)}"
        compare = "Do not change it, and compare it with another copy of the vault"
        yield Matter("critical", "audit log", text, finding.next_action or compare)
    if finding.snapshots:
        yield Matter("critical", "snapshots", finding.snapshots, finding.how_to_list_again)
    for words in under_way_words(content.sinks, content.fence):
        yield Matter("critical", "failover", words)
    for each in content.told.values():
        yield Matter("critical", "outage", each.text, since=each.at)
    for problem in content.problems:
        yield Matter("warning", "this page", f"A part of this page is missing. {problem}")
    order = (*CAUSES, *(kind for kind in About if kind not in CAUSES + SYMPTOMS), *SYMPTOMS)
    for it in sorted(content.concerns, key=lambda it: order.index(it.concern.kind)):
        concern = it.concern
        yield Matter(concern.severity, concern.title, concern.summary, concern.next_action, it.since)


class ReasonGroup(NamedTuple):
    """What is to be answered in the same way."""

    weight: Weight
    texts: tuple[str, ...]
    next_action: str


def grouped(reasons: Iterable[Reason]) -> list[ReasonGroup]:
    """Put what is to be answered in the same way together, causes before symptoms."""
    order = tuple(Bucket)
    groups: dict[tuple[Bucket, Weight, str], dict[str, None]] = {}
    for each in sorted(reasons, key=lambda each: (each.severity is Weight.WARNING, order.index(each.bucket))):
        groups.setdefault((each.bucket, each.severity, each.next_action), {})[each.text] = None
    return [ReasonGroup(weight, tuple(texts), action) for (_, weight, action), texts in groups.items()]


MOST_TIMES = 4  # How many times the objective the drawing is high
WIDTH, HEIGHT = 1000.0, 100.0  # Of the drawing, which is stretched to where it is shown


class RpoChart(NamedTuple):
    """How far a target was behind over time, from the left to the right."""

    lines: tuple[str, ...]  # the points of a line for each stretch of time in which that is known
    unknown: tuple[tuple[float, float], ...]  # begin and width of each stretch of time in which it is not
    missed: tuple[tuple[float, float], ...]  # where the RPO was missed
    objective: float | None  # how high it is
    begin: datetime
    end: datetime
    top: str  # what the upper edge means
    words: str  # what can be seen, for who cannot see it


def draw_rpo(samples: Sequence[Sample], rpo_seconds: float | None) -> RpoChart | None:
    """Draw the history of one target; nothing of a single check."""
    if len(samples) < 2 or not any(each.age is not None or each.met is not None for each in samples):
        return None
    begin, end = samples[0].at, samples[-1].at
    worst = max(samples, key=lambda each: each.age or timedelta())
    furthest = (worst.age or timedelta()).total_seconds()
    # What is far beyond the objective goes along the upper edge: drawn in full, it would flatten all the rest.
    highest = 1.1 * max(min(furthest, MOST_TIMES * rpo_seconds) if rpo_seconds else furthest, rpo_seconds or 0.0, 60.0)
    span = max((end - begin).total_seconds(), 1.0)

    def place(sample: Sample) -> tuple[float, float]:
        age = min((sample.age or timedelta()).total_seconds(), highest)
        return round((sample.at - begin).total_seconds() / span * WIDTH, 1), round(HEIGHT * (1 - age / highest), 1)

    stretches: list[list[str]] = [[]]
    unknown = []
    for each, following in zip(samples, (*samples[1:], samples[-1]), strict=True):
        x, y = place(each)
        if each.age is None:
            unknown.append((x, max(place(following)[0] - x, 4.0)))
            stretches.append([])
        else:
            stretches[-1].append(f"{x},{y}")
    missed = [each for each in samples if each.met is False]
    return RpoChart(
        lines=tuple(" ".join(points) for points in stretches if points),
        unknown=tuple(unknown),
        missed=tuple(place(each) for each in missed if each.age is not None),
        objective=round(HEIGHT * (1 - rpo_seconds / highest), 1) if rpo_seconds else None,
        begin=begin,
        end=end,
        top=f"{roughly(timedelta(seconds=highest))}{' or more' if furthest > highest else ''}",
        words=_rpo_words(samples, worst, len(missed), rpo_seconds),
    )


def _rpo_words(samples: Sequence[Sample], worst: Sample, missed: int, rpo_seconds: float | None) -> str:
    words = f"{counted(len(samples), 'check')} from {utc(samples[0].at)} to {utc(samples[-1].at)}"
    furthest = f"at most {roughly(worst.age)} behind, at {utc(worst.at)}" if worst.age else "never behind the source"
    parts = [f"{words}: {furthest}"]
    if rpo_seconds:
        how_often = f"missed in {missed} of them" if missed else "never missed"
        parts.append(f"The RPO of {format_duration(timedelta(seconds=rpo_seconds))} was {how_often}")
    if unknown := sum(each.age is None for each in samples):
        parts.append(f"In {unknown} of them it was unknown how far behind it was, or something could not be recovered")
    return " ".join(map(sentence, parts))


def _roles(fence: Fence) -> dict[str, str]:
    roles: dict[str, str] = {}
    for primary, assignment in fence.assignments.items():
        role = "serves" if assignment.active == primary else f"serves for {primary}"
        if assignment.phase is Phase.SWITCHING:
            role = f"served until a failover to {assignment.target} began"
        elif assignment.phase is Phase.ACTIVATED:
            role = f"{role}, not committed"
        roles[assignment.active] = f"{roles[assignment.active]}; {role}" if assignment.active in roles else role
    return roles


WORST_FIRST = (State.NOT_READY, State.UNKNOWN, State.READY)


def _view(content: PageContent) -> dict[str, Any]:
    """Give a plan as its template takes it."""
    first, *others = content.readiness
    common = [each for each in first.reasons if others and all(each in other.reasons for other in others)]
    return {
        "content": content,
        "headline": wording.headline(content.readiness),
        "worst": min((each.state for each in content.readiness), key=WORST_FIRST.index),
        "matters": list(matters(content)),
        "common": grouped(common),
        "roles": _roles(content.fence),
        "targets": [
            {
                "readiness": each,
                "reasons": grouped(reason for reason in each.reasons if reason not in common),
                "rows": list(_rows(each)),
                "chart": draw_rpo((*content.last.samples(each), Sample.of(each)), each.rpo_seconds),
            }
            for each in content.readiness
        ],
    }


def render_page(
    contents: Sequence[PageContent], made_at: datetime, unread: Mapping[str, StandbyError] | None = None
) -> str:
    """Write a page: of one plan, or of all with an overview; `unread` says why nothing is known of others, by name."""
    return template("standby.recovery", "report.html.j2").render(
        views=sorted(map(_view, contents), key=lambda view: WORST_FIRST.index(view["worst"])),
        made_at=made_at,
        unread=unread or {},
        wording=wording,
        words=words_of_line,
        utc=utc,
        counted=counted,
    )


def _rows(readiness: Readiness) -> Iterator[dict[str, str | bool]]:
    """Give a row for each analyzer, those with something wrong first."""
    problems: dict[str, list[str]] = {}
    wrong: set[str] = set()
    for reason in readiness.reasons:
        for analyzer in reason.analyzers:
            problems.setdefault(analyzer, []).append(reason.bucket.value.replace("_", " "))
            if reason.severity is not Weight.WARNING:
                wrong.add(analyzer)
    proofs = {each.analyzer: each.words for each in readiness.proofs}
    points = sorted(readiness.points, key=lambda point: (point.analyzer not in wrong, point.analyzer not in problems))
    for point in points:
        yield {
            "analyzer": point.analyzer,
            "target_analyzer": readiness.names.get(point.analyzer, ""),
            "point": wording.point_words(point, readiness.assessed_at),
            "problems": ", ".join(dict.fromkeys(problems.get(point.analyzer, ()))) or "ready",
            "wrong": point.analyzer in wrong,
            "proof": proofs.get(point.analyzer, ""),
        }
