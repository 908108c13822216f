"""What a copy is called at its target."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from standby.replication.dependencies import references
from standby.service.models import JsonValue

LONGEST_ID = 64
"""Characters an analyzer's id may have (REFERENCE, *The analyzer*)."""

PLACE_OF_ID = "{id}"
"""Stands for the source's id in a plan's `target_id`."""


@dataclass(frozen=True)
class TargetNames:
    """The names of one source's analyzers at one target.

    Attributes:
        template: the plan's `target_id`.
        referenced: analyzers that others of the source refer to. A reference is by id and is copied as it is,
            so these keep their names.
        taken: ids that a new version must not get.
        given: ids of copies that were settled one by one, and go before all else.
    """

    template: str
    referenced: Collection[str]
    taken: Collection[str]
    given: Mapping[str, str] = field(default_factory=dict)

    def of(self, analyzer: str) -> str:
        """Give the id of an analyzer's copy."""
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

    def versions(self, analyzer: str, known: Iterable[str]) -> list[str]:
        """Give the known ids that are versions of an analyzer's copy, the newest first."""
        prefix = f"{self.of(analyzer)}_v"
        numbered = [other for other in known if other.startswith(prefix) and other[len(prefix) :].isdigit()]
        return sorted(numbered, key=lambda other: -int(other[len(prefix) :]))


def referenced_anywhere(definitions: Mapping[str, Mapping[str, JsonValue]]) -> frozenset[str]:
    """Name every analyzer that some definition refers to."""
    return frozenset(name for definition in definitions.values() for name in references(definition))
