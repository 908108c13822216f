from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from standby.config.configuration import Configuration, load_configuration
from standby.config.errors import ConfigurationError
from standby.config.plan import FreshKey
from standby.config.resource import DeploymentOverrides, EntraCredentials, KeyCredentials
from standby.config.sinks import FileSink, WebhookSink

CONTRACT = """
resources:
  east:                                   # name: lower case, digits, dashes
    endpoint: https://east.services.ai.azure.com
    region: eastus
    resource_id: /subscriptions/1/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/east
    api_version: "2025-11-01"
    credentials: {kind: key, key: ${EAST_KEY}}
    arm_endpoint: https://management.azure.com
    max_concurrent_copies: 10
    operations_per_minute: 3000
  west:
    endpoint: https://west.services.ai.azure.com
    region: westus
    resource_id: /subscriptions/1/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/west
    api_version: 2025-11-01               # YAML would take it for a date
    credentials: {kind: entra, tenant_id: t, client_id: c, client_secret: ${WEST_SECRET}}
  north:
    endpoint: https://north.services.ai.azure.com
    region: northeurope
    resource_id: /subscriptions/1/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/north
    credentials: {kind: entra}
    arm_endpoint: ""
plans:
  invoices:
    pairs: [{source: east, targets: [west, north]}]
    include: ["*"]
    exclude: ["projectAnalyzer_*"]
    on_existing: refuse
    missing_defaults: fail
    deployments: {west: {chatCompletion: gpt41-west, embedding: emb-west}}
    encryption: generate
    objectives: {rpo: 24h, rto: 15m}
vault: {path: ./vault}
activation:
  [{kind: file, path: ./active.json}, {kind: webhook, url: https://example.com/hook, secret: ${HOOK_KEY}}]
"""

ENVIRON = {
    "EAST_KEY": "canary-key: {with} YAML's # favourites",
    "WEST_SECRET": "canary-secret",
    "HOOK_KEY": "canary-hook",
}


def write(folder: Path, text: str) -> Path:
    path = folder / "standby.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def load(folder: Path, text: str) -> Configuration:
    return load_configuration(write(folder, text), ENVIRON)


def problems(folder: Path, text: str) -> list[str]:
    """Every problem of a file without the file's path: `LINE: what is wrong`."""
    with pytest.raises(ConfigurationError) as caught:
        load(folder, text)
    assert "canary" not in f"{caught.value} {caught.value!r} {caught.value.__cause__}"
    assert all("\n" not in problem for problem in caught.value.problems)
    return [problem.removeprefix(f"{folder / 'standby.yaml'}").lstrip(": ") for problem in caught.value.problems]


def edited(old: str, new: str) -> str:
    assert old in CONTRACT
    return CONTRACT.replace(old, new, 1)


def test_the_contracts_file_loads(tmp_path: Path) -> None:
    configuration = load(tmp_path, CONTRACT)
    assert configuration.resource("east").credentials == KeyCredentials(key=ENVIRON["EAST_KEY"])
    assert configuration.resource("west").api_version == "2025-11-01"
    assert configuration.resource("north").credentials == EntraCredentials()
    plan = configuration.plan("invoices")
    assert plan.targets == ("north", "west")
    assert plan.exclude == ("projectAnalyzer_*",)
    assert plan.deployments == {"west": DeploymentOverrides(chat_completion="gpt41-west", embedding="emb-west")}
    assert plan.encryption == FreshKey()
    assert (plan.objectives.rpo, plan.objectives.rto) == (timedelta(days=1), timedelta(minutes=15))
    assert configuration.vault.folder == tmp_path / "vault"
    assert configuration.activation == (
        FileSink(path=tmp_path / "active.json"),
        WebhookSink(url="https://example.com/hook", secret=ENVIRON["HOOK_KEY"]),
    )


def test_paths_are_absolute_whatever_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, CONTRACT)
    monkeypatch.chdir(tmp_path)
    assert load_configuration(Path("standby.yaml"), ENVIRON).vault.folder == tmp_path / "vault"


def test_the_home_folder_may_stand_in_any_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    text = edited("{path: ./vault}", "{path: ~/vault, second: {path: ~/second}}")
    loaded = load(tmp_path, text.replace("./active.json", "~/active.json"))
    assert loaded.vault.folder == Path("/home/ada/vault")
    assert loaded.vault.second is not None
    assert loaded.vault.second.folder == Path("/home/ada/second")
    assert loaded.activation[0] == FileSink(path=Path("/home/ada/active.json"))


