from __future__ import annotations

import json
from typing import TYPE_CHECKING

from standby.config.schema import configuration_schema

if TYPE_CHECKING:
    from tests.standby.cli.conftest import Workspace


def test_the_schema_is_printed_and_nothing_else(workspace: Workspace) -> None:
    ran = workspace.run("schema")
    assert (ran.status, ran.err) == (0, "")
    assert ran.document == configuration_schema()


def test_the_schema_is_written_where_asked(workspace: Workspace) -> None:
    file = workspace.folder / "deep" / "s.json"
    ran = workspace.run("schema", "--out", str(file), "--json")
    assert (ran.status, ran.document) == (0, {"file": str(file)})
    assert json.loads(file.read_text(encoding="utf-8")) == configuration_schema()


def test_a_file_that_cannot_be_written_is_said(workspace: Workspace) -> None:
    ran = workspace.run("schema", "--out", str(workspace.folder))
    assert ran.status == 1
    assert "Name another file with --out" in ran.err
