"""Whether a target can serve the models of an analyzer: every kind of finding."""

from __future__ import annotations

from typing import Any

import pytest

from standby.config.resource import DeploymentOverrides
from standby.replication.needs import Finding, Serving, Severity, check_models, default_to_add, models_of
from standby.service.models import Deployment
from tests.standby.replication.world import PREVIEW_2025, RELEASED, definition, deployment, resource, serving

COMPLETION = [("completion", "gpt-4.1")]
EMBEDDING = [("embedding", "text-embedding-3-small")]
EAST = (deployment("gpt", "gpt-4.1", "2025-04-14"), deployment("emb", "text-embedding-3-small"))
NONE = DeploymentOverrides()


def source(api_version: str = RELEASED, *deployments: Deployment, **fields: Any) -> Serving:
    return serving(resource("east", api_version), deployments=deployments or EAST, **fields)


def target(*deployments: Deployment, api_version: str = RELEASED, **fields: Any) -> Serving:
    return serving(resource("west", api_version), deployments=deployments, **fields)


def findings(
    models: list[tuple[str, str]],
    at: Serving,
    overrides: DeploymentOverrides = NONE,
    origin: Serving | None = None,
) -> list[Finding]:
    return list(check_models(models, origin or source(), at, overrides))


def only(*arguments: Any, **fields: Any) -> Finding:
    (finding,) = findings(*arguments, **fields)
    return finding


def test_models_that_are_served_alike_are_not_spoken_of() -> None:
    assert findings(COMPLETION + EMBEDDING, target(*EAST)) == []


def test_a_deployment_may_have_another_name_at_the_target() -> None:
    at = target(deployment("west-gpt", "gpt-4.1"), defaults={"gpt-4.1": "west-gpt"})
    assert findings(COMPLETION, at) == []


def test_a_target_whose_defaults_were_never_set_is_named_with_the_call_that_sets_them() -> None:
    finding = only(COMPLETION, target(*EAST, defaults=None))
    assert (finding.severity, finding.missing, finding.deployment) == (Severity.ERROR, True, None)
    assert str(finding) == (
        "west has no defaults, so model gpt-4.1 leads to no deployment. Fix it with PATCH "
        "https://west.services.ai.azure.com/contentunderstanding/defaults?api-version=2025-11-01 "
        'with {"modelDeployments": {"gpt-4.1": "gpt"}}.'
    )


def test_a_name_that_the_defaults_lack_is_told_with_what_it_could_lead_to() -> None:
    at = target(deployment("other-name", "gpt-4.1"), defaults={})
    finding = only(COMPLETION, at)
    assert finding.cause == "west has no default deployment for model gpt-4.1"
    assert '{"gpt-4.1": "other-name"}' in finding.next_action


@pytest.mark.parametrize(
    ("overrides", "proposed"), [(NONE, "DEPLOYMENT"), (DeploymentOverrides(chat_completion="mine"), "mine")]
)
def test_where_nothing_fits_the_call_leaves_a_place_for_the_name_or_has_the_plans(
    overrides: DeploymentOverrides, proposed: str
) -> None:
    finding = only(COMPLETION, target(defaults={}), overrides)
    assert f'{{"gpt-4.1": "{proposed}"}}' in finding.next_action


def test_a_deployment_that_does_not_exist_is_told_with_the_exact_az_call() -> None:
    finding = only(COMPLETION, target(defaults={"gpt-4.1": "gpt-west"}))
    assert (finding.severity, finding.missing, finding.deployment) == (Severity.ERROR, True, "gpt-west")
    assert str(finding) == (
        "west has no deployment gpt-west for model gpt-4.1. "
        "Fix it with az cognitiveservices account deployment create --subscription s-1 "
        "--resource-group group-1 --name west --deployment-name gpt-west --model-name gpt-4.1 "
        "--model-format OpenAI --model-version 2025-04-14 --sku-name GlobalStandard --sku-capacity 1."
    )


def test_the_az_call_has_a_place_for_a_version_nobody_knows() -> None:
    origin = serving(resource("east"), {"gpt-4.1": "gpt"})
    finding = only(COMPLETION, target(defaults={"gpt-4.1": "gpt-west"}), origin=origin)
    assert "--model-name gpt-4.1 --model-format OpenAI --model-version VERSION " in finding.next_action


def test_the_az_call_creates_the_model_that_the_source_really_uses() -> None:
    origin = source(RELEASED, deployment("gpt", "gpt-4o", "2024-11-20"))
    finding = only(COMPLETION, target(defaults={"gpt-4.1": "gpt-west"}), origin=origin)
    assert "--model-name gpt-4o --model-format OpenAI --model-version 2024-11-20 " in finding.next_action


def test_another_embedding_model_is_an_error() -> None:
    finding = only(EMBEDDING, target(deployment("emb", "text-embedding-ada-002")))
    assert (finding.severity, finding.missing) == (Severity.ERROR, False)
    assert finding.cause == (
        "Deployment emb at west is text-embedding-ada-002, while the source uses text-embedding-3-small"
    )
    assert "embeddings of two models do not compare" in finding.next_action


