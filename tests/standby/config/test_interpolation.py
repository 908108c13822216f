from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from standby.config.configuration import Configuration
from standby.config.yaml_file import fill, interpolate, secrets_of

NAMES = st.text(string.ascii_letters + "_", min_size=1, max_size=12)
VALUES = st.text(max_size=30)
PLAIN = st.text(max_size=30).filter(lambda text: "${" not in text and not text.endswith("$"))


def test_a_reference_is_replaced_wherever_it_stands() -> None:
    result = interpolate("https://${HOST}:${PORT}/", {"HOST": "localhost", "PORT": "80"})
    assert result.text == "https://localhost:80/"
    assert result.problems == ()


def test_a_missing_variable_is_named() -> None:
    result = interpolate("${HERE} ${NOWHERE}", {"HERE": "here"})
    assert result.problems == ("needs the environment variable NOWHERE, which is not set",)


def test_an_empty_variable_is_not_a_missing_one() -> None:
    assert interpolate("${ARM}", {"ARM": ""}).problems == ()


def test_a_double_dollar_escapes() -> None:
    result = interpolate("$${NAME} costs $5 or $$", {})
    assert (result.text, result.problems) == ("${NAME} costs $5 or $$", ())


def test_what_is_no_name_is_a_problem_that_does_not_repeat_it() -> None:
    assert interpolate("${pass word}", {}).problems == (
        "has ${…} around something that is not the name of a variable, file:PATH or keyvault:VAULT/NAME",
    )
    assert interpolate("${", {}).problems == ("has ${ without its }; write $${ for the text ${",)


@given(st.lists(st.tuples(PLAIN, NAMES, VALUES), max_size=5), PLAIN)
def test_every_reference_is_replaced_and_nothing_else(pieces: list[tuple[str, str, str]], end: str) -> None:
    environ = {name: value for _, name, value in pieces}
    text = "".join(f"{plain}${{{name}}}" for plain, name, _ in pieces) + end
    result = interpolate(text, environ)
    assert result.text == "".join(plain + environ[name] for plain, name, _ in pieces) + end
    assert result.problems == ()
    assert result.used == environ


@given(st.text(max_size=60))
def test_escaped_text_comes_out_as_it_was(text: str) -> None:
    # A dollar right before the escape would be read as part of it, as the second of `$$${` is.
    escaped = text.replace("${", "$${")
    if "$$${" not in escaped:
        result = interpolate(escaped, {})
        assert (result.text, result.problems) == (text, ())


@given(NAMES, VALUES)
def test_a_value_is_never_interpolated_again(name: str, value: str) -> None:
    assert interpolate(f"${{{name}}}", {name: f"${{{name}}}{value}"}).text == f"${{{name}}}{value}"


def test_text_is_filled_in_at_any_depth_and_numbers_stay() -> None:
    filled = fill({"a": [{"b": "${X}"}, 5, None, True]}, {"X": "x"})
    assert filled.data == {"a": [{"b": "x"}, 5, None, True]}
    assert filled.used == {"X": "x"}


def test_a_value_from_outside_is_hidden_in_any_letter_case() -> None:
    filled = fill({"endpoint": "https://${KEY}"}, {"KEY": "SeCrEt.*"})
    assert filled.hide("host secret.* is not known") == "host ${KEY} is not known"


def test_every_secret_of_the_models_is_known_as_one() -> None:
    places = {".".join(str(part) for part in where) for where in secrets_of(Configuration)}
    assert places >= {
        "resources.*.credentials.key",
        "resources.*.credentials.client_secret",
        "plans.*.encryption.key",
        "activation.*.secret",
        "vault.signing.key",
        "vault.signing.private_key",
        "gateway.token",
    }
    assert not any(place.endswith(("endpoint", "name", "public_key")) for place in places)