def test_the_home_folder_of_nobody_is_a_problem(tmp_path: Path) -> None:
    assert problems(tmp_path, edited("./vault", "~no-such-user/vault")) == [
        "34: vault.path begins with ~no-such-user, but no user of that name has a home folder here"
    ]


def test_a_sink_is_required_unless_it_says_otherwise(tmp_path: Path) -> None:
    loaded = load(tmp_path, edited("./active.json", "./active.json, required: false"))
    assert [sink.required for sink in loaded.activation] == [False, True]
    assert problems(tmp_path, edited("./active.json", "./active.json, required: perhaps")) == [
        "36: activation[0].required must be true or false"
    ]


@pytest.mark.parametrize("written", ["0640", "640", '"0640"', "'640'", "0o640"])
def test_the_mode_of_a_file_is_read_as_chmod_does_with_or_without_quotes(tmp_path: Path, written: str) -> None:
    loaded = load(tmp_path, edited("./active.json", f"./active.json, mode: {written}"))
    assert loaded.activation[0] == FileSink(path=tmp_path / "active.json", mode=0o640)


@pytest.mark.parametrize("written", ["0777", "666", "0400", "rw", "true", "6.4e2", '"416"', "0o644o"])
def test_a_mode_that_anybody_could_write_or_execute_is_refused(tmp_path: Path, written: str) -> None:
    assert problems(tmp_path, edited("./active.json", f"./active.json, mode: {written}")) == [
        "36: activation[0].mode must be one of 0600, 0640, 0644, 0660, 0664"
    ]


def test_a_file_that_is_not_there_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml does not exist.*--config"):
        load_configuration(tmp_path / "nowhere.yaml", {})


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_configuration(tmp_path, {})


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "standby.yaml"
    path.write_bytes(b"\xff\xfe\x00canary")
    with pytest.raises(ConfigurationError, match="not UTF-8 text") as caught:
        load_configuration(path, {})
    assert caught.value.__cause__ is None


NAMES = "abcdefghij"
ALIAS_BOMB = "a: &a [x]\n" + "".join(f"{new}: &{new} [{f'*{old},' * 9}]\n" for old, new in pairwise(NAMES))
MERGE_BOMB = "a: &a {k: 1}\n" + "".join(
    f"{new}: &{new}\n  <<: [{f'*{old},' * 9}]\n  k{new}: 1\n" for old, new in pairwise(NAMES)
)
ALIAS_CHAIN = "a0: &a0 [x]\n" + "".join(f"a{number}: &a{number} [*a{number - 1}]\n" for number in range(1, 3000))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("# only a comment\n", "is empty"),
        ("- a list\n", "is not a mapping"),
        ("just text", "is not a mapping"),
        ("resources: {east: [}", "is not YAML: "),
        ("resources:\n\teast: 1", "is not YAML: "),
        ("key: *canary", "is not YAML: found undefined alias something in line 1"),
        ("key: !canary x", "is not YAML: "),
        ("key: \ue000", "has a character of Unicode's private use area"),
        ("---\na: 1\n---\nb: 2\n", "is not YAML: "),
        ("a: 1\nb: x\0y\n", "has a character that text cannot have, U+0000, in line 2"),
        ("x: " + "[" * 20_000, "is nested deeper than 40 levels in line 1"),
        ("x: " + "{a: " * 500 + "1" + "}" * 500, "is nested deeper than 40 levels in line 1"),
        (ALIAS_BOMB, "has more than 20000 values, aliases counted, in line"),
        (MERGE_BOMB, "has more than 20000 values, aliases counted, in line"),
        (ALIAS_CHAIN, "is nested deeper than 40 levels in line"),
        ("x: [" + "1," * 30_000 + "]", "has more than 20000 values, aliases counted, in line 1"),
        ("#" * 500_001, "is larger than 500 KB"),
    ],
)
def test_what_is_no_configuration_at_all_is_told_in_one_line(tmp_path: Path, text: str, problem: str) -> None:
    (told,) = problems(tmp_path, text)
    assert told.startswith(problem)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ('"east\\0us"', "has a character that no setting can have, U+0000"),
        ('"east\\e[2Jus"', "has a character that no setting can have, U+001B"),
        ('"east\\ud800us"', "has a character that no setting can have, U+D800"),
        ("9" * 5000, "cannot be read as a value of YAML's type int"),
        ("1" + ":59" * 9000, "must be text"),
        ("!!int abc", "cannot be read as a value of YAML's type int"),
        ("!!float abc", "cannot be read as a value of YAML's type float"),
        ("!!bool abc", "cannot be read as a value of YAML's type bool"),
        ("!!timestamp abc", "cannot be read as a value of YAML's type timestamp"),
        ('" "', "must be the name of an Azure region, such as eastus"),
        ("East/US", "must be the name of an Azure region, such as eastus"),
    ],
    ids=str,
)
def test_a_value_that_cannot_be_one_is_named_with_its_place(tmp_path: Path, value: str, problem: str) -> None:
    assert problems(tmp_path, edited("region: eastus", f"region: {value}")) == [f"5: resources.east.region {problem}"]


