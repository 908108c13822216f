"""Builds the site of the documentation, strictly and without the internet: `python -m docs.site [FOLDER]`.

The pages of `docs/` and the reference that is made from the code go to FOLDER/pages, the site to FOLDER/html.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from zensical import build

from docs.site.commands import commands_page
from docs.site.configuration import configuration_page
from docs.site.errors import errors_page
from docs.site.json_page import documents_page, schemas
from docs.site.metrics import metrics_page
from docs.site.prefect_pages import blocks_page, deployments_page, events_page
from docs.site.vault_files import vault_files_page
from standby.config.configuration import configuration_schema
from standby.document import json_text

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent
PAGES = ("*.md", "*.json", "*.css", "*.js", "*.svg", "*.png")
_LEAVES = re.compile(r"\]\(((?:\.\./)+)(deploy/[^)#]+)\)")
"""A link from a page to a file of the repository outside `docs/`; the site has a copy of that file."""


GENERATED = {
    "configuration": configuration_page,
    "commands": commands_page,
    "json": documents_page,
    "errors": errors_page,
    "metrics": metrics_page,
    "events": events_page,
    "blocks": blocks_page,
    "deployments": deployments_page,
    "vault-files": vault_files_page,
}
"""Pages of the reference that are made from the code, by name."""


def gather(folder: Path) -> None:
    """Put everything the site is made of into a folder, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    for page in sorted(path for kind in PAGES for path in DOCS.rglob(kind)):
        there = folder / "pages" / page.relative_to(DOCS)
        there.parent.mkdir(parents=True, exist_ok=True)
        if page.suffix == ".md":
            there.write_text(_within(page, folder / "pages"), encoding="utf-8")
        else:
            shutil.copyfile(page, there)
    shutil.copyfile(DOCS / "zensical.toml", folder / "zensical.toml")
    reference = folder / "pages" / "reference"
    for name, written in GENERATED.items():
        (reference / f"{name}.md").write_text(written(), encoding="utf-8")
    for name, schema in {**schemas(), "standby.yaml": configuration_schema()}.items():
        (reference / "schemas").mkdir(exist_ok=True)
        (reference / "schemas" / f"{name}.json").write_text(json_text(schema) + "\n", encoding="utf-8")


def _within(page: Path, pages: Path) -> str:
    """Read a page, and let its links to files outside `docs/` lead to copies in the site."""

    def lead(link: re.Match[str]) -> str:
        (pages / link[2]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / link[2], pages / link[2])
        return f"]({link[1].removeprefix('../')}{link[2]})"

    return _LEAVES.sub(lead, page.read_text(encoding="utf-8"))


def build_site(folder: Path) -> None:
    """Build the site in a folder, which is emptied first.

    Raises:
        RuntimeError: where there was anything to warn of, which was written to stderr.
    """
    gather(folder)
    build(str(folder / "zensical.toml"), {"clean": True, "strict": True})


if __name__ == "__main__":
    build_site(Path(sys.argv[1] if len(sys.argv) > 1 else ".site").resolve())
