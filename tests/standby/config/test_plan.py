from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from standby.config.plan import FreshKey, GivenKey, NoEncryption, RecoveryPlan, RetryPolicy, StepRetries
from standby.config.resource import DeploymentOverrides


def plan(**values: Any) -> RecoveryPlan:
    return RecoveryPlan.model_validate(
        {"name": "invoices", "pairs": [{"source": "east", "targets": ["west", "north"]}], **values}
    )


def test_a_plan_needs_only_its_pairs() -> None:
    bare = plan()
    assert (bare.include, bare.exclude, bare.on_existing, bare.missing_defaults) == (
        ("*",),
        (),
        "refuse",
        "fail",
    )
    assert bare.encryption == FreshKey()
    assert bare.deadlines.poll == 600.0
    assert bare.objectives.rpo is None


def test_targets_and_resources_are_told_once_and_sorted() -> None:
    both = plan(pairs=[{"source": "west", "targets": ["north", "east"]}, {"source": "east", "targets": ["north"]}])
    assert both.targets == ("east", "north")
    assert both.resources == ("east", "north", "west")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"pairs": []}, "at least 1 item"),
        ({"pairs": [{"source": "east", "targets": []}]}, "at least 1 item"),
        ({"pairs": [{"source": "east", "targets": ["east"]}]}, "east cannot be its own target"),
        ({"pairs": [{"source": "east", "targets": ["west", "west"]}]}, "a pair twice: east to west"),
        (
            {"pairs": [{"source": "east", "targets": ["west"]}, {"source": "east", "targets": ["west"]}]},
            "a pair twice: east to west",
        ),
        ({"pairs": [{"source": "East", "targets": ["west"]}]}, "pattern"),
        ({"name": "In voices"}, "pattern"),
        ({"include": []}, "at least 1 item"),
        ({"include": [""]}, "at least 1 character"),
        ({"on_existing": "overwrite"}, "'refuse', 'replace' or 'version'"),
        ({"deployments": {"wset": {}}}, "wset, which is not a target of this plan: did you mean west?"),
        ({"deployments": {"east": {}}}, "not a target of this plan"),
        ({"deployments": {"west": {"embeding": "x"}}}, "Extra inputs"),
        ({"encryption": "always"}, "must be generate, none or"),
        ({"encryption": {"key": ""}}, "at least 1"),
        ({"objectives": {"rpo": 24}}, "must be a duration"),
        ({"ignore": ["tags..projectId"]}, "pattern"),
        ({"retries": {"copy": {"attempts": 0}}}, "greater than or equal to 1"),
        ({"retries": {"copy": {"delays": []}}}, "at least 1 item"),
        ({"retries": {"copy": {"delays": [-1]}}}, "greater than or equal to 0"),
        ({"deadlines": {"first_interval": 70}}, "must not be shorter than first_interval"),
        ({"deadlines": {"poll": 0}}, "greater than 0"),
        ({"deadlines": {"poll": float("nan")}}, "less than or equal to 86400"),
        ({"colour": "blue"}, "Extra inputs"),
    ],
)
def test_what_makes_no_plan_is_refused(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        plan(**values)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("generate", FreshKey()),
        ("none", NoEncryption()),
        ({"key": "sesame"}, GivenKey(key=SecretStr("sesame"))),
        ({"kind": "none"}, NoEncryption()),
    ],
)
def test_encryption_is_a_word_or_a_key(written: object, meant: object) -> None:
    assert plan(encryption=written).encryption == meant


def test_deployments_are_overridden_by_the_services_names() -> None:
    assert plan(deployments={"west": {"chatCompletion": "gpt41-west"}}).deployments == {
        "west": DeploymentOverrides(chat_completion="gpt41-west")
    }


def test_objectives_and_seconds_are_written_as_durations() -> None:
    timed = plan(objectives={"rpo": "24h"}, deadlines={"poll": "20m"}, retries={"copy": {"delays": ["2s", 30]}})
    assert timed.objectives.rpo == timedelta(days=1)
    assert timed.deadlines.poll == 1200.0
    assert timed.retries.copy_.delays == (2.0, 30.0)


def test_a_plan_written_as_json_reads_the_same() -> None:
    full = plan(
        deployments={"west": {"chatCompletion": "gpt41-west"}},
        objectives={"rpo": "24h", "rto": "15m"},
        retries=StepRetries(copy_=RetryPolicy(attempts=7)),
        ignore=["tags.projectId"],
    )
    assert RecoveryPlan.model_validate_json(full.model_dump_json(by_alias=True)) == full


def test_an_encryption_key_is_never_printed_nor_told_in_an_error() -> None:
    assert "sesame" not in repr(plan(encryption={"key": "sesame"}))
    with pytest.raises(ValidationError) as caught:
        plan(encryption={"kee": "sesame"}, pairs="sesame")
    assert "sesame" not in str(caught.value)


def test_a_plan_has_no_samples_unless_it_says_so() -> None:
    assert plan().samples is None
    bare = plan(samples={}).samples
    assert bare is not None
    assert (bare.path, bare.each, bare.runs, bare.at_once, bare.failover) == (None, 5, 2, 4, 20.0)
    assert (bare.deadline, bare.budget.run, bare.budget.month) == (timedelta(minutes=10), 200, 2000)


def test_the_last_check_of_a_failover_can_be_switched_off() -> None:
    off, short = plan(samples={"failover": "0s"}).samples, plan(samples={"failover": "5s"}).samples
    assert off is not None
    assert short is not None
    assert (off.failover, short.failover) == (0.0, 5.0)


@pytest.mark.parametrize(
    "values", [{"runs": 1}, {"runs": 6}, {"each": 0}, {"margin": 1.1}, {"budget": {"run": 0}}, {"deadline": "0s"}]
)
def test_settings_by_which_nothing_could_be_compared_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        plan(samples=values)


def test_a_relative_folder_of_samples_is_taken_from_that_of_the_file() -> None:
    moved = plan(samples={"path": "./samples"}).relative_to(Path("/etc/standby")).samples
    absolute = plan(samples={"path": "/srv/samples"}).relative_to(Path("/etc/standby")).samples
    assert moved is not None
    assert absolute is not None
    assert (moved.path, absolute.path) == (Path("/etc/standby/samples"), Path("/srv/samples"))
    assert plan().relative_to(Path("/etc")) == plan()
