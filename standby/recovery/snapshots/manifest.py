"""The manifest of a snapshot, and the list of a plan's snapshots.

A manifest names every definition by its digest. Its bytes are signed and have a digest of their own; they are written
once and never produced again. Definitions are objects of their own, shared by all snapshots of the plan.

The list has a JSON line for each snapshot, oldest first, each with a checksum, which shows whether list or
manifest is damaged.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, StringConstraints, ValidationError

from standby.document import Document, digest_of
from standby.errors import StandbyError
from standby.service.models import Deployment
from standby.vault.documents import Stored, Upgrade, parse_stored
from standby.vault.signing import LogMark


class SnapshotError(StandbyError):
    """Base of this package's errors."""


class Part(Document):
    """A part of what is written to a store: a key that is not known is damage."""

    model_config = ConfigDict(extra="forbid")


class Blob(Part):
    """One file of labelled data."""

    name: str
    size: int
    md5: str | None = None
    etag: str | None = None


class LabelledData(Part):
    """Labelled data that trained an analyzer."""

    container: str  # its URL, without any query
    prefix: str = ""
    file_list: str = ""
    # In order of name; `unknown` where they could not be listed, with the reason.
    blobs: tuple[Blob, ...] | Literal["unknown"]
    reason: str = ""
    access_cut: bool = False  # whether the definition had a signature for it, which is not stored


class AnalyzerEntry(Part):
    digest: str  # SHA-256 of the object that has its definition
    size: int
    fingerprint: str
    status: str  # as the service said, in lower case
    created_at: datetime | None
    changed_at: datetime | None
    labelled: tuple[LabelledData, ...] = ()


class DeploymentEntry(Deployment, Part):
    """A model deployment."""


class ResourceSnapshot(Part):
    """What one resource held."""

    primaries: tuple[str, ...] = Field(alias="homes")
    region: str
    endpoint: str
    api_version: str
    # When it was read. Earlier than the snapshot where it did not answer then, and what an earlier snapshot has of it
    # was kept.
    seen_at: datetime
    # Deployment by model name; `None` where they were never set, or its api-version has none.
    defaults: Mapping[str, str] | None
    deployments: Mapping[str, DeploymentEntry] | None  # by name; `None` where they could not be read
    analyzers: Mapping[str, AnalyzerEntry]

    @property
    def primary(self) -> str:
        """The primary it served for; one of them, where it served for several."""
        return self.primaries[0]


class Manifest(Stored, extra="forbid"):
    """One snapshot."""

    upgrades: ClassVar[Mapping[int, Upgrade]] = {1: dict}

    format: Literal[2] = 2
    id: str
    plan: str
    taken_at: datetime
    run_id: str
    previous: str | None  # digest of the manifest before it; `None` for the first
    epoch: int
    log: LogMark | None = None  # the newest line of the audit log before it was taken, where that was known
    resources: Mapping[str, ResourceSnapshot]

    @property
    def entries(self) -> tuple[AnalyzerEntry, ...]:
        return tuple(entry for part in self.resources.values() for entry in part.analyzers.values())

    @property
    def digests(self) -> frozenset[str]:
        return frozenset(entry.digest for entry in self.entries)

    @property
    def size(self) -> int:
        """Bytes of those objects."""
        return sum({entry.digest: entry.size for entry in self.entries}.values())


SNAPSHOT_ID = r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{6}"  # Begins with the time at which the snapshot was taken
DIGEST = r"^[0-9a-f]{64}$"
SUM_CHARACTERS = 16
_SUMMED = re.compile(rb'(?s)(\{.*),"sum":"([0-9a-f]+)"\}')
_ID = re.compile(rb'"id":"(' + SNAPSHOT_ID.encode() + rb')"')
Digest = Annotated[str, StringConstraints(pattern=DIGEST)]


class IndexEntry(Stored, extra="forbid"):
    """One snapshot."""

    id: Annotated[str, StringConstraints(pattern=f"^{SNAPSHOT_ID}$")]
    taken_at: datetime
    digest: Digest
    previous: Digest | None
    signed: bool
    resources: Mapping[str, int]
    size: int  # bytes of the manifest and of the objects that it needs
    retiring: bool = False  # whether it is being removed; some of its files may be gone

    @property
    def line(self) -> bytes:
        entry = self.model_dump_json().encode()
        return entry[:-1] + b',"sum":"' + digest_of(entry)[:SUM_CHARACTERS].encode() + b'"}'


@dataclass(frozen=True)
class Index:
    entries: tuple[IndexEntry, ...] = ()
    damaged: tuple[bytes, ...] = ()  # lines that are not as they were written

    def find(self, snapshot: str) -> IndexEntry | None:
        return next((entry for entry in self.entries if entry.id == snapshot), None)


def entry_of(manifest: Manifest, content: bytes, *, signed: bool) -> IndexEntry:
    """Make the entry of a manifest, of which `content` is the file."""
    return IndexEntry(
        id=manifest.id,
        taken_at=manifest.taken_at,
        digest=digest_of(content),
        previous=manifest.previous,
        signed=signed,
        resources={name: len(part.analyzers) for name, part in manifest.resources.items()},
        size=len(content) + manifest.size,
    )


def parse_index(where: str, content: bytes | None) -> Index:
    """Read a list; lines that are not as they were written are given apart."""
    if not content:
        return Index()
    *lines, rest = content.split(b"\n")
    entries: dict[str, IndexEntry] = {}
    damaged = [rest] if rest else []
    for line in lines:
        entry = _read(where, line)
        if entry is None:
            damaged.append(line)
        else:
            entries[entry.id] = entry
    return Index(tuple(entries.values()), tuple(damaged))


def write_index(entries: Iterable[IndexEntry]) -> bytes:
    return b"".join(entry.line + b"\n" for entry in entries)


def merged(one: Sequence[IndexEntry], other: Sequence[IndexEntry]) -> tuple[IndexEntry, ...]:
    """Merge two lists of a plan in the order that both have; where they disagree, the first one counts."""
    ours, theirs = list(one), list(other)
    known, also_known = {entry.id for entry in one}, {entry.id for entry in other}
    together: list[IndexEntry] = []
    while ours or theirs:
        if theirs and theirs[0].id in known:
            # It comes where the first list has it, after what only the first list has before it.
            if ours and (ours[0].id == theirs[0].id or ours[0].id not in also_known):
                theirs = theirs[1:] if ours[0].id == theirs[0].id else theirs
                together.append(ours.pop(0))
            else:
                theirs.pop(0)
        elif theirs and (not ours or ours[0].id in also_known or theirs[0].taken_at < ours[0].taken_at):
            together.append(theirs.pop(0))
        else:
            together.append(ours.pop(0))
    return tuple(together)


def named_in(damaged: bytes) -> str | None:
    """Give the snapshot that a damaged line seems to be about."""
    found = _ID.search(damaged)
    return found.group(1).decode() if found else None


def _read(where: str, line: bytes) -> IndexEntry | None:
    found = _SUMMED.fullmatch(line)
    entry = found.group(1) + b"}" if found else b""
    if found is None or digest_of(entry)[:SUM_CHARACTERS].encode() != found.group(2):
        return None
    try:
        return parse_stored(where, entry, IndexEntry)
    except ValidationError:
        return None
