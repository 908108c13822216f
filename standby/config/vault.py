"""The settings of the vault: where files are kept, and how they are signed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, StringConstraints, model_validator

from standby.document import Strict

BLOCK_REFERENCE = r"^[a-z0-9-]+/[^/%&<>]+$"
"""A block as type-slug/name."""

BlockReference = Annotated[str, StringConstraints(pattern=BLOCK_REFERENCE)]


class HmacSigning(Strict):
    """Manifests and evidence are signed, and checked, with one shared key."""

    kind: Literal["hmac"] = "hmac"
    key: SecretStr = Field(min_length=16, description="Shared key of HMAC-SHA-256; 16 characters or more.")


class Ed25519Signing(Strict):
    """Manifests and evidence are signed with a private key and checked with its public one."""

    kind: Literal["ed25519"] = "ed25519"
    private_key: SecretStr | None = Field(
        None, description="32 bytes in base64; without it, signatures can be checked but not made."
    )
    public_key: str | None = Field(None, description="32 bytes in base64; by default that of the private key.")

    @model_validator(mode="after")
    def _one_key_at_least(self) -> Self:
        if self.private_key is None and self.public_key is None:
            raise ValueError("needs private_key, or public_key to check signatures only")
        return self


Signing = Annotated[HmacSigning | Ed25519Signing, Field(discriminator="kind")]


class SecondStore(Strict):
    """A second place for snapshots, best in another region."""

    path: Path | None = Field(None, description="Local folder.")
    block: BlockReference | None = Field(None, description="Prefect file system, type-slug/name.")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path is None) == (self.block is None):
            raise ValueError("needs either a path or a block")
        return self


class VaultSettings(Strict):
    """The place for definitions, ledgers and replaced analyzers."""

    path: Path | None = Field(
        None,
        description="Local folder; vault, where no block is given either. Beside a block it is the vault "
        "of runs without Prefect (plan, check, --via direct), with records of its own.",
    )
    block: BlockReference | None = Field(
        None, description="Prefect file system, type-slug/name, in which flows keep everything."
    )
    second: SecondStore | None = Field(None, description="A second place that snapshots are written to.")
    signing: Signing | None = Field(None, description="How snapshots and evidence are signed.")

    @property
    def folder(self) -> Path | None:
        """The local folder; none where a block is given and no path beside it."""
        return self.path or (Path("vault") if self.block is None else None)

    def relative_to(self, folder: Path) -> VaultSettings:
        """Take relative paths as seen from a folder."""
        changed: dict[str, object] = {}
        if self.folder is not None:
            changed["path"] = folder / self.folder
        if self.second is not None and self.second.path is not None:
            changed["second"] = self.second.model_copy(update={"path": folder / self.second.path})
        return self.model_copy(update=changed)
