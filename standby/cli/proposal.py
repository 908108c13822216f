"""A first standby.yaml: which plans fit the resources that were found, and the file with the reasons beside them."""

from __future__ import annotations

import json
import re
import textwrap
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import yaml

from standby.config.plan import RecoveryPlan
from standby.config.resource import DeploymentOverrides, Resource, geography_of, zone_of
from standby.config.schema import configuration_schema
from standby.document import JsonObject, JsonValue
from standby.replication.inventory import DRILL_TAG, Inventory
from standby.replication.needs import Serving, Severity, check_models, default_to_add
from standby.replication.trained import is_side_copy
from standby.text import clean, counted, sentence, some_of

STUDIO = "projectAnalyzer_"  # So begin the ids of what the studio makes for itself
WIDTH = 110  # Columns after which a list goes on in the next line
MOST_GLOBS = 20  # More than these nobody reads: then a beginning may end anywhere
ROLES = {"completion": "chatCompletion", "embedding": "embedding"}


@dataclass(frozen=True)
class Found:
    """A resource that was found, or only named; what is not known of it is empty."""

    name: str  # in standby.yaml
    settings: JsonObject  # its keys there
    region: str = ""
    notes: tuple[str, ...] = ()  # what to know about it
    left_out: str = ""  # why it cannot be used
    unread: str = ""  # why it is not known which analyzers it has
    inventory: Inventory | None = None

    @property
    def problem(self) -> str:
        return self.left_out or self.unread

    @property
    def serving(self) -> Serving:
        assert self.inventory is not None  # noqa: S101 - asked only of sources and targets that were read
        return self.inventory.serving

    @cached_property
    def own(self) -> Mapping[str, str]:
        """Give the analyzers that a plan would protect, with what each means."""
        listed = self.inventory.analyzers.items() if self.inventory else ()
        return {
            name: self.inventory.meaning(name, ()).fingerprint
            for name, each in listed
            if self.inventory
            and not each.is_nameless
            and not is_side_copy(name)
            and not name.startswith(STUDIO)
            and DRILL_TAG not in each.tags
        }


@dataclass
class Proposal:
    """One plan that is proposed: its keys, and why."""

    name: str
    source: Found
    targets: list[Found]
    analyzers: frozenset[str]
    remarks: list[str] = field(default_factory=list)
    keys: dict[str, JsonValue] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)  # for a key, what stands behind it

    @property
    def target_names(self) -> list[str]:
        return [target.name for target in self.targets]

    @property
    def resources(self) -> set[str]:
        return {self.source.name, *self.target_names}

    @property
    def summary(self) -> str:
        count = counted(len(self.analyzers), "analyzer")
        return f"{self.name}: {count} from {self.source.name} to {some_of(self.target_names)}"


def propose(found: Sequence[Found], name: str = "") -> list[Proposal]:
    """Propose a plan for each resource with analyzers of its own; without any, for the first that may have some."""
    usable = [each for each in found if not each.left_out]
    by_size = sorted(usable, key=lambda each: (-len(each.own), bool(each.inventory)))
    sources: dict[str, frozenset[str]] = {}
    for each in by_size:
        # What means the same at a larger source is a copy of that.
        held = {item for source in usable if source.name in sources for item in source.own.items()}
        if own := frozenset(analyzer for analyzer, meaning in each.own.items() if (analyzer, meaning) not in held):
            sources[each.name] = own
    if not sources and by_size:
        sources[by_size[0].name] = frozenset()
    chosen = [each for each in by_size if each.name in sources]
    plans = [Proposal(each.name, each, [], sources[each.name]) for each in chosen]
    for plan in plans:
        _choose_targets(plan, usable, sources)
    for plan in plans:
        if name:
            plan.name = name if len(plans) == 1 else f"{name}-{plan.source.name}"
        _choose_analyzers(plan, [other for other in plans if other is not plan and plan.targets and other.targets])
        plan.keys["exclude"], plan.why["exclude"] = [f"{STUDIO}*"], "what the studio makes for itself"
        _choose_deployments(plan)
    return plans


