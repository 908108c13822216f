"""Markdown of what the code says: tables, and the words that stand beside a field."""

from __future__ import annotations

import ast
import inspect
import io
import re
import textwrap
import tokenize
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel

from standby.document import JsonValue, json_text


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table; a cell is one line."""
    lines = [[*head], ["---"] * len(head), *([cell(each) for each in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def cell(text: str) -> str:
    """Write a text so that a table can hold it."""
    return " ".join(text.split()).replace("|", "\\|")


def code(value: str) -> str:
    """Show something as it is typed."""
    return f"`{value}`" if value else ""


def shown(value: JsonValue) -> str:
    """Show a value as the file has it."""
    return code(value if isinstance(value, str) else json_text(value))


def summary(thing: object) -> str:
    """Give what the docstring of a class or function says first, in one line; nothing where it is inherited."""
    own = thing.__dict__.get("__doc__") if isinstance(thing, type) else getattr(thing, "__doc__", None)
    return " ".join(inspect.cleandoc(own or "").split("\n\n")[0].split())


def as_sentence(text: str) -> str:
    """Begin it with a capital letter, end it with a full stop, and let brackets that are no link be brackets."""
    text = re.sub(r"\[(?![^\]]*\]\()", r"\\[", text[:1].upper() + text[1:])
    return text if not text or text.endswith((".", "…", "!", "?", ":")) else f"{text}."


def notes_of(thing: Any) -> dict[str, str]:
    """Give what the source says beside each name that a class or a module gives a value: its comments."""
    source = textwrap.dedent(inspect.getsource(thing))
    return notes_in(source, inside_class=isinstance(thing, type))


def notes_in(source: str, *, inside_class: bool) -> dict[str, str]:
    """Find the comment behind a definition, or the lines of comments right above it."""
    comments: dict[int, tuple[str, bool]] = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            alone = token.line.lstrip().startswith("#")
            comments[token.start[0]] = token.string.lstrip("# "), alone
    body: list[ast.stmt] = ast.parse(source).body
    if inside_class:
        body = next(node.body for node in body if isinstance(node, ast.ClassDef))
    found: dict[str, str] = {}
    for node in body:
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        if isinstance(target, ast.Name):
            found[target.id] = _beside(node, comments)
    return found


def _beside(node: ast.stmt, comments: dict[int, tuple[str, bool]]) -> str:
    behind = comments.get(node.end_lineno or node.lineno) or comments.get(node.lineno)
    if behind is not None and not behind[1]:
        return behind[0]
    above: list[str] = []
    number = node.lineno - 1
    while number in comments and comments[number][1]:
        above.insert(0, comments[number][0])
        number -= 1
    return " ".join(above)


def meanings(model: type[BaseModel]) -> dict[str, str]:
    """Give what is said of each field of a model: its description, its attribute in the docstring, or its comment."""
    found: dict[str, str] = {}
    for owner in reversed(model.__mro__):
        if issubclass(owner, BaseModel) and owner is not BaseModel:
            found |= {name: note for name, note in notes_of(owner).items() if note}
            found |= _attributes(owner)
    described = {name: field.description for name, field in model.model_fields.items() if field.description}
    return {name: as_sentence(described.get(name) or found.get(name, "")) for name in model.model_fields}


def _attributes(owner: type) -> dict[str, str]:
    _, _, told = inspect.cleandoc(owner.__dict__.get("__doc__") or "").partition("Attributes:\n")
    pairs = re.findall(r"^ {4}(\w+): (.+(?:\n {6,}.+)*)", told, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in pairs}


def type_words(schema: dict[str, Any]) -> str:
    """Say in a few words what a JSON schema takes; what has a section of its own is linked."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    if "const" in schema:
        return shown(schema["const"])
    if "enum" in schema:
        return ", ".join(shown(each) for each in schema["enum"])
    for union in ("anyOf", "oneOf", "allOf"):
        if union in schema:
            return " or ".join(dict.fromkeys(type_words(each) for each in schema[union]))
    match schema.get("type"):
        case "array":
            each = schema.get("items") or (schema.get("prefixItems") or [{}])[0]
            return f"list of {type_words(each)}"
        case "object" if isinstance(schema.get("additionalProperties"), dict):
            return f"by name: {type_words(schema['additionalProperties'])}"
        case "string":
            return {"password": "secret", "date-time": "time", "path": "path"}.get(schema.get("format", ""), "text")
        case str() as kind:
            return {"boolean": "true or false", "integer": "whole number", "null": "nothing", "object": "mapping"}.get(
                kind, kind
            )
    return "any JSON"