def test_another_completion_model_is_a_warning() -> None:
    finding = only(COMPLETION, target(deployment("gpt", "gpt-4o")))
    assert (finding.severity, finding.next_action) == (Severity.WARNING, "")
    assert str(finding) == "Deployment gpt at west is gpt-4o, while the source uses gpt-4.1."


def test_a_source_that_cannot_be_asked_is_taken_by_its_models_name() -> None:
    origin = serving(resource("east"), None)
    assert findings(COMPLETION, target(*EAST), origin=origin) == []
    finding = only(COMPLETION, target(deployment("gpt", "gpt-4o")), origin=origin)
    assert finding.severity is Severity.WARNING


def test_without_the_management_plane_a_deployment_is_unknown() -> None:
    finding = only(COMPLETION, serving(resource("west"), {"gpt-4.1": "gpt"}))
    assert (finding.severity, finding.missing) == (Severity.UNKNOWN, False)
    assert "Give the resource Entra credentials" in finding.next_action


def test_a_deployment_behind_a_connection_is_unknown_and_credentials_would_not_help() -> None:
    finding = only(COMPLETION, target(*EAST, defaults={"gpt-4.1": "shared/gpt"}))
    assert finding.severity is Severity.UNKNOWN
    assert "Entra" not in finding.next_action
    assert "connection" in finding.next_action


def test_an_override_has_no_effect_on_the_released_protocol_and_that_is_said() -> None:
    overrides = DeploymentOverrides(chat_completion="mine")
    at = target(*EAST, deployment("mine", "gpt-4.1"))
    finding = only(COMPLETION, at, overrides)
    assert finding.severity is Severity.WARNING
    assert finding.cause == (
        "west serves gpt-4.1 by gpt, not by the plan's mine: api-version 2025-11-01 has no overrides"
    )


def test_an_override_that_the_defaults_agree_with_is_not_spoken_of() -> None:
    at = target(deployment("mine", "gpt-4.1"), defaults={"gpt-4.1": "mine"})
    assert findings(COMPLETION, at, DeploymentOverrides(chat_completion="mine")) == []


# The `2025-05-01-preview` protocol: analyzers name deployments, defaults play no part.


def test_in_the_preview_protocol_the_deployment_of_the_same_name_is_meant() -> None:
    at = target(*EAST, api_version=PREVIEW_2025, defaults=None)
    assert findings([("completion", "gpt"), ("embedding", "emb")], at, origin=source(PREVIEW_2025)) == []


def test_in_the_preview_protocol_an_override_stands_in() -> None:
    at = target(deployment("mine", "gpt-4.1"), api_version=PREVIEW_2025)
    overrides = DeploymentOverrides(chat_completion="mine")
    assert findings([("completion", "gpt")], at, overrides, source(PREVIEW_2025)) == []
    finding = only([("completion", "gpt")], at, NONE, source(PREVIEW_2025))
    assert finding.cause == "west has no deployment gpt for model gpt"
    assert "--deployment-name gpt --model-name gpt-4.1 " in finding.next_action


def test_in_the_preview_protocol_another_embedding_model_is_an_error_too() -> None:
    at = target(deployment("emb", "text-embedding-ada-002"), api_version=PREVIEW_2025)
    assert only([("embedding", "emb")], at, NONE, source(PREVIEW_2025)).severity is Severity.ERROR


def test_in_the_preview_protocol_an_unknown_source_deployment_is_compared_with_nothing() -> None:
    at = target(deployment("gpt", "gpt-4o"), api_version=PREVIEW_2025)
    origin = serving(resource("east", PREVIEW_2025), None)
    assert findings([("completion", "gpt")], at, NONE, origin) == []


# What a definition names, and what could be added.


def test_models_of_inline_analyzers_count_and_each_once() -> None:
    inner = {"models": {"completion": "gpt-4o", "embedding": None}}
    outer = definition("a", models={"completion": "gpt-4.1"})
    outer["config"] = {"contentCategories": {"x": {"analyzer": inner}, "y": {"analyzer": inner}}}
    assert models_of(outer) == (("completion", "gpt-4.1"), ("completion", "gpt-4o"))


def test_a_definition_without_models_has_none() -> None:
    assert models_of(definition("a")) == models_of({"models": "odd"}) == ()


def to_add(at: Serving, overrides: DeploymentOverrides = NONE, origin: Serving | None = None) -> str | None:
    return default_to_add("completion", "gpt-4.1", origin or source(), at, overrides)


def test_a_default_to_add_is_the_plans_then_the_same_model_then_the_same_name() -> None:
    fitting = (deployment("z", "gpt-4.1"), deployment("b", "gpt-4.1"), deployment("a", "gpt-4o"))
    assert to_add(target(*fitting, *EAST), DeploymentOverrides(chat_completion="mine")) == "mine"
    assert to_add(target(*fitting, *EAST)) == "gpt"
    assert to_add(target(*fitting)) == "b"
    assert to_add(target(*fitting, deployment("gpt", "gpt-4o"))) == "b"
    assert to_add(target(deployment("gpt", "gpt-4o"))) == "gpt"
    assert to_add(target(deployment("a", "gpt-4o"))) is None
    assert to_add(serving(resource("west"), None)) is None
