from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from standby.config.configuration import Configuration
from standby.config.errors import ConfigurationError, UnknownName


def resource(account: str, **values: Any) -> dict[str, Any]:
    return {
        "endpoint": f"https://{account}.services.ai.azure.com",
        "region": f"{account}us",
        "resource_id": (f"/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/{account}"),
        "credentials": {"kind": "entra"},
        **values,
    }


def configuration(**values: Any) -> Configuration:
    return Configuration.model_validate(
        {
            "resources": {name: resource(name) for name in ("east", "west")},
            "plans": {"invoices": {"pairs": [{"source": "east", "targets": ["west"]}]}},
            **values,
        }
    )


def with_west(**values: Any) -> dict[str, Any]:
    return {"resources": {"east": resource("east"), "west": resource("west", **values)}}


def test_parts_are_named_by_their_keys() -> None:
    assert configuration().resource("east").name == "east"
    assert configuration().plan("invoices").name == "invoices"


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="no plan named invioces: did you mean invoices"):
        configuration().plan("invioces")
    with pytest.raises(UnknownName, match="no resource named zzz: there is east and west"):
        configuration().resource("zzz")
    with pytest.raises(UnknownName, match="no plan named any: there is none"):
        configuration(plans={}).plan("any")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"resources": {}}, "at least 1 item"),
        ({"resources": {"East": resource("east")}}, "pattern"),
        (with_west(name="east"), "must be west, the same as its key"),
        (
            {"plans": {"p": {"pairs": [{"source": "east", "targets": ["wset"]}]}}},
            "no resource is named wset: did you mean west",
        ),
        (
            with_west(api_version="2026-06-01-preview"),
            "east has api_version 2025-11-01 and west 2026-06-01-preview",
        ),
        (with_west(endpoint="https://EAST.services.ai.azure.com/"), "is the same as that of east"),
        (with_west(resource_id=resource("EAST")["resource_id"]), "is the same as that of east"),
        ({"vault": {"url": "nonsense"}}, "pattern"),
        ({"activation": [{"kind": "webhook", "url": "http://example.com", "secret": "s"}]}, "must be https"),
        ({"activation": [{"kind": "webhook", "url": "https://u:p@example.com", "secret": "s"}]}, "no user"),
        ({"activation": [{"kind": "webhook", "url": "nonsense", "secret": "s"}]}, "must be a URL"),
        ({"activation": [{"kind": "webhook", "url": "https://example.com"}]}, "Field required"),
        ({"activation": [{"kind": "variable", "name": "Not So"}]}, "pattern"),
        ({"activation": [{"kind": "mail"}]}, "tag"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        configuration(**values)


def four(**plans: dict[str, Any]) -> Configuration:
    return configuration(resources={name: resource(name) for name in ("east", "west", "north", "south")}, plans=plans)


def copying(source: str, *targets: str, **fields: Any) -> dict[str, Any]:
    return {"pairs": [{"source": source, "targets": list(targets)}], **fields}


def test_two_plans_that_may_write_one_analyzer_are_refused_by_name_with_what_to_change() -> None:
    with pytest.raises(ValidationError) as caught:
        four(a=copying("east", "west"), b=copying("north", "south", "west", include=["inv*"]))
    assert (
        "plan b (from north) and plan a (from east) may both write the same analyzer at west, for example inv, and "
        "would overwrite each other: give one of them an include, exclude or target_id that keeps them apart"
    ) in str(caught.value)
    with pytest.raises(ValidationError, match=r"at south and west, .* an include, exclude, tags, base or target_id"):
        four(a=copying("east", "west", "south"), b=copying("east", "south", "west"))


def test_two_pairs_of_one_plan_with_one_target_are_refused_because_they_choose_alike() -> None:
    pairs = [{"source": "east", "targets": ["west", "south"]}, {"source": "north", "targets": ["west"]}]
    with pytest.raises(
        ValidationError, match=r"\(from north\) and plan p \(from east\).*source into a plan of its own"
    ):
        four(p={"pairs": pairs, "target_id": "{id}-dr"})


def test_plans_that_are_kept_apart_or_have_different_targets_go_together() -> None:
    assert four(
        hub=copying("east", "west", target_id="east_{id}"),
        spoke=copying("north", "west", target_id="north_{id}"),
        twin=copying("east", "south"),
        back=copying("west", "east", exclude=["east_*", "north_*"]),
    ).plans


def test_a_webhook_on_loopback_needs_no_tls() -> None:
    sinks = configuration(
        activation=[{"kind": "webhook", "url": "http://127.0.0.1:8080/hook", "secret": "s"}]
    ).activation
    assert [sink.kind for sink in sinks] == ["webhook"]


def test_relative_paths_are_taken_from_a_folder() -> None:
    moved = configuration(
        vault={"path": "./keep"},
        activation=[{"kind": "file", "path": "active.json"}, {"kind": "file", "path": "/run/active.json"}],
    ).relative_to(Path("/etc/standby"))
    assert moved.vault.folder == Path("/etc/standby/keep")
    assert [sink.path for sink in moved.activation if sink.kind == "file"] == [
        Path("/etc/standby/active.json"),
        Path("/run/active.json"),
    ]


@pytest.mark.parametrize(
    ("values", "folder"),
    [
        ({}, Path("/etc/standby/vault")),
        ({"path": "keep"}, Path("/etc/standby/keep")),
        ({"url": "file:///srv/the%20vault"}, Path("/srv/the vault")),
        ({"url": "s3://bucket/vault"}, None),
    ],
)
def test_a_vault_has_a_local_folder_unless_it_is_object_storage(values: dict[str, Any], folder: Path | None) -> None:
    assert configuration(vault=values).relative_to(Path("/etc/standby")).vault.folder == folder


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"block": "s3-bucket/vault"}, "can no longer be a Prefect block"),
        ({"block": "s3-bucket/vault", "path": "vault"}, "url: az://CONTAINER/FOLDER with endpoint and credentials"),
        ({"second": {"block": "s3-bucket/vault"}}, "can no longer be a Prefect block"),
        ({"path": "vault", "url": "s3://bucket"}, "either a path or a url"),
        ({"url": "az://container/vault"}, "needs an endpoint"),
        ({"url": "az://container", "endpoint": "http://account.blob.core.windows.net"}, "must begin with https://"),
        ({"url": "az://container", "endpoint": "https://me@host"}, "must be a URL such as"),
        ({"url": "az://container", "endpoint": "https://a.blob.core.windows.net/container"}, "belong into url"),
        ({"url": "az://container", "endpoint": "http://127.0.0.1:10000/account/container"}, "belong into url"),
        ({"url": "az://container", "endpoint": "http://127.0.0.1:10000"}, "http://127.0.0.1:10000/account"),
        ({"url": "s3://bucket", "credentials": {"kind": "key", "key": "k"}}, "takes credentials for az:// only"),
        ({"path": "vault", "endpoint": "https://account.blob.core.windows.net"}, "endpoint for az:// and s3:// only"),
        ({"second": {}}, "needs a path or a url"),
    ],
)
def test_a_vault_that_could_not_be_opened_is_refused_with_what_to_write_instead(
    values: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValidationError, match=says):
        configuration(vault=values)


@pytest.mark.parametrize(
    "error", [ConfigurationError(["one", "two"], "Do this"), UnknownName("plan", "a", ["b"])], ids=str
)
def test_errors_survive_a_process_boundary(error: ConfigurationError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.problems) == (type(error), str(error), error.problems)
