"""What `missing_defaults` makes of findings."""

from __future__ import annotations

import pytest

from standby.config.plan import MissingDefaults
from standby.config.resource import DeploymentOverrides
from standby.replication.needs import judge_models, with_added_defaults
from tests.standby.replication.world import DEFAULTS, MODELS, PREVIEW_2025, deployment, resource, serving

NONE = DeploymentOverrides()
ALL = tuple(MODELS.items())
BOTH = (deployment("gpt", "gpt-4.1"), deployment("emb", "text-embedding-3-small"))
EAST = serving(resource("east"), DEFAULTS, BOTH)


@pytest.mark.parametrize(("policy", "errors", "warnings"), [("fail", 2, 0), ("sync", 2, 0), ("ignore", 0, 2)])
def test_missing_models_forbid_a_copy_unless_they_are_ignored(
    policy: MissingDefaults, errors: int, warnings: int
) -> None:
    judged = judge_models(ALL, EAST, serving(resource("west"), None), NONE, policy)
    assert (len(judged.errors), len(judged.warnings)) == (errors, warnings)
    assert all("Fix it with" in told for told in judged.errors + judged.warnings)


@pytest.mark.parametrize("policy", ["fail", "sync", "ignore"])
def test_another_embedding_model_forbids_a_copy_under_every_policy(policy: MissingDefaults) -> None:
    west = serving(resource("west"), DEFAULTS, [deployment("gpt", "gpt-4o"), deployment("emb", "other")])
    judged = judge_models(ALL, EAST, west, NONE, policy)
    assert len(judged.errors) == 1
    assert "do not compare" in judged.errors[0]
    assert len(judged.warnings) == 1
    assert "gpt-4o" in judged.warnings[0]


def test_what_is_unknown_warns_and_does_not_forbid() -> None:
    judged = judge_models(ALL, EAST, serving(resource("west"), DEFAULTS), NONE, "fail")
    assert judged.errors == ()
    (warning,) = judged.warnings  # once, however many models there are
    assert "is unknown" in warning


def test_where_the_check_is_switched_off_nobody_is_told_that_it_was_not_made() -> None:
    west = serving(resource("west", arm_endpoint=""), DEFAULTS)
    assert judge_models(ALL, EAST, west, NONE, "fail").warnings == ()


@pytest.mark.parametrize("policy", ["fail", "ignore"])
def test_only_sync_adds_defaults(policy: MissingDefaults) -> None:
    west = serving(resource("west"), None, BOTH)
    assert with_added_defaults(ALL, EAST, west, NONE, policy) == (west, {})


def test_sync_gives_the_target_as_it_will_be() -> None:
    west = serving(resource("west"), {"gpt-4.1": "kept", "other": "kept"}, BOTH)
    after, added = with_added_defaults(ALL, EAST, west, NONE, "sync")
    assert added == {"text-embedding-3-small": "emb"}
    assert after.defaults == {"gpt-4.1": "kept", "other": "kept", "text-embedding-3-small": "emb"}
    assert after.deployments == west.deployments


def test_sync_has_nothing_to_add_in_the_preview_protocol() -> None:
    west = serving(resource("west", PREVIEW_2025), None, BOTH)
    assert with_added_defaults(ALL, EAST, west, NONE, "sync") == (west, {})


def test_sync_takes_the_plans_deployment_for_its_role() -> None:
    west = serving(resource("west"), None)
    overrides = DeploymentOverrides(embedding="emb-west")
    _, added = with_added_defaults(ALL, EAST, west, overrides, "sync")
    assert added == {"text-embedding-3-small": "emb-west"}
