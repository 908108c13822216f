"""The active endpoint map in a local file, which several plans may share."""

import stat
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from standby.clock import SystemClock
from standby.concurrency import to_its_end
from standby.config.sinks import READ_BY_ALL
from standby.recovery.activation.sinks import Activation, ActiveMaps, SinkFailed, must_follow, read_maps
from standby.vault.documents import once_free
from standby.vault.errors import Held, VaultError
from standby.vault.folder import LocalFolder, locked

PATIENCE = 10.0  # Seconds that another writer of the same file is waited for
LOOK = 0.05  # Seconds between two attempts to lock the file


@dataclass(frozen=True)
class FileActivation:
    """A file that applications read: replaced as a whole, so that nobody ever sees half of it."""

    path: Path
    # Of the file, as chmod takes it; a folder that is not there yet is made so that it can be reached.
    mode: int = READ_BY_ALL
    required: bool = True
    readable: bool = True
    id: str = ""

    @property
    def name(self) -> str:
        return f"file {self.path}"

    async def publish(self, activation: Activation) -> None:
        """Put the map into the file, beside those of other plans; it is safe when this returns."""
        async with self._locked():
            # A write that is left to its thread would come later than the next one.
            await to_its_end(self._publish(activation))

    async def read(self, plan: str) -> Activation | None:
        return (await self._maps(plan)).plans.get(plan)

    async def _publish(self, activation: Activation) -> None:
        maps = await self._maps(activation.plan)
        found = maps.plans.get(activation.plan)
        must_follow(self.name, found, activation)
        if activation.says_the_same(found) and not self._has_another_mode():
            return
        both = ActiveMaps(plans={**maps.plans, activation.plan: activation})
        try:
            await self._folder.write(self._file.name, both.model_dump_json(indent=1).encode())
        except VaultError as error:
            raise SinkFailed(self.name, error.cause) from None

    def _has_another_mode(self) -> bool:
        try:
            return stat.S_IMODE(self._file.stat().st_mode) != self.mode
        except OSError:
            return True

    async def _maps(self, plan: str) -> ActiveMaps:
        try:
            content = await self._folder.read(self._file.name)
        except VaultError as error:
            raise SinkFailed(self.name, error.cause) from None
        if content is None:
            return ActiveMaps()
        return read_maps(self.name, str(self.path), content, plan, "Move the file aside, then run again")

    @property
    def _file(self) -> Path:
        # Behind a link the file itself is replaced, and the link stays.
        try:
            return self.path.resolve()
        except (OSError, RuntimeError, ValueError):
            reason = "its path cannot be followed: a link leads to itself, or a name is too long"
            raise SinkFailed(self.name, reason, "Correct its path under activation") from None

    @property
    def _folder(self) -> LocalFolder:
        return LocalFolder(self._file.parent, self.mode)

    @asynccontextmanager
    async def _locked(self) -> AsyncIterator[None]:
        """Hold the lock that goes with the file."""
        with ExitStack() as stack:

            async def lock() -> None:
                stack.enter_context(locked(self._file, self.mode))

            try:
                await once_free(SystemClock(), lock, patience=PATIENCE, again=LOOK)
            except Held:
                raise SinkFailed(self.name, f"another run locked it for {PATIENCE:.0f} s") from None
            except VaultError as error:
                raise SinkFailed(self.name, error.cause) from None
            yield
