"""The emulator's page names what there is; its commands are tried as those of every page."""

from __future__ import annotations

import re
from typing import get_args

from standby.cli.serve import EXAMPLE_COMMANDS
from standby.emulator.config import EmulatorConfig, OutageKind, ResourceConfig
from standby.emulator.faults import CALL_KINDS, Fault
from tests.docs.pages import DOCS, read_page

PAGE = DOCS / "reference" / "emulator.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_the_page_runs_what_the_example_names_next_in_that_order() -> None:
    named = [command.partition("  #")[0].strip() for command in EXAMPLE_COMMANDS]
    run = [
        command.text for block in read_page(PAGE).blocks if block.language == "console" for command in block.commands
    ]
    assert [command for command in run if command in named] == named


def test_the_page_names_every_key_call_and_fault() -> None:
    coded = set(re.findall(r"`([a-z_*]+)`", TEXT))
    faults = {kind.model_fields["kind"].default for kind in get_args(get_args(Fault)[0])}
    assert faults | set(CALL_KINDS) | set(get_args(OutageKind)) <= coded
    assert EmulatorConfig.model_fields.keys() | ResourceConfig.model_fields.keys() <= coded
