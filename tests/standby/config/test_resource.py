from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from standby.config.resource import (
    ARM_HOSTS,
    AZURE_SUFFIXES,
    DeploymentOverrides,
    EntraCredentials,
    KeyCredentials,
    geography_of,
    is_loopback,
    zone_of,
)
from standby.service.calls import origin_of

if TYPE_CHECKING:
    from tests.standby.conftest import MakeResource

ACCOUNT = "/providers/Microsoft.CognitiveServices/accounts/a"


@pytest.mark.parametrize("suffix", AZURE_SUFFIXES)
def test_every_known_host_may_have_the_key(make_resource: MakeResource, suffix: str) -> None:
    assert make_resource(endpoint=f"https://name{suffix}").endpoint == f"https://name{suffix}"


@pytest.mark.parametrize(
    ("endpoint", "kept"),
    [
        ("https://Name.Services.AI.Azure.com/", "https://name.services.ai.azure.com"),
        ("HTTPS://name.services.ai.azure.com", "https://name.services.ai.azure.com"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost:8080/", "http://localhost:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("https://127.8.8.8", "https://127.8.8.8"),
    ],
)
def test_an_endpoint_is_kept_as_scheme_and_host(make_resource: MakeResource, endpoint: str, kept: str) -> None:
    assert make_resource(endpoint=endpoint).endpoint == kept


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://name.services.ai.azure.com",
        "https://name.example",
        "https://services.ai.azure.com",
        "https://name.services.ai.azure.com.elsewhere.example",
        "https://elsewhere.example/.services.ai.azure.com",
        "https://elsewhere.example#.services.ai.azure.com",
        "https://elsewhere.example?.services.ai.azure.com",
        "https://elsewhere.example\\.services.ai.azure.com",
        "https://elsewhere.example%2f.services.ai.azure.com",
        "https://elsewhere.example：443.services.ai.azure.com",
        "https://name.services.ai.azure.com@elsewhere.example",
        "https://user@name.services.ai.azure.com",
        "https://@name.services.ai.azure.com",
        "https://:@name.services.ai.azure.com",
        "https://name.services.ai.azure.com?",
        "https://name.services.ai.azure.com#",
        "https://name.services.ai.azure.com/path",
        "https://name.services.ai.azure.com:port",
        "https://name.services.ai.azure.com:99999",
        "https://name.services.ai.azure.com:0",
        "https://name.services.ai.azure.com.",
        "https://na me.services.ai.azure.com",
        "https://name.\nservices.ai.azure.com",
        " https://name.services.ai.azure.com",
        f"https://{'x' * 64}.services.ai.azure.com",
        "https://[::1",
        "https://",
        "https://.services.ai.azure.com",
        "ftp://name.services.ai.azure.com",
        "name.services.ai.azure.com",
        "//name.services.ai.azure.com",
        "http://localhost.elsewhere.example",
        "http://0.0.0.0",
        "http://10.0.0.1",
        "",
    ],
)
def test_an_endpoint_that_may_not_have_the_key_is_refused(make_resource: MakeResource, endpoint: str) -> None:
    with pytest.raises(ValidationError):
        make_resource(endpoint=endpoint)


@pytest.mark.parametrize("endpoint", ["https://gateway.example:8443", "https://my_gateway", "https://[fd00::1]"])
def test_another_host_has_to_be_meant(make_resource: MakeResource, endpoint: str) -> None:
    assert make_resource(endpoint=endpoint, allow_host=True).endpoint == endpoint


def test_another_host_is_https_too(make_resource: MakeResource) -> None:
    with pytest.raises(ValidationError, match="must be https"):
        make_resource(endpoint="http://gateway.example", allow_host=True)


def test_a_refused_endpoint_is_not_quoted_where_it_might_be_a_secret(make_resource: MakeResource) -> None:
    for endpoint in ("https://canary:canary@x", "https://x:canary", "canary", "https://canary\u2100/"):
        with pytest.raises(ValidationError) as caught:
            make_resource(endpoint=endpoint)
        assert "canary" not in str(caught.value)


@given(
    st.text(st.sampled_from("ab.-:@/\\?#[]%\t 0１ｅ。"), max_size=10),
    st.sampled_from(["", *AZURE_SUFFIXES[:2]]),
    st.text(st.sampled_from("ab.-:@/\\?#[]%\t 0"), max_size=6),
)
@example("a", AZURE_SUFFIXES[0], "")
@example("b@a", AZURE_SUFFIXES[0], ":0")
def test_an_accepted_endpoint_is_the_same_place_to_httpx(
    make_resource: MakeResource, before: str, suffix: str, after: str
) -> None:
    try:
        endpoint = make_resource(endpoint=f"https://{before}{suffix}{after}").endpoint
    except ValidationError:
        return
    scheme, host, _ = origin_of(httpx.URL(endpoint))
    assert scheme == "https"
    assert host.endswith(AZURE_SUFFIXES) or is_loopback(host)


