"""The pages say what the program does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
import yaml

from standby.cli.app import COMMANDS
from standby.config.configuration import load_configuration
from standby.config.plan import OnExisting
from standby.replication.verdict import Verdict, decide

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DECISIONS = ROOT / "docs" / "explanation" / "how-replication-decides.md"
PAGES = sorted([README, ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def rows(page: Path, head: str) -> list[list[str]]:
    """Read the rows of the table whose first line is given."""
    lines = page.read_text(encoding="utf-8").splitlines()
    below = lines[lines.index(head) + 2 :]
    table = below[: next((n for n, line in enumerate(below) if not line.startswith("|")), len(below))]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in table]


def test_the_table_of_actions_is_what_the_program_decides() -> None:
    policies: tuple[OnExisting, ...] = get_args(OnExisting)
    head = f"| verdict | {' | '.join(policies)} | --force ID |"
    told = {row[0]: row[1:] for row in rows(DECISIONS, head)}
    decided = {
        verdict.value: [
            *(decide(verdict, policy).value for policy in policies),
            decide(verdict, "refuse", forced=True).value,
        ]
        for verdict in Verdict
    }
    assert told == decided
    for policy in policies:
        assert all(
            decide(verdict, policy, forced=True) is decide(verdict, "refuse", forced=True) for verdict in Verdict
        )


def test_every_verdict_is_explained() -> None:
    assert [row[0] for row in rows(DECISIONS, "| verdict | what is there |")] == [
        "missing",
        "in_sync",
        "creating",
        "source_ahead",
        "target_ahead",
        "diverged",
        "foreign",
        "blocked",
    ]


def test_the_configuration_in_the_readme_is_valid(tmp_path: Path) -> None:
    (written,) = re.findall(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    file = tmp_path / "standby.yaml"
    file.write_text(written, encoding="utf-8")
    configuration = load_configuration(file, {"EAST_KEY": "secret", "VAULT_KEY": "0123456789abcdef"})
    assert list(configuration.plans) == ["invoices"]


@each_page
def test_the_commands_of_a_page_exist(page: Path) -> None:
    told = set(re.findall(r"(?:`|\$ )standby ([a-z]+)\b", page.read_text(encoding="utf-8")))
    assert told <= COMMANDS.keys()


@each_page
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_the_readme_is_short_and_names_every_deployment() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 150
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    for deployment in deployments:
        flow = deployment["entrypoint"].rsplit(":", 1)[1].replace("_", "-")
        assert f"{flow}/{deployment['name']}" in text


def test_every_make_target_of_contributing_exists() -> None:
    pages = [(ROOT / name).read_text(encoding="utf-8") for name in ("CONTRIBUTING.md", "Makefile")]
    told = set(re.findall(r"`make ([a-z-]+)", pages[0]))
    made = set(re.findall(r"^([a-z-]+):", pages[1], flags=re.MULTILINE))
    assert told <= made
