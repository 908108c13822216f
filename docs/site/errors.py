"""The page about errors: each leaf class with its cause, what to do, and how a command ends by it."""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from types import FunctionType
from typing import TypeGuard

import standby
from docs.site.markdown import as_sentence, cell, code, summary, table
from standby.errors import GuardRefused, StandbyError
from standby.service.errors import ServiceError

MOST_CAUSES = 3
"""Sentences of one error that are shown, where it says another one in each place."""
DEEPEST = 8
TEXTS = ("cause", "next_action")
_IN_TREE = re.compile(r"[├└]── (\w+) +(.+?)(?: +\(transient\))?$", re.MULTILINE)


def every_module() -> None:
    """Import all of it, so that every class is known."""
    for module in pkgutil.walk_packages(standby.__path__, "standby."):
        if not module.name.endswith("__main__"):
            import_module(module.name)


def leaves() -> list[type[StandbyError]]:
    """Give the errors that are raised: those that no other one is made from, and those with a sentence of their own."""
    every_module()
    return [*dict.fromkeys(_below(StandbyError))]


def _below(base: type[StandbyError]) -> Iterator[type[StandbyError]]:
    for each in base.__subclasses__():
        if not each.__module__.startswith("standby."):
            continue
        said = bool(each.__dict__.get("advice"))
        if (said or not each.__subclasses__()) and not each.__name__.startswith("_"):
            yield each
        yield from _below(each)


def errors_page() -> str:
    """Write the page."""
    text = [
        "# Errors",
        "Every error says what happened and what to do next. `--json` gives it as `error` with `kind` (its name), "
        "`cause` and `next_action`. A word in `{braces}` stands for what the message names. A guard's refusal ends a "
        "command with 4, any other error with 1.",
    ]
    for module in sorted({each.__module__ for each in leaves()}):
        of_it = sorted({each for each in leaves() if each.__module__ == module}, key=lambda each: each.__name__)
        text.append(f"## {_title(module)} {{#{module.removeprefix('standby.').replace('.', '-')}}}")
        text.append(table(("error", "cause", "what to do", "exit status"), map(_row, of_it)))
    return "\n\n".join(text) + "\n"


def _title(module: str) -> str:
    return " · ".join(part.replace("_", " ").capitalize() for part in module.split(".")[1:] if part != "errors")


def _row(error: type[StandbyError]) -> tuple[str, str, str, str]:
    cause, action = sentences_of(error)
    about = as_sentence(summary(error) or (_in_tree().get(error.__name__, "") if not cause else ""))
    status = "4" if issubclass(error, GuardRefused) else "1"
    return code(error.__name__), f"{_said(cause)} {about}".strip(), _said(action), status


@cache
def _in_tree() -> dict[str, str]:
    """Read what the list of the service's errors says of each."""
    return dict(_IN_TREE.findall(inspect.getmodule(ServiceError).__doc__ or ""))


def _said(text: str) -> str:
    return as_sentence(cell(text)).replace("<", "&lt;") if text else ""


def sentences_of(error: type[StandbyError]) -> tuple[str, str]:
    """Read from its source what an error says: its cause, and what to do; what is only known later is in braces."""
    cause, action = _through(error, list(error.__mro__), {})
    places = [*inspect.signature(error.__init__).parameters][1:]
    found: list[str] = []
    for name, text in zip(TEXTS, (cause, action), strict=True):
        said = [_given(name, places, call) for call in _raised().get(error.__name__, ())]
        several = [*dict.fromkeys(each for each in said if each.count(" ") > 1)][:MOST_CAUSES]
        found.append(" — or: ".join(several) if text in ("", f"{{{name}}}") else text)
    return found[0], found[1]


def _given(name: str, places: list[str], call: Mapping[int | str, str]) -> str:
    return call.get(name) or (call.get(places.index(name), "") if name in places else "")


