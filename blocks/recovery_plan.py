"""A recovery plan, as Prefect keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

from prefect.blocks.core import Block
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from standby.blocks.resource import SchemaKept, same_as
from standby.config import plan as model
from standby.config.durations import Since
from standby.config.errors import summary, valid
from standby.config.plan import FailoverPolicy, GivenKey, SnapshotPolicy
from standby.config.resource import DeploymentOverrides, EntraCredentials, KeyCredentials, Name
from standby.config.sinks import Sink, SinkForm, sink_forms, sinks_of, webhook_keys
from standby.config.vault import NO_BLOCKS, Ed25519Signing, HmacSigning, Place, SasCredentials, Signing, VaultSettings

StorageAccess = Literal["none", "entra", "key", "sas"]


class TargetDeployments(BaseModel):
    """Deployments to use instead of the analyzer's own at a target."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    target: Name = Field(description="Resource that has these deployments.")
    chat_completion: str | None = same_as(DeploymentOverrides, "chat_completion")
    embedding: str | None = same_as(DeploymentOverrides, "embedding")


class RecoveryPlan(SchemaKept, Block):
    """A plan's sources, targets and policies."""

    _block_type_name: ClassVar[str | None] = "Recovery Plan"
    _block_type_slug: ClassVar[str | None] = "recovery-plan"
    _description: ClassVar[str | None] = (
        "Which analyzers are copied to which other regions, and by which policies. "
        "Resources are named as their Content Understanding Resource blocks are."
    )

    pairs: tuple[model.RegionPair, ...] = same_as(model.RecoveryPlan, "pairs")
    include: tuple[model.Glob, ...] = same_as(model.RecoveryPlan, "include")
    exclude: tuple[model.Glob, ...] = same_as(model.RecoveryPlan, "exclude")
    tags: tuple[model.TagFilter, ...] = same_as(model.RecoveryPlan, "tags")
    base: tuple[model.Glob, ...] = same_as(model.RecoveryPlan, "base")
    modified_since: Since | None = same_as(model.RecoveryPlan, "modified_since")
    target_id: model.TargetId = same_as(model.RecoveryPlan, "target_id")
    on_existing: model.OnExisting = same_as(model.RecoveryPlan, "on_existing")
    missing_defaults: model.MissingDefaults = same_as(model.RecoveryPlan, "missing_defaults")
    # A list, not a mapping: an update of a block cannot empty a mapping (Prefect 3.9 merges them).
    deployments: tuple[TargetDeployments, ...] = Field(
        (), description="Deployments to use instead of the analyzer's own, one entry per target."
    )
    encryption: Literal["generate", "none", "given"] = Field(
        "generate", description="Second encryption of the authorization token; given means: with the key below."
    )
    encryption_key: SecretStr | None = Field(
        None, description="Key that encrypts the authorization token; needed if encryption is given."
    )
    objectives: model.Objectives = same_as(model.RecoveryPlan, "objectives")
    retries: model.StepRetries = same_as(model.RecoveryPlan, "retries")
    deadlines: model.CopyDeadlines = same_as(model.RecoveryPlan, "deadlines")
    ignore: tuple[model.IgnoreRule, ...] = same_as(model.RecoveryPlan, "ignore")
    residency: model.ResidencyPolicy = same_as(model.RecoveryPlan, "residency")
    failover: FailoverPolicy = same_as(model.RecoveryPlan, "failover")
    snapshots: SnapshotPolicy = same_as(model.RecoveryPlan, "snapshots")
    samples: model.SampleSettings | None = same_as(model.RecoveryPlan, "samples")
    vault_path: str = Field(
        "vault", description="Local folder of the vault on the machine where the flow runs; empty if a URL is given."
    )
    vault_url: str = Field("", description="Object storage of the vault, such as az://container/folder.")
    vault_endpoint: str = same_as(VaultSettings, "endpoint")
    vault_credentials: StorageAccess = Field("none", description="How the vault's object storage is opened.")
    vault_tenant_id: str = Field("", description="Directory (tenant) id, for entra.")
    vault_client_id: str = Field("", description="Application id, for entra.")
    vault_secret: SecretStr | None = Field(None, description="Key, shared access signature or client secret.")
    second_path: str = Field("", description="Local folder of the replica of the vault.")
    second_url: str = Field("", description="Object storage of the replica of the vault.")
    second_endpoint: str = same_as(VaultSettings, "endpoint")
    second_credentials: StorageAccess = Field("none", description="How the replica's object storage is opened.")
    second_tenant_id: str = Field("", description="Directory (tenant) id, for entra.")
    second_client_id: str = Field("", description="Application id, for entra.")
    second_secret: SecretStr | None = Field(None, description="Key, shared access signature or client secret.")
    vault_report: bool = same_as(VaultSettings, "report")
    signing: Literal["none", "hmac", "ed25519"] = Field("none", description="How snapshots and evidence are signed.")
    signing_key: SecretStr | None = Field(
        None, description="Shared key of hmac, or the private key of ed25519: 32 bytes in base64."
    )
    signing_public_key: str | None = Field(
        None, description="Public key of ed25519. Without the private key, signatures can be checked but not made."
    )
    activation: tuple[SinkForm, ...] = Field((), description="Where the active endpoint map is published.")
    webhook_keys: SecretStr | None = Field(
        None,
        description='Keys that sign what is posted: a JSON list such as ["KEY"], '
        "one for each webhook above, in the same order.",
    )

    @model_validator(mode="before")
    @classmethod
    def _keeps_no_vault_in_a_block(cls, data: Any) -> Any:
        if isinstance(data, dict) and any(data.get(f"{place}_block") for place in ("vault", "second")):
            raise ValueError(f"the vault {NO_BLOCKS}")
        return data

    @model_validator(mode="after")
    def _all_of_it_is_valid(self) -> Self:
        self.to_plan("plan")
        self.to_vault()
        self.to_sinks()
        return self

    def to_plan(self, name: str) -> model.RecoveryPlan:
        targets = [entry.target for entry in self.deployments]
        if len(set(targets)) < len(targets):
            raise ValueError("deployments names a target twice")
        deployments = {entry.target: entry.model_dump(exclude={"target"}) for entry in self.deployments}
        shared = {field: getattr(self, field) for field in SHARED}
        given = {"deployments": deployments, "encryption": self._encryption(), **shared}
        return valid(model.RecoveryPlan, name=name, **given)

    def to_vault(self) -> VaultSettings:
        if not self.vault_path and not self.vault_url:
            raise ValueError("needs vault_path or vault_url")
        second = self._place("second")
        replica = second if second["path"] or second["url"] else None
        given = {"second": replica, "signing": self._signing(), "report": self.vault_report}
        return valid(VaultSettings, **self._place("vault"), **given)

    def to_sinks(self) -> tuple[Sink, ...]:
        try:
            return sinks_of(self.activation, self.webhook_keys)
        except ValidationError as error:
            # Its own message would show the keys.
            raise ValueError(summary(error)) from None

    @classmethod
    def of(cls, plan: model.RecoveryPlan, vault: VaultSettings, sinks: Sequence[Sink] = ()) -> RecoveryPlan:
        return cls(
            deployments=tuple(
                TargetDeployments(target=target, **overrides.model_dump())
                for target, overrides in plan.deployments.items()
            ),
            encryption=plan.encryption.kind,
            encryption_key=plan.encryption.key if isinstance(plan.encryption, GivenKey) else None,
            **_place_fields("vault", vault),
            **_place_fields("second", vault.second),
            vault_report=vault.report,
            **_signing_fields(vault.signing),
            activation=sink_forms(sinks),
            webhook_keys=webhook_keys(sinks),
            **{field: getattr(plan, field) for field in SHARED},
        )

    def _encryption(self) -> dict[str, object]:
        key = self.encryption_key
        if self.encryption != "given":
            return {"kind": self.encryption}
        if key is None or not key.get_secret_value():
            raise ValueError("encryption is given, but encryption_key is empty")
        return {"kind": "given", "key": key}

    def _place(self, name: str) -> dict[str, Any]:
        """Give the fields of a place for files as the library has them."""
        path, url, endpoint, kind, tenant, client, secret = (
            getattr(self, f"{name}_{field}") or None
            for field in ("path", "url", "endpoint", "credentials", "tenant_id", "client_id", "secret")
        )
        given = secret if secret and secret.get_secret_value() else None
        credentials: dict[str, object] | None = None
        if kind == "entra":
            credentials = {"kind": kind, "tenant_id": tenant, "client_id": client, "client_secret": given}
        elif kind in {"key", "sas"}:
            if given is None:
                raise ValueError(f"{name}_credentials is {kind}, but {name}_secret is empty")
            credentials = {"kind": kind, kind: given}
        return {"path": path, "url": url, "endpoint": endpoint or "", "credentials": credentials}

    def _signing(self) -> dict[str, object] | None:
        key = self.signing_key if self.signing_key and self.signing_key.get_secret_value() else None
        if self.signing == "none":
            return None
        if self.signing == "hmac":
            return {"kind": "hmac"} | ({"key": key} if key else {})
        return {"kind": self.signing, "private_key": key, "public_key": self.signing_public_key or None}


def _place_fields(name: str, place: Place | None) -> dict[str, Any]:
    if place is None:
        return {}
    fields: dict[str, Any] = {"path": str(place.folder or ""), "endpoint": place.endpoint}
    fields["url"] = place.url if place.folder is None and place.url else ""
    match place.credentials:
        case KeyCredentials(key=secret) | SasCredentials(sas=secret):
            fields |= {"credentials": place.credentials.kind, "secret": secret}
        case EntraCredentials(tenant_id=tenant, client_id=client, client_secret=secret):
            fields |= {"credentials": "entra", "tenant_id": tenant or "", "client_id": client or "", "secret": secret}
    return {f"{name}_{field}": value for field, value in fields.items()}


def _signing_fields(signing: Signing | None) -> dict[str, Any]:
    match signing:
        case HmacSigning(key=key):
            return {"signing": "hmac", "signing_key": key}
        case Ed25519Signing(private_key=key, public_key=public):
            return {"signing": "ed25519", "signing_key": key, "signing_public_key": public}
    return {}


SHARED = tuple(name for name in model.RecoveryPlan.model_fields if name not in {"name", "deployments", "encryption"})
"""Fields that the block and the library's plan have alike."""
