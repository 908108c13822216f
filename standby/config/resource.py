"""The configuration of one Content Understanding resource."""

from __future__ import annotations

import ipaddress
import logging
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import SplitResult, urlsplit

import yaml
from pydantic import ConfigDict, Field, SecretStr, StringConstraints, field_validator, model_validator

from standby.document import Strict

log = logging.getLogger("standby.config")

ApiVersion = Literal["2025-11-01", "2026-06-01-preview", "2025-05-01-preview"]
PREVIEW_2025: ApiVersion = "2025-05-01-preview"
"""The api-version whose copy protocol hands a token to the caller, as the product's disaster-recovery page has it."""

PREVIEW_2025_RETIRES = "2026-07-15"  # The day on which that api-version was due to be retired
LASTING = tuple(version for version in get_args(ApiVersion) if version != PREVIEW_2025)
"""The api-versions to move to from one that is retired."""


@dataclass(frozen=True)
class Cloud:
    """One of Azure's clouds: a token of one is worth nothing in another."""

    suffix: str
    management: str
    authority: str  # who gives tokens; empty where the environment may say
    vault: str  # what the hosts of its key vaults end with

    @property
    def scope(self) -> str:
        return f"https://cognitiveservices.azure.{self.suffix}/.default"

    @property
    def arm(self) -> str:
        return f"https://management.{self.management}"


PUBLIC = Cloud("com", "azure.com", "", "vault.azure.net")
SOVEREIGN = (
    Cloud("us", "usgovcloudapi.net", "https://login.microsoftonline.us", "vault.usgovcloudapi.net"),
    Cloud("cn", "chinacloudapi.cn", "https://login.chinacloudapi.cn", "vault.azure.cn"),
)
CLOUDS = (PUBLIC, *SOVEREIGN)
# Host suffixes a data-plane endpoint may have (REFERENCE, *Authentication and hosts*), and the hosts of the management
# plane, whose tokens are worth much more than those of one resource.
AZURE_SUFFIXES = tuple(
    f".{service}.azure.{cloud.suffix}" for cloud in CLOUDS for service in ("services.ai", "cognitiveservices")
)
ARM_HOSTS = tuple(f"management.{cloud.management}" for cloud in CLOUDS)


def cloud_of(url: str) -> Cloud:
    """Say in which cloud an endpoint is: of a resource, of its management or of storage."""
    found = re.match(r"https://[^/:]+\.(azure\.[a-z]+|[a-z]+\.[a-z]+)(?=[/:]|$)", url.lower())
    ends = found[1] if found else ""
    return next((cloud for cloud in SOVEREIGN if ends in {f"azure.{cloud.suffix}", cloud.management}), PUBLIC)


@cache
def _regions() -> dict[str, tuple[str, str]]:
    """Give geography and data zone, or once more the geography, by region."""
    table = yaml.safe_load((files("standby.config") / "regions.yaml").read_text(encoding="utf-8"))
    zones = {geography: zone for zone, members in table["data_zones"].items() for geography in members}
    return {each: (name, zones.get(name, name)) for name, regions in table["geographies"].items() for each in regions}


def geography_of(region: str) -> str:
    return _regions().get(region, ("", ""))[0]


@cache
def zone_of(region: str) -> str:
    """Give the data zone of a region, or its geography where it is in none; empty, with one warning, where unknown."""
    if region not in _regions():
        log.warning("The geography of %s is unknown, so residency is not checked for copies from or to it", region)
    return _regions().get(region, ("", ""))[1]


RESOURCE_NAME = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"
Name = Annotated[str, StringConstraints(pattern=RESOURCE_NAME, max_length=64)]  # Of a resource or plan

RESOURCE_ID = (
    r"(?i)^/subscriptions/[^/?#\s]+/resourceGroups/[^/?#\s]+"
    r"/providers/Microsoft\.CognitiveServices/accounts/[^/?#\s]+$"
)
KEY = r"[!-~]([ -~]*[!-~])?"
HOST = r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*"


