"""The reference that is made from the code has all of it, and the site has nothing that leads nowhere."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from docs.site.commands import STATUSES, commands_page
from docs.site.configuration import EXAMPLES, examples, sections
from docs.site.documents import DOCUMENTS, ErrorDocument
from docs.site.errors import errors_page, leaves
from docs.site.json_page import COMMON, documents_page, schemas
from docs.site.prefect_pages import every_block, every_event
from docs.site.vault_files import documented
from standby.cli.app import COMMANDS
from standby.cli.run import Exit
from standby.config.configuration import load_configuration
from standby.telemetry import METRICS
from standby.vault.documents import Remembered, Stored
from tests.docs.folder import Folder
from tests.docs.pages import DOCS, PageText

KEY = "bm90IGEgcmVhbCBrZXksIGJ1dCBsb25nIGVub3VnaCE="
PARTLY = {"LastFailover", "_RestoreLine", "Remembered", "SavedPlan"}
"""What reads a part of another file, is none by itself, or is no file of the vault."""


@pytest.fixture
def site(built_site: Path) -> Path:
    return built_site


class Links(HTMLParser):
    """What a page of the site leads to and loads, and the anchors that it has."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.targets: list[tuple[str, str]] = []
        self.anchors: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        self.targets += [(tag, given[name]) for name in ("href", "src") if name in given]


def test_every_link_of_the_site_leads_somewhere_and_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    html = site / "html"
    pages = {page: Links(page) for page in html.rglob("*.html") if page.name != "404.html"}
    assert len(pages) > 20
    for page, links in pages.items():
        for tag, target in links.targets:
            parts = urlsplit(target)
            where = f"{page.relative_to(html)}: {target}"
            if parts.scheme or parts.netloc:
                # No internet is needed to check the form of an address.
                assert tag == "a", f"{where} is loaded from elsewhere"
                assert parts.scheme in {"https", "mailto"}, where
                continue
            there = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            there = there / "index.html" if there.is_dir() else there
            assert there.exists(), where
            if parts.fragment and there in pages:
                assert unquote(parts.fragment) in pages[there].anchors, where


def test_every_page_is_in_the_navigation(site: Path) -> None:
    written = (DOCS / "zensical.toml").read_text(encoding="utf-8")
    for page in (site / "pages").rglob("*.md"):
        assert f'"{page.relative_to(site / "pages")}"' in written


def test_the_examples_of_the_configuration_are_valid_and_have_every_key(tmp_path: Path) -> None:
    file = tmp_path / "standby.yaml"
    for document in yaml.safe_load_all(EXAMPLES.read_text(encoding="utf-8")):
        text = re.sub(r"\$\{file:[^}]+\}", "${OF_A_FILE}", yaml.safe_dump(document))
        file.write_text(text, encoding="utf-8")
        keys = dict.fromkeys(re.findall(r"\$\{([A-Z_]+)\}", text), KEY)
        load_configuration(file, keys | {"METRICS_TOKEN": "another-token-of-scrapes"})
    shown = examples()
    for section in sections():
        for name, field in section.model.model_fields.items():
            where = ".".join((*section.path, name))
            assert field.description or name == "kind", f"{where} says nothing of itself"
            given = name in {"kind", "name"} or (section.model, name) in shown
            assert given, f"{where} is in no example of {EXAMPLES.name}"


def test_every_command_and_status_is_there() -> None:
    page = commands_page()
    assert STATUSES.keys() == set(Exit)
    for name in COMMANDS:
        assert f"## standby {name} " in page
    assert "<bound" not in page


def test_every_error_has_a_cause_and_something_to_do() -> None:
    page = errors_page()
    for error in leaves():
        rows = re.findall(rf"^\| `{error.__name__}` \| (.*) \| (.*) \| [14] \|$", page, flags=re.MULTILINE)
        assert rows, f"{error.__name__} is not there"
        for cause, action in rows:
            assert re.search(r"\w{3}", cause), f"{error.__name__} says nothing: give it a docstring"
            said = re.sub(r"\{[^}]*\}", "", action)
            assert re.search(r"\w{3}", said), f"{error.__name__}: what to do?"


def test_the_name_of_an_error_is_that_of_one_only() -> None:
    names = [error.__name__ for error in leaves()]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_every_metric_event_and_block_says_what_it_means() -> None:
    assert all(metric.description for metric in METRICS)
    assert all(every_event().values()), every_event()
    for block in every_block():
        for name, field in block.model_fields.items():
            assert field.description, f"{block.__name__}.{name} says nothing of itself"


def test_every_file_of_the_vault_is_there() -> None:
    leaves()
    stored = {each for base in (Stored, Remembered) for each in base.__subclasses__()}
    ours = {each for each in stored if each.__module__.startswith("standby.")}
    assert {each.__name__ for each in ours - documented()} <= PARTLY


def test_every_key_of_a_document_says_what_it_means() -> None:
    silent = re.findall(r"^\| `(\w+)` \| .* \|  \|$", documents_page(), flags=re.MULTILINE)
    assert sorted(set(silent)) == []
    assert all(COMMON.values())


def test_what_commands_print_is_what_the_reference_says(folder_of: Callable[[PageText], Folder]) -> None:
    folder = folder_of(PageText(Path("reference/json.md"), "invoices"))
    seen = set()
    decision = ""
    for line in (
        "doctor invoices",
        "plan invoices",
        "nothing",
        "replicate invoices",
        "check invoices",
        "snapshot invoices",
        "snapshots invoices --verify",
        "status invoices",
        "restore invoices --to west --dry-run",
        "drill invoices --to west",
        "restore invoices --to north",
        "automation off --reason exercise",
        "audit verify",
        "failover invoices --to west --yes",
        "failover invoices --to west --yes",
        "explain DECISION",
        "commit invoices --yes",
        "failback invoices --dry-run",
        "failback invoices --yes",
        "report invoices --html page.html",
        "vault move vault other",
    ):
        status, printed = folder.standby([*line.replace("DECISION", decision).split(), "--json"])
        document = json.loads(printed[printed.index("{") :])
        decision = document.get("decision_id") or decision
        models: tuple[type[BaseModel], ...] = (ErrorDocument, *DOCUMENTS.get(line.split()[0], ()))
        fitting = [each for each in models if fits(each, document)]
        assert fitting, f"standby {line} ({status}): {sorted(document)}"
        seen |= {each.__name__ for each in fitting}
    assert {"PlanDocument", "ErrorDocument", "StatusDocument", "FailoverReport", "MovedDocument", "DoctorDocument"} | {
        "DrillReport",
        "RestoreReport",
        "Explanation",
    } <= seen


def fits(model: type[BaseModel], document: dict[str, object]) -> bool:
    """Say whether a document is as the schema says, with the keys that it promises, and no other."""
    schema: Any = schemas()[model.__name__]
    properties = schema.get("properties") or schema["$defs"][model.__name__]["properties"]
    is_valid: bool = Draft202012Validator(schema).is_valid(document)
    return is_valid and document.keys() <= properties.keys()
