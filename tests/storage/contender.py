"""A process that writes one object again and again, beside others that do the same.

`python -m tests.storage.contender PLACE PATH LAST`: counts the object up to LAST, and says which steps were its own.
"""

from __future__ import annotations

import asyncio
import json
import sys

from standby.config.vault import Place
from standby.vault.errors import Changed
from standby.vault.vault import open_object_storage


async def count(place: Place, path: str, last: int) -> list[int]:
    """Count an object up, together with others; give the numbers that this process wrote."""
    own: list[int] = []
    async with open_object_storage(place) as storage:
        while True:
            found = await storage.read_version(path)
            number = int(found.content) + 1 if found else 1
            if number > last:
                return own
            try:
                await storage.swap(path, str(number).encode(), found.tag if found else None)
            except Changed:
                continue
            own.append(number)


if __name__ == "__main__":
    place, path, last = sys.argv[1:]
    json.dump(asyncio.run(count(Place.model_validate_json(place), path, int(last))), sys.stdout)
