"""Everything an operator configures, checked as a whole; and the JSON schema by which editors complete and check it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import timedelta
from itertools import combinations
from operator import eq
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from standby.config.durations import WRITTEN, Duration, format_duration, parse_duration, parse_seconds
from standby.config.errors import ConfigurationError, Problem, UnknownName, Where, dotted, explain
from standby.config.globs import Write
from standby.config.plan import RecoveryPlan, parse_encryption
from standby.config.resource import Name, Resource
from standby.config.sinks import MODES, Sink, mode_words, parse_mode
from standby.config.vault import BlockReference, VaultSettings
from standby.config.yaml_file import YamlFile, fill, read_yaml, secrets_of
from standby.document import JsonObject, Strict
from standby.text import nearest


class GatewaySettings(Strict):
    """What a delivery to `standby gateway` must carry."""

    token: SecretStr = Field(
        min_length=16, description="Bearer token, or the token parameter of the URL, of every delivery."
    )
    metrics_token: SecretStr | None = Field(
        None, min_length=16, description="Bearer token of scrapes of /metrics; without it nothing is served there."
    )

    @model_validator(mode="after")
    def _scrapers_report_no_outages(self) -> Self:
        if self.metrics_token == self.token:
            raise ValueError("metrics_token must differ from token, by which outages can be reported")
        return self


class KeepRuns(Strict):
    """How long Prefect keeps the flow runs of Standby that have ended, with their pages; the last one stays."""

    looks: Duration = Field(
        timedelta(hours=6),
        description="Runs of watch, thousands a day and plan, and cancelled ones of a schedule.",
    )
    others: Duration = Field(timedelta(days=90), description="All other runs.")


class Configuration(Strict):
    """Resources and recovery plans by name, the vault, and where an activation is published."""

    resources: dict[Name, Resource] = Field(min_length=1, description="Resources by name.")
    plans: dict[Name, RecoveryPlan] = Field(default_factory=dict, description="Recovery plans by name.")
    vault: VaultSettings = Field(VaultSettings(), description="The vault: where Standby keeps its files.")
    activation: tuple[Sink, ...] = Field((), description="Where the active endpoint map is published.")
    notifications: tuple[BlockReference, ...] = Field(
        (), description="Prefect notification blocks, type-slug/name, that get a message about each failover."
    )
    keep_runs: KeepRuns = Field(KeepRuns(), description="How long Prefect keeps flow runs that have ended.")
    gateway: GatewaySettings | None = Field(None, description="Settings of standby gateway.")

    @field_validator("resources", "plans", mode="before")
    @classmethod
    def _named_by_their_keys(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {key: {"name": key, **entry} if isinstance(entry, dict) else entry for key, entry in value.items()}

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        problems = [problem for _, problem in disagreements(self.resources, self.plans)]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def plan(self, name: str) -> RecoveryPlan:
        if name not in self.plans:
            raise UnknownName("plan", name, self.plans)
        return self.plans[name]

    def resource(self, name: str) -> Resource:
        if name not in self.resources:
            raise UnknownName("resource", name, self.resources)
        return self.resources[name]

    def only(self, plan: str) -> Configuration:
        """Leave out every plan but one, and every resource that it does not use."""
        kept = self.plan(plan)
        resources = {name: self.resource(name) for name in kept.resources}
        return self.model_copy(update={"plans": {plan: kept}, "resources": resources})

    def relative_to(self, folder: Path) -> Configuration:
        """Take relative paths as seen from a folder, that of the file they are written in."""
        sinks = tuple(
            sink.model_copy(update={name: folder / value for name, value in sink if isinstance(value, Path)})
            for sink in self.activation
        )
        plans = {name: plan.relative_to(folder) for name, plan in self.plans.items()}
        return self.model_copy(update={"plans": plans, "vault": self.vault.relative_to(folder), "activation": sinks})


def disagreements(
    resources: Mapping[str, Resource], plans: Mapping[str, RecoveryPlan], also_known: frozenset[str] = frozenset()
) -> Iterator[tuple[Where, str]]:
    """Find what is wrong between parts that are right by themselves; other resources may be `also_known`."""
    for section, parts in (("resources", resources), ("plans", plans)):
        for key, part in parts.items():
            if part.name != key:
                yield (section, key, "name"), f"must be {key}, the same as its key, or be left out"
    for (one, first), (other, second) in combinations(resources.items(), 2):
        if first.endpoint == second.endpoint:
            yield ("resources", other, "endpoint"), _TWICE.format(one)
        if first.resource_id.lower() == second.resource_id.lower():
            yield ("resources", other, "resource_id"), _TWICE.format(one)
    known = {*resources, *also_known}
    for name, plan in plans.items():
        for position, pair in enumerate(plan.pairs):
            where: Where = ("plans", name, "pairs", position)
            for used in sorted({pair.source, *pair.targets} - known):
                yield where, f"no resource is named {used}: {nearest(used, known)}"
            for target in pair.targets:
                here, there = resources.get(pair.source), resources.get(target)
                if here and there and here.api_version != there.api_version:
                    apart = f"{here.name} has api_version {here.api_version} and {there.name} {there.api_version}"
                    yield where, f"{apart}: a copy needs the same one at both; change one of them"
    yield from _written_twice(plans)


_TWICE = "is the same as that of {}: each resource of the configuration must be a different one in Azure"


def _written_twice(plans: Mapping[str, RecoveryPlan]) -> Iterator[tuple[Where, str]]:
    """Find pairs that may write one analyzer of one target: they would overwrite each other in turn."""
    writes = [
        (("plans", name, "pairs", position), Write(plan, pair))
        for name, plan in plans.items()
        for position, pair in enumerate(plan.pairs)
    ]
    for (_, first), (where, second) in combinations(writes, 2):
        targets = [target for target in second.pair.targets if target in first.pair.targets]
        if targets and (shared := first.shares_with(second)) is not None:
            there, advice = " and ".join(targets), first.what_keeps_apart(second)
            yield where, _IN_TURN.format(second.name, first.name, there, shared, advice)


_IN_TURN = "{} and {} may both write the same analyzer at {}, for example {}, and would overwrite each other: {}"
M = TypeVar("M", bound=BaseModel)
CORRECT = "Correct that, then run again"
MOST_BYTES = 500_000  # Of a configuration file
MOST_PROBLEMS = 50  # So many are explained: who has more looks at the wrong file


def load_configuration(path: Path, environ: Mapping[str, str] = os.environ) -> Configuration:
    """Read a configuration file, with its references (`config/secrets.py`); relative paths are taken from its folder.

    `ConfigurationError` names all problems, one line each, without a secret.
    """
    file = read_yaml(_read(path))
    if file.problems:
        raise ConfigurationError(_lines(path, file, file.problems), CORRECT)
    if not isinstance(file.data, dict):
        what = "is empty" if file.data is None else "is not a mapping"
        raise ConfigurationError([f"{path} {what}"], "Add resources: and plans: to it")
    filled = fill(file.data, environ, secrets_of(Configuration), path.absolute().parent)
    found = _validate(filled.data)
    if isinstance(found, Configuration) and not filled.problems:
        return found.relative_to(path.absolute().parent)
    # What is reported of a value that could not be filled in may come from that alone.
    unfilled = [problem.where for problem in filled.problems]
    problems = list(filled.problems)
    if not isinstance(found, Configuration):
        problems += [each for each in found if not any(all(map(eq, each.where, where)) for where in unfilled)]
    hidden = [Problem(problem.where, filled.hide(problem.message)) for problem in problems]
    raise ConfigurationError(_lines(path, file, hidden), CORRECT)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            problem = f"{path} is larger than {MOST_BYTES // 1000} KB, which no configuration is"
            raise ConfigurationError([problem], "Name another file with --config")
        return content.decode()
    except FileNotFoundError as error:
        raise ConfigurationError([f"{path} does not exist"], "Create it, or name another file with --config") from error
    except UnicodeDecodeError:
        # The codec's error holds the bytes of the file, so it is not the cause that is kept.
        raise ConfigurationError([f"{path} is not UTF-8 text"], "Save it as UTF-8") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigurationError([f"{path} cannot be read: {reason}"], "Check the path and its permissions") from error


def _validate(data: Any) -> Configuration | list[Problem]:
    try:
        return Configuration.model_validate(data)
    except ValidationError as error:
        found = [details for details in error.errors(include_url=False) if details["loc"]]
        schema = Configuration.model_json_schema()
        problems = [explain(details, data, schema) for details in found[:MOST_PROBLEMS]]
    # Pydantic compares the parts only when each is right; the reader wants to hear of everything at once.
    resources = dict(_right_ones(Resource, data.get("resources")))
    plans = dict(_right_ones(RecoveryPlan, data.get("plans")))
    named = frozenset(data["resources"]) if isinstance(data.get("resources"), dict) else frozenset()
    return problems + [Problem(*found) for found in disagreements(resources, plans, named)]


def _right_ones(model: type[M], section: object) -> Iterator[tuple[str, M]]:
    for name, entry in section.items() if isinstance(section, dict) else ():
        if isinstance(entry, dict):
            try:
                yield name, model.model_validate({"name": name, **entry})
            except ValidationError:
                continue  # Already explained, from the validation of the whole.


def _lines(path: Path, file: YamlFile, problems: list[Problem]) -> list[str]:
    placed = sorted(((file.line(problem.where) or 1, problem) for problem in problems), key=lambda pair: pair[0])
    return [
        f"{path}:{line}: {dotted(problem.where)} {problem.message}" if problem.where else f"{path} {problem.message}"
        for line, problem in placed
    ]


DIALECT = "https://json-schema.org/draft/2020-12/schema"


def _text(pattern: str) -> JsonObject:
    return {"type": "string", "pattern": pattern}


REFERENCE = r"\$\{([A-Za-z_][A-Za-z0-9_]*|(file|keyvault):[^{}]+)\}"  # What is filled in from elsewhere
SECRET = rf"^{REFERENCE}$"
_TRUTH = "|".join("".join(f"[{letter}{letter.upper()}]" for letter in word) for word in ("true", "yes", "no", "false"))
_ALSO: dict[object, tuple[JsonObject, ...]] = {  # What is read beside what a model asks for, by its type or its reader
    "str": (),
    "literal": (),
    "int": (_text(r"^\s*[+-]?[0-9]+(\.0*)?\s*$"),),
    "float": (_text(r"^\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*$"),),
    "bool": ({"enum": [0, 1]}, _text(rf"^({_TRUTH}|[oO][nN]|[oO][fF][fF]|[tTyYfFnN01])$")),
    parse_duration: (),
    parse_seconds: (_text(WRITTEN),),
    parse_mode: ({"enum": [*MODES, *(int(mode_words(mode)) for mode in MODES)]},),
    parse_encryption: ({"enum": ["generate", "none"]},),
}


def configuration_schema() -> dict[str, Any]:
    """Make the schema: it takes what the loader takes before anything is filled in, and knows the same keys."""
    made = Configuration.model_json_schema(schema_generator=_Generator)
    for named in ("Resource", "RecoveryPlan"):
        made["$defs"][named]["required"].remove("name")  # Their key in the file is their name.
    return {"$schema": DIALECT, **made, "title": "standby.yaml"}


class _Generator(GenerateJsonSchema):
    """Allows `${NAME}`, and the like, in place of each value; a key that is not known is an error."""

    def generate_inner(self, schema: Any) -> JsonSchemaValue:
        made = super().generate_inner(schema)
        function = schema.get("function")
        kind = function["function"] if schema["type"] == "function-before" else schema["type"]
        if made.get("format") == "password":
            # How long a secret has to be says nothing of what stands for it.
            return {key: value for key, value in made.items() if key != "minLength"} | {"pattern": SECRET}
        if kind == "dict":
            return {**made, "propertyNames": super().generate_inner(schema["keys_schema"])}
        if kind == "tagged-union":
            return {"anyOf": made["oneOf"], "required": ["kind"]}
        if kind not in _ALSO or made == {"type": "string"}:
            return made
        # An encryption needs no kind where it has a key.
        last = made["anyOf"][-1] if kind is parse_encryption else _text(REFERENCE)
        known = made["anyOf"] if made.keys() == {"anyOf"} else [made]
        return {"anyOf": [*(each for each in known if each != last), *_ALSO[kind], last]}

    def encode_default(self, dft: Any) -> Any:
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)

    def field_title_should_be_set(self, schema: Any) -> bool:
        del schema
        return False
