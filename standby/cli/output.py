"""The output of a command: results on stdout, everything else on stderr."""

from __future__ import annotations

import asyncio
import codecs
import errno
import io
import os
import sys
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from pydantic_core import to_jsonable_python
from rich.console import Console, ConsoleDimensions
from rich.text import Text

from standby.config.configuration import Configuration, load_configuration
from standby.config.vault import VaultSettings
from standby.document import JsonObject, JsonValue, json_text, write_whole
from standby.errors import FileUnwritable, GuardRefused, StandbyError, sentence
from standby.text import clean, some_of

NARROWEST = 20  # Columns below which nothing can be read


@dataclass(frozen=True)
class Line:
    """One line, which may be long."""

    text: str
    indent: int = 0  # columns before it
    mark: str = ""  # a symbol in front of the text; what is wrapped hangs behind it
    style: str = ""  # colour of the mark, as rich names it
    wrong: bool = False  # it is about something that is wrong, and is shown with `-q` too

    @property
    def head(self) -> str:
        return " " * self.indent + (f"{self.mark} " if self.mark else "")

    def whole(self) -> str:
        """Give it unbroken, so that a program can search it."""
        return f"{self.head}{self.text}"

    def wrapped(self, width: int) -> str:
        """Break it between words only: a URL or a command is left whole, however long."""
        return textwrap.fill(
            self.text,
            width,
            initial_indent=self.head,
            subsequent_indent=" " * len(self.head),
            break_long_words=False,
            break_on_hyphens=False,
        )


def cause_of(error: StandbyError) -> str:
    """Give the cause with the codes that the service gave, without a full stop."""
    text = str(error)
    if error.next_action:
        text = text.removesuffix(sentence(error.next_action))
    return text.rstrip().removesuffix(".")


@dataclass
class Output:
    """The global options, and the two streams as they ask for them; `second` opens the replica as the vault."""

    config: Path = Path("standby.yaml")
    json: bool = False
    verbose: bool = False
    quiet: bool = False
    color: bool = True
    second: bool = False
    _documented: bool = field(default=False, init=False)
    _configuration: Configuration | None = field(default=None, init=False)
    _warnings: tuple[str, ...] = field(default=(), init=False)

    @cached_property
    def stdout(self) -> _Console:
        return _Console(sys.stdout, color=self.color)

    @cached_property
    def stderr(self) -> _Console:
        """For progress, notes, logs and errors."""
        return _Console(sys.stderr, color=self.color)

    def load(self) -> Configuration:
        if self._configuration is None:
            self._configuration = load_configuration(self.config)
        return self._configuration

    def go_on_from(self, second: VaultSettings) -> None:
        """Open the replica as the vault, and say in text and document what it may lack."""
        self._configuration = self.load().model_copy(update={"vault": second})
        behind = second.promotion.behind if second.promotion else ""
        self._warnings = (sentence(f"With --vault second: {behind}"),)
        self.results(Line(warning, mark="!", style="yellow", wrong=True) for warning in self._warnings)

    @property
    def shows_results(self) -> bool:
        """Whether whoever sits at the terminal sees the result."""
        return _is_terminal(self.stdout.file) and not self.json and not self.quiet

    @property
    def may_use_second(self) -> bool:
        """Whether the vault has a replica that was not opened in its place."""
        return not self.second and self._configuration is not None and self._configuration.vault.second is not None

    def result(self, text: str | Line) -> None:
        self.results([Line(text) if isinstance(text, str) else text])

    def results(self, lines: Iterable[Line]) -> None:
        """Print lines of the result; with `--json` there is only the document, with `-q` what is wrong."""
        shown = () if self.json else (line for line in lines if line.wrong or not self.quiet)
        if self.stdout.is_terminal:
            for line in shown:
                show(self.stdout, line)
        elif shown:
            # There may be hundreds of thousands.
            self.stdout.write("".join(f"{replace(line, text=clean(line.text)).whole()}\n" for line in shown))

    def report(self, lines: Iterable[Line], document: object) -> None:
        self.results(lines)
        self.document(document)

    def document(self, of: object) -> None:
        """Print the one JSON document, where one was asked for, of values and models; the first is the one."""
        if self.json and not self._documented:
            self._documented = True
            document: JsonValue = to_jsonable_python(of)
            if self._warnings and isinstance(document, dict):
                known = document.get("warnings")
                document = {**document, "warnings": [*(known if isinstance(known, list) else []), *self._warnings]}
            is_unicode = "utf" in (self.stdout.encoding or "").lower()
            self.stdout.write(f"{json_text(document, ensure_ascii=not is_unicode)}\n")

    def say(self, text: str, indent: int = 0) -> None:
        if not self.quiet:
            show(self.stderr, Line(text, indent))

    def error(self, error: StandbyError) -> None:
        self.problem(type(error).__name__, cause_of(error), error.next_action, error.facts)

    def problem(self, kind: str, cause: str, next_action: str, facts: JsonObject | None = None) -> None:
        first, *more = sentence(cause).split("\n")
        show(self.stderr, Line(first, mark="error:", style="red"))
        for line in more:
            show(self.stderr, Line(line.strip(), indent=7))
        if next_action:
            show(self.stderr, Line(sentence(next_action), indent=2, mark="→"))
        self.document({"error": {"kind": kind, "cause": cause, "next_action": next_action, **(facts or {})}})