def _through(error: type, owners: list[type], known: dict[str, str]) -> tuple[str, str]:
    """Follow what is handed on from one `__init__` to the next, up to the root's cause and next action."""
    owner = next(owner for owner in owners if "__init__" in owner.__dict__)
    if owner is StandbyError:
        return known.get("cause", ""), known.get("next_action", "")
    if owner is ServiceError:
        return known.get("cause", ""), known.get("next_action") or str(getattr(error, "advice", ""))
    (made,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
    assert isinstance(made, ast.ClassDef)
    init = next(node for node in made.body if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    reader = _Reader(error, known, _assigned(init), vars(import_module(owner.__module__)))
    own_action = reader.words(reader.assigned["next_action"]) if "next_action" in reader.assigned else ""
    above = owners[owners.index(owner) + 1 :]
    for node in ast.walk(init):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "__init__":
            following = next(each for each in above if "__init__" in each.__dict__)
            names = [*inspect.signature(following).parameters]
            handed = dict(zip(names, map(reader.words, node.args), strict=False))
            handed |= {each.arg: reader.words(each.value) for each in node.keywords if each.arg}
            cause, action = _through(error, above, handed)
            return cause, own_action or action
    return "", ""


def _assigned(function: ast.AST) -> dict[str, ast.expr]:
    return {
        target.id if isinstance(target, ast.Name) else target.attr: node.value
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and isinstance(target := node.targets[0], ast.Name | ast.Attribute)
    }


@cache
def _raised() -> dict[str, list[dict[int | str, str]]]:
    """Find each place where something is made, with the texts that are given to it there, by position or name."""
    found: dict[str, list[dict[int | str, str]]] = {}
    # `**` goes through no symbolic link, and the flows, blocks and emulator are behind one.
    for path in sorted(
        each for part in Path(standby.__file__).parent.glob("*/") for each in part.resolve().rglob("*.py")
    ):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants = {
            node.targets[0].id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]:
            reader = _Reader(None, {}, {**constants, **_assigned(function)})
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                    name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                    texts: dict[int | str, str] = dict(enumerate(map(reader.words, node.args)))
                    texts |= {each.arg: reader.words(each.value) for each in node.keywords if each.arg in TEXTS}
                    found.setdefault(name, []).append(texts)
    return found


@dataclass(frozen=True)
class _Reader:
    """Writes an expression as a text.

    Attributes:
        error: whose own texts `self` has.
        known: texts of names.
        assigned: expressions of names.
        around: what the module of the error has.
    """

    error: type | None
    known: Mapping[str, str]
    assigned: Mapping[str, ast.expr]
    around: Mapping[str, object] = field(default_factory=dict)

    def _is_beside(self, made: object) -> TypeGuard[FunctionType]:
        return inspect.isfunction(made) and made.__module__ == self.around["__name__"]

    def words(self, node: ast.expr, depth: int = 0) -> str:
        """Write it, with names in braces where it depends on something."""
        if depth > DEEPEST:
            return "…"
        below = partial(self.words, depth=depth + 1)
        match node:
            case ast.Constant(value=value):
                return str(value or "")
            case ast.JoinedStr(values=parts):
                return "".join(map(below, parts))
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return below(left) + below(right)
            case ast.IfExp(body=body, orelse=other) | ast.BoolOp(values=[body, other]):
                return " / ".join(filter(None, dict.fromkeys(map(below, (body, other)))))
            case ast.Name(id=name) if self.known.get(name):
                return self.known[name]
            case ast.Name(id=name) if name in self.assigned:
                return below(self.assigned[name])
            case ast.Name(id=name) if isinstance(text := self.around.get(name), str):
                return text
            case ast.Call(func=ast.Name(id=name)) if self._is_beside(made := self.around.get(name)):
                said = [
                    each.value for each in ast.walk(ast.parse(inspect.getsource(made))) if isinstance(each, ast.Return)
                ]
                return below(said[0]) if len(said) == 1 and said[0] else "…"
            case ast.Attribute(value=ast.Name(id="self"), attr=name) if isinstance(
                getattr(self.error, name, None), str
            ):
                return str(getattr(self.error, name))
            case ast.Name(id=name) | ast.Attribute(attr=name):
                return f"{{{name.strip('_').lower()}}}"
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                return " ".join(map(below, elements))
            case ast.Call(func=ast.Attribute(value=value, attr="format" | "removesuffix" | "strip")):
                return below(value)
            case ast.Call(args=[first, *_]) | ast.GeneratorExp(elt=first) | ast.ListComp(elt=first):
                return below(first)
            case ast.FormattedValue(value=value) | ast.Subscript(value=value) | ast.Starred(value=value):
                return below(value)
        return "…"
