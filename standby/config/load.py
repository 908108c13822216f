"""Reads `standby.yaml`, and says everything that is wrong with it at once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from standby.config.configuration import Configuration, disagreements
from standby.config.document import Document, Problem, Where, dotted, read_document
from standby.config.errors import ConfigurationError
from standby.config.explanation import explain
from standby.config.interpolation import fill
from standby.config.plan import RecoveryPlan
from standby.service.resource import Resource

M = TypeVar("M", bound=BaseModel)


def load_configuration(path: Path, environ: Mapping[str, str] = os.environ) -> Configuration:
    """Read a configuration file.

    Args:
        path: the YAML file; relative paths in it are taken from its folder.
        environ: where `${NAME}` comes from.

    Raises:
        ConfigurationError: it cannot be used. All its problems are told, one line each, without a secret.
    """
    document = read_document(_read(path))
    if document.problems:
        raise ConfigurationError(_lines(path, document, document.problems))
    if not isinstance(document.data, dict):
        what = "is empty" if document.data is None else "is not a mapping"
        raise ConfigurationError([f"{path} {what}"], "Write resources: and plans: into it")
    filled = fill(document.data, environ)
    found = _validate(filled.data)
    if isinstance(found, Configuration) and not filled.problems:
        return found.relative_to(path.absolute().parent)
    problems = list(filled.problems)
    if not isinstance(found, Configuration):
        problems += [problem for problem in found if not _follows(problem, filled.problems)]
    hidden = [Problem(problem.where, filled.hide(problem.message)) for problem in problems]
    raise ConfigurationError(_lines(path, document, hidden))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigurationError(
            [f"{path} does not exist"], "Write it, or name another with --config"
        ) from error
    except UnicodeDecodeError:
        # The codec's error holds the bytes of the file, so it is not the cause that is kept.
        raise ConfigurationError([f"{path} is not UTF-8 text"], "Save it as UTF-8") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigurationError(
            [f"{path} cannot be read: {reason}"], "Check the path and its rights"
        ) from error


def _validate(data: Any) -> Configuration | list[Problem]:
    try:
        return Configuration.model_validate(data)
    except ValidationError as error:
        schema = Configuration.model_json_schema()
        problems = [
            explain(details, data, schema) for details in error.errors(include_url=False) if details["loc"]
        ]
    # Pydantic compares the parts only when each is right; the reader wants to hear of everything at once.
    resources = dict(_right_ones(Resource, data.get("resources")))
    plans = dict(_right_ones(RecoveryPlan, data.get("plans")))
    named = frozenset(data["resources"]) if isinstance(data.get("resources"), dict) else frozenset()
    return problems + [Problem(*found) for found in disagreements(resources, plans, named)]


def _right_ones(model: type[M], section: object) -> Iterator[tuple[str, M]]:
    for name, entry in section.items() if isinstance(section, dict) else ():
        if isinstance(entry, dict):
            try:
                yield name, model.model_validate({"name": name, **entry})
            except ValidationError:
                continue  # Already explained, from the validation of the whole.


def _follows(problem: Problem, causes: list[Problem]) -> bool:
    """Say whether a problem may come only from a value that could not be filled in."""
    return any(_within(problem.where, cause.where) or _within(cause.where, problem.where) for cause in causes)


def _within(inner: Where, outer: Where) -> bool:
    return inner[: len(outer)] == outer


def _lines(path: Path, document: Document, problems: list[Problem]) -> list[str]:
    placed = sorted(
        ((document.line(problem.where) or 1, problem) for problem in problems), key=lambda pair: pair[0]
    )
    return [
        f"{path}:{line}: {dotted(problem.where)} {problem.message}"
        if problem.where
        else f"{path} {problem.message}"
        for line, problem in placed
    ]
