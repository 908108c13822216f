"""The pages say what the program does."""

from __future__ import annotations

import re
from typing import get_args

import yaml

from standby.cli.failover import GUARDS
from standby.config.plan import OnExisting
from standby.recovery.readiness.document import Bucket
from standby.replication.needs import Severity
from standby.replication.verdict import Verdict, decide
from tests.docs.pages import CONTRIBUTING, DOCS, PAGES, README, ROOT, rows

DECISIONS = DOCS / "explanation" / "how-replication-decides.md"


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
    assert [row[0] for row in rows(DECISIONS, "| verdict | state of the target |")] == [
        "missing",
        "in_sync",
        "creating",
        "source_ahead",
        "target_ahead",
        "diverged",
        "foreign",
        "blocked",
    ]


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) < 150


def test_every_deployment_has_its_row() -> None:
    text = (DOCS / "how-to" / "schedule-and-approve.md").read_text(encoding="utf-8")
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    for deployment in deployments:
        flow = deployment["entrypoint"].rpartition(".")[2].replace("_", "-")
        assert f"{flow}/{deployment['name']}" in text


def test_every_make_target_of_contributing_exists() -> None:
    told = set(re.findall(r"`make ([a-z-]+)", CONTRIBUTING.read_text(encoding="utf-8")))
    made = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert told <= made


def test_every_guard_that_the_page_forces_can_be_forced() -> None:
    told = set(re.findall(r"--force ([a-z-]+)", (DOCS / "how-to" / "failover.md").read_text(encoding="utf-8")))
    assert told
    assert told <= set(GUARDS)


def test_every_reason_of_readiness_is_explained_with_its_weight() -> None:
    told = rows(DOCS / "reference" / "readiness.md", "| reason | weight | meaning |")
    assert [row[0] for row in told] == [bucket.value for bucket in Bucket]
    assert {row[1] for row in told} <= {severity.value for severity in Severity}


def test_every_page_is_linked_from_where_somebody_reads() -> None:
    linked = {
        (page.parent / target).resolve()
        for page in PAGES
        for target in re.findall(r"\]\(([^)#:]+\.md)", page.read_text(encoding="utf-8"))
        if (page.parent / target).resolve() != page
    }
    assert [str(page) for page in PAGES if page.is_relative_to(DOCS) and page not in linked] == []
