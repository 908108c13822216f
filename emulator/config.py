"""The emulator's file: which resources there are, and what is in them."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

from standby.emulator.definitions import ANALYZER_ID, API_VERSIONS, PREBUILT, ApiVersion
from standby.emulator.faults import FaultRule
from standby.errors import StandbyError
from standby.text import some_of

OutageKind = Literal["refuse", "hang", "unavailable", "none"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Deployment(_Part):
    """A model deployment of a resource; `retires_at` is known to the list of models only."""

    name: str = Field(min_length=1)
    model: str = Field(min_length=1)
    # YAML takes an unquoted version for a number or a date.
    version: Annotated[str, BeforeValidator(str)] = "1"
    capacity: int = Field(100, ge=1)
    retires_at: AwareDatetime | None = None


class Outage(_Part):
    """What is wrong: refuse closes the port, hang never answers, unavailable answers 503, none ends it."""

    resource: str
    kind: OutageKind


class _Pace(_Part):
    service_time: float = Field(2.0, ge=0)
    # By which share of it an operation may take less or more, any of which is as likely; the same in every run.
    service_spread: float = Field(0.0, ge=0, le=1)
    latency: float = Field(0.0, ge=0)
    page_size: int | None = Field(None, ge=1)
    # The share of fields that differ from one analysis of the same document to the next, by a seed.
    generate_noise: float = Field(0.3, ge=0, le=1)
    extract_noise: float = Field(0.0, ge=0, le=1)  # also of those that are classified
    analysis_seed: int = 0
    # The share of fields in which an analyzer that was trained anew differs from others.
    rebuilt_differs: float = Field(0.4, ge=0, le=1)
    # How the lack of a model or a child shows: it fails, it is refused, or only what the child read is missing.
    analysis_failures: Literal["late", "at_once", "quiet"] = "late"


class _Equipment(_Part):
    operations_per_minute: int = Field(3000, ge=1)
    defaults: dict[str, str] | None = None
    deployments: tuple[Deployment, ...] = ()


class Settings(_Pace, _Equipment, frozen=False):
    """How a resource behaves, until that is changed; times are seconds, `defaults` are `None` where never set."""

    @property
    def deployed(self) -> dict[str, Deployment]:
        return {deployment.name: deployment for deployment in self.deployments}


class SettingsChange(_Pace, _Equipment):
    """Settings to change, of one resource or all; what is absent stays. `None` unsets defaults and page size."""

    resource: str | None = None
    token_seconds: int = Field(3600, ge=0)
    revoke_tokens: bool = False


class Edit(_Part):
    """A change made by the service: a merge patch of any field, or none that shows where it was only `retrained`."""

    resource: str
    analyzer: str
    api_version: ApiVersion | None = None
    changes: dict[str, JsonValue] = Field(default_factory=dict)
    retrained: bool = False


Port = Annotated[int, Field(ge=0, le=65535)]  # of 127.0.0.1; 0 is any that is free
SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
RESOURCE_NAME = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"
MOST_PROBLEMS = 5
NAME_IT = "Name the emulator's file with --config, or write one with standby emulator --example"


class EmulatorConfigError(StandbyError):
    """The emulator's file cannot be used."""


class ResourceConfig(_Equipment):
    """One resource; without `defaults` it answers `DefaultsNotSet`. `analyzers` are there under each api-version."""

    region: str = Field(min_length=1)
    port: Port = 0
    subscription: str = Field(SUBSCRIPTION, pattern=r"^[0-9a-fA-F-]{1,36}$")
    key: str | None = Field(None, min_length=1)
    # YAML takes an unquoted 2025-11-01 for a date.
    api_versions: tuple[Annotated[ApiVersion, BeforeValidator(str)], ...] = Field(API_VERSIONS, min_length=1)
    analyzers: tuple[dict[str, JsonValue], ...] = ()

    @field_validator("analyzers")
    @classmethod
    def _have_ids_of_their_own(cls, analyzers: tuple[dict[str, JsonValue], ...]) -> tuple[dict[str, JsonValue], ...]:
        ids = [analyzer.get("analyzerId") for analyzer in analyzers]
        for analyzer_id in ids:
            if not isinstance(analyzer_id, str) or not ANALYZER_ID.fullmatch(analyzer_id):
                raise ValueError(f"{analyzer_id} is not an analyzerId; it must match {ANALYZER_ID.pattern}")
            if analyzer_id.startswith(PREBUILT):
                raise ValueError(f"{analyzer_id} is one of the prebuilt ids, which are reserved")
        if twice := sorted(str(name) for name, times in Counter(ids).items() if times > 1):
            raise ValueError(f"{', '.join(twice)} is there more than once")
        return analyzers


