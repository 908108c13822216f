"""Where a command's words go: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler

from standby.config.configuration import Configuration
from standby.config.load import load_configuration
from standby.errors import StandbyError
from standby.service.models import JsonValue


@dataclass
class Output:
    """The global options, and the two streams as they ask for them."""

    config: Path
    json: bool
    verbose: bool
    quiet: bool
    color: bool

    @cached_property
    def stdout(self) -> Console:
        """For results meant for people."""
        return Console(no_color=not self.color, highlight=False, soft_wrap=True)

    @cached_property
    def stderr(self) -> Console:
        """For progress, notes, logs and errors."""
        return Console(stderr=True, no_color=not self.color, highlight=False, soft_wrap=True)

    def load(self) -> Configuration:
        """Read the configuration that was asked for."""
        return load_configuration(self.config)

    def result(self, text: str) -> None:
        """Print a line of the result; with `--json` there is only the document."""
        if not self.json:
            self.stdout.print(text, markup=False)

    def document(self, document: JsonValue) -> None:
        """Print the one JSON document, where one was asked for."""
        if self.json:
            sys.stdout.write(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
            sys.stdout.flush()

    def say(self, text: str) -> None:
        """Say something beside the result."""
        if not self.quiet:
            self.stderr.print(text, markup=False)

    def error(self, error: StandbyError) -> None:
        """Say what went wrong, for people and for programs."""
        self.stderr.print(f"error: {error}", markup=False, style="red")
        self.document(
            {"error": {"kind": type(error).__name__, "cause": error.cause, "next_action": error.next_action}}
        )

    def start_logging(self) -> None:
        """Send the library's log to stderr, as much of it as was asked for."""
        level = logging.DEBUG if self.verbose else logging.ERROR if self.quiet else logging.WARNING
        handler = RichHandler(console=self.stderr, show_path=False, show_time=self.verbose)
        log = logging.getLogger("standby")
        log.handlers[:] = [handler]
        log.setLevel(level)
