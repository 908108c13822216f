"""How long copies, restores, detections and switches really took: what a forecast is made from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from enum import StrEnum

from standby.document import Document
from standby.vault.documents import read_document
from standby.vault.filesystem import Objects

MOST = 200
"""Measurements of each kind that are kept, the newest ones."""


class Kind(StrEnum):
    """What can be measured.

    A copy and a restore are of one analyzer; detection is from the first sign of an outage to the order to
    fail over; activation is from that order until every sink was told, without the restores.
    """

    COPY = "copy"
    RESTORE = "restore"
    DETECT = "detect"
    ACTIVATE = "activate"


class Durations(Document):
    """Seconds by kind, oldest first."""

    seconds: Mapping[Kind, tuple[float, ...]] = {}

    def of(self, kind: Kind) -> tuple[float, ...]:
        """Give what was measured of one kind."""
        return self.seconds.get(kind, ())


async def read_durations(objects: Objects, plan: str) -> Durations:
    """Read what was measured of a plan; a file that cannot be understood is warned of and counts as none.

    Raises:
        VaultUnavailable: it cannot be told.
    """
    return await read_document(objects, _path(plan), Durations) or Durations()


async def add_durations(objects: Objects, plan: str, kind: Kind, seconds: Iterable[float]) -> None:
    """Add measurements to those of a plan.

    Two runs that add at the same moment may lose one's: that costs a forecast nothing worth a lock.

    Args:
        objects: the vault.
        plan: its name.
        kind: what was measured.
        seconds: what is negative or no number is left out.

    Raises:
        VaultUnavailable: they may or may not have been written.
    """
    measured = tuple(round(each, 3) for each in seconds if math.isfinite(each) and each >= 0)
    if not measured:
        return
    known = await read_durations(objects, plan)
    kept = (*known.of(kind), *measured)[-MOST:]
    content = Durations(seconds={**known.seconds, kind: kept}).model_dump_json(indent=1)
    await objects.write(_path(plan), content.encode())


def _path(plan: str) -> str:
    return f"durations/{plan}.json"
