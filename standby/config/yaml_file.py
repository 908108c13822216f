"""A YAML file as plain data that remembers its lines, with its references filled in."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_args, get_origin

import yaml
from pydantic import BaseModel, SecretStr

from standby.config.errors import Problem, Where
from standby.config.secrets import REFERENCE, Unresolved, read_reference

# In a flow mapping such as {key: ${NAME}} YAML takes the braces of a reference for its own. They go through
# the parser as two private-use characters, which no key or endpoint has a reason to hold.
_OPEN, _CLOSE = "\ue000", "\ue001"
_REFERENCE = re.compile(r"\$\{([^{}\s,\[\]]*)\}")
_GUARDED = re.compile(rf"\${_OPEN}([^{_CLOSE}]*){_CLOSE}")
_QUOTED = re.compile(r"'[^']{2,}'")


@dataclass
class YamlFile:
    """Data of a file, the line each value begins at, and what is wrong with the file as YAML."""

    data: object = None
    lines: dict[Where, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, where: Where) -> int | None:
        return next((self.lines[where[:n]] for n in range(len(where), 0, -1) if where[:n] in self.lines), None)


MOST_VALUES = 20_000  # Of a file, each counted as often as aliases repeat it: many times those of a large one
DEEPEST = 40  # Values that stand inside each other


class _Excess(yaml.YAMLError):
    """The file is larger or deeper than any configuration."""


class _Loader(yaml.SafeLoader):
    """Leaves dates as text, so that an api-version needs no quotes; what would take long to read is refused at once."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._values = 0
        self._sizes: dict[int, tuple[int, int]] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        self._values += 1
        self._must_be_bounded(self._values, self._depth)
        node = super().compose_node(parent, index)
        self._depth -= 1
        # An alias gives a node a second time: it counts where it stands, with all that is in it.
        if isinstance(node, yaml.CollectionNode) and id(node) not in self._sizes:
            pairs = node.value if isinstance(node, yaml.MappingNode) else [node.value]
            inside = [self._sizes.get(id(each), (1, 1)) for pair in pairs for each in pair]
            values, depth = 1 + sum(size[0] for size in inside), 1 + max((size[1] for size in inside), default=0)
            self._must_be_bounded(values, depth)
            self._sizes[id(node)] = values, depth
        return node

    def _must_be_bounded(self, values: int, depth: int) -> None:
        if values > MOST_VALUES:
            raise _Excess(f"has more than {MOST_VALUES} values, aliases counted, in line {self.line + 1}")
        if depth > DEEPEST:
            raise _Excess(f"is nested deeper than {DEEPEST} levels in line {self.line + 1}")


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(text: str) -> YamlFile:
    """Parse YAML; nothing is raised, what is wrong becomes a problem."""
    # Keys are always text: a resource may be named `no` or `1`. A key that stands twice is a problem.
    file = YamlFile()
    if _OPEN in text or _CLOSE in text:
        file.problems.append(Problem((), "has a character of Unicode's private use area"))
        return file
    try:
        loader = _Loader(_REFERENCE.sub(rf"${_OPEN}\1{_CLOSE}", text))
        node = loader.get_single_node()
        if node is not None:
            file.data = _Reader(loader, file).read(node, (), ())
    except yaml.reader.ReaderError as error:
        code, line = _code(text[error.position]), text.count("\n", 0, error.position) + 1
        file.problems.append(Problem((), f"has a character that text cannot have, {code}, in line {line}"))
    except _Excess as error:
        file.problems.append(Problem((), str(error)))
    except yaml.YAMLError as error:
        file.problems.append(_not_yaml(error))
    return file


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")  # No setting has any; YAML takes escapes


def _code(character: str) -> str:
    return f"U+{ord(character):04X}"


@dataclass
class _Reader:
    loader: _Loader
    file: YamlFile
    flattened: set[int] = field(default_factory=set)

    def read(self, node: yaml.Node, where: Where, around: tuple[yaml.Node, ...]) -> object:
        self.file.lines.setdefault(where, node.start_mark.line + 1)
        if any(node is other for other in around):
            self.file.problems.append(Problem(where, "contains itself"))
            return None
        inside = (*around, node)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, where, inside)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*where, position), inside) for position, item in enumerate(node.value)]
        try:
            value = self.loader.construct_object(node)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            kind = node.tag.rpartition(":")[2]
            self.file.problems.append(Problem(where, f"cannot be read as a value of YAML's type {kind}"))
            return None
        if not isinstance(value, str):
            return value
        if found := _CONTROL.search(value):
            self.file.problems.append(Problem(where, f"has a character that no setting can have, {_code(found[0])}"))
        return _unguarded(value)

    def _mapping(self, node: yaml.MappingNode, where: Where, around: tuple[yaml.Node, ...]) -> dict[str, object]:
        # The second time an alias comes by, its merged keys are its own already.
        if id(node) not in self.flattened:
            self._note_keys(node, where)
            self.loader.flatten_mapping(node)
            self.flattened.add(id(node))
        return {
            key: self.read(value, (*where, key), around)
            for key, value in ((self._key(key, where), value) for key, value in node.value)
        }

    def _note_keys(self, node: yaml.MappingNode, where: Where) -> None:
        first: dict[str, int] = {}
        for key_node, _ in node.value:
            key, line = self._key(key_node, where), key_node.start_mark.line + 1
            if key in first and key != "<<":
                message = f"is written twice; the first is in line {first[key]}"
                self.file.problems.append(Problem((*where, key), message))
            first.setdefault(key, line)
            self.file.lines[(*where, key)] = line

    def _key(self, node: yaml.Node, where: Where) -> str:
        if isinstance(node, yaml.ScalarNode):
            return _unguarded(cast("str", node.value))
        self.file.problems.append(Problem(where, "has a key that is not text"))
        return ""


