"""What a message advises helps: a test makes a situation, takes the advice out of what is printed and follows it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.standby.cli.conftest import CANARIES, DEADLINE, Cloud, Ran, Workspace

ONE = "contract"
Make = Callable[[Workspace, Cloud], None]


@pytest.fixture
def site(workspace: Workspace) -> Workspace:
    """A plan of one analyzer and one target."""
    workspace.edit("targets: [west, north]}]", f"targets: [west]}}]\n    include: [{ONE}]")
    return workspace


def run(site: Workspace, *arguments: str) -> Ran:
    return site.run("--json", *arguments)


def replicate(site: Workspace, *options: str) -> Ran:
    return run(site, "replicate", "invoices", *options)


def reason(ran: Ran) -> str:
    """The reason of the one item of a run."""
    (item,) = ran.document["items"]
    return str(item["reason"])


def edit(cloud: Cloud, where: str, **changes: Any) -> None:
    cloud.tell("edit", resource=where, analyzer=ONE, changes=changes)


def wait_until_made(cloud: Cloud) -> None:
    """Wait for a copy that a run did not wait for: what is edited before it is made is part of it."""
    until = time.monotonic() + DEADLINE
    while call(cloud, "GET", "west", f"analyzers/{ONE}?api-version=2025-11-01")["status"] == "creating":
        assert time.monotonic() < until
        time.sleep(0.02)


def call(cloud: Cloud, method: str, where: str, path: str, **body: Any) -> Any:
    url = f"{cloud.emulator.resources[where].endpoint}/contentunderstanding/{path}"
    headers = {"Ocp-Apim-Subscription-Key": CANARIES[where]}
    answer = httpx.request(method, url, headers=headers, json=body or None).raise_for_status()
    return answer.json() if answer.content else None


def delete(cloud: Cloud, where: str, version: str = "2025-11-01") -> None:
    call(cloud, "DELETE", where, f"analyzers/{ONE}?api-version={version}")


def put(cloud: Cloud, where: str, description: str) -> None:
    body = {"baseAnalyzerId": "prebuilt-document", "description": description}
    call(cloud, "PUT", where, f"analyzers/{ONE}?api-version=2025-11-01", **body)


# A copy that failed, in whatever way: run again.


def fails(kind: str) -> Make:
    return lambda _, cloud: cloud.fault("copy", kind, resource="west")


def is_refused_once(call: str, status: int) -> Make:
    return lambda _, cloud: cloud.fault(call, "status", status=status, code="Conflict", message="Busy.", times=1)


@pytest.mark.parametrize("version", ["2025-11-01", "2025-05-01-preview"])
@pytest.mark.parametrize(
    "make",
    [
        *(fails(kind) for kind in ("operation_fails", "analyzer_fails")),
        *(is_refused_once(call, 409) for call in ("authorize", "poll")),
    ],
    ids=["operation_fails", "analyzer_fails", "409 authorize", "409 poll"],
)
def test_a_copy_that_failed_succeeds_when_it_is_run_again(
    site: Workspace, cloud: Cloud, make: Make, version: str
) -> None:
    under(site, version)
    make(site, cloud)
    ran = replicate(site)
    assert ran.status == 3
    assert "un again" in reason(ran)
    assert "--" not in reason(ran)
    assert replicate(site).status == 0


def under(site: Workspace, version: str) -> None:
    site.edit('    arm_endpoint: ""', f'    arm_endpoint: ""\n    api_version: "{version}"')


@pytest.mark.parametrize("changes", [{"status": "undefined"}, {"status": "canceled"}, {}])
def test_a_copy_of_ours_that_was_never_found_good_is_made_again_whatever_became_of_its_source(
    site: Workspace, cloud: Cloud, changes: dict[str, str]
) -> None:
    cloud.fault("poll", "status", status=409, message="Busy.", times=1)
    assert "un again" in reason(replicate(site))
    wait_until_made(cloud)
    edit(cloud, "west", **changes)
    edit(cloud, "east", description="moved on")
    ran = replicate(site)
    assert ran.status == 0
    assert run(site, "check", "invoices").status == 0


def test_what_somebody_made_under_the_name_of_a_copy_that_never_came_is_not_overwritten(
    site: Workspace, cloud: Cloud
) -> None:
    cloud.fault("poll", "status", status=409, message="Busy.", times=1)
    replicate(site)
    wait_until_made(cloud)
    edit(cloud, "west", description="by hand")
    ran = replicate(site)
    assert ran.status == 3
    assert reason(ran).startswith("It was edited at west")


# What the target filled in.


@pytest.mark.parametrize(
    "filled_in",
    [
        {"config": {"somethingNew": True}},
        {"futureSetting": {"of": "a later service"}},
        {"fieldSchema": {"fields": {"Total": {"somethingNew": 1}}}},
    ],
)
def test_what_only_the_target_fills_in_is_no_edit(site: Workspace, cloud: Cloud, filled_in: dict[str, Any]) -> None:
    assert replicate(site).status == 0
    edit(cloud, "west", **filled_in)
    assert run(site, "check", "invoices").status == 0
    assert replicate(site).document["totals"]["skipped"] == 1
    edit(cloud, "east", description="moved on")
    checked = run(site, "check", "invoices").document["items"][0]
    assert checked["verdict"] == "source_ahead"


@pytest.mark.parametrize(
    "by_hand",
    [
        {"description": "by hand"},
        {"tags": {"by": "hand"}},
        {"config": {"returnDetails": True}},
        {"fieldSchema": {"fields": {"Tax": {"type": "number"}}}},
    ],
)
def test_what_people_add_at_a_target_is_an_edit(site: Workspace, cloud: Cloud, by_hand: dict[str, Any]) -> None:
    assert replicate(site).status == 0
    edit(cloud, "west", **by_hand)
    assert run(site, "check", "invoices").document["items"][0]["verdict"] == "target_ahead"


# Refusals that name an option.


def older(site: Workspace, cloud: Cloud) -> None:
    assert replicate(site).status == 0
    edit(cloud, "east", description="moved on")


def edited(site: Workspace, cloud: Cloud) -> None:
    assert replicate(site).status == 0
    edit(cloud, "west", description="by hand")


def diverged(site: Workspace, cloud: Cloud) -> None:
    edited(site, cloud)
    edit(cloud, "east", description="moved on")


def foreign(_: Workspace, cloud: Cloud) -> None:
    put(cloud, "west", "theirs")


def unreadable(site: Workspace, cloud: Cloud) -> None:
    assert replicate(site).status == 0
    edit(cloud, "west", status="odd", description="by hand")


def options_in(text: str) -> list[list[str]]:
    """Every way that a text offers, as arguments."""
    return [
        found.split()
        for found in re.findall(r"--(?:on-existing|force|as-of|keep) [\w.=-]*\w|--yes|--(?:un)?planned", text)
    ]


def ways(make: Make) -> Iterator[Any]:
    for number in range(2):
        yield pytest.param(make, number, id=f"{make.__name__} {number + 1}")


@pytest.mark.parametrize(
    ("make", "number"),
    [*ways(older), *ways(foreign), *((make, 0) for make in (edited, diverged, unreadable))],
)
def test_each_option_that_a_refusal_offers_lets_it_be_copied(
    site: Workspace, cloud: Cloud, make: Make, number: int
) -> None:
    make(site, cloud)
    ran = replicate(site)
    assert ran.status == 3
    offered = options_in(reason(ran))
    ran = replicate(site, *offered[number])
    assert (ran.status, ran.document["totals"]["succeeded"]) == (0, 1)


@pytest.mark.parametrize("make", [older, edited, diverged, foreign])
@pytest.mark.parametrize("first", [("--on-existing", "replace"), ("--force", ONE)])
def test_where_nothing_can_be_replaced_the_advice_is_to_delete_or_to_copy_beside(
    site: Workspace, cloud: Cloud, make: Make, first: tuple[str, ...]
) -> None:
    under(site, "2025-05-01-preview")
    make(site, cloud)
    if make is foreign:
        url = f"analyzers/{ONE}?api-version=2025-05-01-preview"
        call(cloud, "PUT", "west", url, baseAnalyzerId="prebuilt-document", description="theirs")
    told = reason(replicate(site, *first))
    assert "replace" not in told.replace("cannot replace", "")
    assert "delete it at west" in told
    if offered := options_in(told):
        assert replicate(site, *offered[0]).status == 0
    else:
        delete(cloud, "west", "2025-05-01-preview")
        assert replicate(site).status == 0


# Settings.


def test_a_resource_id_in_another_case_is_the_advice_and_correcting_it_helps(site: Workspace, cloud: Cloud) -> None:
    right = cloud.emulator.resources["west"].resource_id
    site.edit(right, right.replace("resourceGroups", "resourcegroups"))
    told = reason(replicate(site))
    assert "resource_id" in told and "case" in told and "role" not in told.casefold()
    site.edit(right.replace("resourceGroups", "resourcegroups"), right)
    assert replicate(site).status == 0


def test_a_key_that_is_refused_is_to_be_corrected_and_no_role_to_be_given(site: Workspace) -> None:
    right, site.environment["WEST_KEY"] = site.environment["WEST_KEY"], "wrong"
    ran = replicate(site)
    assert ran.status == 1
    assert "key" in ran.document["error"]["next_action"] and "role" not in ran.document["error"]["next_action"]
    site.environment["WEST_KEY"] = right
    assert replicate(site).status == 0


@pytest.mark.parametrize("option", ["force", "analyzer", "target"])
def test_a_name_that_nothing_has_can_be_left_out(site: Workspace, option: str) -> None:
    ran = replicate(site, f"--{option}", "nothing")
    assert (ran.status, f"leave out --{option}" in ran.document["error"]["next_action"]) == (1, True)
    assert replicate(site).status == 0


def test_the_call_that_completes_the_defaults_of_a_target_can_be_made_as_it_is_printed(
    workspace: Workspace, cloud: Cloud
) -> None:
    workspace.edit("targets: [west, north]}]", "targets: [north]}]\n    include: [claim]")
    told = reason(replicate(workspace))
    found = re.search(r"PATCH (\S+) with (\{.*\})", told)
    assert found
    headers = {"Ocp-Apim-Subscription-Key": CANARIES["north"], "Content-Type": "application/merge-patch+json"}
    assert cloud.emulator.resources["north"].endpoint in found[1]
    httpx.patch(found[1], headers=headers, content=json.dumps(json.loads(found[2]))).raise_for_status()
    assert replicate(workspace).status == 0


# Readiness, and what follows an outage.


def causes(site: Workspace) -> dict[str, str]:
    """What hinders the target, and what is advised about it."""
    (target,) = run(site, "status", "invoices").document["pairs"]
    return {each["bucket"]: each["next_action"] for each in target["reasons"]}


def absent(_site: Workspace, _cloud: Cloud) -> None:
    pass


@pytest.mark.parametrize("make", [absent, older, edited, diverged, foreign])
def test_the_commands_that_the_readiness_advises_end_the_cause(site: Workspace, cloud: Cloud, make: Make) -> None:
    make(site, cloud)
    bucket, advice = next((each, told) for each, told in causes(site).items() if "standby replicate" in told)
    for command in re.findall(r"standby ([a-z]+(?: (?:--)?[\w-]+)*)", advice):
        assert run(site, *command.split()).status in {0, 2}
    assert bucket not in causes(site)


def test_a_restore_without_a_snapshot_advises_the_one_that_makes_it_possible(site: Workspace) -> None:
    ran = run(site, "restore", "invoices", "--to", "west")
    assert ran.status == 1
    for command in re.findall(r"standby (snapshots? invoices)", ran.document["error"]["next_action"]):
        assert site.run(*command.split()).status == 0
    assert run(site, "restore", "invoices", "--to", "west").status == 0


def test_what_only_the_target_of_a_restore_fills_in_is_no_edit(site: Workspace, cloud: Cloud) -> None:
    assert run(site, "snapshot", "invoices").status == 0
    cloud.fault("poll", "status", status=409, message="Busy.", times=1)
    ran = run(site, "restore", "invoices", "--to", "west")
    assert (ran.status, "un again" in reason(ran)) == (3, True)
    wait_until_made(cloud)
    edit(cloud, "west", config={"somethingNew": True})
    ran = run(site, "restore", "invoices", "--to", "west")
    assert (ran.status, ran.document["totals"]["skipped"]) == (0, 1)


def test_a_restore_that_failed_succeeds_when_it_is_run_again(site: Workspace, cloud: Cloud) -> None:
    assert run(site, "snapshot", "invoices").status == 0
    cloud.fault("put", "analyzer_fails", resource="west")
    assert "Run again" in reason(run(site, "restore", "invoices", "--to", "west"))
    assert run(site, "restore", "invoices", "--to", "west").status == 0


def test_a_failover_that_is_refused_names_the_option_that_lets_it_through(site: Workspace) -> None:
    assert replicate(site).status == 0
    order = ["failover", "invoices", "--to", "west", "--unplanned", "--reason", "test"]
    ran = run(site, *order)
    for _ in range(4):
        if ran.status == 0:
            break
        assert ran.status == 4
        options = options_in(ran.document["error"]["next_action"])
        assert options
        order += options[0]
        ran = run(site, *order)
    assert ran.status == 0
    assert "standby commit invoices" in causes(site)["fenced"]
    assert run(site, "commit", "invoices", "--yes").status == 0