PLAIN = {"→": "->", "←": "<-", "–": "-", "—": "-", "…": "...", "✓": "ok", "✗": "X", "×": "x", "·": "-", "»": ">>"}
PLAIN |= {"≠": "!=", "≤": "<=", "≥": ">=", "━": "-", "─": "-", "│": "|", "“": '"', "”": '"', "‘": "'", "’": "'"}
"""What stands for our signs, and for those in the texts of others, where a stream has none of them."""


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """Give what a stream can write for characters that it cannot."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(PLAIN.get(char, "?") for char in error.object[error.start : error.end]), error.end


codecs.register_error(_plainly.__name__, _plainly)


def _is_plain(environ: Mapping[str, str]) -> bool:
    """Whether somebody asked for the locale that has ASCII only; Python takes UTF-8 for it."""
    # Where only LANG says so, Python itself has set LC_CTYPE to C.UTF-8 (PEP 538).
    chosen = environ.get("LC_ALL") or environ.get("LC_CTYPE", "C.UTF-8").replace("C.UTF-8", "") or environ.get("LANG")
    return chosen in {"C", "POSIX"}


class _Console(Console):
    """Prints what it is given, and goes on silently where it cannot: what the command does stays the same.

    Attributes:
        failure: why something was not printed; empty where nobody reads any more, as behind `| head`.
    """

    failure = ""

    def __init__(self, stream: IO[str] | None, *, color: bool) -> None:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="ascii" if _is_plain(os.environ) else None, errors=_plainly.__name__)
        # A process can be started without one at all. None leaves the colours to the environment's NO_COLOR.
        super().__init__(file=stream or io.StringIO(), no_color=None if color else True, highlight=False, emoji=False)
        if self.width < NARROWEST or self.height < 1:
            self.size = ConsoleDimensions(80, 25)  # COLUMNS and LINES may say anything.

    def __exit__(self, *raised: Any) -> None:
        try:
            super().__exit__(*raised)
        except OSError as error:
            self.end(error)

    def write(self, text: str) -> None:
        """Print what needs no colours and no breaks."""
        if not self.quiet:
            try:
                self.file.write(text)
                self.file.flush()
            except OSError as error:
                self.end(error)

    def on_broken_pipe(self) -> None:
        self.end(BrokenPipeError())

    def end(self, error: OSError) -> None:
        if not isinstance(error, BrokenPipeError):
            self.failure = error.strerror or type(error).__name__
        self.quiet = True
        if isinstance(self.file, io.TextIOWrapper):
            with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
                os.dup2(nowhere.fileno(), self.file.fileno())


def show(console: Console, line: Line, end: str = "\n") -> None:
    """Print a line: the only way in which text gets to a terminal, and so the one place where it is cleaned."""
    line = replace(line, text=clean(line.text))
    shown = Text(line.wrapped(console.width) if console.is_terminal else line.whole())
    if line.style and not console.no_color:
        shown.stylize(line.style, line.indent, line.indent + len(line.mark))
    console.print(shown, end=end, soft_wrap=True)


def must_be_writable(path: Path, option: str = "--out") -> None:
    """Make the folder of a file, and raise what says that it cannot be written: before the work whose result it has."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if path.is_file() or not path.exists():
            with TemporaryFile(dir=path.parent):
                pass
    except OSError as error:
        raise FileUnwritable(path, error, option) from None


class FileIsThere(GuardRefused):
    def __init__(self, files: Iterable[Path], other: str) -> None:
        cause = f"{some_of(map(str, files))} exists already with other content; nothing was written"
        super().__init__(cause, f"Add --yes to overwrite it, or name another {other}")


def write_files(files: Mapping[Path, str], other: str, *, overwrite: bool) -> None:
    """Write files, each whole; where others are there only if asked to, else `FileIsThere` says what to name."""
    there = [path for path, text in files.items() if path.exists() and path.read_bytes() != text.encode()]
    if there and not overwrite:
        raise FileIsThere(there, other)
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)


class NotConfirmed(GuardRefused):
    def __init__(self) -> None:
        super().__init__("This was not confirmed, and nothing was changed", "Answer y, or run it with --yes")


class NobodyToAsk(GuardRefused):
    def __init__(self, what: str) -> None:
        super().__init__(
            f"This {what}, and nobody can be asked to confirm it, because stdin or stderr is not a terminal; "
            "nothing was changed",
            "Add --yes if that is intended, or run it at a terminal",
        )


def must_be_confirmed(output: Output, *, yes: bool, what: str = "changes what serves") -> None:
    """Refuse by `NobodyToAsk` what would be asked about where nobody can be: before anything else is done."""
    if not yes and not can_ask(output):
        raise NobodyToAsk(what)


def can_ask(output: Output) -> bool:
    return _is_terminal(sys.stdin) and _is_terminal(output.stderr.file)


async def ask(output: Output, question: str) -> str:
    show(output.stderr, Line(question), end=" ")
    # Not in a thread: that one would go on reading after the question was cancelled.
    loop = asyncio.get_running_loop()
    there = asyncio.Event()
    loop.add_reader(sys.stdin, there.set)
    try:
        await there.wait()
    finally:
        loop.remove_reader(sys.stdin)
    return sys.stdin.readline().strip()


async def confirm(output: Output, question: str, lines: Iterable[Line]) -> None:
    """Ask what is to be answered with y or yes, below what one must know for it."""
    must_be_confirmed(output, yes=False)
    for line in lines:
        show(output.stderr, line)
    if (await ask(output, f"{question} [y/N]")).lower() not in {"y", "yes"}:
        raise NotConfirmed


def _is_terminal(stream: IO[str] | None) -> bool:
    # A process can be started without one at all. Not rich's word for it: FORCE_COLOR makes that say yes to a file.
    return stream is not None and not stream.closed and stream.isatty()
