"""The HTML page about a plan: one file that needs nothing else; text from elsewhere is escaped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING

from standby.config.plan import RecoveryPlan
from standby.errors import StandbyError, sentence
from standby.fencing import Fence, Phase, read_fence
from standby.recovery.activation.seen import SinkView, under_way_words
from standby.recovery.audit import AuditCheck, facts_of_line, verify_audit
from standby.recovery.context import RecoveryContext
from standby.recovery.readiness.assess import assess_plan
from standby.recovery.readiness.document import Readiness, State
from standby.recovery.readiness.last_runs import LatestDrills
from standby.recovery.readiness.wording import (
    STATES,
    drill_result,
    drill_words,
    forecast_words,
    point_words,
    points_words,
    serving_words,
    span_words,
)
from standby.recovery.snapshots.snapshot import SnapshotEntry, list_snapshots
from standby.replication.needs import Severity
from standby.service.calls import ANSWER_SECONDS
from standby.text import clean
from standby.vault.replica import ReplicaState, replica_state

if TYPE_CHECKING:
    from jinja2 import Template


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
        finalize=lambda value: clean(value) if isinstance(value, str) else value,
    )
    return environment.get_template(name)


@dataclass(frozen=True)
class PageContent:
    plan: RecoveryPlan
    made_at: datetime
    actor: str
    regions: dict[str, str]
    fence: Fence
    readiness: tuple[Readiness, ...]
    audit: AuditCheck
    drills: LatestDrills
    snapshots: tuple[SnapshotEntry, ...]
    snapshots_problem: str = ""
    replica: ReplicaState | None = None
    sinks: tuple[SinkView, ...] = ()


async def gather_content(
    context: RecoveryContext, sinks: tuple[SinkView, ...] = (), *, seconds: float = ANSWER_SECONDS
) -> PageContent:
    """Gather everything else that the page shows; nothing is changed. Raises as `assess_plan` does."""
    plan, vault = context.plan, context.vault
    replica = await replica_state(vault)
    readiness = await assess_plan(context, replica, seconds=seconds)
    snapshots: tuple[SnapshotEntry, ...] = ()
    problem = ""
    try:
        snapshots = await list_snapshots(context)
    except StandbyError as error:
        # The page must be written even where a part of it is missing.
        problem = str(error)
    return PageContent(
        plan=plan,
        made_at=context.clock.now(),
        actor=context.actor,
        regions={name: context.configuration.resource(name).region for name in plan.resources},
        fence=await read_fence(vault, plan),
        readiness=readiness,
        audit=await verify_audit(vault, plan.name, context.signer),
        drills=await LatestDrills.read(vault, plan.name),
        snapshots=snapshots,
        snapshots_problem=problem,
        replica=replica,
        sinks=sinks,
    )


WIDTH = 720
BOX_WIDTH = 220
BOX_HEIGHT = 58
GAP = 24
MARGIN = 12


@dataclass(frozen=True)
class Box:
    """One resource; `x` and `y` are its upper left corner."""

    name: str
    region: str
    x: float
    y: float
    role: str
    serves: bool


@dataclass(frozen=True)
class Arrow:
    """One pair, from the right edge of its source to the left edge of its target."""

    primary: str
    target: str
    x1: float
    y1: float
    x2: float
    y2: float
    label_y: float  # where its state is written: above a line that rises, below one that falls
    state: State


@dataclass(frozen=True)
class RegionMap:
    width: float
    height: float
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]


def draw_map(readiness: Sequence[Readiness], fence: Fence, regions: Mapping[str, str]) -> RegionMap:
    """Place every resource once; a source that is also a target stays among the sources."""
    primaries = list(dict.fromkeys(each.primary for each in readiness))
    targets = [name for name in dict.fromkeys(each.target for each in readiness) if name not in primaries]
    height = max(len(primaries), len(targets)) * (BOX_HEIGHT + GAP) - GAP + 2 * MARGIN
    places = {**_column(primaries, MARGIN, height), **_column(targets, WIDTH - MARGIN - BOX_WIDTH, height)}
    roles = _roles(fence)
    boxes = tuple(
        Box(name, regions.get(name, ""), x, y, roles.get(name, "standby"), serves=name in roles)
        for name, (x, y) in places.items()
    )
    return RegionMap(WIDTH, height, boxes, tuple(_arrow(each, places) for each in readiness))


def _column(names: Sequence[str], x: float, height: float) -> dict[str, tuple[float, float]]:
    tall = len(names) * (BOX_HEIGHT + GAP) - GAP
    top = (height - tall) / 2
    return {name: (x, top + number * (BOX_HEIGHT + GAP)) for number, name in enumerate(names)}


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


def _arrow(readiness: Readiness, places: Mapping[str, tuple[float, float]]) -> Arrow:
    (x1, y1), (x2, y2) = places[readiness.primary], places[readiness.target]
    middle = BOX_HEIGHT / 2
    # Where both are sources, one is above the other: then the line goes along their right edges.
    end = x2 + BOX_WIDTH if x2 <= x1 else x2
    return Arrow(
        primary=readiness.primary,
        target=readiness.target,
        x1=x1 + BOX_WIDTH,
        y1=y1 + middle,
        x2=end,
        y2=y2 + middle,
        label_y=y2 + middle + (18 if y2 > y1 else -8),
        state=readiness.state,
    )


MOST_ANALYZERS = 500  # Analyzers of a pair that the page lists; `standby status --json` has all
MOST_LINES = 100  # Newest entries of the audit log that it shows
MOST_SNAPSHOTS = 20


@dataclass(frozen=True)
class _Row:
    analyzer: str
    target_analyzer: str
    point: str
    problems: str
    wrong: bool


def render_page(content: PageContent) -> str:
    states = {readiness.state for readiness in content.readiness}
    worst = next((state for state in (State.NOT_READY, State.UNKNOWN) if state in states), State.READY)
    return template("standby.recovery", "report.html.j2").render(
        content=content,
        plan=content.plan.name,
        states=STATES,
        worst=worst,
        map=draw_map(content.readiness, content.fence, content.regions),
        box=(BOX_WIDTH, BOX_HEIGHT),
        rows=[list(_rows(readiness)) for readiness in content.readiness],
        most_analyzers=MOST_ANALYZERS,
        serving=serving_words,
        points=points_words,
        forecast=forecast_words,
        span=span_words,
        drill=drill_words,
        result=drill_result,
        sentence=sentence,
        under_way=under_way_words(content.sinks, content.fence),
        lines=list(reversed(content.audit.lines[-MOST_LINES:])),
        older=max(0, len(content.audit.lines) - MOST_LINES),
        facts=facts_of_line,
        snapshots=content.snapshots[:MOST_SNAPSHOTS],
    )


def _rows(readiness: Readiness) -> Iterator[_Row]:
    """Give a row for each analyzer, those with something wrong first."""
    problems: dict[str, list[str]] = {}
    wrong: set[str] = set()
    for reason in readiness.reasons:
        for analyzer in reason.analyzers:
            problems.setdefault(analyzer, []).append(reason.bucket.value.replace("_", " "))
            if reason.severity is not Severity.WARNING:
                wrong.add(analyzer)
    points = sorted(readiness.points, key=lambda point: (point.analyzer not in wrong, point.analyzer not in problems))
    for point in points:
        yield _Row(
            analyzer=point.analyzer,
            target_analyzer=readiness.names.get(point.analyzer, ""),
            point=point_words(point, readiness.assessed_at),
            problems=", ".join(dict.fromkeys(problems.get(point.analyzer, ()))) or "ready",
            wrong=point.analyzer in wrong,
        )
