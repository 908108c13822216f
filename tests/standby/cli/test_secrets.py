from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from standby.service.retries import HttpRetries

if TYPE_CHECKING:
    from tests.standby.cli.conftest import Cloud, Workspace


def all_well(_: Workspace, __: Cloud) -> None:
    pass


def wrong_key(workspace: Workspace, _: Cloud) -> None:
    workspace.environment["WEST_KEY"] = "canary-that-is-wrong"


def no_connection(_: Workspace, cloud: Cloud) -> None:
    cloud.tell("outages", resource="west", kind="refuse")


def not_json(_: Workspace, cloud: Cloud) -> None:
    cloud.fault("list", "malformed", resource="west", times=None)


def led_elsewhere(_: Workspace, cloud: Cloud) -> None:
    cloud.fault("copy", "foreign_location", times=None)


def redirected(_: Workspace, cloud: Cloud) -> None:
    cloud.fault("authorize", "redirect", times=None)


def quoted_by_the_service(workspace: Workspace, cloud: Cloud) -> None:
    east, west = (workspace.environment[name] for name in ("EAST_KEY", "WEST_KEY"))
    told = f"No: {east} {west}"
    cloud.fault("copy", "status", status=400, code=west, inner_code=east, message=told, times=None)


def quoted_by_an_operation(workspace: Workspace, cloud: Cloud) -> None:
    east, west = (workspace.environment[name] for name in ("EAST_KEY", "WEST_KEY"))
    cloud.fault("copy", "operation_fails", code=west, message=f"No: {east} {west}", times=None)
    cloud.fault("poll", "rewritten", pattern='"id": ?"([^"]*)"', text=east, times=None)


def a_secret_in_the_file(workspace: Workspace, _: Cloud) -> None:
    workspace.edit("${WEST_KEY}", "canary-written-out")


def a_secret_in_the_wrong_place(workspace: Workspace, _: Cloud) -> None:
    workspace.edit("region: westus3", "region: ${WEST_KEY}\n    colour: ${EAST_KEY}")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waits between the attempts of a call."""
    monkeypatch.setattr("standby.service.client.HttpRetries", partial(HttpRetries, attempts=2, wait_max=0.0))


@pytest.mark.parametrize(
    "go_wrong",
    [
        all_well,
        wrong_key,
        no_connection,
        not_json,
        led_elsewhere,
        redirected,
        quoted_by_the_service,
        quoted_by_an_operation,
        a_secret_in_the_file,
        a_secret_in_the_wrong_place,
    ],
)
def test_no_key_is_in_anything_that_is_written(
    workspace: Workspace, cloud: Cloud, tmp_path: Path, go_wrong: Callable[[Workspace, Cloud], None]
) -> None:
    go_wrong(workspace, cloud)

    told = []
    for args in (
        ("plan", "invoices", "--out", str(tmp_path / "plan.json"), "-v"),
        ("replicate", "invoices", "--json", "--target", "west", "-v"),
    ):
        ran = workspace.run(*args)
        told.append(ran.out + ran.err)
    kept = [path.read_text(encoding="utf-8") for path in tmp_path.rglob("*") if path.is_file()]

    assert all(told)
    assert not any("canary-key" in text for text in [*told, *kept])
    if go_wrong is not a_secret_in_the_file:
        assert not any("canary" in text for text in told)
