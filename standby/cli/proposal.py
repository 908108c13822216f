"""A first standby.yaml: which plans fit the resources that were found, and the file with the reasons beside them."""

from __future__ import annotations

import json
import re
import textwrap
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from standby.config.configuration import configuration_schema
from standby.config.resource import DeploymentOverrides, geography_of, zone_of
from standby.document import JsonObject, JsonValue
from standby.replication.inventory import DRILL_TAG, Inventory
from standby.replication.needs import Severity, check_models, default_to_add
from standby.replication.trained import is_side_copy
from standby.text import clean, counted, sentence, some_of

STUDIO = "projectAnalyzer_"  # So begin the ids of analyzers that the studio makes
WIDTH = 110  # Columns after which a list goes on in the next line
MOST_GLOBS = 20  # More than these nobody reads: then a beginning may end anywhere
ROLES = {"completion": "chatCompletion", "embedding": "embedding"}


@dataclass(frozen=True)
class Found:
    """A resource that was found, or only named; unknown values are empty."""

    name: str  # in standby.yaml
    settings: JsonObject  # its keys there
    region: str = ""
    notes: tuple[str, ...] = ()  # what to know about it
    left_out: str = ""  # why it cannot be used
    unread: str = ""  # why it is unknown which analyzers it has
    inventory: Inventory | None = None

    @property
    def problem(self) -> str:
        return self.left_out or self.unread

    @property
    def remarks(self) -> list[str]:
        about = [f"(!) left out: {self.left_out}" if self.left_out else f"(!) {self.unread}"] if self.problem else []
        if self.inventory:
            about = [f"{self.region}, {counted(len(self.own), 'analyzer')} of its own", *about]
            about += [f"(!) {self.inventory.unlisted}"] if self.inventory.unlisted else []
        return [*about, *self.notes]

    def to_json(self) -> JsonObject:
        analyzers = None if self.problem else len(self.own)
        return {"name": self.name, "region": self.region, "problem": self.problem, "analyzers": analyzers}

    @cached_property
    def own(self) -> Mapping[str, str]:
        """Give the analyzers that a plan would protect, with what each means."""
        if self.inventory is None:
            return {}
        return {
            name: self.inventory.meaning(name, ()).fingerprint
            for name, each in self.inventory.analyzers.items()
            if not each.is_nameless
            and not is_side_copy(name)
            and not name.startswith(STUDIO)
            and DRILL_TAG not in each.tags
        }


@dataclass
class Proposal:
    """One plan that is proposed: its keys, and why."""

    name: str
    source: Found
    analyzers: frozenset[str]
    targets: list[Found] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    keys: dict[str, JsonValue] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)  # for a key, what stands behind it

    @property
    def resources(self) -> list[str]:
        return [self.source.name, *(target.name for target in self.targets)]

    @property
    def summary(self) -> str:
        count = counted(len(self.analyzers), "analyzer")
        return f"{self.name}: {count} from {self.source.name} to {some_of(self.resources[1:])}"

    def set(self, key: str, value: JsonValue, why: str) -> None:
        self.keys[key], self.why[key] = value, why

    def to_json(self) -> JsonObject:
        source, *targets = self.resources
        return {"name": self.name, "source": source, "targets": [*targets], "analyzers": len(self.analyzers)}


def propose(found: Sequence[Found], name: str = "") -> list[Proposal]:
    """Propose a plan for each resource with analyzers of its own; without any, for the first that may have some."""
    usable = [each for each in found if not each.left_out]
    by_size = sorted(usable, key=lambda each: (-len(each.own), bool(each.inventory)))
    plans: list[Proposal] = []
    held: set[tuple[str, str, str]] = set()
    for each in by_size:
        # What means the same at a larger source is a copy of that, unless data would have left its zone for it.
        all_of_it = {(zone_of(each.region), analyzer, meaning) for analyzer, meaning in each.own.items()}
        if own := frozenset(analyzer for _, analyzer, _ in all_of_it - held):
            plans.append(Proposal(each.name, each, own))
            held |= all_of_it
    plans = plans or [Proposal(each.name, each, frozenset()) for each in by_size[:1]]
    sources = [plan.source for plan in plans]
    for plan in plans:
        _choose_targets(plan, usable, sources)
    for plan in plans:
        if name:
            plan.name = name if len(plans) == 1 else f"{name}-{plan.source.name}"
        _choose_analyzers(plan, [other for other in plans if other is not plan and plan.targets and other.targets])
        plan.set("exclude", [f"{STUDIO}*"], "analyzers that the studio makes")
        _choose_deployments(plan)
        plan.set("objectives", {"rpo": "24h", "rto": "15m"}, "how much may be lost, and how long a recovery may take")
        plan.set("failover", {"automatic": False}, "an outage is proposed, and waits for approval")
        if not plan.targets:
            plan.remarks.append("(!) no plan can be proposed: it needs a target in another region. Complete this one")
    return plans