def _unguarded(text: str) -> str:
    return _GUARDED.sub(r"${\1}", text)


def _not_yaml(error: yaml.YAMLError) -> Problem:
    # Only what cannot hold a piece of the file: its marks carry a snippet, and a quoted word may be a secret.
    reason, where = "cannot be read", ""
    if isinstance(error, yaml.MarkedYAMLError):
        reason = _QUOTED.sub("something", error.problem or reason)
        where = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
    return Problem((), f"is not YAML: {reason}{where}")


_TOKEN = re.compile(r"(\$\$\{)|\$\{([^}]*)(\}?)")
SHORTEST_HIDDEN = 4  # Values with fewer characters than this are not blanked out of messages


@dataclass(frozen=True)
class Interpolated:
    """Text with its references filled in, their values by name, and what is wrong about others."""

    text: str
    used: Mapping[str, str]
    problems: tuple[str, ...]


def interpolate(text: str, environ: Mapping[str, str], folder: Path = Path()) -> Interpolated:
    """Fill in every reference, see `read_reference`; `$${` means `${` itself, a lone `$` for itself."""
    used: dict[str, str] = {}
    problems: list[str] = []

    def replace(token: re.Match[str]) -> str:
        escape, name, end = token.groups()
        if escape:
            return "${"
        if not end:
            problems.append("has ${ without its }; write $${ for the text ${")
        else:
            try:
                used[name] = read_reference(name, environ, folder)
            except Unresolved as error:
                problems.append(str(error))
            else:
                return used[name]
        return ""

    return Interpolated(_TOKEN.sub(replace, text), used, tuple(problems))


@dataclass
class Filled:
    """Data with its references filled in, and their values by name."""

    data: object = None
    used: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def hide(self, message: str) -> str:
        """Put the reference where its value stands: what came from outside may be a secret."""
        for name, value in sorted(self.used.items(), key=lambda item: -len(item[1])):
            if len(value) >= SHORTEST_HIDDEN:
                message = re.sub(re.escape(value), f"${{{name}}}", message, flags=re.IGNORECASE)
        return message


WRITTEN_OUT = (
    "is a secret and must not be written here; put it into the environment, a file or a key vault, and write "
    "${NAME}, ${file:PATH} or ${keyvault:VAULT/NAME}"
)


def secrets_of(kind: Any) -> frozenset[Where]:
    """Find where secrets stand in a model, or another type; `*` is any name or position."""

    def find(kind: Any, where: Where) -> Iterator[Where]:
        if kind is SecretStr:
            yield where
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            for name, field in kind.model_fields.items():
                yield from find(field.annotation, (*where, field.alias or name))
        else:
            inside = (*where, "*") if get_origin(kind) in {dict, list, tuple} else where
            for part in get_args(kind):
                yield from find(part, inside)

    return frozenset(find(kind, ()))


def fill(data: object, environ: Mapping[str, str], secrets: Collection[Where] = (), folder: Path = Path()) -> Filled:
    """Fill in the references in all text but keys, and refuse a secret (see `secrets_of`) that is written out."""
    filled = Filled()

    def fill_in(value: object, where: Where) -> object:
        if isinstance(value, dict):
            return {key: fill_in(entry, (*where, key)) for key, entry in value.items()}
        if isinstance(value, list):
            return [fill_in(entry, (*where, n)) for n, entry in enumerate(value)]
        is_secret = any(
            len(where) == len(secret) and all(part in {"*", key} for part, key in zip(secret, where, strict=True))
            for secret in secrets
        )
        if value is not None and is_secret and not REFERENCE.fullmatch(str(value)):
            filled.problems.append(Problem(where, WRITTEN_OUT))
            return None
        if not isinstance(value, str):
            return value
        result = interpolate(value, environ, folder)
        filled.used.update(result.used)
        filled.problems += [Problem(where, message) for message in result.problems]
        if is_secret and not result.text and not result.problems:
            filled.problems.append(Problem(where, f"needs ${{{next(iter(result.used))}}}, which is empty"))
        return result.text

    filled.data = fill_in(data, ())
    return filled
