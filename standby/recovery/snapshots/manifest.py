"""What one snapshot holds: a manifest that names every definition by its digest.

The bytes of the manifest are what is signed and what its digest is of; they are written once and never made
anew. It is small; definitions are objects of their own, shared by all snapshots of the plan that have them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import ConfigDict, Field

from standby.document import Document


class Stored(Document):
    """What is written to a store: a key that is not known is damage."""

    model_config = ConfigDict(extra="forbid")


class Blob(Stored):
    """One file of labelled data.

    Attributes:
        size: bytes.
        md5: base64, where the storage tells it.
        etag: changes with every write, also of the same content.
    """

    name: str
    size: int
    md5: str | None = None
    etag: str | None = None


class LabelledData(Stored):
    """Labelled data that trained an analyzer, as far as it could be seen.

    Attributes:
        container: its URL, without any query.
        blobs: in order of name; `unknown` where they could not be listed, with the reason.
        access_cut: whether the definition had a signature to it, which is not kept.
    """

    container: str
    prefix: str = ""
    file_list: str = ""
    blobs: tuple[Blob, ...] | Literal["unknown"]
    reason: str = ""
    access_cut: bool = False


class AnalyzerEntry(Stored):
    """One analyzer.

    Attributes:
        digest: SHA-256 of the object that has its definition.
        size: bytes of that object.
        fingerprint: of what the definition means.
        status: as the service said, in lower case.
    """

    digest: str
    size: int
    fingerprint: str
    status: str
    created_at: datetime | None
    changed_at: datetime | None
    labelled: tuple[LabelledData, ...] = ()


class DeploymentEntry(Stored):
    """A model deployment."""

    name: str
    model: str
    version: str = ""
    capacity: int | None = None
    state: str = ""


class ResourceSnapshot(Stored):
    """What one resource held.

    Attributes:
        primaries: those it served for; itself in ordinary times.
        seen_at: when it was read. Earlier than the snapshot where it did not answer, and what the snapshot
            before had is carried on.
        defaults: deployment by model name; `None` where they were never set, or its api-version has none.
        deployments: by name; `None` where they could not be asked for.
        analyzers: those that the plan protects and what they refer to, by id.
    """

    primaries: tuple[str, ...] = Field(alias="homes")
    region: str
    endpoint: str
    api_version: str
    seen_at: datetime
    defaults: Mapping[str, str] | None
    deployments: Mapping[str, DeploymentEntry] | None
    analyzers: Mapping[str, AnalyzerEntry]

    @property
    def primary(self) -> str:
        """The source in whose place it served."""
        return self.primaries[0]


class Manifest(Stored):
    """One snapshot.

    Attributes:
        previous: digest of the manifest before it; `None` for the first.
        epoch: of the fence, which said who served.
        resources: by name.
    """

    format: Literal[1] = 1
    id: str
    plan: str
    taken_at: datetime
    run_id: str
    previous: str | None
    epoch: int
    resources: Mapping[str, ResourceSnapshot]

    def to_bytes(self) -> bytes:
        """Give what is written and signed."""
        return self.model_dump_json().encode()

    @property
    def entries(self) -> tuple[AnalyzerEntry, ...]:
        """The analyzers of all resources."""
        return tuple(entry for part in self.resources.values() for entry in part.analyzers.values())

    @property
    def digests(self) -> frozenset[str]:
        """The objects that it needs."""
        return frozenset(entry.digest for entry in self.entries)

    @property
    def size(self) -> int:
        """Bytes of those objects."""
        return sum({entry.digest: entry.size for entry in self.entries}.values())
