"""The page about readiness names every reason that there is."""

from __future__ import annotations

from pathlib import Path

from standby.recovery.readiness.document import Bucket
from standby.replication.needs import Severity
from tests.docs.test_pages import rows

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "readiness.md"


def test_every_reason_is_explained_with_its_weight() -> None:
    told = rows(PAGE, "| reason | weight | meaning |")
    assert [row[0] for row in told] == [bucket.value for bucket in Bucket]
    assert {row[1] for row in told} <= {severity.value for severity in Severity}
