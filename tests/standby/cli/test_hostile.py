"""Whatever a resource or a file holds, what people read is printable lines; what programs read is whole."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.standby.cli.conftest import Cloud, Workspace

ODD = "\x1b]0;owned\x07\x9b31m\u202egnp\u2066\u200b\nerror: forged\r\x7f"


ENTRIES = (
    {"analyzerId": f"id{ODD}", "status": "ready"},
    {"analyzerId": "status", "status": f"done{ODD}"},
    {"analyzerId": "base", "status": "ready", "baseAnalyzerId": f"base{ODD}"},
    {"analyzerId": "model", "status": "ready", "models": {"completion": f"gpt{ODD}"}},
    {"analyzerId": "role", "status": "ready", "models": {f"role{ODD}": "gpt-4.1"}},
    {"analyzerId": "inner", "status": "ready", "config": {"contentCategories": {ODD: {"analyzerId": f"gone{ODD}"}}}},
    {"analyzerId": "warned", "status": "ready", "warnings": [{"code": ODD, "message": ODD}]},
    {"analyzerId": "list", "status": "ready", "models": [ODD], "tags": ODD},
)
"""What a listing may hold that nobody of good will put there."""


def be_hostile(cloud: Cloud) -> None:
    entries = [json.dumps({"baseAnalyzerId": "prebuilt-document", **entry}) for entry in ENTRIES]
    text = f'{{{", ".join(entries)[1:]}, {{"analyzerId": "contract"'
    cloud.fault("list", "rewritten", resource="east", times=None, pattern='{"analyzerId": ?"contract"', text=text)


COMMANDS = (
    ("plan", "invoices"),
    ("replicate", "invoices"),
    ("check", "invoices"),
    ("status", "invoices"),
    ("snapshot", "invoices"),
    (
        "failover",
        "invoices",
        "--to",
        "west",
        "--unplanned",
        "--reason",
        f"because {ODD}",
        "--yes",
        "--force",
        "readiness",
    ),
    ("audit", "show", "invoices"),
    ("restore", "invoices", "--to", "west"),
    ("plan", f"no{ODD}"),
)
IN_JSON = {"plan", "status", "audit"}


def test_what_a_resource_holds_is_only_text_on_a_terminal_in_a_document_and_on_a_page(
    workspace: Workspace, cloud: Cloud
) -> None:
    be_hostile(cloud)
    for args in COMMANDS:
        ran = workspace.run(*args, "-v")
        assert "owned" in ran.out + ran.err, args
        assert_clean(ran.out + ran.err)
        if args[0] in IN_JSON:
            ran = workspace.run(*args, "--json")
            assert_clean(ran.out)
            assert "owned" in str(json.loads(ran.out)), args
    for args in (("plan", "invoices", "--out"), ("report", "invoices", "--html")):
        workspace.run(*args, str(workspace.folder / "written"))
        written = (workspace.folder / "written").read_text(encoding="utf-8")
        assert "owned" in written, args
        assert_clean(written)


@pytest.mark.parametrize("where", ["resources:", "region: westus3", "plans:"])
def test_what_a_configuration_holds_is_only_text_where_it_is_refused(workspace: Workspace, where: str) -> None:
    text = workspace.file.read_text(encoding="utf-8")
    odd = json.dumps(ODD)
    new = {"region: westus3": f"region: {odd}"}.get(where, f"{odd}: {odd}\n{where}")
    workspace.file.write_text(text.replace(where, new, 1), encoding="utf-8")
    for args in (("plan", "invoices"), ("doctor",)):
        ran = workspace.run(*args)
        assert ran.status == 1
        assert_clean(ran.out + ran.err)
        assert_clean(workspace.run(*args, "--json").out)


def assert_clean(text: str) -> None:
    for line in text.split("\n"):
        assert line.isprintable(), line
        assert not line.startswith("error: forged"), line