@pytest.mark.parametrize(
    ("value", "given"),
    [("2025-11-02", "2025-11-02"), ("20251101", "20251101"), ("", "empty"), ("~", "empty"), ("[a]", "['a']")],
)
def test_an_api_version_that_is_not_known_is_named(tmp_path: Path, value: str, given: str) -> None:
    (told,) = problems(tmp_path, edited('api_version: "2025-11-01"', f"api_version: {value}"))
    assert told.startswith("7: resources.east.api_version must be one of '2025-11-01'")
    assert told.endswith(f", and is {given}")


def test_a_key_that_stands_twice_is_refused_wherever_it_is(tmp_path: Path) -> None:
    text = edited("    region: eastus\n", "    region: eastus\n    region: westus\n") + "vault: {path: x}\n"
    assert problems(tmp_path, text) == [
        "6: resources.east.region is written twice; the first is in line 5",
        "38: vault is written twice; the first is in line 35",
    ]


def test_everything_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    text = (
        edited("max_concurrent_copies: 10", "max_concurent_copies: 10")
        .replace("operations_per_minute: 3000", "operations_per_minute: lots")
        .replace("kind: entra}", "kind: enrta}")
        .replace("region: westus", "region: ${NOWHERE}")
        .replace("targets: [west, north]", "targets: [wset, north]")
        .replace("rpo: 24h", "rpo: 24")
        .replace("on_existing: refuse", "on_existing: overwrite")
        .replace("vault:", "valut:")
        .replace("kind: file, path", "kind: file, pth")
    )
    assert problems(tmp_path, text) == [
        "10: resources.east.max_concurent_copies is not known here: did you mean max_concurrent_copies?",
        "11: resources.east.operations_per_minute must be a whole number",
        "14: resources.west.region needs the environment variable NOWHERE, which is not set",
        "22: resources.north.credentials has a kind that is not one of 'key', 'entra'",
        "29: plans.invoices.on_existing must be one of 'refuse', 'replace' or 'version', and is overwrite",
        "33: plans.invoices.objectives.rpo must be a duration such as 90s, 15m, 24h or 7d",
        "34: valut is not known here: did you mean vault?",
        "36: activation[0].path is missing",
        "36: activation[0].pth is not known here: did you mean path?",
    ]


def test_parts_are_compared_although_other_parts_are_wrong(tmp_path: Path) -> None:
    text = (
        edited("region: northeurope", "colour: blue")
        .replace("api_version: 2025-11-01 ", "api_version: 2026-06-01-preview ")
        .replace("https://west.", "https://east.")
        .replace("targets: [west, north]", "targets: [west, north, nroth]")
    )
    told = problems(tmp_path, text)
    assert [problem.partition(" ")[0] for problem in told] == ["13:", "18:", "20:", "26:", "26:"]
    assert "resources.west.endpoint is the same as that of east" in told[0]
    assert "no resource is named nroth: did you mean north?" in told[3] + told[4]
    assert "east has api_version 2025-11-01 and west 2026-06-01-preview" in told[3] + told[4]


@pytest.mark.parametrize(
    ("secret", "where"),
    [
        ("key: ${EAST_KEY}", "resources.east.credentials.key"),
        ("client_secret: ${WEST_SECRET}", "resources.west.credentials.client_secret"),
        ("secret: ${HOOK_KEY}", "activation[1].secret"),
    ],
)
@pytest.mark.parametrize("literal", ["canary", "canary-${EAST_KEY}", "123456", "$${EAST_KEY}", '""'])
def test_a_secret_comes_from_the_environment_only(tmp_path: Path, secret: str, where: str, literal: str) -> None:
    key, _, _ = secret.partition(" ")
    (told,) = problems(tmp_path, edited(secret, f"{key} {literal}"))
    assert f"{where} is a secret and must not be written here" in told
    assert "write ${NAME}" in told
    assert "123456" not in told


