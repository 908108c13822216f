"""The page about standby.yaml: every key with its type, default, meaning and an example, from the models."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from docs.site.markdown import as_sentence, code, summary, table, type_words
from standby.config.configuration import Configuration
from standby.config.durations import format_duration
from standby.document import JsonValue

EXAMPLES = Path(__file__).with_name("examples.yaml")
"""Configurations in which every key is used once; a test holds them against the models."""
NAMED = "NAME"

Key = tuple[type[BaseModel], str]


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Find the models that a type is made of, in the order in which they are written."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [*dict.fromkeys(model for each in get_args(annotation) for model in models_in(each))]


def key_of(name: str, field: FieldInfo) -> str:
    return field.alias or name


def examples() -> dict[Key, JsonValue]:
    """Read what stands for each key in the example's files, the first one of several."""
    found: dict[Key, JsonValue] = {}
    for document in yaml.safe_load_all(EXAMPLES.read_text(encoding="utf-8")):
        _collect(Configuration, document, found)
    return found


def _collect(model: type[BaseModel], data: Mapping[str, Any], found: dict[Key, JsonValue]) -> None:
    for name, field in model.model_fields.items():
        if (key := key_of(name, field)) not in data:
            continue
        value = data[key]
        found.setdefault((model, name), value)
        below = models_in(field.annotation)
        entries = [value, *(value.values() if isinstance(value, dict) else value if isinstance(value, list) else [])]
        for entry in entries:
            if isinstance(entry, dict):
                for each in below:
                    if _fits(each, entry):
                        _collect(each, entry, found)


def _fits(model: type[BaseModel], entry: Mapping[str, Any]) -> bool:
    kind = model.model_fields.get("kind")
    return kind is None or entry.get("kind", kind.default) == kind.default


@dataclass(frozen=True)
class Section:
    """A part of the file.

    Attributes:
        path: its keys from the top; `NAME` where the user gives a name.
        preset: what it is where it is left out, if it is anything.
    """

    path: tuple[str, ...]
    model: type[BaseModel]
    preset: BaseModel | None = None


def sections(section: Section = Section((), Configuration)) -> Iterator[Section]:
    """Walk over every part of the file."""
    yield section
    for name, field in section.model.model_fields.items():
        preset = default_of(section, name)
        for each in models_in(field.annotation):
            below = Section(place_of(section, name), each, preset if isinstance(preset, each) else None)
            yield from sections(below)


def place_of(section: Section, name: str) -> tuple[str, ...]:
    """Give the path of what is below a key."""
    field = section.model.model_fields[name]
    return (*section.path, key_of(name, field), *([NAMED] if "dict[" in str(field.annotation) else []))


def default_of(section: Section, name: str) -> Any:
    """Give what a key is where it is left out."""
    if section.preset is not None:
        return getattr(section.preset, name)
    field = section.model.model_fields[name]
    return None if field.is_required() else field.get_default(call_default_factory=True)


def anchor(path: tuple[str, ...], model: type[BaseModel]) -> str:
    """Name the section of a part of the file."""
    kind = model.model_fields.get("kind")
    parts = [part.replace("_", "-") for part in path if part != NAMED]
    return "-".join([*parts, *([str(kind.default)] if kind is not None else [])])


def configuration_page() -> str:
    """Write the page."""
    known = examples()
    text = [
        "# standby.yaml",
        "Every key, with its type, its default, what it means and an example. `standby schema` prints the same as a "
        "[JSON schema](schemas/standby.yaml.json), by which editors complete and check the file. A misspelt "
        "key is an error.",
        "Durations are written as `90s`, `15m`, `24h`, `7d` or `1h30m`, or in ISO 8601. Secrets are never written into "
        "the file: `${NAME}` is a variable of the environment, `${file:PATH}` a file and `${keyvault:VAULT/NAME}` a "
        "secret in Azure Key Vault; see [Secrets](../how-to/secrets.md).",
    ]
    for section in sections():
        path, model = section.path, section.model
        if path:
            kind = model.model_fields.get("kind")
            title = f"{'.'.join(path)}{f', kind {kind.default}' if kind is not None else ''}"
            text.append(f"## {title} {{#{anchor(path, model)}}}")
            text.append(as_sentence(summary(model)))
        text.append(table(("key", "type", "default", "meaning", "example"), _rows(section, known)))
    return "\n\n".join(text) + "\n"


def _rows(section: Section, known: Mapping[Key, JsonValue]) -> Iterator[tuple[str, ...]]:
    schema = section.model.model_json_schema()
    properties = schema.get("properties") or schema["$defs"][section.model.__name__]["properties"]
    for name, field in section.model.model_fields.items():
        key = key_of(name, field)
        if key == "name" and section.path[-1:] == (NAMED,):
            continue  # Its key in the file is its name.
        place = place_of(section, name)
        kinds = " or ".join(f"[{_named(each)}](#{anchor(place, each)})" for each in models_in(field.annotation))
        yield (
            f"`{key}`",
            _words(properties[key], kinds, str(field.annotation)),
            "must be given" if field.is_required() else _default(default_of(section, name), field),
            as_sentence(field.description or _of_kind(key)),
            code(_short(known.get((section.model, name), field.default if key == "kind" else ""))),
        )


def _named(model: type[BaseModel]) -> str:
    kind = model.model_fields.get("kind")
    return f"kind {kind.default}" if kind is not None else "see below"


def _of_kind(key: str) -> str:
    return "Which of the kinds this is" if key == "kind" else ""


def _words(schema: dict[str, Any], kinds: str, annotation: str) -> str:
    if kinds:
        return f"by name: {kinds}" if "dict[" in annotation else f"list of {kinds}" if "tuple[" in annotation else kinds
    known = (
        schema if "examples" in schema else next((each for each in schema.get("anyOf", []) if "examples" in each), {})
    )
    return "duration" if known else type_words(schema).replace(" or nothing", "")


def _default(value: Any, field: FieldInfo) -> str:
    if value is None or value in ((), {}, ""):
        return "none"
    if isinstance(value, BaseModel):
        return f"`{value.kind}`" if hasattr(value, "kind") else "as below"
    if isinstance(value, timedelta):
        return f"`{format_duration(value)}`"
    told = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    return code(_short(told.get("default", to_jsonable_python(value))))


MOST = 60
"""Characters of an example in a cell: of more, its own section shows each part."""


def _short(value: Any) -> str:
    text = (
        yaml.safe_dump(value, default_flow_style=True, width=1000, allow_unicode=True).removesuffix("\n...\n").strip()
    )
    text = re.sub(r"'([^'\"]*)'", r'"\1"', text)
    return text if len(text) <= MOST else "…"
