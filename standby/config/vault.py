"""The settings of the vault: where files are kept, who may open that, and how they are signed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

from pydantic import Field, PrivateAttr, SecretStr, StringConstraints, field_validator, model_validator

from standby.config.resource import EntraCredentials, KeyCredentials, address_of, is_loopback
from standby.document import LocalPath, Strict

BLOCK_REFERENCE = r"^[a-z0-9-]+/[^/%&<>]+$"  # A Prefect block as type-slug/name
BlockReference = Annotated[str, StringConstraints(pattern=BLOCK_REFERENCE)]
VAULT_URL = r"^(az|s3|gs)://[^/?#@\s]+(/[^?#\s]*)?$|^file:///[^?#\s]+$"
VaultUrl = Annotated[str, StringConstraints(pattern=VAULT_URL)]

NO_BLOCKS = (
    "can no longer be a Prefect block, because a run without Prefect could not open it; name its storage instead: "
    "url: az://CONTAINER/FOLDER with endpoint and credentials, url: s3://BUCKET/FOLDER, url: gs://BUCKET/FOLDER, "
    "or path: FOLDER"
)


class SasCredentials(Strict):
    """A shared access signature of a storage account."""

    kind: Literal["sas"] = "sas"
    sas: SecretStr = Field(min_length=1, description="Query string that grants access, such as sv=…&sig=….")


StorageCredentials = Annotated[KeyCredentials | EntraCredentials | SasCredentials, Field(discriminator="kind")]


class Place(Strict):
    """Where files are kept: a folder of this machine, or object storage."""

    path: LocalPath | None = Field(None, description="Local folder.")
    url: VaultUrl | None = Field(
        None, description="Object storage: az://container/folder, s3://bucket/folder or gs://bucket/folder."
    )
    endpoint: str = Field(
        "", description="URL of the storage account, which az:// needs; of an S3 server other than Amazon's."
    )
    credentials: StorageCredentials | None = Field(
        None, description="For az://: entra, key or sas. s3:// and gs:// take theirs from the environment."
    )

    @model_validator(mode="before")
    @classmethod
    def _names_no_block(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("block") is not None:
            raise ValueError(NO_BLOCKS)
        return data

    @field_validator("endpoint")
    @classmethod
    def _is_safe_to_call(cls, value: str) -> str:
        if not value:
            return value
        parts = urlsplit(value)
        if not parts.hostname or parts.username or parts.query or parts.fragment:
            raise ValueError("must be a URL such as https://account.blob.core.windows.net")
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
            raise ValueError("must begin with https://, unless it is on this machine")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _is_one_place(self) -> Self:
        if self.path is not None and self.url is not None:
            raise ValueError("needs either a path or a url, and has both")
        if self.scheme == "az" and not self.endpoint:
            raise ValueError("needs an endpoint beside az://, such as https://account.blob.core.windows.net")
        if self.scheme == "az" and not _is_account(self.endpoint):
            raise ValueError(
                "must have the endpoint of the storage account alone, such as https://account.blob.core.windows.net "
                "or http://127.0.0.1:10000/account; container and folder belong into url"
            )
        if self.scheme != "az" and self.credentials is not None:
            raise ValueError("takes credentials for az:// only; s3:// and gs:// take theirs from the environment")
        if self.scheme not in {"az", "s3"} and self.endpoint:
            raise ValueError("takes an endpoint for az:// and s3:// only")
        return self

    @property
    def scheme(self) -> str:
        """Give az, s3, gs or file."""
        return self.url.partition(":")[0] if self.url else "file"

    @property
    def folder(self) -> Path | None:
        """Give the local folder; `None` where it is object storage, or nothing was said."""
        if self.url is not None and self.scheme == "file":
            return Path(url2pathname(urlsplit(self.url).path))
        return self.path

    def address(self, path: str) -> str:
        """Give the URL at which a browser finds a file in object storage; empty for a folder."""
        if self.url is None or self.scheme == "file":
            return ""
        default = {"s3": "https://s3.amazonaws.com", "gs": "https://storage.cloud.google.com"}
        return f"{self.endpoint or default[self.scheme]}/{self.url.partition('://')[2].rstrip('/')}/{quote(path)}"

    def relative_to(self, folder: Path) -> Self:
        return self if self.path is None else self.model_copy(update={"path": folder / self.path})


def _is_account(endpoint: str) -> bool:
    """Say whether a URL is that of a storage account: with anything behind it, it would be another, empty vault."""
    parts = urlsplit(endpoint)
    names = [part for part in parts.path.split("/") if part]
    host = parts.hostname or ""
    return len(names) == (1 if host == "localhost" or address_of(host) is not None else 0)


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


class SecondPlace(Place):
    """A replica of everything in the vault, best in another region."""

    @model_validator(mode="after")
    def _is_somewhere(self) -> Self:
        if self.path is None and self.url is None:
            raise ValueError("needs a path or a url")
        return self


@dataclass(frozen=True)
class Promotion:
    """An operator's order to go on from the second: by whom, why, and what it is known to be behind by."""

    by: str
    why: str
    behind: str


class VaultSettings(Place):
    """The place for definitions, ledgers, fence, audit log and replaced analyzers; the folder vault by default."""

    second: SecondPlace | None = Field(None, description="A replica of all of it, written after the first.")
    signing: Signing | None = Field(None, description="How snapshots, plans and evidence are signed.")
    report: bool = Field(False, description="Whether each check keeps the report page here, as report/PLAN.html.")
    _promotion: Promotion | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _has_another_second(self) -> Self:
        if self.second is not None and (self.second.folder, self.second.url) == (self.folder, self.url):
            raise ValueError("is the same place as its second: choose another one")
        return self

    @property
    def promotion(self) -> Promotion | None:
        """Give the order to open the second as the vault; no file and no block can give it."""
        return self._promotion

    def promoted(self, order: Promotion) -> VaultSettings:
        """Take the second as the vault."""
        changed = self.model_copy()
        changed._promotion = order
        return changed

    @property
    def folder(self) -> Path | None:
        """Give the local folder; `None` where it is object storage."""
        return Path("vault") if self.path is None and self.url is None else super().folder

    def relative_to(self, folder: Path) -> Self:
        path = None if self.url is not None else folder / (self.path or "vault")
        second = None if self.second is None else self.second.relative_to(folder)
        return self.model_copy(update={"path": path, "second": second})
