"""`${NAME}` in text stands for a variable of the environment, and secrets may come only so."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from standby.config.document import Problem, Where

_TOKEN = re.compile(r"(\$\$\{)|\$\{([^}]*)(\}?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WHOLE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")

SECRETS: tuple[Where, ...] = (
    ("resources", "*", "credentials", "key"),
    ("resources", "*", "credentials", "client_secret"),
    ("plans", "*", "encryption", "key"),
    ("activation", "*", "secret"),
    ("vault", "signing", "key"),
    ("vault", "signing", "private_key"),
    ("gateway", "token"),
)
"""Where secrets stand in a configuration; `*` is any name or position."""

SHORTEST_HIDDEN = 4
"""Values of variables with fewer characters than this are not blanked out of messages."""


@dataclass(frozen=True)
class Interpolated:
    """Text with its variables filled in, or with what is wrong about them.

    Attributes:
        used: value by name of every variable that was filled in.
    """

    text: str
    used: Mapping[str, str]
    problems: tuple[str, ...]


def interpolate(text: str, environ: Mapping[str, str]) -> Interpolated:
    """Fill in every `${NAME}`; `$${` stands for `${` itself, a lone `$` for itself."""
    used: dict[str, str] = {}
    problems: list[str] = []

    def replace(token: re.Match[str]) -> str:
        escape, name, end = token.groups()
        if escape:
            return "${"
        if not end:
            problems.append("has ${ without its }; write $${ where ${ itself is meant")
        elif not _NAME.fullmatch(name):
            problems.append("has ${…} around something that is not the name of a variable")
        elif name not in environ:
            problems.append(f"needs the environment variable {name}, which is not set")
        else:
            used[name] = environ[name]
            return environ[name]
        return ""

    return Interpolated(_TOKEN.sub(replace, text), used, tuple(problems))


@dataclass
class Filled:
    """Data with its variables filled in.

    Attributes:
        used: value by name of every variable that was filled in.
    """

    data: object
    used: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def hide(self, message: str) -> str:
        """Put the variable's name where its value stands: what came from outside may be a secret."""
        for name, value in sorted(self.used.items(), key=lambda item: -len(item[1])):
            if len(value) >= SHORTEST_HIDDEN:
                message = re.sub(re.escape(value), f"${{{name}}}", message, flags=re.IGNORECASE)
        return message


def fill(data: object, environ: Mapping[str, str]) -> Filled:
    """Fill in the variables in all text of a configuration, and refuse a secret that is written out.

    Args:
        data: mappings, lists and scalars; keys are left as they are.
        environ: where the variables come from.
    """
    filled = Filled(None)
    filled.data = _fill(data, (), environ, filled)
    return filled


def _fill(value: object, where: Where, environ: Mapping[str, str], filled: Filled) -> object:
    if isinstance(value, dict):
        return {key: _fill(entry, (*where, key), environ, filled) for key, entry in value.items()}
    if isinstance(value, list):
        return [_fill(entry, (*where, n), environ, filled) for n, entry in enumerate(value)]
    if value is not None and _is_secret(where) and not _WHOLE.fullmatch(str(value)):
        filled.problems.append(
            Problem(
                where,
                "is a secret and must not be written here; put it into the environment and write ${NAME}",
            )
        )
        return None
    if not isinstance(value, str):
        return value
    result = interpolate(value, environ)
    filled.used.update(result.used)
    filled.problems += [Problem(where, message) for message in result.problems]
    return result.text


def _is_secret(where: Where) -> bool:
    return any(
        len(where) == len(secret) and all(part in {"*", key} for part, key in zip(secret, where, strict=True))
        for secret in SECRETS
    )
