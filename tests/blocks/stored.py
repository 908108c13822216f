"""A whole configuration saved as blocks and read back."""

from __future__ import annotations

from standby.blocks.store import read_blocks, saving_blocks
from standby.config.configuration import Configuration


async def load_configuration_from_blocks(plan_name: str, *, scratch: str = "") -> Configuration:
    found = await read_blocks(plan_name, scratch)
    found.must_be_whole()
    return found.configuration()


async def save_configuration(configuration: Configuration) -> dict[str, str]:
    return {slug: outcome async for slug, outcome in saving_blocks(configuration)}
