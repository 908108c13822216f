"""Stored files have a number: the last three formats are read, what is newer is refused, what is older too."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from pydantic import JsonValue, ValidationError

import standby
from standby.document import JsonObject
from standby.vault.documents import FORMATS_READ, Stored, Upgrade, parse_stored
from standby.vault.errors import FormatUnknown, NewerFormat, OlderFormat


def _seconds(file: JsonObject) -> JsonObject:
    return {"seconds": float(str(file["minutes"])) * 60}


def _several(file: JsonObject) -> JsonObject:
    return {"times": [file["seconds"]]}


class First(Stored):
    minutes: float


class Third(Stored):
    """What was `minutes` in the first format and `seconds` in the second one."""

    upgrades: ClassVar[Mapping[int, Upgrade]] = {1: _seconds, 2: _several}

    format: Literal[3] = 3
    times: tuple[float, ...]


class Fifth(Third):
    upgrades: ClassVar[Mapping[int, Upgrade]] = {3: lambda file: file, 4: lambda file: file}

    format: Literal[5] = 5  # type: ignore[assignment]


class Named(Stored):
    format: Literal["a.b/1"] = "a.b/1"
    minutes: float


@pytest.mark.parametrize(
    "content",
    ['{"minutes": 2}', '{"format": 1, "minutes": 2}', '{"format": 2, "seconds": 120}', '{"format": 3, "times": [120]}'],
)
def test_the_last_three_formats_say_the_same(content: str) -> None:
    assert parse_stored("here", content.encode(), Third) == Third(times=(120.0,))


def test_what_was_read_in_an_earlier_format_is_written_in_the_present_one() -> None:
    read = parse_stored("here", b'{"minutes": 2}', Third)

    assert json.loads(read.model_dump_json()) == {"format": 3, "times": [120.0]}


def test_a_file_without_a_number_counts_as_the_first_format() -> None:
    assert parse_stored("here", b'{"minutes": 2}', First) == First(minutes=2)
    assert json.loads(First(minutes=2).model_dump_json()) == {"format": 1, "minutes": 2.0}


def test_a_format_may_have_a_name_before_its_number() -> None:
    assert parse_stored("here", b'{"format": "a.b/1", "minutes": 2}', Named) == Named(minutes=2)
    with pytest.raises(NewerFormat, match="in format 2"):
        parse_stored("here", b'{"format": "a.b/2", "minutes": 2}', Named)


@pytest.mark.parametrize("number", [4, 99, "4"])
def test_what_is_not_known_yet_is_refused_as_newer(number: JsonValue) -> None:
    with pytest.raises(NewerFormat) as refused:
        parse_stored("vault/this.json", json.dumps({"format": number, "unknown": 1}).encode(), Third)

    assert "vault/this.json was written by a newer version of Standby" in refused.value.cause
    assert "up to 3" in refused.value.cause
    assert "Upgrade Standby" in refused.value.next_action


@pytest.mark.parametrize("number", [1, 2, 0, -1])
def test_what_is_older_than_three_formats_is_refused(number: int) -> None:
    with pytest.raises(OlderFormat, match=rf"vault/this.json .* in format {number}; this one reads 3 to 5"):
        parse_stored("vault/this.json", json.dumps({"format": number, "minutes": 1}).encode(), Fifth)


@pytest.mark.parametrize("number", ["later", "", None, 3.5, [1], {"major": 4}, True])
def test_what_is_no_number_is_no_format(number: JsonValue) -> None:
    with pytest.raises(ValidationError):
        parse_stored("here", json.dumps({"format": number, "times": []}).encode(), Third)


@pytest.mark.parametrize("content", [b"", b"nonsense", b'{"format": 2, "seco', b"[1]", b"null", b'"text"', b"{}"])
def test_what_is_no_file_of_this_kind_is_no_question_of_its_format(content: bytes) -> None:
    with pytest.raises(ValidationError):
        parse_stored("here", content, Third)


def all_stored() -> Iterator[type[Stored]]:
    """Every model of a stored file, wherever it is."""
    for module in pkgutil.walk_packages(standby.__path__, "standby."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found = [Stored]
    while found:
        model = found.pop()
        found += model.__subclasses__()
        if model.__module__.startswith("standby.") and model is not Stored:
            yield model


STORED = sorted(all_stored(), key=lambda model: f"{model.__module__}.{model.__name__}")


@pytest.mark.parametrize("model", STORED, ids=lambda model: model.__name__)
def test_every_stored_model_reads_three_formats_and_no_other(model: type[Stored]) -> None:
    present = model.present_format()
    for number, error in ((present + 1, NewerFormat), (present - FORMATS_READ, OlderFormat)):
        with pytest.raises(error) as refused:
            parse_stored("this.json", json.dumps({"format": number}).encode(), model)
        assert isinstance(refused.value, FormatUnknown)
        assert f"in format {number};" in refused.value.cause
    oldest = max(1, present + 1 - FORMATS_READ)
    assert set(model.upgrades) == set(range(oldest, present))


def test_all_that_read_the_audit_log_know_the_same_formats() -> None:
    named = {model.__name__: model.present_format() for model in STORED}

    assert len(named) == len(STORED) >= 20
    assert named["AuditLine"] == named["_RestoreLine"]


def test_stored_files_are_understood_in_one_place_only() -> None:
    """A lease is no file that is kept: it is watched, whatever it says."""
    root = Path(standby.__file__).parent
    found = {
        str(file.relative_to(root))
        for file in root.rglob("*.py")
        if "model_validate_json(" in file.read_text(encoding="utf-8")
    }

    assert found == {"vault/documents.py", "vault/storage.py"}
