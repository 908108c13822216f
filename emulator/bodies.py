"""What the control takes, beside faults."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from emulator.catalogue import ApiVersion

OutageKind = Literal["refuse", "hang", "unavailable", "none"]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Deployment(_Body):
    """A model deployment of a resource.

    Attributes:
        retires_at: when its model ends; the list of models tells it, the deployment does not.
    """

    name: str = Field(min_length=1)
    model: str = Field(min_length=1)
    # YAML takes an unquoted version for a number or a date.
    version: Annotated[str, BeforeValidator(str)] = "1"
    capacity: int = Field(100, ge=1)
    retires_at: AwareDatetime | None = None


class Outage(_Body):
    """What is wrong with a whole resource.

    Attributes:
        kind: refuse closes the port, hang never answers, unavailable answers 503, none ends it.
    """

    resource: str
    kind: OutageKind


class SettingsChange(_Body):
    """Settings to change; what is absent stays.

    Attributes:
        resource: one resource; all where it is absent. Tokens are common to all.
        defaults: all the defaults; `None` makes them unset.
        page_size: analyzers on a page of the listing; `None` puts all on one.
        revoke_tokens: whether the tokens that were given out end now.
    """

    resource: str | None = None
    service_time: float = Field(2.0, ge=0)
    latency: float = Field(0.0, ge=0)
    operations_per_minute: int = Field(3000, ge=1)
    page_size: int | None = Field(None, ge=1)
    defaults: dict[str, str] | None = None
    deployments: tuple[Deployment, ...] = ()
    token_seconds: int = Field(3600, ge=0)
    revoke_tokens: bool = False


class Edit(_Body):
    """A change of an analyzer at the service's side.

    Attributes:
        api_version: where it is registered; everywhere it is where that is absent.
        changes: merge patch of any of its fields.
        retrained: whether to count as changed without any change that shows.
    """

    resource: str
    analyzer: str
    api_version: ApiVersion | None = None
    changes: dict[str, JsonValue] = Field(default_factory=dict)
    retrained: bool = False
