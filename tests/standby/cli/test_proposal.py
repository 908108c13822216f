"""What is proposed for any resources: a file that loads, and plans that never write the same."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from standby.cli.init import validate
from standby.cli.proposal import Found, configuration_text, covering, propose
from standby.config.resource import Resource
from standby.replication.inventory import inventory_of
from standby.replication.needs import Serving
from standby.service.models import Analyzer, Deployment

REGIONS = ["eastus", "westus3", "northeurope", "swedencentral", "uksouth", "somewhere-new"]
IDS = st.from_regex(r"(invoice|claim|x)([-_.](a|b|1)){0,2}", fullmatch=True)
DEFAULTS = [None, {}, {"gpt-4.1": "chat"}, {"gpt-4.1": "other"}]


def found(name: str, region: str, analyzers: dict[str, str], defaults: dict[str, str] | None, state: str) -> Found:
    settings: dict[str, Any] = {
        "endpoint": f"https://{name}.services.ai.azure.com",
        "region": region,
        "resource_id": f"/subscriptions/1/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/{name}",
        "credentials": {"kind": "entra"},
    }
    if state:
        about: dict[str, Any] = {state: "it is so"}
        return Found(name, settings, region, **about)
    listed = [
        {"analyzerId": each, "description": words, "models": {"completion": "gpt-4.1"}}
        for each, words in analyzers.items()
    ]
    serving = Serving(
        Resource.model_validate({"name": name, **settings}),
        defaults,
        {"chat": Deployment(name="chat", model="gpt-4.1")},
    )
    return Found(name, settings, region, inventory=inventory_of(serving, map(Analyzer.model_validate, listed)))


@st.composite
def resources(draw: st.DrawFn) -> list[Found]:
    return [
        found(
            f"r{number}",
            draw(st.sampled_from(REGIONS)),
            draw(st.dictionaries(IDS, st.sampled_from(["one", "two"]), max_size=6)),
            draw(st.sampled_from(DEFAULTS)),
            draw(st.sampled_from(["", "", "", "left_out", "unread"])),
        )
        for number in range(draw(st.integers(1, 5)))
    ]


@given(resources(), st.sampled_from(["", "p"]))
def test_whatever_is_found_makes_a_file_that_loads(seen: list[Found], name: str) -> None:
    assume(not all(each.left_out for each in seen))
    plans = propose(seen, name)
    validate(configuration_text(seen, plans, ["a problem: of ${NAME} # and more"], "s.json", "today"))
    for plan in plans:
        assert all(target.region != plan.source.region and not target.left_out for target in plan.targets)


@given(resources())
def test_every_analyzer_is_in_the_plan_of_its_source(seen: list[Found]) -> None:
    for plan in (each for each in propose(seen) if each.targets):
        include: Any = plan.keys["include"]
        missed = {name for name in plan.analyzers if not any(fnmatchcase(name, glob) for glob in include)}
        said = " ".join(plan.remarks)
        assert not missed or "not in this plan" in said


def test_resources_in_two_data_zones_with_the_same_analyzers_are_both_protected() -> None:
    same = {"invoice": "one", "receipt": "one"}
    seen = [
        found(name, region, analyzers, {"gpt-4.1": "chat"}, "")
        for name, region, analyzers in (
            ("eu1", "westeurope", same),
            ("eu2", "swedencentral", {}),
            ("us1", "eastus", same),
            ("us2", "westus", same),
        )
    ]
    assert [plan.resources for plan in propose(seen)] == [["eu1", "eu2"], ["us1", "us2"]]


def test_nobody_has_to_read_thousands_of_names() -> None:
    numbered = [{f"{letter}{number}": letter for number in range(3000)} for letter in "xy"]
    seen = [found(name, "eastus", own, {}, "") for name, own in zip("ac", numbered, strict=True)]
    plans = propose([*seen, found("b", "westus3", {}, {}, "")])
    assert [plan.keys["include"] for plan in plans] == [["x*"], ["y*"]]


@given(st.sets(IDS), st.sets(IDS), st.sampled_from([r"[-_.]", "."]))
def test_few_globs_match_what_is_wanted_and_nothing_else(wanted: set[str], others: set[str], ends: str) -> None:
    globs = [*covering(wanted, others - wanted, ends)]
    assert all(any(fnmatchcase(name, glob) for glob in globs) for name in wanted)
    assert not any(fnmatchcase(name, glob) for glob in globs for name in others - wanted)
    assert len(globs) <= len(wanted)
