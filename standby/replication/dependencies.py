"""Which analyzers an analyzer needs, and in what order they can be copied."""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import CycleError, TopologicalSorter

from standby.config.globs import LONGEST_ID
from standby.document import JsonValue, digest_of
from standby.service.models import PREBUILT


@dataclass(frozen=True)
class Dependencies:
    """The analyzers a selection needs."""

    # For each analyzer, selected or pulled in, the custom analyzers it refers to.
    children: Mapping[str, frozenset[str]]
    pulled_in: frozenset[str]  # analyzers that nobody selected but a selected one needs
    missing: Mapping[str, frozenset[str]]  # for each analyzer, the ones it refers to that the source does not have
    # For each member of a cycle, the cycle's path (first name repeated at its end).
    cycles: Mapping[str, tuple[str, ...]]

    def warnings_of(self, analyzer: str) -> tuple[str, ...]:
        """Say of an analyzer that nobody selected which ones need it."""
        if analyzer not in self.pulled_in:
            return ()
        return (f"Not selected, but needed by {', '.join(sorted(self._parents[analyzer]))}.",)

    @cached_property
    def _parents(self) -> Mapping[str, list[str]]:
        parents: defaultdict[str, list[str]] = defaultdict(list)
        for parent, needed in self.children.items():
            for child in needed:
                parents[child].append(parent)
        return parents


def references(definition: Mapping[str, JsonValue]) -> frozenset[str]:
    """Name the custom analyzers a definition refers to, at any depth.

    References are `baseAnalyzerId`, `config.contentCategories.*.analyzerId`, and both again inside inline
    analyzers (`config.contentCategories.*.analyzer`): REFERENCE, *The analyzer*.
    """
    return frozenset(name for name in _references(definition) if name and not name.startswith(PREBUILT))


def inline_analyzers(definition: Mapping[str, JsonValue]) -> Iterator[Mapping[str, JsonValue]]:
    """Walk the analyzers written out inside a definition, at any depth."""
    for category in _categories(definition):
        inline = category.get("analyzer")
        if isinstance(inline, dict):
            yield inline
            yield from inline_analyzers(inline)


def resolve(selected: Iterable[str], definitions: Mapping[str, Mapping[str, JsonValue]]) -> Dependencies:
    """Close a selection of ids under references; `definitions` has every custom analyzer of the source."""
    return closure(selected, definitions, lambda name: references(definitions[name]))


def closure(
    selected: Iterable[str], known: Container[str], references_of: Callable[[str], frozenset[str]]
) -> Dependencies:
    """Close a selection of ids under references, of which it is known what each refers to."""
    wanted = frozenset(selected)
    children: dict[str, frozenset[str]] = {}
    missing: dict[str, frozenset[str]] = {}
    waiting = sorted(wanted)
    while waiting:
        analyzer = waiting.pop()
        if analyzer in children:
            continue
        needed = references_of(analyzer)
        children[analyzer] = there = frozenset(name for name in needed if name in known)
        if absent := needed - there:
            missing[analyzer] = absent
        waiting.extend(name for name in there if name not in children)
    pulled_in = frozenset(children) - wanted
    return Dependencies(children=children, pulled_in=pulled_in, missing=missing, cycles=_cycles(children))


def _cycles(children: Mapping[str, frozenset[str]]) -> dict[str, tuple[str, ...]]:
    graph = {analyzer: set(needed) for analyzer, needed in children.items()}
    found: dict[str, tuple[str, ...]] = {}
    while True:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            # graphlib lists a cycle from child to parent; people read it from parent to child.
            path = tuple(reversed(error.args[1]))
            found.update(dict.fromkeys(path, path))
            for member in set(path):
                del graph[member]
            for needed in graph.values():
                needed.difference_update(path)
        else:
            return found


def _categories(definition: Mapping[str, JsonValue]) -> Iterator[Mapping[str, JsonValue]]:
    config = definition.get("config")
    categories = config.get("contentCategories") if isinstance(config, dict) else None
    if isinstance(categories, dict):
        yield from (category for category in categories.values() if isinstance(category, dict))


def _references(definition: Mapping[str, JsonValue]) -> Iterator[str]:
    base = definition.get("baseAnalyzerId")
    if isinstance(base, str):
        yield base
    for category in _categories(definition):
        referred = category.get("analyzerId")
        if isinstance(referred, str):
            yield referred
        inline = category.get("analyzer")
        if isinstance(inline, dict):
            yield from _references(inline)


PLACE_OF_ID = "{id}"  # Stands for the source's id in a plan's `target_id`


def original_id(template: str, copy: str) -> str:
    """Give the id at the source of what is called as a copy is; of anything else, its own."""
    before, _, after = template.partition(PLACE_OF_ID)
    bare = copy.removeprefix(before).removesuffix(after)
    return bare if bare and template.replace(PLACE_OF_ID, bare) == copy else copy


def fitting_id(name: str, ending: str = "") -> str:
    """Give an id that is not too long: where it would be, the end of the name gives way to a digest of all of it."""
    if len(name) + len(ending) <= LONGEST_ID:
        return f"{name}{ending}"
    mark = f"-{digest_of(name.encode())[:8]}"
    return f"{name[: LONGEST_ID - len(ending) - len(mark)]}{mark}{ending}"


@dataclass(frozen=True)
class TargetNames:
    """The names of one source's analyzers at one target."""

    template: str
    # Analyzers that others of the source refer to. A reference is by id and is copied as it is, so these keep their
    # names.
    referenced: Collection[str]
    taken: Collection[str]  # ids that a new version must not get
    # Ids of copies that were chosen one by one, and go before all else.
    given: Mapping[str, str] = field(default_factory=dict)

    def of(self, analyzer: str) -> str:
        if analyzer in self.given:
            return self.given[analyzer]
        if analyzer in self.referenced:
            return analyzer
        return self.template.replace(PLACE_OF_ID, analyzer)

    def free_version(self, analyzer: str) -> str:
        """Give the first id `{copy}_v{n}` that is free, from 2 on."""
        base = self.of(analyzer)
        number = 2
        while f"{base}_v{number}" in self.taken:
            number += 1
        return f"{base}_v{number}"


_VERSION = re.compile(r"(.+)_v(\d+)")


def versions(known: Iterable[str]) -> dict[str, list[str]]:
    """Give the ids that are versions of a copy, by the id of that copy, the newest first."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name in known:
        if numbered := _VERSION.fullmatch(name):
            found[numbered[1]].append(name)
    for each in found.values():
        each.sort(key=lambda name: -int(name.rpartition("_v")[2]))
    return found


def referenced_anywhere(definitions: Mapping[str, Mapping[str, JsonValue]]) -> frozenset[str]:
    """Name every analyzer that some definition refers to."""
    return frozenset(name for definition in definitions.values() for name in references(definition))
