"""Errors of a configuration: each says where it is, and why."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from standby.config.plan import IGNORE_RULE, TAG_FILTER, TARGET_ID
from standby.config.resource import RESOURCE_NAME
from standby.config.sinks import VARIABLE_NAME
from standby.config.vault import BLOCK_REFERENCE, VAULT_URL
from standby.errors import StandbyError
from standby.text import nearest

Where = tuple[str | int, ...]  # Keys and positions that lead to a value


class ConfigurationError(StandbyError):
    """The configuration cannot be used; `problems` is all that is wrong, a line each, without any value of a secret."""

    def __init__(self, problems: Sequence[str], next_action: str = "") -> None:
        super().__init__(problems, next_action)
        self.problems = tuple(problems)


class UnknownName(ConfigurationError):
    """Somebody asked for a plan or a resource that the configuration does not have."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        problem = f"There is no {kind} named {name}: {nearest(name, known)}"
        super().__init__([problem], "Correct the name, or add it to the configuration")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and where."""

    where: Where
    message: str


def dotted(where: Where) -> str:
    """Write a place as people do: `plans.invoices.pairs[0].source`."""
    parts = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where)
    return parts.removeprefix(".")


M = TypeVar("M", bound=BaseModel)

_SENTENCES = {  # Pydantic's own sentences speak of Python, and some quote what was written, which may be a secret
    "missing": "is missing",
    "extra_forbidden": "is not known here",
    "string_type": "must be text",
    "path_type": "must be a path",
    **dict.fromkeys(("string_too_short", "too_short"), "must not be empty"),
    **dict.fromkeys(("int_parsing", "int_parsing_size", "int_type", "int_from_float"), "must be a whole number"),
    **dict.fromkeys(("float_parsing", "float_type"), "must be a number"),
    **dict.fromkeys(("bool_parsing", "bool_type"), "must be true or false"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "must be a mapping"),
    **dict.fromkeys(("tuple_type", "list_type"), "must be a list"),
    "literal_error": "must be one of {expected}",
    "union_tag_not_found": "needs a kind",
    "union_tag_invalid": "has a kind that is not one of {expected_tags}",
}

_PATTERNS = {
    RESOURCE_NAME: "must be lower-case letters, digits and dashes, with no dash at either end",
    IGNORE_RULE: "must be a dotted path such as tags.projectId",
    TAG_FILTER: "must be key=value, such as team=legal",
    TARGET_ID: "must contain {id}, and otherwise only letters, digits, dots, dashes and underscores",
    VARIABLE_NAME: "must be lower-case letters, digits, dashes and underscores",
    BLOCK_REFERENCE: "must be TYPE-SLUG/NAME, such as slack-webhook/oncall",
    VAULT_URL: "must be az://CONTAINER/FOLDER, s3://BUCKET/FOLDER, gs://BUCKET/FOLDER or file:///FOLDER",
}


def valid(model: type[M], **values: object) -> M:
    """Make a model of values that come from another one; a `ValueError` says what is not valid, without a value."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ValueError(summary(error)) from None


def summary(error: ValidationError) -> str:
    """Put a failed validation into one line, without the values that caused it."""
    found = error.errors(include_url=False, include_input=False)
    return "; ".join(f"{dotted(details['loc'])} {_sentence(details)}".strip() for details in found)


def explain(error: ErrorDetails, data: object, schema: dict[str, Any]) -> Problem:
    """Say where an error stands in the data, and what is wrong there; the JSON schema has the names to choose from."""
    where = place(error["loc"], data)
    if error["type"] == "extra_forbidden":
        known = _properties(error["loc"][:-1], schema, schema)
        return Problem(where, f"{_sentence(error)}: {nearest(str(where[-1]), known)}")
    if error["type"] != "literal_error":
        return Problem(where, _sentence(error))
    given = "" if error["input"] is None else str(error["input"])
    return Problem(where, _sentence(error) + (f", and is {given or 'empty'}" if len(given) <= LONGEST_WORD else ""))


LONGEST_WORD = 30  # Characters of a value that is named where another word is needed; a secret is longer


def _sentence(error: ErrorDetails) -> str:
    kind = error["type"]
    if kind == "value_error":
        return str(error["ctx"]["error"])
    # A secret that is too short has the type of a list that is.
    if kind in {"string_too_short", "too_short"} and (least := error["ctx"]["min_length"]) > 1:
        return f"must have {least} characters or more"
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(error["ctx"]["pattern"], "does not have the form that is needed here")
    if kind in _SENTENCES:
        return _SENTENCES[kind].format(**error.get("ctx", {}))
    return error["msg"].replace("Input should", "must")


def place(location: Where, data: Any) -> Where:
    """Leave out of a location what is not in the data: pydantic's marks, and names of a union's members."""
    # The last part is kept all the same, since a missing key is not in the data either.
    location = tuple(part for part in location if part != "[key]")
    where: list[str | int] = []
    for position, part in enumerate(location):
        is_there = part in data if isinstance(data, dict) else isinstance(data, list) and isinstance(part, int)
        if is_there:
            data = data[part]
        elif position < len(location) - 1:
            continue
        where.append(part)
    return tuple(where)


def _properties(location: tuple[str | int, ...], schema: dict[str, Any], root: dict[str, Any]) -> list[str]:
    """Follow a location into a JSON schema and list the keys that may stand there."""
    if "$ref" in schema:
        return _properties(location, root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if not location:
        return list(schema.get("properties", {}))
    part, rest = location[0], location[1:]
    mapping = schema.get("discriminator", {}).get("mapping", {})
    if part in mapping:
        return _properties(rest, {"$ref": mapping[part]}, root)
    by_name = schema.get("patternProperties", {}).values()
    inner = schema.get("properties", {}).get(part) or next(iter(by_name), None) or schema.get("items")
    return _properties(rest, inner, root) if isinstance(inner, dict) else []
