"""Plays every cell, and writes the page from what was found: `python -m tests.matrix FILE`."""

from __future__ import annotations

import os
import sys
import tempfile
from itertools import count, product
from pathlib import Path

import trustme

from tests.matrix.cells import CALLS, Cell, play, stage
from tests.matrix.faults import FAULTS
from tests.matrix.own import (
    COMMANDS,
    DAMAGES,
    INTERRUPTIONS,
    RECORDS,
    Damage,
    Interruption,
    play_damage,
    play_interruption,
)
from tests.matrix.table import lines, page

STEP = 44
"""Boundaries from one at which a command is interrupted to the next one."""


def main(place: Path) -> int:
    """Write the page; no good ending where a cell is wrong."""
    found: list[Cell | None] = []
    with stage() as scene:
        for fault, call in product(FAULTS, CALLS):
            if call.kind in fault.to:
                found.append(play(fault, call, scene(call.begins, call.api_version)))
        for record, how, command in product(RECORDS, DAMAGES, COMMANDS):
            found.append(play_damage(Damage(record, how, command), scene("kept")))
        for how, command in product(INTERRUPTIONS, COMMANDS):
            for boundary in count(2, STEP):
                found.append(play_interruption(Interruption(how, command, boundary), scene("kept")))
                if found[-1] is None:
                    break
    cells = [cell.to_json() for cell in found if cell is not None]
    sys.stdout.writelines(f"{line}\n" for line in lines(cells))
    place.write_text(page(cells), encoding="utf-8")
    return int(any(cell["wrong"] for cell in cells))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        # One authority instead of the hundreds of a machine, which every run reads anew.
        os.environ["SSL_CERT_FILE"] = f"{folder}/authority.pem"
        trustme.CA().cert_pem.write_to_path(os.environ["SSL_CERT_FILE"])
        sys.exit(main(Path(sys.argv[1])))