def test_an_encryption_key_comes_from_the_environment_only(tmp_path: Path) -> None:
    good = edited("encryption: generate", "encryption: {key: ${EAST_KEY}}")
    assert load(tmp_path, good).plan("invoices").encryption.kind == "given"
    (told,) = problems(tmp_path, edited("encryption: generate", "encryption: {key: canary}"))
    assert "plans.invoices.encryption.key is a secret" in told


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("endpoint: https://east.services.ai.azure.com", "endpoint: https://${WEST_SECRET}"),
        ("endpoint: https://east.services.ai.azure.com", "endpoint: ${WEST_SECRET}"),
        ("resource_id: /subscriptions/1", "resource_id: ${WEST_SECRET}"),
        ("kind: key, key: ${EAST_KEY}", "kind: '${WEST_SECRET}', key: ${EAST_KEY}"),
        ("kind: key, key: ${EAST_KEY}", "kind: key, kye: ${EAST_KEY}"),
        ("credentials: {kind: key, key: ${EAST_KEY}}", "credentials: ${EAST_KEY}"),
        ("encryption: generate", "encryption: ${WEST_SECRET}"),
        ("encryption: generate", "encryption: canary-typed-in"),
        ("targets: [west, north]", "targets: [west, '${WEST_SECRET}']"),
        ("deployments: {west:", "deployments: {west: {embedding: [canary]}, north:"),
        ("max_concurrent_copies: 10", "max_concurrent_copies: ${WEST_SECRET}"),
        ("url: https://example.com/hook", "url: http://canary@example.com/"),
        ("arm_endpoint: https://management.azure.com", "arm_endpoint: http://${WEST_SECRET}"),
        ("rpo: 24h", "rpo: '${WEST_SECRET}'"),
        ("on_existing: refuse", "on_existing: ${WEST_SECRET}"),
        ("vault: {path: ./vault}", "vault: {block: '${WEST_SECRET}'}"),
        ("vault: {path: ./vault}", "vault: [canary"),
    ],
)
def test_no_secret_is_told_wherever_it_was_written(tmp_path: Path, old: str, new: str) -> None:
    assert problems(tmp_path, edited(old, new))


def test_a_section_of_the_wrong_kind_is_told(tmp_path: Path) -> None:
    assert problems(tmp_path, "resources: [east]\nplans: 5\nactivation: {}\nvault: here\n") == [
        "1: resources must be a mapping",
        "2: plans must be a mapping",
        "3: activation must be a list",
        "4: vault must be a mapping",
    ]


def test_an_empty_section_is_told(tmp_path: Path) -> None:
    assert problems(tmp_path, "resources: {}\n") == ["1: resources must not be empty"]
    assert problems(tmp_path, "plans: {}\n") == ["1: resources is missing"]


def test_a_secret_that_is_too_short_is_told_with_its_least_length(tmp_path: Path) -> None:
    (told,) = problems(tmp_path, f"{CONTRACT}gateway: {{token: ${{WEST_SECRET}}}}\n")
    assert told.endswith("gateway.token must have 16 characters or more")


def test_a_name_that_is_none_is_told_in_words(tmp_path: Path) -> None:
    (told, *_) = problems(tmp_path, edited("  north:", "  North_1:"))
    assert told.startswith("18: resources.North_1 must be lower-case letters, digits and dashes")


def test_a_word_that_yaml_knows_better_may_be_a_name(tmp_path: Path) -> None:
    text = CONTRACT.replace("  north:", "  no:").replace("targets: [west, north]", 'targets: [west, "no"]')
    assert load(tmp_path, text).resource("no").region == "northeurope"


def test_anchors_and_merged_mappings_are_understood(tmp_path: Path) -> None:
    text = edited(
        "  north:\n    endpoint: https://north.services.ai.azure.com",
        "  north:\n    <<: &common {region: nowhere, max_concurrent_copies: 3}\n"
        "    endpoint: https://north.services.ai.azure.com",
    )
    north = load(tmp_path, text).resource("north")
    assert (north.region, north.max_concurrent_copies) == ("northeurope", 3)


def test_a_mapping_that_holds_itself_is_refused(tmp_path: Path) -> None:
    assert problems(tmp_path, "resources: &all\n  east: *all\n") == ["2: resources.east contains itself"]


def test_the_environment_is_read_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    assert load_configuration(write(tmp_path, CONTRACT)).resource("east").name == "east"