class EmulatorConfig(_Pace):
    """Everything that can be set; times are seconds. `tls` serves resources over https, with a throw-away authority.

    `port` is that of the control, of ARM and of the identity endpoint, which asks for `identity_header`.
    """

    port: Port = 0
    identity_header: str | None = Field(None, min_length=1)
    resources: dict[Annotated[str, Field(pattern=RESOURCE_NAME, max_length=64)], ResourceConfig] = Field(min_length=1)
    tls: bool = False
    token_seconds: int = Field(3600, ge=0)
    faults: tuple[FaultRule, ...] = ()
    outages: tuple[Outage, ...] = ()

    @model_validator(mode="after")
    def _names_known_resources(self) -> Self:
        for name in (*(rule.resource for rule in self.faults), *(outage.resource for outage in self.outages)):
            if name is not None and name not in self.resources:
                raise ValueError(f"{name} is not one of the resources")
        return self

    @model_validator(mode="after")
    def _has_each_port_once(self) -> Self:
        ports = Counter([self.port, *(part.port for part in self.resources.values())])
        if twice := [str(port) for port, times in ports.items() if port and times > 1]:
            raise ValueError(f"port {', '.join(twice)} is there more than once")
        return self

    def from_port(self, port: int) -> Self:
        """Give it with the control at this port, and the resources at those that follow, in their order."""
        parts = {
            name: {**part.model_dump(), "port": at} for at, (name, part) in enumerate(self.resources.items(), port + 1)
        }
        return self.model_validate({**self.model_dump(), "port": port, "resources": parts})


def load_emulator_config(path: Path) -> EmulatorConfig:
    """Read the emulator's file, YAML or JSON; files of analyzers in it are relative to it."""
    data = _parsed(path)
    if not isinstance(data, dict):
        raise EmulatorConfigError(f"{path} has no mapping with resources in it", NAME_IT)
    try:
        return EmulatorConfig.model_validate({**data, **_with_analyzers(data, path)})
    except ValidationError as error:
        raise EmulatorConfigError(f"{path}: {problems(error)}", "Correct the file") from None


def problems(error: ValidationError) -> str:
    found = []
    for each in error.errors(include_url=False):
        where = "".join(f"{part}." for part in each["loc"]).removesuffix(".")
        text = "this key is not known" if each["type"] == "extra_forbidden" else each["msg"]
        found.append(f"{where}: {text.removeprefix('Value error, ')}".removeprefix(": "))
    return some_of(found, MOST_PROBLEMS, "; ")


def _parsed(path: Path) -> Any:
    try:
        content = path.read_text(encoding="utf-8")
        # JSON is YAML, and read a hundred times as fast.
        return json.loads(content) if path.suffix == ".json" else yaml.safe_load(content)
    except OSError as error:
        raise EmulatorConfigError(f"{path} cannot be read: {error.strerror}", NAME_IT) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = " ".join(str(error).split())
        raise EmulatorConfigError(f"{path} is neither YAML nor JSON: {line}", "Correct the file") from None


def _with_analyzers(data: Mapping[str, Any], path: Path) -> dict[str, Any]:
    resources = data.get("resources")
    if not isinstance(resources, dict):
        return {}
    from_files = {
        name: {**part, "analyzers": _parsed(path.parent / part["analyzers"])}
        for name, part in resources.items()
        if isinstance(part, dict) and isinstance(part.get("analyzers"), str)
    }
    return {"resources": {**resources, **from_files}}