def _choose_targets(plan: Proposal, usable: Sequence[Found], sources: Collection[str]) -> None:
    """Take resources of other regions between which data may move; say of each other one why not."""
    source, fitting = plan.source, list[Found]()
    here, beside = zone_of(source.region), list[str]()
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
    idle = [each for each in fitting if each.name not in sources]
    plan.targets = idle or fitting
    for other in plan.targets:
        of = (
            f"in another region ({other.region}) of the same {here}"
            if other.region and here
            else "its region is unknown"
        )
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
    near = [other for other in others if other.resources & plan.resources]
    if not near:
        plan.keys["include"], plan.why["include"] = ["*"], "those that are made later are protected too"
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
    globs = [*covering(kept, apart)] or [f"{plan.source.name}-*"]
    if len(globs) > MOST_GLOBS:
        globs = min(globs, [*covering(kept, apart, ".")], key=len)
    plan.keys["include"] = [*globs]
    beside = ", ".join(other.name for other in near)
    plan.why["include"] = f"the same resources are in: {beside}. Add here what is made later"


def covering(wanted: Collection[str], others: Collection[str], ends: str = r"[-_.]") -> Iterator[str]:
    """Give globs that match all of some names and none of others: a beginning that several have, else the name.

    Args:
        ends: matches what such a beginning may end with.
    """
    names, apart = sorted(wanted), sorted(others)
    place = 0
    while place < len(names):
        name = names[place]
        begins = (name[: found.end()] for found in re.finditer(ends, name))
        begin = next((each for each in begins if _begun(names, each) - place > 1 and not _has(apart, each)), "")
        yield f"{begin}*" if begin else name
        place = _begun(names, begin) if begin else place + 1


def _has(names: Sequence[str], begin: str) -> bool:
    place = bisect_left(names, begin)
    return place < len(names) and names[place].startswith(begin)


def _begun(names: Sequence[str], begin: str) -> int:
    """Give the place behind the names that begin so, which stand together."""
    return bisect_right(names, begin, key=lambda name: name[: len(begin)])


def _choose_deployments(plan: Proposal) -> None:
    """Name the deployments of a target that are called otherwise than at the source, and what it lacks."""
    if plan.source.inventory is None:
        return
    source, named = plan.source.inventory, plan.source.serving
    models = {model for name in plan.analyzers for model in source.meaning(name, ()).models}
    chosen: dict[str, JsonValue] = {}
    for target in (each for each in plan.targets if each.inventory):
        there, none = target.serving, DeploymentOverrides()
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
            plan.keys["missing_defaults"] = "sync"
            plan.why["missing_defaults"] = "a run adds to a target's defaults what these analyzers need"
        lacking = [each for each in check_models(models, named, there, none) if each.severity is Severity.ERROR]
        plan.remarks += [
            f"(!) {each.cause}. {each.next_action}" for each in lacking if not added.get((each.role, each.model))
        ]
    if chosen:
        plan.keys["deployments"], plan.why["deployments"] = chosen, "they have other names there"


VAULT = """
# Where Standby keeps snapshots, the log and who serves. In production: object storage outside of both regions.
vault:
  path: ./vault
  # url: az://CONTAINER/FOLDER          # instead of path; with endpoint: https://ACCOUNT.blob.core.windows.net
  # credentials: {kind: entra}          # needs the role Storage Blob Data Contributor on the container
  # second: {path: ./replica}           # a replica of all of it, best in another region
  signing: {kind: hmac, key: '${VAULT_KEY}'} # keep this key where you keep other secrets: it proves what is kept here

# Where applications learn which resource serves.
activation:
  - {kind: file, path: ./active.json}
  # - {kind: webhook, url: 'https://HOST/PATH', secret: '${HOOK_KEY}', required: false}
"""


