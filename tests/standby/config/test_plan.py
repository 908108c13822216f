from __future__ import annotations

from datetime import timedelta
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
