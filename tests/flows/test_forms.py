"""The forms by which people start runs: one type a field, in words, with choices."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.utilities.schema_tools import validate

from standby.flows.bootstrap import NO_FORM, Choices, form, full_name
from tests.flows.test_catalogue import DEPLOYMENTS, flow_of

CHOICES = Choices(("contracts", "invoices"), ("north", "west"), ("east", "north", "west"))
FORMS = [entry for entry in DEPLOYMENTS if full_name(entry) not in NO_FORM]
each_form = pytest.mark.parametrize("deployment", FORMS, ids=full_name)


def made(deployment: dict[str, Any], choices: Choices = CHOICES) -> dict[str, Any]:
    flow = flow_of(deployment)
    schema = flow.parameters.model_dump_for_openapi()
    return form(schema, flow.name, choices, started_by_events="triggers" in deployment)


def of(name: str) -> dict[str, Any]:
    (deployment,) = (entry for entry in FORMS if full_name(entry) == name)
    fields: dict[str, Any] = made(deployment)["properties"]
    return fields


@each_form
def test_a_field_has_one_type_a_title_in_words_and_a_description_in_one_line(deployment: dict[str, Any]) -> None:
    for name, field in made(deployment)["properties"].items():
        assert isinstance(field["type"], str), name
        assert "anyOf" not in field
        assert field["title"][0].isupper()
        assert "_" not in field["title"]
        assert field["description"].isprintable()
        assert field["description"].endswith(".")


@each_form
def test_a_form_offers_the_saved_plans_and_follows_them(deployment: dict[str, Any]) -> None:
    plan = made(deployment)["properties"].get("plan")
    assert plan is None or plan["enum"] == ["contracts", "invoices"]
    fewer = Choices(("contracts",), ("west",), ("east", "west"))
    again = form(made(deployment), flow_of(deployment).name, fewer, started_by_events="triggers" in deployment)
    assert again == made(deployment, fewer)


@each_form
def test_what_prefect_checks_by_a_form_fits_what_starts_the_runs(deployment: dict[str, Any]) -> None:
    schema, given = made(deployment), deployment.get("parameters", {"plan": "invoices"})
    defaults = {name: field["default"] for name, field in schema["properties"].items() if "default" in field}
    others = {"to": "west"} if "to" in schema.get("required", ()) else {}
    assert validate({**defaults, **given, **others}, schema) == []
    flow_of(deployment).validate_parameters({**defaults, **given, **others})
    for trigger in deployment.get("triggers", []):
        assert trigger["parameters"].keys() <= schema["properties"].keys()


def test_what_only_automations_give_is_on_no_form_of_an_operator() -> None:
    assert "outage_of" not in of("failover/manual")
    assert "outage_of" in of("failover/on-outage")


def test_resources_and_what_can_be_forced_are_choices() -> None:
    replicate, failover = of("replicate/manual"), of("failover/manual")
    assert replicate["targets"]["items"]["enum"] == ["north", "west"]
    assert replicate["on_existing"]["enum"] == ["refuse", "replace", "version"]
    assert failover["to"]["enum"] == ["", "east", "north", "west"]
    assert "quorum" in failover["force"]["items"]["enum"]
    assert "one-at-a-time" not in failover["force"]["items"]["enum"]
    assert of("restore/manual")["to"]["enum"] == ["east", "north", "west"]


def test_the_off_switch_says_off_only_where_somebody_chose_it() -> None:
    switch = of("automation/manual")["on"]
    assert switch["enum"] == ["on", "off"]
    assert "default" not in switch
    (deployment,) = (entry for entry in FORMS if full_name(entry) == "automation/manual")
    chosen = [flow_of(deployment).validate_parameters({"plan": "p", "on": word})["on"] for word in ("on", "off")]
    assert chosen == [True, False]