@pytest.mark.parametrize(
    "arm", ["", *(f"https://{host}" for host in ARM_HOSTS), "http://127.0.0.1:9/arm", "https://localhost"]
)
def test_the_management_plane_is_azures_own_or_of_this_machine(make_resource: MakeResource, arm: str) -> None:
    assert make_resource(arm_endpoint=arm).arm_endpoint == arm


@pytest.mark.parametrize(
    "arm",
    [
        "https://management.example",
        "https://management.azure.com.elsewhere.example",
        "https://management.azure.com@elsewhere.example",
        "https://user:password@management.azure.com",
        "https://management.azure.com?x",
        "https://management.azure.com#x",
        "http://management.azure.com",
        "ftp://localhost",
        "management.azure.com",
        "https://",
        " https://management.azure.com",
    ],
)
def test_a_token_for_all_of_azure_goes_nowhere_else(make_resource: MakeResource, arm: str) -> None:
    with pytest.raises(ValidationError, match="arm_endpoint"):
        make_resource(arm_endpoint=arm)


def test_another_management_host_has_to_be_meant(make_resource: MakeResource) -> None:
    assert make_resource(arm_endpoint="https://arm.example/", allow_host=True).arm_endpoint == "https://arm.example"


@pytest.mark.parametrize(
    "resource_id",
    [
        f"/subscriptions/1/resourceGroups/g{ACCOUNT}",
        f"/SUBSCRIPTIONS/1/resourcegroups/My.Group(1)_x-y{ACCOUNT.upper()}",
    ],
)
def test_a_resource_id_is_kept_in_its_own_spelling(make_resource: MakeResource, resource_id: str) -> None:
    assert make_resource(resource_id=resource_id).resource_id == resource_id


@pytest.mark.parametrize(
    "resource_id",
    [
        "",
        f"/subscriptions/1{ACCOUNT}",
        f"/subscriptions/1/resourceGroups/g{ACCOUNT}/deployments/d",
        f"/subscriptions/1/resourceGroups/g{ACCOUNT}\n",
        f"/subscriptions/1/resourceGroups/g{ACCOUNT}?x=1",
        f"/subscriptions/1#/resourceGroups/g{ACCOUNT}",
        f"https://elsewhere.example/subscriptions/1/resourceGroups/g{ACCOUNT}",
        "/subscriptions/1/resourceGroups/g/providers/Microsoft.Storage/accounts/a",
    ],
)
def test_a_resource_id_of_another_form_is_refused(make_resource: MakeResource, resource_id: str) -> None:
    with pytest.raises(ValidationError, match="must look like"):
        make_resource(resource_id=resource_id)


@pytest.mark.parametrize("key", ["", "line\nend", "end\n", " before", "after ", "clé", "tab\t", "nul\0"])
def test_a_key_that_fits_in_no_header_is_refused_unquoted(key: str) -> None:
    with pytest.raises(ValidationError) as caught:
        KeyCredentials.model_validate({"key": key})
    assert not key or key not in str(caught.value)


def test_a_client_secret_needs_its_application() -> None:
    with pytest.raises(ValidationError, match="needs tenant_id and client_id") as caught:
        EntraCredentials.model_validate({"client_id": "c", "client_secret": "canary"})
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("written", ["East US", "EastUS", " east us ", "eastus"])
def test_a_region_may_be_written_as_the_portal_does(make_resource: MakeResource, written: str) -> None:
    assert make_resource(region=written).region == "eastus"


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "West"},
        {"name": "-west"},
        {"name": "w" * 65},
        {"region": ""},
        {"api_version": "2024-01-01"},
        {"max_concurrent_copies": 0},
        {"operations_per_minute": 0},
        {"operations_per_minute": 3001},
        {"credentials": {"kind": "password"}},
        {"unknown": 1},
    ],
)
def test_other_values_out_of_range_are_refused(make_resource: MakeResource, changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        make_resource(**changes)


def test_overrides_have_both_spellings() -> None:
    wire = DeploymentOverrides.model_validate({"chatCompletion": "a"})
    assert wire == DeploymentOverrides.model_validate({"chat_completion": "a"})


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.255.0.1", "::1"])
def test_this_machine_is_known(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", [None, "", "0.0.0.0", "::", "128.0.0.1", "localhost.", "127.0.0.1.x", "2130706433"])
def test_what_may_be_another_machine_is_not_this_one(host: str | None) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("region", "geography", "zone"),
    [
        ("westus3", "United States", "US data zone"),
        ("northeurope", "Europe", "EU data zone"),
        ("swedencentral", "Sweden", "EU data zone"),
        ("uksouth", "United Kingdom", "United Kingdom"),
        ("us", "", ""),
        ("", "", ""),
    ],
)
def test_a_region_is_in_a_geography_and_may_be_in_a_data_zone(region: str, geography: str, zone: str) -> None:
    assert (geography_of(region), zone_of(region)) == (geography, zone)