def _choose_targets(plan: Proposal, usable: Sequence[Found], sources: Sequence[Found]) -> None:
    """Take resources of other regions between which data may move; say of each other one why not."""
    source, here = plan.source, zone_of(plan.source.region)
    said = f"{source.name} is the source: it has {counted(len(plan.analyzers), 'analyzer')} of its own"
    if not plan.analyzers:
        why = source.unread or "no resource has any yet"
        said = f"(!) {source.name} counts as the source, but no analyzer was seen there: {why}"
    plan.remarks.append(said)
    fitting: list[Found] = []
    beside: list[str] = []
    elsewhere: dict[str, list[str]] = {}
    for other in (each for each in usable if each is not source):
        there = zone_of(other.region)
        if source.region and other.region == source.region:
            beside.append(other.name)
        elif source.region and other.region and here != there:
            elsewhere.setdefault(there or "an unknown geography", []).append(other.name)
        else:
            fitting.append(other)
    fitting.sort(key=lambda each: geography_of(each.region) != geography_of(source.region))
    plan.targets = [each for each in fitting if each not in sources] or fitting
    plan.keys["pairs"] = [{"source": source.name, "targets": [*plan.resources[1:]] or ["TARGET"]}]
    for other in plan.targets:
        known = other.region and here
        of = f"in another region ({other.region}) of the same {here}" if known else "its region is unknown"
        plan.remarks.append(f"{other.name} is a target: {of}")
    if more := [each.name for each in fitting if each not in plan.targets]:
        plan.remarks.append(f"also possible as targets, but with analyzers of their own: {', '.join(more)}")
    if beside:
        plan.remarks.append(f"no targets, since they would be lost with {source.region}: {', '.join(beside)}")
    for there, names in elsewhere.items():
        plan.remarks.append(
            f"no targets, since data would leave {here or 'the geography of ' + source.name} for {there}: "
            f"{', '.join(names)}. If it may, add them to targets, and residency: {{allow: [{', '.join(names)}]}}"
        )


def _choose_analyzers(plan: Proposal, others: Sequence[Proposal]) -> None:
    """Name the analyzers by few globs, which no other plan has that writes to the same resources."""
    near = [other for other in others if {*other.resources} & {*plan.resources}]
    if not near:
        plan.set("include", ["*"], "those that are made later are protected too")
        return
    foreign = {name for other in near for name in other.analyzers} | {*plan.source.own}.difference(plan.analyzers)
    earlier = {
        name
        for other in near
        if (len(other.analyzers), plan.name) > (len(plan.analyzers), other.name)
        for name in other.analyzers
    }
    if twice := sorted(plan.analyzers & earlier):
        plan.remarks.append(
            f"not in this plan: {some_of(twice, 10)}. Another source has other analyzers of these names, which would "
            f"overwrite each other; a plan of their own with target_id: '{{id}}-{plan.source.name}' protects them"
        )
    kept, apart = plan.analyzers - earlier, foreign | earlier
    globs = covering(kept, apart) or [f"{plan.source.name}-*"]
    if len(globs) > MOST_GLOBS:
        globs = min(globs, covering(kept, apart, "."), key=len)
    beside = ", ".join(other.name for other in near)
    plan.set("include", [*globs], f"the same resources are in: {beside}. Add here what is made later")


def covering(wanted: Collection[str], others: Collection[str], ends: str = r"[-_.]") -> list[str]:
    """Give globs of all of some names and none of others: a beginning up to `ends` that several have, else the name."""

    def beginnings(names: Iterable[str]) -> Iterator[str]:
        return (name[: found.end()] for name in names for found in re.finditer(ends, name))

    def glob(name: str) -> str:
        begin = next((each for each in beginnings([name]) if shared[each] > 1 and each not in apart), "")
        return f"{begin}*" if begin else name

    shared, apart = Counter(beginnings(wanted)), {*beginnings(others)}
    return [*dict.fromkeys(map(glob, sorted(wanted)))]


def _choose_deployments(plan: Proposal) -> None:
    """Name the deployments of a target that are called otherwise than at the source, and what it lacks."""
    if plan.source.inventory is None:
        return
    source, named = plan.source.inventory, plan.source.inventory.serving
    models = {model for name in plan.analyzers for model in source.meaning(name, ()).models}
    chosen: dict[str, JsonValue] = {}
    for target in plan.targets:
        if target.inventory is None:
            continue
        there, none = target.inventory.serving, DeploymentOverrides()
        missing = {(role, name) for role, name in models if name not in (there.defaults or {})}
        added = {(role, name): default_to_add(role, name, named, there, none) for role, name in missing}
        overrides: JsonObject = {}
        for role, key in ROLES.items():
            fits = {deployment for (of, _), deployment in added.items() if of == role and deployment}
            same = {(named.defaults or {}).get(name) for of, name in added if of == role}
            if len(fits) == 1 and fits != same:
                overrides[key] = fits.pop()
        if overrides:
            chosen[target.name] = overrides
        if any(added.values()):
            plan.set("missing_defaults", "sync", "a run adds to a target's defaults what these analyzers need")
        lacking = [each for each in check_models(models, named, there, none) if each.severity is Severity.ERROR]
        plan.remarks += [
            f"(!) {each.cause}. {each.next_action}" for each in lacking if not added.get((each.role, each.model))
        ]
    if chosen:
        plan.set("deployments", chosen, "they have other names there")


def configuration_text(
    found: Sequence[Found], plans: Sequence[Proposal], problems: Iterable[str], schema_file: str, written: str
) -> str:
    """Write the file, by the template beside this."""
    environment = Environment(
        loader=PackageLoader("standby.cli"),
        autoescape=select_autoescape(),  # of pages, which this is none
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"flow": flow, "sentence": sentence, "wrapped": wrapped}
    return environment.get_template("standby.yaml.j2").render(
        found=found,
        plans=plans,
        problems=[*problems],
        schema=configuration_schema(),
        schema_file=schema_file,
        width=WIDTH,
        written=written,
    )


def wrapped(text: str, mark: str) -> str:
    return textwrap.fill(
        sentence(clean(text)),
        WIDTH + len(mark) + 2,
        initial_indent=f"{mark}- ",
        subsequent_indent=f"{mark}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def flow(value: JsonValue) -> str:
    """Write a value as YAML in one line, or a long list in several."""
    width = WIDTH if isinstance(value, list) else 100_000
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=width)
    return text.removesuffix("...\n").strip() or json.dumps(value)
