"""Puts down what a restore builds, while it does: what is rebuilt must not be taken for a copy later."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime

from standby.recovery.context import RecoveryContext
from standby.recovery.snapshots.restore_items import RestoreItem, RestorePlan
from standby.replication.rebuilt import Rebuilt, add_rebuilt
from standby.vault.errors import Held, VaultError

log = logging.getLogger("standby.recovery")

PATIENCE = 30.0
"""Seconds that another restore which writes the same list is waited for at the end."""


class RebuiltNotes:
    """What one restore has built, in the vault as soon as it can be, and at the latest at the end."""

    def __init__(self, context: RecoveryContext, plan: RestorePlan) -> None:
        """Take what is to be restored."""
        self._context = context
        self._plan = plan
        self._written: dict[str, Rebuilt] = {}
        self._noted: dict[str, Rebuilt] = {}
        self._writing = asyncio.Lock()
        self._at_the_end = False

    async def note(self, item: RestoreItem, created_at: datetime | None) -> None:
        """Put down one incarnation; the restore goes on where the vault does not take it now."""
        if self._plan.rehearsed:
            return
        definition = self._plan.definitions[item.target_analyzer]
        self._noted[item.target_analyzer] = Rebuilt(
            analyzer=item.target_analyzer,
            created_at=created_at,
            fingerprint=item.fingerprint,
            fidelity=item.fidelity.value,
            trained=bool(definition.get("knowledgeSources")),
            origin=item.resource,
            original=item.analyzer,
            plan=self._context.plan.name,
        )
        if self._at_the_end:
            return
        try:
            await self._write(0.0)
        except Held:
            log.info("another restore is writing down what it rebuilds at %s", self._plan.to)
        except VaultError as error:
            # No analyzer waits for a vault that does not answer.
            self._at_the_end = True
            log.warning("What is rebuilt at %s is written down at the end: %s", self._plan.to, error)

    async def close(self) -> None:
        """Put down what is left.

        Raises:
            Held: another restore writes the same list for too long.
            VaultUnavailable: it may or may not have been written.
        """
        await self._write(PATIENCE)

    async def _write(self, patience: float) -> None:
        # One at a time, so that what comes meanwhile is written together.
        async with self._writing:
            noted = dict(self._noted)
            added = [each for name, each in noted.items() if self._written.get(name) != each]
            if not added:
                return
            await add_rebuilt(
                self._context.vault,
                self._context.clock,
                self._plan.to,
                added,
                gone=self._plan.stale,
                patience=patience,
            )
            self._written = noted