class KeyCredentials(Strict):
    """A subscription key, sent as `Ocp-Apim-Subscription-Key`."""

    kind: Literal["key"] = "key"
    key: SecretStr = Field(min_length=1, description="Subscription key of the resource.")

    @field_validator("key")
    @classmethod
    def _fits_in_a_header(cls, value: SecretStr) -> SecretStr:
        if not re.fullmatch(KEY, value.get_secret_value()):
            raise ValueError("must be printable ASCII with no space or line end around it")
        return value


class EntraCredentials(Strict):
    """An Entra identity: a client secret where all three parts are given, else DefaultAzureCredential."""

    kind: Literal["entra"] = "entra"
    tenant_id: str | None = Field(None, description="Directory (tenant) id.")
    client_id: str | None = Field(None, description="Application id, or that of a user-assigned identity.")
    client_secret: SecretStr | None = Field(None, description="Client secret of the application.")

    @model_validator(mode="after")
    def _secret_needs_its_application(self) -> Self:
        if self.client_secret is not None and not (self.tenant_id and self.client_id):
            raise ValueError("client_secret needs tenant_id and client_id beside it")
        return self


@dataclass(frozen=True)
class NoCredentials:
    """Of a resource whose settings cannot be used: why, and what to do about it."""

    reason: str
    next_action: str


Credentials = Annotated[KeyCredentials | EntraCredentials, Field(discriminator="kind")]


class DeploymentOverrides(Strict):
    """Deployments to use instead of the analyzer's own at one target."""

    chat_completion: str | None = Field(None, alias="chatCompletion", description="Completion deployment.")
    embedding: str | None = Field(None, description="Embedding deployment.")

    model_config = ConfigDict(populate_by_name=True)

    def of(self, role: str) -> str | None:
        return {"completion": self.chat_completion, "embedding": self.embedding}.get(role)


def plain_region(written: str) -> str:
    """Give the name of a region as Azure's APIs have it, eastus, where its portal writes East US."""
    return "".join(written.split()).lower()