def configuration_text(
    found: Sequence[Found], plans: Sequence[Proposal], problems: Iterable[str], schema: str, written: str
) -> str:
    """Write the file."""
    lines = [
        f"# yaml-language-server: $schema=./{schema}",
        f"# Written by standby init, {written}. Read it, correct what is marked (!), then run standby doctor.",
        "# No secret belongs into it: write ${NAME}, ${file:PATH} or ${keyvault:VAULT/NAME}. Who runs standby with",
        "# credentials of kind entra needs the role Cognitive Services User on each of these resources.",
    ]
    if problems := [*problems]:
        lines += ["#", "# Not found out:", *_remarks(problems, "# ")]
    lines += ["", "resources:"]
    first = True
    for each in found:
        lines += [*_resource(each, options=first and not each.left_out), ""]
        first = first and bool(each.left_out)
    ready = [plan for plan in plans if plan.targets]
    lines += ["plans:" if ready else "plans: {}"]
    for number, plan in enumerate(plans):
        lines += [*_plan(plan, options=number == 0), ""]
    return "\n".join(lines).rstrip() + "\n" + VAULT


def _resource(found: Found, *, options: bool) -> Iterator[str]:
    mark = "  # " if found.left_out else "  "
    about = [f"{found.region}, {counted(len(found.own), 'analyzer')} of its own"] if found.inventory else []
    about += [f"(!) left out: {found.left_out}"] if found.left_out else []
    about += [f"(!) {found.unread}"] if found.unread and not found.left_out else []
    about += [f"(!) {found.inventory.unlisted}"] if found.inventory and found.inventory.unlisted else []
    yield f"{mark}{found.name}:"
    yield from _remarks([*about, *found.notes], "    # ")
    for key, value in found.settings.items():
        yield f"{mark}  {key}: {flow(value)}"
    if options:
        yield from _options(Resource, found.settings, "    # ")


def _plan(plan: Proposal, *, options: bool) -> Iterator[str]:
    ready = bool(plan.targets)
    mark = "  " if ready else "  # "
    said = f"{plan.source.name} is the source: it has {counted(len(plan.analyzers), 'analyzer')} of its own"
    if not plan.analyzers:
        why = plan.source.unread or "no resource has any yet"
        said = f"(!) {plan.source.name} counts as the source, but no analyzer was seen there: {why}"
    if not ready:
        plan.remarks.append("(!) no plan can be proposed: it needs a target in another region. Complete this one")
    yield f"{mark}{plan.name}:"
    yield from _remarks([said, *plan.remarks], "    # ")
    targets = plan.target_names or ["TARGET"]
    keys: dict[str, JsonValue] = {
        "pairs": [{"source": plan.source.name, "targets": [*targets]}],
        **plan.keys,
        "objectives": {"rpo": "24h", "rto": "15m"},
        "failover": {"automatic": False},
    }
    reasons = {
        "objectives": "how much may be lost, and how long a recovery may take",
        "failover": "an outage is proposed, and waits for approval",
        **plan.why,
    }
    for key, value in keys.items():
        text = flow(value)
        if "\n" in text:
            yield f"{mark}  # {sentence(reasons[key])}" if key in reasons else f"{mark}  # {key}"
            yield f"{mark}  {key}:"
            yield textwrap.indent(text, f"{mark}    ")
        else:
            yield f"{mark}  {key}: {text}" + (f"  # {reasons[key]}" if key in reasons else "")
    if options:
        yield from _options(RecoveryPlan, keys, "    # ")


def _remarks(texts: Iterable[str], mark: str) -> Iterator[str]:
    for text in texts:
        first, *more = textwrap.wrap(sentence(clean(text)), WIDTH, break_long_words=False, break_on_hyphens=False)
        yield from (f"{mark}- {first}", *(f"{mark}  {line}" for line in more))


def _options(model: type[Resource | RecoveryPlan], given: Collection[str], mark: str) -> Iterator[str]:
    """List the keys that were not given, with their defaults: such a line counts without its mark."""
    for key, about in configuration_schema()["$defs"][model.__name__]["properties"].items():
        if key not in given and "default" in about and len(text := flow(about["default"])) < WIDTH:
            yield f"{mark}{key}: {text}  # {about['description']}"


def flow(value: JsonValue) -> str:
    """Write a value as YAML in one line, or a long list in several."""
    width = WIDTH if isinstance(value, list) else 100_000
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=width)
    return text.removesuffix("...\n").strip() or json.dumps(value)
