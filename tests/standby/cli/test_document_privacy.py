"""What documents say is in nothing that a command prints or keeps: canaries, which all of that is searched for."""

from __future__ import annotations

import pytest

from tests.documents import SAID, document, holding, noting_what_is_read
from tests.standby.cli.conftest import Cloud, Workspace

NAMES = ("invoice", "receipt", "contract")


def test_nothing_that_is_printed_or_kept_holds_a_document_or_what_was_read_in_one(
    workspace: Workspace, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Copies that answer alike, otherwise and not at all, and everything that says so."""
    read, folder = noting_what_is_read(monkeypatch), tmp_path_factory.mktemp("samples")
    for name in NAMES:
        (folder / name).mkdir()
        for number in range(3):
            (folder / name / f"{SAID} {number}.pdf").write_bytes(document(number))
    workspace.edit("targets: [west, north]", "targets: [west]")
    workspace.edit("    deadlines:", f"    samples: {{path: {folder}}}\n    deadlines:")
    quoting = {"code": "InvalidRequest", "message": f"Not this: {SAID} 1."}
    cloud.fault("analyze", "answers_differently", resource="west", analyzer="receipt", fields=1.0, times=None)
    cloud.fault("analyze", "analysis_fails", resource="west", analyzer="contract", times=None, **quoting)
    page = str(workspace.folder / "report.html")
    commands = (
        ("replicate", "invoices"),
        ("snapshot", "invoices"),
        ("compare", "invoices", "--yes"),
        ("--json", "compare", "invoices", "--yes"),
        ("status", "invoices"),
        ("--json", "status", "invoices"),
        ("report", "invoices", "--html", page),
        ("drill", "invoices", "--to", "west"),
        ("failover", "invoices", "--to", "west", "--yes"),
    )
    printed = {" ".join(args): workspace.run("-v", *args) for args in commands}
    places = {name: f"{ran.out}\n{ran.err}".encode() for name, ran in printed.items()}
    places |= {str(path): path.read_bytes() for path in workspace.folder.rglob("*") if path.is_file()}

    assert (printed["compare invoices --yes"].status, printed["drill invoices --to west"].status) == (2, 0), printed
    assert b"differs: receipt at west" in places["compare invoices --yes"]
    assert len(read) > len(NAMES)
    assert not holding(places, read)