class Resource(Strict):
    """One resource in one region: where it is, how to sign in, and how many calls and copies it may get."""

    name: Name = Field(description="Name used in plans and reports.")
    endpoint: str = Field(description="Data-plane endpoint, https and without a path.")
    region: str = Field(min_length=1, description="Azure region, such as eastus.")
    resource_id: str = Field(description="Azure resource id, /subscriptions/…/accounts/….")
    api_version: ApiVersion = Field("2025-11-01", description="Decides the copy protocol.")
    credentials: Credentials = Field(description="How to sign in: by a key, or as an Entra identity.")
    arm_endpoint: str = Field(
        PUBLIC.arm, description="Azure management endpoint; empty to skip the checks that need it."
    )
    max_concurrent_copies: int = Field(
        10,
        ge=1,
        le=1000,
        description="Copies in flight into this resource at a time. Only one run copies into it at a time: "
        "the concurrency limit of 1 in Prefect counts runs, not copies.",
    )
    operations_per_minute: int = Field(3000, ge=1, le=3000, description="Calls a minute, retries included.")
    allow_host: bool = Field(False, description="Accept an endpoint that is not a known Azure host.")

    @model_validator(mode="before")
    @classmethod
    def _managed_in_its_cloud(cls, data: Any) -> Any:
        """Put the management plane of its own cloud where the usual one stands, or nothing was said."""
        if isinstance(data, dict) and data.get("arm_endpoint", PUBLIC.arm) == PUBLIC.arm:
            return {**data, "arm_endpoint": cloud_of(str(data.get("endpoint", ""))).arm}
        return data

    @field_validator("region")
    @classmethod
    def _as_azure_names_it(cls, value: str) -> str:
        name = plain_region(value)
        if not re.fullmatch(r"[a-z0-9-]+", name):
            raise ValueError("must be the name of an Azure region, such as eastus")
        return name

    @classmethod
    def unusable(cls, name: str, api_version: ApiVersion, why: NoCredentials) -> Resource:
        """Represent a resource whose settings cannot be used, so that it costs itself only: no call of it is sent."""
        account = f"/subscriptions/-/resourceGroups/-/providers/Microsoft.CognitiveServices/accounts/{name}"
        where = {"endpoint": f"https://{name}.invalid", "region": "unknown", "resource_id": account, "arm_endpoint": ""}
        stand_in: dict[str, Any] = {**where, "name": name, "api_version": api_version, "credentials": why}
        return Resource.model_construct(**stand_in)

    @property
    def why_unusable(self) -> str:
        """Why no call of it can be sent; empty where calls can be."""
        return self.credentials.reason if isinstance(self.credentials, NoCredentials) else ""

    @field_validator("resource_id")
    @classmethod
    def _is_a_resource_id(cls, value: str) -> str:
        if not re.fullmatch(RESOURCE_ID, value):
            raise ValueError(
                "must look like /subscriptions/ID/resourceGroups/NAME"
                "/providers/Microsoft.CognitiveServices/accounts/NAME"
            )
        return value

    @field_validator("endpoint")
    @classmethod
    def _without_a_path(cls, value: str) -> str:
        parts = _split(value, "must be a URL such as https://NAME.services.ai.azure.com")
        if parts.path not in {"", "/"} or "?" in value or "#" in value or "@" in parts.netloc:
            raise ValueError("must have no path, query or user: only https://HOST")
        return f"{parts.scheme}://{parts.netloc}".lower()

    @field_validator("arm_endpoint")
    @classmethod
    def _https_or_loopback(cls, value: str) -> str:
        if not value:
            return value
        parts = _split(value, "must be a URL such as https://management.azure.com, or empty")
        if parts.scheme != "https" and not is_loopback(parts.hostname):
            raise ValueError("must be https (plain http is for loopback only), or empty")
        if "?" in value or "#" in value or "@" in parts.netloc:
            raise ValueError("must have no query or user")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _a_host_that_may_have_the_key(self) -> Self:
        host = urlsplit(self.arm_endpoint).hostname
        if self.arm_endpoint and host not in ARM_HOSTS and not is_loopback(host) and not self.allow_host:
            raise ValueError(
                f"arm_endpoint of {self.name} is not a known host of Azure's management plane: "
                "correct it, or set allow_host: true if that is intended"
            )
        parts = urlsplit(self.endpoint)
        host = parts.hostname or ""
        if is_loopback(host):
            return self
        if parts.scheme != "https":
            raise ValueError(f"endpoint of {self.name} must be https: plain http is for loopback only")
        if not host.endswith(AZURE_SUFFIXES) and not self.allow_host:
            raise ValueError(
                f"endpoint host {host} of {self.name} is not a known Azure host: "
                "correct it, or set allow_host: true if that is intended"
            )
        return self


def _split(value: str, wanted: str) -> SplitResult:
    """Split a URL that every reader takes for the same place; another one is refused, in the words `wanted`."""
    try:
        parts = urlsplit(value)
        in_range = parts.port != 0
    except ValueError:
        # Its message would quote the value, which may be a secret in the wrong place.
        raise ValueError(wanted) from None
    # `urlsplit` ignores tabs and line ends in it, and others do not.
    is_plain = value.isascii() and value.isprintable() and " " not in value and in_range
    host = parts.hostname or ""
    is_host = re.fullmatch(HOST, host) is not None or address_of(host) is not None
    if not is_plain or parts.scheme not in {"http", "https"} or not is_host:
        raise ValueError(wanted)
    return parts


def is_loopback(host: str | None) -> bool:
    """Say whether a host name or address stays on this machine."""
    address = address_of(host or "")
    return host == "localhost" or (address is not None and address.is_loopback)


def address_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Give the address that a host is written as; `None` where it has a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
