"""Knowledge that is lost is begun anew; a vault that does not answer is not taken for an empty one."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from standby.vault.errors import VaultUnavailable
from standby.vault.filesystem import read_knowledge
from tests.standby.vault.world import Memory


class Known(BaseModel):
    times: int = 0


@pytest.mark.parametrize(("files", "times"), [({}, 0), ({"k": b""}, 0), ({"k": b'{"times": 3}'}, 3)])
async def test_what_is_there_is_read_and_what_is_not_is_new(files: dict[str, bytes], times: int) -> None:
    assert (await read_knowledge(Memory(files=files), "k", Known)).times == times


async def test_what_cannot_be_understood_is_warned_of_by_name(caplog: pytest.LogCaptureFixture) -> None:
    found = await read_knowledge(Memory(files={"k": b"secret nonsense"}), "k", Known)

    assert found == Known()
    assert "memory:k cannot be read and is begun anew" in caplog.text
    assert "nonsense" not in caplog.text


async def test_a_vault_that_is_down_is_no_empty_one() -> None:
    memory = Memory()
    memory.down = True

    with pytest.raises(VaultUnavailable):
        await read_knowledge(memory, "k", Known)
