"""Everything an operator configures, checked as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator

from standby.config.document import Where
from standby.config.errors import UnknownName
from standby.config.names import Name, nearest
from standby.config.plan import RecoveryPlan
from standby.config.sinks import FileSink, Sink
from standby.config.strict import Strict
from standby.config.vault import BlockReference, VaultSettings
from standby.service.resource import Resource


class GatewaySettings(Strict):
    """What `standby gateway` asks of whoever tells it something."""

    token: SecretStr = Field(
        min_length=16, description="Bearer token, or the token parameter of the URL, of every delivery."
    )


class Configuration(Strict):
    """Resources and recovery plans by name, the vault, and who is told of an activation."""

    resources: dict[Name, Resource] = Field(min_length=1, description="Resources by name.")
    plans: dict[Name, RecoveryPlan] = Field(default_factory=dict, description="Recovery plans by name.")
    vault: VaultSettings = Field(VaultSettings(), description="Where things are kept.")
    activation: tuple[Sink, ...] = Field((), description="Where the active endpoint map is published.")
    notifications: tuple[BlockReference, ...] = Field(
        (), description="Prefect notification blocks, type-slug/name, that are told of failovers."
    )
    gateway: GatewaySettings | None = Field(None, description="Settings of standby gateway.")

    @field_validator("resources", "plans", mode="before")
    @classmethod
    def _named_by_their_keys(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {
            key: {"name": key, **entry} if isinstance(entry, dict) else entry for key, entry in value.items()
        }

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        problems = [problem for _, problem in disagreements(self.resources, self.plans)]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def plan(self, name: str) -> RecoveryPlan:
        """Give a plan by its name.

        Raises:
            UnknownName: there is none; the nearest one is told.
        """
        if name not in self.plans:
            raise UnknownName("plan", name, self.plans)
        return self.plans[name]

    def resource(self, name: str) -> Resource:
        """Give a resource by its name.

        Raises:
            UnknownName: there is none; the nearest one is told.
        """
        if name not in self.resources:
            raise UnknownName("resource", name, self.resources)
        return self.resources[name]

    def only(self, plan: str) -> Configuration:
        """Leave out every plan but one, and every resource that it does not use.

        Raises:
            UnknownName: there is no such plan.
        """
        kept = self.plan(plan)
        resources = {name: self.resource(name) for name in kept.resources}
        return self.model_copy(update={"plans": {plan: kept}, "resources": resources})

    def relative_to(self, folder: Path) -> Configuration:
        """Take relative paths as seen from a folder, that of the file they are written in."""
        sinks = tuple(
            sink.model_copy(update={"path": folder / sink.path}) if isinstance(sink, FileSink) else sink
            for sink in self.activation
        )
        return self.model_copy(update={"vault": self.vault.relative_to(folder), "activation": sinks})


def disagreements(
    resources: Mapping[str, Resource],
    plans: Mapping[str, RecoveryPlan],
    also_known: frozenset[str] = frozenset(),
) -> Iterator[tuple[Where, str]]:
    """Find what is wrong between parts that are right by themselves.

    Args:
        resources: resources by name.
        plans: recovery plans by name.
        also_known: names of resources that exist and are wrong in a way already reported.
    """
    yield from _misnamed(resources, "resources")
    yield from _misnamed(plans, "plans")
    yield from _shared(resources)
    known = {*resources, *also_known}
    for name, plan in plans.items():
        for position, pair in enumerate(plan.pairs):
            where: Where = ("plans", name, "pairs", position)
            for used in sorted({pair.source, *pair.targets} - known):
                yield where, f"no resource is named {used}: {nearest(used, known)}"
            for target in pair.targets:
                if {pair.source, target} <= resources.keys():
                    yield from _versions_apart(where, resources[pair.source], resources[target])


def _misnamed(
    parts: Mapping[str, Resource] | Mapping[str, RecoveryPlan], section: str
) -> Iterator[tuple[Where, str]]:
    for key, part in parts.items():
        if part.name != key:
            yield (section, key, "name"), f"must be {key}, as its key says, or be left out"


def _shared(resources: Mapping[str, Resource]) -> Iterator[tuple[Where, str]]:
    for (one, first), (other, second) in combinations(resources.items(), 2):
        if first.endpoint == second.endpoint:
            yield ("resources", other, "endpoint"), f"is that of {one} too: two resources must be two places"
        if first.resource_id.lower() == second.resource_id.lower():
            yield (
                ("resources", other, "resource_id"),
                f"is that of {one} too: two resources must be two places",
            )


def _versions_apart(where: Where, source: Resource, target: Resource) -> Iterator[tuple[Where, str]]:
    if source.api_version != target.api_version:
        yield (
            where,
            f"{source.name} has api_version {source.api_version} and {target.name} {target.api_version}: "
            "a copy needs the same one at both, so change one of the two",
        )
