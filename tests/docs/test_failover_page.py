"""The page about failovers says what the program does."""

from __future__ import annotations

import re
from pathlib import Path

from standby.cli.failover import GUARDS

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "failover.md"


def test_every_guard_that_the_page_forces_can_be_forced() -> None:
    told = set(re.findall(r"--force ([a-z-]+)", PAGE.read_text(encoding="utf-8")))
    assert told
    assert told <= set(GUARDS)
